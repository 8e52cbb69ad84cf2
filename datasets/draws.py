"""Random draws that depend on named numbers alone, never on what was drawn before."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_from(*key: int) -> Iterator[None]:
    """torch's CPU generator seeded by `key` (non-negative) inside the block, and put back as it was after it."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(state)
