"""Numbers of an encoder on a video without labels: they say how encoders differ there, not which is better.

One item is a pair of frames, `stride_seconds` apart, neither blank nor parted by a cut; pairs are spread evenly over the video,
and those of one stretch of it count as one group. All three are shares, in per cent:

- `rankme`: effective rank of the pair's patch features, exp of the entropy of their normalised singular values (RankMe,
  https://arxiv.org/abs/2210.02885, eq. 1), of the largest that it can be, the smaller one of their number and their width.
- `kmeans_overlap`: the patches of the first frame are clustered (k-means), those of the second take the nearest centre; mean IoU
  with the clusters that the second frame has on its own, matched one to one. 100: what is found in one frame is found in the next.
- `object_map_overlap`: mean cosine of two heads' attention of the class token, over all pairs of heads and both frames. 100: all
  heads attend to the same patches (with one head, too); 0: no two share a patch.

The frames are those that the training has seen; it has no labels. Letters: n patches, d width, h heads, k clusters.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.backbones.vit import Tokens, cls_attention
from longtake.console import progress_bar
from longtake.datasets.clips import Clips
from longtake.datasets.findings import undecodable
from longtake.datasets.pictures import normalized, read_picture
from longtake.datasets.roots import Place
from longtake.datasets.sources.frames import Frames
from longtake.datasets.sources.video import Video
from longtake.downstream.base import Downstream, Encoder, frozen, save_outcomes
from longtake.downstream.miou import confusion, matching, mean_iou

RESTARTS = 3  # of k-means; the best inertia is taken


@dataclass(kw_only=True)
class OwnVideo(Downstream, name="own_video"):
    """`root`: video files as of `pretrain=video`, or of kind `frames` a folder of pictures as of `pretrain=frames`."""

    metrics: ClassVar[tuple[str, ...]] = ("rankme", "kmeans_overlap", "object_map_overlap")
    label_free: ClassVar[bool] = True
    names_its_data: ClassVar[bool] = True

    root: Place | Sequence[Place] | None
    frames_per_second: float | None = None
    kind: str = "video"  # or frames: numbered pictures
    num_pairs: int = 96
    num_stretches: int = 16
    stride_seconds: float = 0.5
    short_side: int = 128
    num_clusters: int = 4
    seed: int = 0
    pos_mode: str | None = None
    device: str = "cpu"
    progress: bool = True

    @property
    def source(self) -> Video | Frames:
        """The store that a training has by default."""
        if self.kind == "frames":
            return Frames(name="frames", path=self.root, frames_per_second=self.frames_per_second)  # type: ignore[arg-type]
        return Video(name="video", path=self.root)

    @property
    def protocol(self) -> str:
        """With the video's name and what is in it: numbers of two videos are never compared."""
        if self.root is None or self.check():
            return super().protocol
        source = self.source
        name = re.sub(r"[^\w.-]+", "-", source.label.partition(":")[2])
        return f"{self.preset}-{name}-{source.digest()}-v{self.version}"

    def check(self) -> list[str]:
        if self.root is None:
            return ["no video; pretrain=video pretrain.path=walk.mp4 gives one, or root=walk.mp4"]
        try:
            self.source.check(1)
        except ValueError as error:
            return [str(error).split("\n")[0]]
        return []

    def validate(self) -> list[str]:
        return odd_pictures_of(self.source, self.progress)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        clips = Clips(self.source.open(), 2, self.stride_seconds, skip_short=True)
        starts = clips.starts[np.unique(np.linspace(0, len(clips.starts) - 1, self.num_pairs).round().astype(int))]
        outcomes: dict[str, list[float]] = {metric: [] for metric in self.metrics}
        with frozen(encoder, self.device), progress_bar(self.progress) as bar, torch.inference_mode():
            for start in bar.track(starts.tolist(), description="pairs of frames"):
                pair = self.sized(clips.store.read(clips.frames_of(start)), encoder.patch_size)
                for metric, value in self.numbers(encoder(pair.to(self.device), pos_mode=self.pos_mode)).items():
                    outcomes[metric].append(value)
        names = [
            f"{clips.store.names[clips.store.video[start]]} {clips.store.seconds[start]:09.3f}"
            for start in starts.tolist()
        ]
        stretches = [f"stretch {i * self.num_stretches // len(starts):03d}" for i in range(len(starts))]
        return save_outcomes(workdir, names, {m: np.array(v) for m, v in outcomes.items()}, stretches)

    def sized(self, frames: UInt8[Tensor, "2 3 h w"], patch: int) -> Float[Tensor, "2 3 height width"]:
        """Normalised frames whose shorter side has about `short_side` pixels, in whole patches."""
        height, width = frames.shape[-2:]
        scale = self.short_side / min(height, width)
        size = [max(1, round(side * scale / patch)) * patch for side in (height, width)]
        return F.interpolate(torch.stack([*map(normalized, frames)]), size=size, mode="bilinear", antialias=True)

    def numbers(self, tokens: Tokens) -> dict[str, float]:
        """The metrics of a pair of frames."""
        first, second = F.normalize(tokens.patches.float(), dim=-1).cpu().double().numpy()
        return {
            "rankme": rank_share(tokens.patches.double().flatten(0, 1).cpu()),
            "kmeans_overlap": cluster_overlap(first, second, self.num_clusters, self.seed),
            "object_map_overlap": map_overlap(cls_attention(tokens.q, tokens.k).double().cpu()),
        }


def odd_pictures_of(source: Video | Frames, progress: bool) -> list[str]:
    """`Wrong` lines about pictures that cannot be decoded; a video is looked at when its store is built."""
    if isinstance(source, Video):
        return []
    paths = [path for folder in source.folders for path in folder.paths]
    return undecodable(read_picture, paths, "pictures", progress)


def rank_share(features: Float[Tensor, "n d"]) -> float:
    """RankMe as a share of the largest rank that n rows of width d can have; 0 for features that are all zero."""
    values = torch.linalg.svdvals(features)
    if values.sum() == 0:
        return 0.0
    shares = values / values.sum()
    entropy = -torch.xlogy(shares, shares).sum().item()
    return min(1.0, math.exp(entropy) / len(values))


def cluster_overlap(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"], k: int, seed: int) -> float:
    """Mean IoU of the second frame's own clusters with those that the first one's centres give it, matched one to one."""
    from sklearn.cluster import KMeans

    k = min(k, len(first))
    carried = KMeans(k, n_init=RESTARTS, random_state=seed).fit(first).predict(second).astype(np.int64)
    own = KMeans(k, n_init=RESTARTS, random_state=seed).fit(second).labels_.astype(np.int64)
    return mean_iou(own, matching(confusion(own, carried, k))[carried], k)


def map_overlap(maps: Float[Tensor, "b h n"]) -> float:
    """Mean cosine of two of the h maps of a frame, over pairs and frames; 1 for one map."""
    unit, h = F.normalize(maps, dim=-1), maps.shape[1]
    if h == 1:
        return 1.0
    off = (unit @ unit.transpose(1, 2)).sum((1, 2)) - unit.square().sum((1, 2))
    return min(1.0, max(0.0, (off / (h * (h - 1))).mean().item()))
