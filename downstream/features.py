"""Frozen features of image folders, and the settings that evaluations on them share (LP and k-NN of the paper).

Letters: n images, b images of a batch, d feature width, t tokens of an image, CLS first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader

from longtake.backbones.finite import checked
from longtake.console import notes, progress_bar
from longtake.datasets.content import Content
from longtake.datasets.images import (
    ImageFolder,
    content_of_splits,
    enough_images,
    eval_transform,
    missing_splits,
    odd_splits,
    open_splits,
    short_side,
)
from longtake.datasets.roots import Place
from longtake.downstream.base import Downstream, Encoder, check_size, frozen
from longtake.parallel import is_first, part_of, summed


class LabelledFeatures(NamedTuple):
    """Features of images and the images' classes."""

    features: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]


@dataclass(kw_only=True)
class FrozenClassification(Downstream):
    """Settings of an evaluation that reads frozen features of `<root>/<split>/<class>/<image>`.

    The defaults are ImageNet-1k at 224 pixels; see `datasets.images.missing_splits` for what `root` may be.
    """

    shared: ClassVar[bool] = True
    holds_out: ClassVar[bool] = False  # some training images of each class are held out

    root: Place | None = None
    train_split: str = "train"
    test_split: str = "val"  # ImageNet's test labels are not public
    size: int = 224  # pixels of the square the encoder sees
    resize: int | None = None  # short side before the central crop; 256/224 of `size` unless given
    batch_size: int = 256  # images per forward pass
    num_workers: int = 0
    device: str = "cpu"
    progress: bool = True

    def check(self) -> list[str]:
        short_side(self.size, self.resize)
        missing = missing_splits(self.root, (self.train_split, self.test_split))
        return missing or enough_images(self.root, self.train_split, self.holds_out)

    def data(self) -> Content:
        return content_of_splits(self.root, (self.train_split, self.test_split))

    def validate(self) -> list[str]:
        return odd_splits(self.root, (self.train_split, self.test_split), self.progress)

    def check_encoder(self, encoder: Encoder) -> None:
        check_size(self.size, encoder)

    def open(self) -> tuple[ImageFolder, ImageFolder]:
        """Training and test images under the evaluation's transform; renders a procedural world when needed."""
        splits = (self.train_split, self.test_split)
        train, test = open_splits(self.root, splits, eval_transform(self.size, self.resize), self.progress)
        return train, test

    def loader(self, images: ImageFolder, batches: list[list[int]]) -> DataLoader:
        """Batches of (images, labels, ids), each with the ids of one of `batches`."""
        pin_memory = torch.device(self.device).type == "cuda"
        return DataLoader(images, batch_sampler=batches, num_workers=self.num_workers, pin_memory=pin_memory)

    def extract(
        self, encoder: Encoder, images: ImageFolder, num_blocks: int = 1, avgpool: bool = False
    ) -> LabelledFeatures:
        """`pooled_features` of every image in float32, and its label; row i is image i. Both lie on the CPU.

        Processes that run together (`parallel.py`) share the images, and each has all rows in the end.
        """
        width = encoder.embed_dim * (num_blocks + avgpool)
        features, labels = torch.zeros(len(images), width), torch.zeros(len(images), dtype=torch.int64)
        read = torch.zeros(len(images), dtype=torch.int64)  # how often
        mine = list(part_of(range(len(images))))
        batches = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        with frozen(encoder, self.device), progress_bar(self.progress and is_first()) as bar:
            task = bar.add_task(f"features, {Path(images.root).name}", total=len(mine))
            for x, y, ids in self.loader(images, batches):
                batch = pooled_features(encoder, x.to(self.device, non_blocking=True), num_blocks, avgpool)
                features[ids], labels[ids] = batch.cpu(), y
                read[ids] += 1
                bar.advance(task, len(ids))
        assert (summed(read) == 1).all(), "every image was read once"
        found = LabelledFeatures(summed(features), summed(labels))
        say_if_equal(found.features, Path(images.root).name)
        return found


def say_if_equal(features: Float[Tensor, "n d"], of: str) -> None:
    """A line where all images have the same features: their scores are those of ties."""
    if len(features) > 1 and is_first() and bool((features == features[0]).all()):
        notes.print(
            f"all {len(features):,} images of {of} have the same features: the encoder has collapsed", soft_wrap=True
        )


@torch.no_grad()
def pooled_features(
    encoder: Encoder, x: Float[Tensor, "b 3 h w"], num_blocks: int = 1, avgpool: bool = False
) -> Float[Tensor, "b d"]:
    """CLS of the last `num_blocks` blocks, each through the final norm, side by side; float32.

    With `avgpool` the mean patch token of the last block follows (DINO's eval_linear.py; it uses 4 blocks without the
    mean for ViT-S, 1 block with it for ViT-B). One block without it is the feature of DINO's eval_knn.py.
    """
    tokens = encoder.intermediate(x, range(-num_blocks, 0), norm=True)  # num_blocks times (b, t, d)
    pooled = [block[:, 0] for block in tokens]
    if avgpool:
        pooled.append(tokens[-1][:, 1:].mean(dim=1))
    return checked(torch.cat(pooled, dim=1).float(), "features of the encoder")
