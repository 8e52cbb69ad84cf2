"""Video object segmentation by label propagation, scored with J and F (the J&F columns of https://arxiv.org/abs/2310.08584).

Protocol: DINO's eval_video_segmentation.py with davis2017-evaluation's semi-supervised scores. Features are the last block's patch
tokens after the final norm; nothing is trained.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.console import progress_bar
from longtake.datasets.benchmarks import content_of_davis, missing_davis, open_davis
from longtake.datasets.content import Content
from longtake.datasets.davis import Sequence, with_objects, write_mask
from longtake.datasets.davis_masks import counted, objects_in
from longtake.datasets.pictures import IMAGENET_STD, normalized, read_levels
from longtake.datasets.roots import Place
from longtake.downstream.base import Downstream, Encoder, frozen, save_outcomes, say_unscored
from longtake.downstream.gallery import Gallery, masks_drawn
from longtake.downstream.jf import ObjectScore, Statistics, evaluate_sequence
from longtake.downstream.propagation import NUM_CONTEXT, RADIUS, TOP_K, full_size, network_size, one_hot, propagate

# The script's colour normalisation has 0.228 where ImageNet's is 0.229; published numbers are made with it.
OFFICIAL_STD = (0.228, *IMAGENET_STD[1:])


@dataclass(kw_only=True)
class DAVIS(Downstream, name="davis"):
    """J and F of propagated masks on a folder in DAVIS's layout. One item is one object of one sequence."""

    metrics: ClassVar[tuple[str, ...]] = ("J&F", "J", "F", "J_recall", "F_recall", "J_decay", "F_decay")

    root: Place
    split: str = "val"
    short_side: int = 480  # pixels of the network's input
    multiple: int = 64  # the long side is cut to a multiple of it
    official_std: bool = True
    top_k: int = TOP_K
    num_context: int = NUM_CONTEXT
    radius: int = RADIUS
    keep_small: bool = False  # also objects that vanish on the first frame's grid of patches have a label
    binary_masks: bool = False
    pos_mode: str | None = None
    device: str = "cpu"
    progress: bool = True
    gallery: bool = False

    def check(self) -> list[str]:
        return missing_davis(self.root, self.split, self.binary_masks)

    def data(self) -> Content:
        return content_of_davis(self.root, self.split, self.binary_masks)

    def validate(self) -> list[str]:
        return open_davis(self.root, self.split, self.binary_masks, self.progress).validate(self.progress)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        folder = open_davis(self.root, self.split, self.binary_masks, self.progress)
        sequences, empty = with_objects(folder)
        say_unscored(empty, len(sequences) + len(empty), "sequences have no object in the first mask")
        scores: dict[str, ObjectScore] = {}
        gallery = Gallery(workdir / "davis.jpg", self.gallery, len(sequences))
        with frozen(encoder, self.device), progress_bar(self.progress) as bar, torch.inference_mode():
            task = bar.add_task("sequences", total=sum(len(s.frames) for s in sequences))
            for sequence in sequences:
                truth = folder.truth(sequence)
                masks = [truth[0]]
                for mask in self.segment(encoder, sequence, truth[0]):
                    masks.append(mask)
                    bar.advance(task)
                bar.advance(task)
                for path, mask in zip(sequence.masks, masks, strict=True):
                    write_mask(mask, workdir / "masks" / sequence.name / path.name)
                found = evaluate_sequence(truth, np.stack(masks))
                scores |= {f"{sequence.name}/{number}": score for number, score in found.items()}
                gallery.add(lambda: masks_drawn(sequence.frames, masks))  # noqa: B023 - called at once
        gallery.save()
        write_scores(scores, workdir / "objects.csv")
        groups = [name.rpartition("/")[0] for name in scores]  # objects of a sequence rise and fall together
        return save_outcomes(workdir, list(scores), outcomes_of(scores), groups)

    def segment(
        self, encoder: Encoder, sequence: Sequence, first: UInt8[np.ndarray, "h w"]
    ) -> Iterator[UInt8[np.ndarray, "h w"]]:
        """Masks of the frames after the first."""
        objects = objects_in(first)
        first, numbers = counted(first, objects), np.array([0, *objects], np.uint8)
        patch = encoder.patch_size
        short_side, multiple = self.short_side // patch * patch, math.lcm(self.multiple, patch)
        height, width = network_size(first.shape[0], first.shape[1], short_side, multiple)
        grid = (height // patch, width // patch)
        labels = one_hot(first, grid, int(first.max()) + 1 if self.keep_small else None).to(self.device)
        frames = (self._features(encoder, path, (height, width)) for path in sequence.frames)
        for soft in propagate(frames, labels, grid, self.top_k, self.num_context, self.radius):
            yield numbers[full_size(soft, grid, patch, first.shape)]

    def _features(self, encoder: Encoder, path: Path, size: tuple[int, int]) -> Float[Tensor, "n d"]:
        """Patch tokens of a frame, resized as OpenCV does by default (bilinear)."""
        rgb = cv2.resize(read_levels(path), size[::-1])
        std = OFFICIAL_STD if self.official_std else IMAGENET_STD
        x = normalized(torch.from_numpy(rgb).permute(2, 0, 1), std)
        return encoder(x[None].to(self.device), pos_mode=self.pos_mode).patches[0].float()


def outcomes_of(scores: dict[str, ObjectScore]) -> dict[str, Float[np.ndarray, "o"]]:
    """Return each object's contribution to each metric."""
    columns = {
        f"{kind}{suffix}": np.array([getattr(getattr(score, kind), field) for score in scores.values()])
        for kind in ("J", "F")
        for field, suffix in zip(Statistics._fields, ("", "_recall", "_decay"), strict=True)
    }
    columns["J&F"] = (columns["J"] + columns["F"]) / 2
    return {metric: columns[metric] for metric in DAVIS.metrics}


def write_scores(scores: dict[str, ObjectScore], path: Path) -> None:
    """One line per object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object", *(f"{kind}_{name}" for kind in ("J", "F") for name in Statistics._fields)])
        for name, score in scores.items():
            writer.writerow([name, *score.J, *score.F])
