"""In-context segmentation: each patch takes the labels of the training patches most like it; nothing is trained.

Protocol: Hummingbird's retrieval (https://arxiv.org/abs/2306.01667, section 3): a memory of L2-normalised patch features with the
share of each class in the patch; 30 neighbours, weighted by softmax(cosine / 0.02); bilinear to the pixels. The numbers are
called `icl_...` because mIoU of a trained head (UperNet) is another thing. Classes that are nowhere do not count
(mmsegmentation's rule); Hummingbird's own script counts them as 0 and matches by the Hungarian method.

Letters: m patches in the memory, n patches of an image, d width, c classes, k neighbours.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from rich.progress import Progress
from torch import Tensor

from longtake.console import progress_bar
from longtake.datasets.ade20k import ADE20K
from longtake.datasets.benchmarks import content_of_segmentation, missing_segmentation, open_segmentation
from longtake.datasets.content import Content
from longtake.datasets.findings import undecodable
from longtake.datasets.pictures import as_large, normalized, read_rgb
from longtake.datasets.roots import Place
from longtake.datasets.voc import VOC
from longtake.downstream.base import Downstream, Encoder, check_size, frozen, save_outcomes, say_unscored
from longtake.downstream.gallery import Gallery, painted
from longtake.downstream.miou import IGNORED, NO_LABEL, check_classes, confusion, of_labelled, shares_of_mean

NUM_NEIGHBORS, TEMPERATURE = 30, 0.02


@dataclass(kw_only=True)
class DenseKNN(Downstream, name="dense_knn"):
    """mIoU and mean accuracy of retrieved labels. One item is one image, and what it adds (miou.py)."""

    metrics: ClassVar[tuple[str, ...]] = ("icl_miou", "icl_macc")

    root: Place
    layout: str = "voc"  # or ade20k
    train_list: str = "Segmentation/train"
    test_list: str = "Segmentation/val"
    size: int = 224  # pixels of the square that every image becomes
    num_neighbors: int = NUM_NEIGHBORS
    temperature: float = TEMPERATURE
    memory: int = 1_000_000  # patches at most, drawn with the seed
    seed: int = 0
    pos_mode: str | None = None
    device: str = "cpu"
    progress: bool = True
    gallery: bool = False

    def check(self) -> list[str]:
        return missing_segmentation(self.layout, self.root, (self.train_list, self.test_list))

    def data(self) -> Content:
        return content_of_segmentation(self.layout, self.root, (self.train_list, self.test_list))

    def validate(self) -> list[str]:
        data, lists = open_segmentation(self.layout, self.root, self.progress), (self.train_list, self.test_list)
        names = [name for image_list in lists for name in data.names(image_list)]
        refused = undecodable(partial(labels_of, data), names, "classes of masks", self.progress)
        # a mask that cannot be read is found twice
        return list(dict.fromkeys([*data.validate(lists, self.progress), *refused]))

    def check_encoder(self, encoder: Encoder) -> None:
        check_size(self.size, encoder)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        data = open_segmentation(self.layout, self.root, self.progress)
        names = data.names(self.test_list)
        parts = []  # of each image: pixels found of each class, of the union, of the truth
        gallery = Gallery(workdir / "dense_knn.jpg", self.gallery, len(names))
        with frozen(encoder, self.device), progress_bar(self.progress) as bar, torch.inference_mode():
            features, labels = self._remember(encoder, data, bar)
            for name in bar.track(names, description="patches, test"):
                image = read_rgb(data.image(name))
                found = self._predict(self._features(encoder, image), features, labels)
                truth = self._square(as_large(labels_of(data, name), image, name))
                matrix = confusion(truth, found, data.num_classes)
                overlap, pixels = matrix.diagonal(), matrix.sum(1)
                parts.append([overlap, pixels + matrix.sum(0) - overlap, pixels])
                gallery.add(lambda: painted(self._shown(image), found))  # noqa: B023 - called at once
        gallery.save()
        overlap, union, pixels = np.array(parts).swapaxes(0, 1)
        present = pixels.sum(0) > 0  # a class that is nowhere does not count, even if it was found
        labelled = pixels.any(1)
        say_unscored(np.array(names)[~labelled].tolist(), len(names), NO_LABEL)
        outcomes = {
            "icl_miou": of_labelled(labelled, shares_of_mean, overlap[:, present], union[:, present]),
            "icl_macc": of_labelled(labelled, shares_of_mean, overlap[:, present], pixels[:, present]),
        }
        return save_outcomes(workdir, names, outcomes)

    def _remember(
        self, encoder: Encoder, data: VOC | ADE20K, bar: Progress
    ) -> tuple[Float[Tensor, "m d"], Float[Tensor, "m c"]]:
        """Features and class shares of the training images' patches, at most `memory` of them."""
        names = data.names(self.train_list)
        per_image = max(1, self.memory // len(names))
        draw = torch.Generator().manual_seed(self.seed)
        features, labels = [], []
        for name in bar.track(names, description="patches, train"):
            f = self._features(encoder, image := read_rgb(data.image(name)))
            mask = self._square(as_large(labels_of(data, name), image, name))
            share = patch_labels(mask, encoder.patch_size, data.num_classes)
            chosen = torch.randperm(len(f), generator=draw)[:per_image]
            chosen = chosen[share[chosen].sum(1) > 0]  # all ignored: nothing to remember
            features.append(f[chosen.to(f.device)])
            labels.append(share[chosen].to(f.device))
        return some(
            torch.cat(features), f"{self.train_list}: no patch of {len(names)} masks has a labelled pixel"
        ), torch.cat(labels)

    def _features(self, encoder: Encoder, image: UInt8[Tensor, "3 h w"]) -> Float[Tensor, "n d"]:
        x = F.interpolate(normalized(image)[None], size=(self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(encoder(x.to(self.device), pos_mode=self.pos_mode).patches[0].float(), dim=1)

    def _predict(
        self, queries: Float[Tensor, "n d"], features: Float[Tensor, "m d"], labels: Float[Tensor, "m c"]
    ) -> UInt8[np.ndarray, "size size"]:
        soft = retrieve(queries, features, labels, self.num_neighbors, self.temperature)
        side = round(len(soft) ** 0.5)
        maps = soft.T.unflatten(1, (side, side))[None]
        pixels = F.interpolate(maps, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return pixels[0].argmax(0).to(torch.uint8).cpu().numpy()

    def _square(self, mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "size size"]:
        return np.array(Image.fromarray(mask).resize((self.size, self.size), Image.Resampling.NEAREST))

    def _shown(self, image: UInt8[Tensor, "3 h w"]) -> UInt8[np.ndarray, "size size 3"]:
        return np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((self.size, self.size)))


def some(features: Float[Tensor, "m d"], lacking: str) -> Float[Tensor, "m d"]:
    """The features to retrieve from. Raises `ValueError` where there is none: every pixel would be of the first class."""
    if not len(features):
        raise ValueError(f"{lacking}: nothing can be retrieved")
    return features


def labels_of(data: VOC | ADE20K, name: str) -> UInt8[np.ndarray, "h w"]:
    """An image's mask. Raises `ValueError` for a class that there is not."""
    mask = data.mask(name)
    check_classes(mask[mask != IGNORED], data.num_classes, data.mask_file(name))
    return mask


def patch_labels(mask: UInt8[np.ndarray, "size size"], patch_size: int, num_classes: int) -> Float[Tensor, "n c"]:
    """Share of each class among the pixels of each patch that have one; zeros where all are ignored."""
    side = len(mask) // patch_size
    blocks = mask.reshape(side, patch_size, side, patch_size).transpose(0, 2, 1, 3).reshape(side * side, -1)
    labels: Int[Tensor, "n pixels"] = torch.from_numpy(blocks.astype(np.int64))
    known = labels != IGNORED
    counts = torch.zeros(len(labels), num_classes)
    counts.scatter_add_(1, labels.where(known, 0), known.float())
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def retrieve(
    queries: Float[Tensor, "n d"],
    features: Float[Tensor, "m d"],
    labels: Float[Tensor, "m c"],
    num_neighbors: int = NUM_NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "n c"]:
    """Labels of the `num_neighbors` nearest patches of the memory, weighted by softmax(cosine / temperature)."""
    similarity, nearest = (queries @ features.T).topk(min(num_neighbors, len(features)), dim=1)
    return torch.einsum("nk,nkc->nc", (similarity / temperature).softmax(1), labels[nearest])
