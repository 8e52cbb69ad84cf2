"""A small image folder and a small encoder, shared by the evaluations' tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

NUM_CLASSES = 6
COUNTS = {"train": 12, "val": 7}  # images per class


class TinyEncoder(nn.Module):
    """The encoder interface in a few hundred weights: two blocks of a linear map and a nonlinearity; CLS is the mean."""

    def __init__(self, dim: int = 8, patch_size: int = 8) -> None:
        super().__init__()
        self.embed_dim, self.patch_size, self.depth = dim, patch_size, 2
        self.embed = nn.Conv2d(3, dim, patch_size, patch_size)
        self.blocks = nn.ModuleList(nn.Linear(dim, dim) for _ in range(self.depth))
        self.dropout = nn.Dropout(0.5)  # the features are only repeatable in eval mode
        self.norm = nn.LayerNorm(dim)

    def intermediate(self, x: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tensor]:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        outputs = []
        for block in self.blocks:
            tokens = self.dropout(tokens + torch.tanh(block(tokens)))
            outputs.append(self.norm(tokens) if norm else tokens)
        return [outputs[i] for i in blocks]


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
