"""Images as clips of one frame: what `pretrain=imagenet1k` trains on, read as a frame store is."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int32, UInt8
from torch import Tensor

from longtake.datasets.folders import is_picture, walk
from longtake.datasets.image_listing import CACHE_FROM, keep_listing, listing_file, read_listing, settled
from longtake.datasets.pictures import read_rgb


class ImageStore:
    """The images in a folder and below it, class folders or not (labels are unused), each a shot of its own: no clip joins two.

    Attributes as `Store`'s. Raises `ValueError` for a folder that is missing or empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = np.array(pictures_below(folder))
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


def pictures_below(folder: Path) -> list[str]:
    """Paths of all pictures in a folder and below it, a folder's own before those of the folders in it, by name.

    A long listing (ImageNet's) is kept under the data root and holds while no folder's modification time changes. Raises
    `ValueError` where there is no picture.
    """
    folder = Path(os.path.expanduser(folder))
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}: expected images in it or below")
    kept = listing_file(folder, "below")
    names = _kept_names(kept) or _listed_names(folder, kept)
    if not names:
        raise ValueError(f"{folder}: no image in it or below")
    return [os.path.join(folder, name) for name in names]


def _kept_names(kept: Path) -> list[str]:
    """Names of the listing that was kept; none where a folder has changed since."""
    if not kept.is_file():
        return []
    listing = read_listing(kept)
    try:
        fresh = all(os.stat(place).st_mtime_ns == stamp for place, stamp in listing.get("stamps", {}).items())
    except OSError:  # a folder is gone
        return []
    return listing.get("files", []) if fresh else []


def _listed_names(folder: Path, kept: Path) -> list[str]:
    names, stamps = [], {}
    for place, _, files in walk(folder):
        stamps[place] = os.stat(place).st_mtime_ns
        names += [os.path.relpath(os.path.join(place, file), folder) for file in files if is_picture(file)]
    if len(names) >= CACHE_FROM and settled(stamps):
        keep_listing(kept, {"folder": str(folder), "stamps": stamps, "files": names})
    return names
