"""A small image folder and a small encoder, shared by the evaluations' tests."""

from pathlib import Path

import pytest
import torch
from tiny import TinyEncoder, pictures


@pytest.fixture
def encoder() -> TinyEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyEncoder()


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of 16-pixel pictures, 12 of each to train on and 7 to test."""
    return pictures(tmp_path_factory.mktemp("pictures"))
