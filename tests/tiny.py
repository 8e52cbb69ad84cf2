"""A small encoder, a small image folder, and what two processes do with them in the tests of sharing (a module that a spawned
process can import)."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from longtake.downstream.linear import Linear
from longtake.parallel import agreed, is_first, part_of, summed

NUM_CLASSES = 6
COUNTS = {"train": 12, "val": 7}  # images per class


def pictures(root: Path) -> Path:
    """Six classes of 16-pixel pictures, a class's colour under noise strong enough for mistakes."""
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


def tiny_encoder() -> TinyEncoder:
    torch.manual_seed(0)
    return TinyEncoder()


def task(root: str, augment: bool) -> Linear:
    """41 images to train on in batches of 20: the last one is smaller than the number of processes."""
    return Linear(
        preset="linear", root=root, size=16, resize=16, num_blocks=2, epochs=3, train_batch_size=20, held_out=0.45,
        augment=augment, batch_size=16, progress=False,
    )  # fmt: skip


def together(rank: int) -> dict[str, torch.Tensor]:
    root, folder = os.environ["SHARED_ROOT"], Path(os.environ["SHARED_OUT"])
    probe = task(root, augment=True)
    features = probe.extract(tiny_encoder(), probe.open()[1], num_blocks=2)
    found = {"features": features.features, "labels": features.labels}
    for augment in (True, False):
        # Each in a folder of its own, to see who writes.
        metrics = task(root, augment).evaluate(tiny_encoder(), folder / f"{rank}_{augment}")
        found[f"top1 {augment}"] = torch.tensor(metrics["top1"])
        found[f"top5 {augment}"] = torch.tensor(metrics["top5"])
    assert is_first() == (rank == 0)
    rows = torch.zeros(5, 2)
    part_of(rows).copy_(torch.arange(10).reshape(5, 2)[rank::2].float())
    found["agreed"] = torch.tensor(agreed("first" if rank == 0 else None) == "first")
    return {**found, "rows": summed(rows)}
