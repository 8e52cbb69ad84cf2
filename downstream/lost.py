"""LOST: one box per image from the last block's keys, without labels or training (https://arxiv.org/abs/2109.14279).

CorLoc is the share of images whose box meets an object of the image with an IoU of at least one half; Jaccard is the overlap of
thresholded attention with the classes of an image (downstream/attention.py). Both columns are in the tables of
https://arxiv.org/abs/2310.08584.

Letters: n patches of a grid of rows x columns, d width of a key (heads side by side), h heads.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from longtake.backbones.finite import checked
from longtake.backbones.vit import Tokens, cls_attention
from longtake.console import progress_bar
from longtake.datasets.benchmarks import content_of_voc, missing_voc, open_voc
from longtake.datasets.content import Content
from longtake.datasets.pictures import as_large, normalized, read_rgb
from longtake.datasets.roots import Place
from longtake.datasets.voc import VOC
from longtake.datasets.voc_boxes import NoObject
from longtake.downstream.attention import best_head, jaccard, mass_mask
from longtake.downstream.base import Downstream, Encoder, frozen, save_outcomes, say_unscored
from longtake.downstream.gallery import Gallery, boxes_drawn

NUM_SEEDS = 100  # LOST, section 3.3 and its main_lost.py: patches of lowest degree that may join the seed
HIT = 0.5  # main_lost.py: an IoU of exactly one half is a hit

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, ends exclusive


class Discovery(NamedTuple):
    """The box that LOST finds in an image, and how it came about."""

    box: Box
    seed: int  # patch
    degree: Int[np.ndarray, "n"]  # of each patch: with how many others its key has a positive product
    similars: Int[np.ndarray, "s"]  # the patches that joined the seed, itself included
    component: Bool[np.ndarray, "rows columns"]  # the box's patches


def lost(
    keys: Float[Tensor, "n d"],
    grid: tuple[int, int],
    image_size: tuple[int, int],
    patch_size: int = 16,
    num_seeds: int = NUM_SEEDS,
) -> Discovery:
    """Section 3 of the paper: the patch with the fewest positive correlations, those of the `num_seeds` fewest that correlate
    positively with it, and the connected region of patches whose summed correlation with all of these is positive.

    Patches of equal degree are taken in the order of the grid, row by row (the original leaves that to an unstable sort).
    `image_size` (height, width) cuts the box. Raises `ValueError` when the seed is not in its own region, as with keys of zeros.
    """
    products = checked(keys @ keys.T, "LOST: products of the keys")
    affinity = products.cpu().numpy()  # what follows is small: one thread does it sooner than several
    degree = (affinity > 0).sum(1) - (affinity.diagonal() > 0)
    order = degree.argsort(kind="stable")
    seed = int(order[0])
    candidates = order[:num_seeds]
    similars = candidates[affinity[seed, candidates] > 0]
    region = (affinity[similars].sum(0) > 0).reshape(grid)
    component = component_of(region, seed)
    return Discovery(box_of(component, patch_size, image_size), seed, degree, similars, component)


def component_of(region: Bool[np.ndarray, "rows columns"], patch: int) -> Bool[np.ndarray, "rows columns"]:
    """The 4-connected part of the region that holds a patch. Raises `ValueError` when the patch is outside of it."""
    from scipy import ndimage

    labels = ndimage.label(region)[0]  # OpenCV's threads would slow down the next image's product
    label = labels.flat[patch]
    if label == 0:
        raise ValueError("LOST: the seed is not in its own region: all keys are zero?")
    return labels == label


def box_of(component: Bool[np.ndarray, "rows columns"], patch_size: int, image_size: tuple[int, int]) -> Box:
    """Pixels around the patches, cut at the image's lower and right border (images are padded there)."""
    rows, columns = np.flatnonzero(component.any(1)), np.flatnonzero(component.any(0))
    (x0, x1), (y0, y1) = ((int(v[0]) * patch_size, int(v[-1] + 1) * patch_size) for v in (columns, rows))
    return x0, y0, min(x1, image_size[1]), min(y1, image_size[0])


def box_ious(box: Box, others: Int[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    """IoU of a box with others, in float32, so that one half stays one half."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    overlap = (high - low).clip(min=0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2] - box[0]) * (box[3] - box[1])
    return overlap.astype(np.float32) / (areas - overlap).astype(np.float32)


def hit(box: Box, objects: Int[np.ndarray, "n 4"]) -> bool:
    """Whether the box meets one of the objects."""
    return bool((box_ious(box, objects) >= HIT).any())


def corloc(boxes: Sequence[Box], objects: Sequence[Int[np.ndarray, "_ 4"]]) -> float:
    """Share of images whose one box hits any of the image's objects; images without objects do not count.

    Raises `ValueError` unless there is a box for each image, and an object in one of them.
    """
    if len(boxes) != len(objects) or not any(map(len, objects)):
        raise ValueError(
            f"got {len(boxes)} boxes and {len(objects)} images, expected one each, and an object in one image"
        )
    return float(np.mean([hit(box, there) for box, there in zip(boxes, objects, strict=True) if len(there)]))


def objects_of(voc: VOC, name: str, hard: bool) -> Int[np.ndarray, "_ 4"]:
    """Boxes of an image's objects; none where it has none."""
    try:
        return voc.boxes(name, hard).boxes
    except NoObject:
        return np.zeros((0, 4), np.int64)


class Pictures(Dataset):
    """Images of a VOC folder, uint8 (3, height, width), by their position in `names`."""

    def __init__(self, voc: VOC, names: list[str]) -> None:
        self.voc, self.names = voc, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        return read_rgb(self.voc.image(self.names[index]))


@dataclass(kw_only=True)
class LOST(Downstream, name="lost"):
    """CorLoc and Jaccard of frozen features on a folder in VOC's layout; nothing is trained.

    `corloc` is measured on the images of `main_list` (all of trainval in the literature), the other metrics on those of
    `segmentation_list` (the paper's 1449). Best head means that each object takes the head that suits it best: an oracle.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "corloc", "jaccard_besthead_60", "jaccard_avghead_80", "jaccard_besthead_80", "corloc_segval",
    )  # fmt: skip
    primary: ClassVar[tuple[str, ...]] = ("corloc", "jaccard_besthead_60")

    root: Place
    main_list: str = "Main/trainval"
    segmentation_list: str | None = "Segmentation/val"  # None: CorLoc on `main_list` alone
    hard: bool = True  # also objects that are truncated or difficult, as LOST counts
    num_seeds: int = NUM_SEEDS
    pos_mode: str | None = None  # of the position table; None is the encoder's own
    device: str = "cpu"
    num_workers: int = 0
    progress: bool = True
    gallery: bool = False

    def check(self) -> list[str]:
        return missing_voc(self.root, self.lists)

    def data(self) -> Content:
        return content_of_voc(self.root, self.lists)

    def validate(self) -> list[str]:
        return open_voc(self.root, self.progress).validate(self.lists, self.progress)

    @property
    def lists(self) -> list[str]:
        return [name for name in (self.main_list, self.segmentation_list) if name]

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        voc = open_voc(self.root, self.progress)
        main = set(voc.names(self.main_list))
        segmented = set(voc.names(self.segmentation_list)) if self.segmentation_list else set()
        names = sorted(main | segmented)
        outcomes = {metric: np.full(len(names), np.nan) for metric in self.metrics}
        boxes, gallery = {}, Gallery(workdir / "lost.jpg", self.gallery, len(names))
        for i, image in self._images(voc, names, encoder):
            name, objects = names[i], objects_of(voc, names[i], self.hard)
            box = self.discover(encoder, image).box
            boxes[name] = box
            for metric, members in (("corloc", main), ("corloc_segval", segmented)):
                if name in members and len(objects):
                    outcomes[metric][i] = hit(box, objects)
            if name in segmented:
                for metric, value in self.jaccards(encoder, image, as_large(voc.mask(name), image, name)).items():
                    outcomes[metric][i] = value
            gallery.add(lambda: boxes_drawn(image, [box], objects.tolist()))  # noqa: B023 - called at once
        gallery.save()
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "boxes.json").write_text(json.dumps(boxes))
        say_unscored([name for name in names if name not in boxes], len(names), "images are smaller than a patch")
        for metric, members in (("corloc", main), ("jaccard_besthead_60", segmented)):
            members = members & boxes.keys()
            lacking = [n for n, value in zip(names, outcomes[metric], strict=True) if n in members and np.isnan(value)]
            say_unscored(lacking, len(members), f"images have no object for {metric.partition('_')[0]}")
        wanted = self.metrics if segmented else self.metrics[:1]
        return save_outcomes(workdir, names, {metric: outcomes[metric] for metric in wanted})

    def _images(self, voc: VOC, names: list[str], encoder: Encoder) -> Iterator[tuple[int, UInt8[Tensor, "3 h w"]]]:
        """The images with their places in `names`, without those that no patch fits into."""
        loader = DataLoader(Pictures(voc, names), batch_size=None, num_workers=self.num_workers)
        with frozen(encoder, self.device), progress_bar(self.progress) as bar, torch.inference_mode():
            task = bar.add_task("objects", total=len(names))
            for i, image in enumerate(loader):
                if min(image.shape[-2:]) >= encoder.patch_size:
                    yield i, image
                bar.advance(task)

    def discover(self, encoder: Encoder, image: UInt8[Tensor, "3 h w"]) -> Discovery:
        """LOST on an image at its own resolution, padded with zeros at the right and the bottom."""
        patch = encoder.patch_size
        height, width = image.shape[-2:]
        x = F.pad(normalized(image), (0, -width % patch, 0, -height % patch))
        keys = self._tokens(encoder, x).k[0, :, 1:].transpose(0, 1).flatten(1).float()  # (n, d)
        grid = (x.shape[-2] // patch, x.shape[-1] // patch)
        return lost(keys, grid, (height, width), patch, self.num_seeds)

    def jaccards(
        self, encoder: Encoder, image: UInt8[Tensor, "3 h w"], mask: UInt8[np.ndarray, "h w"]
    ) -> dict[str, float]:
        """The three Jaccards of an image, cut to whole patches at the right and the bottom; nothing where it has no object."""
        patch = encoder.patch_size
        rows, columns = (side // patch for side in image.shape[-2:])
        tokens = self._tokens(encoder, normalized(image[:, : rows * patch, : columns * patch]))
        attention = cls_attention(tokens.q, tokens.k)[0].cpu()  # (h, n)
        truth = mask[: rows * patch, : columns * patch]
        found = {}
        for metric, rows_of_attention, mass in (
            ("jaccard_besthead_60", attention, 0.6),
            ("jaccard_besthead_80", attention, 0.8),
            ("jaccard_avghead_80", attention.mean(0, keepdim=True), 0.8),
        ):
            overlaps = jaccard(mass_mask(rows_of_attention, mass).unflatten(1, (rows, columns)), truth, patch)
            if len(overlaps):
                found[metric] = best_head(overlaps)
        return found

    def _tokens(self, encoder: Encoder, x: Float[Tensor, "3 h w"]) -> Tokens:
        return encoder(x[None].to(self.device), pos_mode=self.pos_mode)
