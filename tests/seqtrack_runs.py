"""A tiny data set in GOT-10k's layout and a training on it, also for a process that kills itself in the middle."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.datasets.got10k import GOT10k, LabelledSequence, write_got10k
from longtake.downstream.seqtrack_samples import Sample, Samples, SeqTrackRecipe
from longtake.downstream.seqtrack_train import Network, Training

FRAMES = 20
RECIPE = SeqTrackRecipe(
    bins=50, search_size=32, template_size=32, epochs=5, samples_per_epoch=16, train_batch_size=8, lr=1e-3, drop_epoch=4,
    batch_size=4,
)  # fmt: skip


def moving(root: Path, split: str, number: int, frames: int = FRAMES) -> GOT10k:
    """Sequences of a red rectangle that crosses a noisy blue picture of 128 x 96; hidden in two frames."""
    sequences = []
    for i in range(number):
        rng = np.random.default_rng((i, len(split)))
        shown = rng.integers(0, 60, (frames, 96, 128, 3), np.uint8)
        shown[..., 2] += 90
        w, h = (int(v) for v in rng.integers(14, 26, 2))
        start, end = (rng.uniform((4, 4), (124 - w, 92 - h)) for _ in range(2))
        corners = np.linspace(start, start + 0.6 * (end - start), frames).round().astype(int)
        for image, (x, y) in zip(shown, corners, strict=True):
            image[y : y + h, x : x + w] = (230, 30, 40)
        cover = np.where(np.isin(np.arange(frames), (7, 8)), 0, 8)
        boxes = np.concatenate([corners, np.full((frames, 2), (w, h))], 1).astype(np.float64)
        sequences.append(LabelledSequence(f"{split}_{i:02d}", shown, boxes, cover, np.zeros(frames, bool)))
    return write_got10k(root, sequences, split)


def training(got: GOT10k, workdir: Path, **changes: object) -> Training:
    torch.manual_seed(0)
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]
    run = Training(ViT("mini", 8, 32), recipe, "cpu")
    run.run(Samples(got.tracks(), recipe), workdir / "seqtrack.ckpt", save_every=3, progress=False)
    return run


def main(root: Path, workdir: Path, kill_at: int | None = None) -> Training:
    """As `training`, on what `moving` wrote; killed in the second pass of step `kill_at`."""
    forward, passes = Network.forward, 0

    def counted(self: Network, sample: Sample) -> Tensor:
        nonlocal passes
        if kill_at is not None and passes == 2 * kill_at + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        passes += 1
        return forward(self, sample)

    Network.forward = counted  # type: ignore[method-assign]
    try:
        return training(GOT10k(root, "train"), workdir)
    finally:
        Network.forward = forward  # type: ignore[method-assign]
