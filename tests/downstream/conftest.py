"""A small image folder and a small encoder, shared by the evaluations' tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TinyEncoder

NUM_CLASSES = 6
COUNTS = {"train": 12, "val": 7}  # images per class


@pytest.fixture
def encoder() -> TinyEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyEncoder()


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of 16-pixel pictures, a class's colour under noise strong enough for mistakes."""
    root = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    colours = draws.uniform(90, 165, (NUM_CLASSES, 3))
    for split, count in COUNTS.items():
        for label, colour in enumerate(colours):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                tint = colour + draws.normal(0, 22, 3)  # the picture's own
                pixels = tint + draws.normal(0, 30, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root
