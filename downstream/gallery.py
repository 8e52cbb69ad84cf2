"""Pictures of what an evaluation found, a few of them on one page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from longtake.datasets.palette import PALETTE
from longtake.datasets.pictures import read_levels

MAX_PICTURES, COLUMNS = 24, 6
TILE = (150, 200)  # pixels of a picture on the page, rows and columns
OURS, TRUTH = (255, 60, 40), (60, 220, 60)  # colours of boxes
FRAMES_SHOWN = 6  # of a sequence
QUALITY = 88  # JPEG
FRAME = 4  # pixels


class Gallery:
    """Collects pictures, evenly spaced among the `total` that come, and writes them as one page; nothing unless `wanted`."""

    def __init__(self, path: Path, wanted: bool, total: int) -> None:
        self.path = path
        self.chosen = set(np.linspace(0, total - 1, MAX_PICTURES).round().astype(int).tolist()) if wanted else set()
        self.offered = 0
        self.pictures: list[UInt8[np.ndarray, "h w 3"]] = []

    def add(self, draw: Callable[[], UInt8[np.ndarray, "h w 3"]]) -> None:
        if self.offered in self.chosen:
            self.pictures.append(draw())
        self.offered += 1

    def save(self) -> None:
        if not self.pictures:
            return
        columns = 1 if self.pictures[0].shape[1] > 4 * self.pictures[0].shape[0] else COLUMNS
        size = self.pictures[0].shape[:2] if columns == 1 else TILE
        tiles = [fitted(picture, size) for picture in self.pictures]
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
        rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        page = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(self.path), page, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def fitted(picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "rows columns 3"]:
    """Shrink or enlarge a picture to fit into `size`, on white."""
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    page = np.full((*size, 3), 255, np.uint8)
    page[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return page


def boxes_drawn(
    image: UInt8[Tensor, "3 h w"], ours: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]
) -> UInt8[np.ndarray, "h w 3"]:
    """Boxes on an image: red is what was found, green what is there."""
    picture = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    width = max(1, round(min(picture.shape[:2]) / 100))
    for boxes, colour in ((truth, TRUTH), (ours, OURS)):
        for x0, y0, x1, y1 in boxes:
            cv2.rectangle(picture, (int(x0), int(y0)), (int(x1) - 1, int(y1) - 1), colour, width)
    return picture


def neighbours_drawn(query: tuple[str, int], nearest: Sequence[tuple[str, int]]) -> UInt8[np.ndarray, "rows columns 3"]:
    """An image and those nearest to it, side by side; framed in green where the class is the same, in red where it is not."""
    side = TILE[0]
    tiles = [fitted(_read(Path(query[0])), (side, side))]
    for path, label in nearest:
        tile = fitted(_read(Path(path)), (side - 2 * FRAME, side - 2 * FRAME))
        colour = TRUTH if label == query[1] else OURS
        tiles.append(cv2.copyMakeBorder(tile, FRAME, FRAME, FRAME, FRAME, cv2.BORDER_CONSTANT, value=colour))
    return np.concatenate(tiles, 1)


def masks_drawn(
    frames: Sequence[Path], masks: Sequence[UInt8[np.ndarray, "h w"]]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Some frames of a sequence under their masks, side by side."""
    chosen = np.linspace(0, len(masks) - 1, FRAMES_SHOWN).round().astype(int)
    return np.concatenate([painted(_read(frames[i]), masks[i]) for i in chosen], 1)


def tracks_drawn(
    frames: Sequence[Path], ours: Sequence[Sequence[float]], truth: Sequence[Sequence[float]]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Some frames of a sequence with the box x, y, w, h that was found and the true one, side by side."""
    shown = []
    for i in np.linspace(0, len(frames) - 1, FRAMES_SHOWN).round().astype(int):
        corners = [[round(v) for v in (x, y, x + w, y + h)] for x, y, w, h in (ours[i], truth[i])]
        image = torch.from_numpy(_read(frames[i])).permute(2, 0, 1)
        shown.append(fitted(boxes_drawn(image, corners[:1], corners[1:]), TILE))
    return np.concatenate(shown, 1)


def painted(image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "_ _"]) -> UInt8[np.ndarray, "rows columns 3"]:
    """An image in grey under its labels' colours, as large as a tile. It may be of another size than the labels."""
    height, width = mask.shape
    grey = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).mean(-1, keepdims=True)
    mixed = np.where(mask[..., None] > 0, grey * 0.5 + PALETTE[mask] * 0.5, grey)
    return fitted(mixed.astype(np.uint8), TILE)


def _read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    return read_levels(path)
