"""Unsupervised video segmentation: k-means of the patches of a whole video, matched with its objects (TimeTuning's protocol for one
video, https://arxiv.org/abs/2308.11796, section 4).

There are as many clusters as labels, the background among them; each label is given one cluster by the Hungarian method over all
frames of the video. Void pixels do not count. Letters: t frames, n patches, d width, k clusters.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image

from longtake.console import progress_bar
from longtake.datasets.benchmarks import content_of_davis, missing_davis, open_davis
from longtake.datasets.content import Content
from longtake.datasets.davis import Sequence, with_objects
from longtake.datasets.davis_masks import counted, objects_in
from longtake.datasets.pictures import normalized, read_rgb
from longtake.datasets.roots import Place
from longtake.downstream.base import Downstream, Encoder, frozen, save_outcomes, say_unscored
from longtake.downstream.gallery import Gallery, masks_drawn
from longtake.downstream.miou import IGNORED, class_ious, confusion, matching
from longtake.downstream.propagation import network_size

RESTARTS = 5  # of k-means; the best inertia is taken


@dataclass(kw_only=True)
class VideoKMeans(Downstream, name="video_kmeans"):
    """mIoU of the clusters, with the background and of the objects alone. One item is one sequence."""

    metrics: ClassVar[tuple[str, ...]] = ("kmeans_miou", "kmeans_objects_iou")

    root: Place
    split: str = "val"
    short_side: int = 224
    binary_masks: bool = False
    seed: int = 0
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
        outcomes: dict[str, list[float]] = {metric: [] for metric in self.metrics}
        gallery = Gallery(workdir / "video_kmeans.jpg", self.gallery, len(sequences))
        with frozen(encoder, self.device), progress_bar(self.progress) as bar, torch.inference_mode():
            for sequence in bar.track(sequences, description="sequences"):
                truth = folder.truth(sequence)
                objects = objects_in(truth[0])
                truth, num_labels = counted(truth, objects, void=IGNORED), len(objects) + 1
                clusters = self.clusters(encoder, sequence, (truth.shape[1], truth.shape[2]), num_labels)
                clusters = matching(confusion(truth, clusters, num_labels)).astype(np.uint8)[clusters]
                ious = class_ious(confusion(truth, clusters, num_labels))
                outcomes["kmeans_miou"].append(float(np.nanmean(ious)))
                outcomes["kmeans_objects_iou"].append(float(np.nanmean(ious[1:])))
                gallery.add(lambda: masks_drawn(sequence.frames, list(clusters)))  # noqa: B023 - called at once
        gallery.save()
        return save_outcomes(workdir, [s.name for s in sequences], {m: np.array(v) for m, v in outcomes.items()})

    def clusters(
        self, encoder: Encoder, sequence: Sequence, size: tuple[int, int], k: int
    ) -> UInt8[np.ndarray, "t h w"]:
        """Number of each pixel's cluster; a patch's pixels are of one cluster."""
        patch = encoder.patch_size
        height, width = network_size(size[0], size[1], self.short_side // patch * patch, patch)
        grid = (height // patch, width // patch)
        features = np.stack([self._features(encoder, path, (height, width)) for path in sequence.frames])  # (t, n, d)
        numbers = kmeans(features.reshape(-1, features.shape[-1]), k, self.seed).reshape(-1, *grid).astype(np.uint8)
        return np.stack([np.array(Image.fromarray(n).resize(size[::-1], Image.Resampling.NEAREST)) for n in numbers])

    def _features(self, encoder: Encoder, path: Path, size: tuple[int, int]) -> Float[np.ndarray, "n d"]:
        x = F.interpolate(normalized(read_rgb(path))[None], size=size, mode="bilinear", antialias=True)
        return F.normalize(encoder(x.to(self.device), pos_mode=self.pos_mode).patches[0].float(), dim=1).cpu().numpy()


def kmeans(features: Float[np.ndarray, "n d"], k: int, seed: int) -> Int[np.ndarray, "n"]:
    """Cluster of each row (scikit-learn's k-means++, the best of `RESTARTS`)."""
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=RESTARTS, random_state=seed).fit(features).labels_.astype(np.int64)
