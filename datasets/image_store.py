"""Images as clips of one frame: what `pretrain=imagenet1k` trains on, read as a frame store is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int32, UInt8
from torch import Tensor

from longtake.datasets.images import images_in
from longtake.datasets.pictures import read_rgb


class ImageStore:
    """The images of `<folder>/<class>/<image>` (labels unused), each a shot of its own, so that no clip joins two.

    Attributes as `Store`'s. Raises `ValueError` for a folder that is missing or empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = np.array([path for path, _ in images_in(folder)])
        self.names = [str(folder)]
        self.seconds: Float64[np.ndarray, "n"] = np.zeros(len(self.paths))
        self.video: Int32[np.ndarray, "n"] = np.zeros(len(self.paths), np.int32)
        self.shot: Int32[np.ndarray, "n"] = np.arange(len(self.paths), dtype=np.int32)
        self.blank: Bool[np.ndarray, "n"] = np.zeros(len(self.paths), bool)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int] | Int[np.ndarray, "t"]) -> UInt8[Tensor, "t 3 h w"]:
        """RGB images of one size, in the given order. Raises `UnreadableImage`."""
        return torch.stack([read_rgb(self.paths[int(i)]) for i in indices])

    def summary(self) -> str:
        return f"{len(self):,} images"
