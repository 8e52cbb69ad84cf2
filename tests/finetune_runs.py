"""What two processes do with a fine-tuning in its tests (a module that a spawned process can import)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from longtake.backbones.vit import ViT
from longtake.downstream import finetune
from longtake.downstream.finetune import Finetune
from longtake.downstream.finetune_training import ClassifierTraining

PLAIN = {"mixup": 0.0, "cutmix": 0.0, "erasing": 0.0, "rand_augment": None, "crop_scale": (0.6, 1.0)}
SHORT = {"epochs": 3, "warmup_epochs": 1, "lr": 1e-3, "train_batch_size": 24, "mixup_batch_size": 12}
SMALL = {"test_split": "val", "size": 16, "resize": 16, "batch_size": 12}
# For two processes: four groups a step, and every kind of draw.
DRAWN = {
    "epochs": 2,
    "mixup_batch_size": 6,
    "batch_size": 4,
    "mixup": 0.8,
    "cutmix": 1.0,
    "erasing": 0.25,
    "drop_path": 0.3,
}


def small_vit() -> ViT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = ViT("mini", 8, 16, drop_path=0.2).eval()
    vit.blocks, vit.depth = vit.blocks[:2], 2  # half the work
    return vit


def task(root: Path, **settings: object) -> Finetune:
    return Finetune(preset="test", progress=False, **{**PLAIN, **SHORT, "root": str(root), **SMALL, **settings})


@contextmanager
def stopped_in_step(number: int) -> Iterator[list[int]]:
    """A training that writes after every epoch and is stopped before this step; the steps it made."""
    gradients, made = ClassifierTraining.gradients, list[int]()

    def stopping(self: ClassifierTraining, groups: object, current: int) -> float:
        if current == number:
            raise KeyboardInterrupt
        made.append(current)
        return gradients(self, groups, current)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "SAVE_SECONDS", 0)
        patch.setattr(ClassifierTraining, "gradients", stopping)
        yield made


def together(rank: int) -> dict[str, object]:
    """Once without a break, each process in a folder of its own, and once with one, in a common folder."""
    root, folder = Path(os.environ["SHARED_ROOT"]), Path(os.environ["SHARED_OUT"])
    found: dict[str, object] = {"whole": task(root, **DRAWN).evaluate(small_vit(), folder / f"whole_{rank}")}
    with stopped_in_step(4), suppress(KeyboardInterrupt):
        task(root, **DRAWN).evaluate(small_vit(), folder / "cut")
    with stopped_in_step(-1) as made:
        found["cut"] = task(root, **DRAWN).evaluate(small_vit(), folder / "cut")
    with pytest.raises(ValueError, match="cannot be divided among 2 processes") as refused:
        task(root, mixup_batch_size=8).evaluate(small_vit(), folder / "refused")
    return {**found, "steps": made, "refused": str(refused.value)}
