"""Fine-tuning for classification: the whole encoder and a linear head are trained (table 11 of https://arxiv.org/abs/2310.08584).

Two recipes of iBOT (https://github.com/bytedance/ibot), which the paper follows. Transfer sets: evaluation/eval_cls.py, DeiT's
recipe without layer decay; the defaults are its. ImageNet-1k: evaluation/classification_layer_decay, BEiT's recipe, in
configs/eval/finetune_imagenet1k.yaml. What differs from both: rates follow the step where the first follows the epoch, the
averaged weights that the first keeps and never evaluates are not kept, and half precision is bfloat16.

The paper's number is the best epoch's on the test images (`top1_paper`); the primary `top1` is the last epoch's.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.utils.data import DataLoader

from longtake.datasets.content import Content
from longtake.datasets.images import eval_transform, short_side
from longtake.datasets.labelled import LabelledImages
from longtake.datasets.roots import Place
from longtake.datasets.transfer import content_of_images, is_rendered, missing_images, odd_images, open_images
from longtake.downstream.augmented import Transformed, augmentation, epoch_order
from longtake.downstream.base import Downstream, Encoder, check_size, save_outcomes
from longtake.downstream.finetune_training import Batch, ClassifierTraining, Recipe, plot
from longtake.downstream.state import identity_of
from longtake.downstream.tuning import After
from longtake.parallel import is_first, part_of, world_size

SAVE_SECONDS = 60  # between checkpoints, which are three times the encoder: some sets' epochs take seconds


@dataclass(kw_only=True)
class Finetune(Recipe, Downstream, name="finetune"):
    """Top-1 after fine-tuning a copy of the encoder; the given one is left as it is.

    `layout` and `root` are those of datasets/transfer.py. An interrupted evaluation given the same `workdir` goes on after the
    last epoch that was saved: at most a minute is lost, or an epoch where one takes longer. Processes divide a step's groups, and
    train as one would up to rounding.
    """

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top1_paper", "top5")
    shared: ClassVar[bool] = True

    layout: str = "imagefolder"
    root: Place | None = None
    train_split: str = "train"
    test_split: str = "test"
    size: int = 224  # pixels of the square the encoder sees
    resize: int | None = None  # test images' short side before the central crop; 256/224 of `size` unless given
    crop_scale: Sequence[float] = (0.08, 1.0)  # of training images: share of the area
    rand_augment: str | None = "rand-m9-mstd0.5-inc1"
    erasing: float = 0.25
    repeats: int = 3  # views of an image in a step; an epoch has as many views as there are images
    test_every: int = 1  # epochs; the last one is always tested
    num_workers: int = 0
    progress: bool = True

    @property
    def protocol(self) -> str:
        return f"{self.preset}-{self.num_epochs}ep-v{self.version}"

    def check(self) -> list[str]:
        self._check_settings()
        missing = missing_images(self.layout, self.root, (self.train_split, self.test_split))
        if not missing and not is_rendered(self.root):
            self.open()
        return missing

    def data(self) -> Content:
        return content_of_images(self.layout, self.root, (self.train_split, self.test_split))

    def validate(self) -> list[str]:
        return odd_images(self.layout, self.root, (self.train_split, self.test_split), self.progress)

    def check_encoder(self, encoder: Encoder) -> None:
        check_size(self.size, encoder)

    def check_processes(self, count: int) -> None:
        if self.num_groups % count:
            raise ValueError(
                f"train_batch_size={self.train_batch_size} mixup_batch_size={self.mixup_batch_size}: the {self.num_groups} "
                f"group(s) of a step cannot be divided among {count} processes, expected a multiple"
            )

    def _check_settings(self) -> None:
        self.check_recipe()
        short_side(self.size, self.resize)
        if self.repeats < 1 or self.test_every < 1 or not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(
                f"repeats={self.repeats} test_every={self.test_every} crop_scale={list(self.crop_scale)}: "
                "expected at least 1, and two ascending shares of an area"
            )

    def open(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images. Raises `ValueError` when they are missing, wrong, or fewer than a step needs."""
        train, test = open_images(self.layout, self.root, (self.train_split, self.test_split), self.progress)
        if len(train) < self.train_batch_size:
            raise ValueError(
                f"train_batch_size={self.train_batch_size} is larger than the {len(train)} training images"
            )
        return train, test

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        self._check_settings()
        self.check_encoder(encoder)
        self.check_processes(world_size())
        assert isinstance(encoder, nn.Module)
        train, test = self.open()
        steps, listed = len(train) // self.train_batch_size, [[list(x.items), x.labels.tolist()] for x in (train, test)]
        cuda = [torch.device(self.device)] if torch.device(self.device).type == "cuda" else []
        with torch.random.fork_rng(cuda):
            training = ClassifierTraining(self, encoder, len(train.classes), steps)
            identity = identity_of(dataclasses.asdict(self), listed, encoder, self.data())
            tuning = training.tuning(workdir / "training.ckpt", identity)
            epochs = range(tuning.done // steps, self.num_epochs)
            groups = chain.from_iterable(self.train_groups(train, epoch) for epoch in epochs)
            gradients, after = partial(training.gradients, groups), self._between_epochs(training, test)
            tuning.run(gradients, steps * self.num_epochs, after, "fine-tuning", self.progress)
        if is_first():
            plot(tuning.losses, training.scores.tests, workdir / "finetune.png")
        return save_outcomes(workdir, test.items, training.scores.outcomes())

    def _between_epochs(self, training: ClassifierTraining, test: LabelledImages) -> After:
        """After a step: tests the classifier where an epoch ends, and says whether a checkpoint is due there."""
        saved = time.monotonic()

        def after(done: int) -> bool:
            nonlocal saved
            epoch, within = divmod(done, training.steps_per_epoch)
            if within:
                return False
            if epoch % self.test_every == 0 or epoch == self.num_epochs:
                training.score(epoch, self.test_batches(test))
            due = time.monotonic() - saved >= SAVE_SECONDS
            saved = time.monotonic() if due else saved
            return due

        return after

    def train_groups(self, train: LabelledImages, epoch: int) -> Iterator[Batch]:
        """This process's groups of an epoch's steps, in order. Views of one image lie in different groups, as on different GPUs."""
        batch, num_groups = self.train_batch_size, self.num_groups
        places = range(len(train) // batch * batch)
        order = epoch_order(len(train), len(places), self.repeats, self.seed, epoch)
        view = augmentation(self.size, self.crop_scale, self.rand_augment, self.erasing)
        steps = [places[i : i + batch] for i in places[::batch]]
        groups = [list(step[group::num_groups]) for step in steps for group in part_of(range(num_groups))]
        return iter(self._loader(Transformed(train, view, order, (self.seed, epoch)), groups))

    def test_batches(self, test: LabelledImages) -> Iterator[Batch]:
        """This process's test images."""
        mine = list(part_of(range(len(test))))
        batches = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        views = Transformed(test, eval_transform(self.size, self.resize), range(len(test)))
        return iter(self._loader(views, batches))

    def _loader(self, views: Transformed, batches: list[list[int]]) -> DataLoader:
        pin_memory = torch.device(self.device).type == "cuda"
        return DataLoader(views, batch_sampler=batches, num_workers=self.num_workers, pin_memory=pin_memory)
