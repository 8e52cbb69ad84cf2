"""Training samples of SeqTrack (https://arxiv.org/abs/2304.14394) from sequences of GOT-10k, and the recipe they are part of.

Two templates and one search crop per sample, from frames that lie near one another, in the order of time or against it. Constants
are those of seqtrack_b256_got.yaml and of its data pipeline. Letters: b samples, m templates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from longtake.backbones.vit import PosMode
from longtake.datasets.got10k import Track
from longtake.datasets.pictures import normalized, read_levels
from longtake.downstream.seqtrack_tokens import box_in_crop, search_crop


@dataclass(kw_only=True)
class SeqTrackRecipe:
    """Settings that decide the trained weights: SeqTrack-B256's for GOT-10k, with the encoder frozen (DoRA's paper, B.3)."""

    bins: int = 4000
    search_size: int = 256  # pixels of the crops, which are square
    template_size: int = 256
    factor: float = 4.0  # side of a crop over the root of the box's area
    num_templates: int = 2
    pos_mode: PosMode | None = None  # of the position table; None is the encoder's own, SeqTrack's is align_corners
    hidden_dim: int = 256  # of the decoder
    position_values: bool = (
        False  # the decoder gets positions with what it attends to, not only to find it; not SeqTrack's
    )
    freeze: bool = True  # the encoder; False trains a copy of it
    epochs: int = 500
    samples_per_epoch: int = 30_000
    train_batch_size: int = 64  # samples per step: 8 GPUs x 8
    batch_size: int | None = None  # samples at once, whose gradients are summed up to a batch; None: all of it
    lr: float = 1e-4
    encoder_lr_scale: float = 0.1
    drop_epoch: int = 400  # from there on a tenth of the rate
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # of the gradient
    max_gap: int = 400  # frames between the middle of a sample and its frames
    min_frames: int = 20  # of a sequence
    centre_jitter: float = 3.5  # of the search crop, in roots of the box's area from end to end
    scale_jitter: float = 0.5  # standard deviation of the logarithm of its box's width and height
    grey: float = 0.05  # probability, of all images of a sample together
    flip: float = 0.5  # the same, from left to right
    flip_each: float = 0.5  # and then of each crop on its own
    brightness: float = 0.2  # of each crop
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.samples_per_epoch // self.train_batch_size)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


class Sample(NamedTuple):
    """Crops, normalised as ImageNet, and the object's box x, y, w, h in the search crop, as shares of it."""

    search: Float[Tensor, "*b 3 size size"]
    templates: Float[Tensor, "*b m 3 side side"]
    box: Float[Tensor, "*b 4"]


class Samples(Dataset):
    """Training samples; number i depends on (seed, i) alone. Raises `ValueError` when no sequence is long enough."""

    def __init__(self, tracks: Sequence[Track], recipe: SeqTrackRecipe) -> None:
        self.recipe = recipe
        fewest = 2 * (1 + recipe.num_templates)  # visible frames must be more: the sampler's
        self.tracks = [t for t in tracks if t.visible.sum() > fewest and t.num_frames >= recipe.min_frames]
        if not self.tracks:
            raise ValueError(
                f"{len(tracks)} training sequences, none with {recipe.min_frames} frames and the object visible in more "
                f"than {fewest} of them"
            )

    def __getitem__(self, number: int) -> Sample:
        recipe, rng = self.recipe, np.random.default_rng((self.recipe.seed, number))
        track = self.tracks[int(rng.integers(len(self.tracks)))]
        frames = draw_frames(np.flatnonzero(track.visible), recipe.num_templates + 1, recipe.max_gap, rng)
        images, boxes = [read_frame(track.frame(t)) for t in frames], [track.boxes[t] for t in frames]
        if rng.random() < recipe.grey:
            images = [cv2.cvtColor(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for i in images]
        if rng.random() < recipe.flip:
            boxes = [flipped(box, image.shape[1]) for image, box in zip(images, boxes, strict=True)]
            images = [image[:, ::-1] for image in images]
        around = jittered(boxes[-1], recipe.centre_jitter, recipe.scale_jitter, rng)
        search, resize_factor = search_crop(images[-1], around, recipe.factor, recipe.search_size)
        box = box_in_crop(boxes[-1], around, resize_factor, recipe.search_size)
        templates = [
            search_crop(image, box, recipe.factor, recipe.template_size)[0]
            for image, box in zip(images[:-1], boxes[:-1], strict=True)
        ]
        shown, mirrored = zip(*(self._augmented(crop, rng) for crop in (*templates, search)), strict=True)
        box = flipped(box, 1.0) if mirrored[-1] else box
        return Sample(shown[-1], torch.stack(shown[:-1]), torch.from_numpy(box).float())

    def _augmented(self, crop: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> tuple[Tensor, bool]:
        gain = rng.uniform(max(0.0, 1 - self.recipe.brightness), 1 + self.recipe.brightness)
        mirrored = bool(rng.random() < self.recipe.flip_each)
        bright = np.clip(crop * np.float32(gain), 0, 255)
        return to_input(bright[:, ::-1] if mirrored else bright), mirrored


def draw_frames(visible: Int[np.ndarray, " v"], number: int, max_gap: int, rng: np.random.Generator) -> list[int]:
    """Frames near a random one, repetitions allowed, in the order of time or, as often, against it; the search is the last."""
    middle = int(rng.choice(visible))
    near = visible[(visible >= middle - max_gap) & (visible < middle + max_gap)]
    return sorted(rng.choice(near, number).tolist(), reverse=bool(rng.random() < 0.5))


def jittered(
    box: Float[np.ndarray, "4"], centre: float, scale: float, rng: np.random.Generator
) -> Float[np.ndarray, "4"]:
    """A box of another size and place, around which the search crop is taken, as if the tracker had been there."""
    size = box[2:] * np.exp(rng.standard_normal(2) * scale)
    middle = box[:2] + box[2:] / 2 + np.sqrt(size.prod()) * centre * (rng.random(2) - 0.5)
    return np.concatenate([middle - size / 2, size])


def flipped(box: Float[np.ndarray, "4"], width: float) -> Float[np.ndarray, "4"]:
    return np.array([width - box[0] - box[2], *box[1:]])


def read_frame(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """RGB. Raises `UnreadableImage` where it cannot be decoded."""
    return read_levels(path)


def to_input(image: UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"]) -> Float[Tensor, "3 h w"]:
    """Normalise levels 0 to 255 with ImageNet's mean and standard deviation."""
    return normalized(torch.from_numpy(image.copy()).permute(2, 0, 1)).contiguous()
