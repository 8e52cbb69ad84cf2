"""Boxes as words: the arithmetic of SeqTrack (https://arxiv.org/abs/2304.14394), in its code's conventions.

A box is four tokens, centre x and y, width and height, each a share of the search crop cut to one of `bins` levels; after them
come two words, END (`bins`) and START (`bins + 1`). A crop is a square around a box whose side is `factor` times the root of the
box's area, so that an object has always about the same size in it. Boxes are x, y, w, h in pixels of the picture unless said.
"""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

COORDINATES = 4
CENTRE = 2  # of them, the first ones, are the centre


def quantised(boxes: Float[Tensor, "b 4"], bins: int) -> Int[Tensor, "b 4"]:
    """Tokens of boxes x, y, w, h given as shares of the crop; what reaches beyond the crop is cut off, levels are truncated."""
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).clamp(0, 1)
    low, high = corners[:, :2], corners[:, 2:]
    return (torch.cat([(low + high) / 2, high - low], 1) * (bins - 1)).long()


def sequences(boxes: Float[Tensor, "b 4"], bins: int) -> tuple[Int[Tensor, "b 5"], Int[Tensor, "b 5"]]:
    """Return the decoder's input (START and the box) and the answer it shall give (the box and END)."""
    tokens = quantised(boxes, bins)
    start, end = (tokens.new_full((len(tokens), 1), word) for word in (bins + 1, bins))
    return torch.cat([start, tokens], 1), torch.cat([tokens, end], 1)


def tokens_to_box(
    tokens: Int[Tensor, "4"],
    previous: Float[np.ndarray, "4"],
    resize_factor: float,
    size: int,
    bins: int,
    within: float = 0.0,
) -> Float[np.ndarray, "4"]:
    """The box in the picture that tokens mean in the crop around `previous`; `size` pixels is the crop after resizing.

    A level stands for the share at its lower end (`within` 0), for its middle (0.5), ...
    """
    shares = (tokens.float() + within) / (bins - 1)
    cx, cy, w, h = (shares * size / resize_factor).double().tolist()
    left, top = previous[:2] + previous[2:] / 2 - size / resize_factor / 2
    return np.array([left + cx - w / 2, top + cy - h / 2, w, h])


def clip_box(box: Float[np.ndarray, "4"], picture: tuple[int, int], margin: float) -> Float[np.ndarray, "4"]:
    """A box of at least `margin` pixels that meets a picture (height, width) by as much: the tracker cannot lose itself."""
    size = np.array(picture[::-1], np.float64)
    low = box[:2].clip(0, size - margin)
    high = (box[:2] + box[2:]).clip(margin, size)
    return np.concatenate([low, np.maximum(high - low, margin)])


def crop_side(box: Float[np.ndarray, "4"], factor: float) -> int:
    """Pixels of the square around a box."""
    return math.ceil(math.sqrt(box[2] * box[3]) * factor)


def square_crop(
    image: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"], factor: float
) -> UInt8[np.ndarray, "side side 3"]:
    """The square around a box, black beyond the picture. Where it reaches the last row or column, that one is black too."""
    side = crop_side(box, factor)
    left, top = (round(float(v)) for v in box[:2] + box[2:] / 2 - side / 2)
    (y0, y1), (x0, x1) = (
        (max(start, 0), min(start + side, end - 1)) for start, end in zip((top, left), image.shape[:2], strict=True)
    )
    crop = np.zeros((side, side, 3), np.uint8)
    if y0 < y1 and x0 < x1:
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return crop


def search_crop(
    image: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"], factor: float, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], float]:
    """`square_crop` resized (bilinear) to `size` pixels, and by what."""
    crop = square_crop(image, box, factor)
    return cv2.resize(crop, (size, size)), size / len(crop)


def box_in_crop(
    box: Float[np.ndarray, "4"], around: Float[np.ndarray, "4"], resize_factor: float, size: int
) -> Float[np.ndarray, "4"]:
    """A box of the picture as x, y, w, h in the crop around another, as shares of `size` - 1 pixels."""
    offset = (box[:2] + box[2:] / 2) - (around[:2] + around[2:] / 2)
    extent = box[2:] * resize_factor
    corner = (size - 1) / 2 + offset * resize_factor - extent / 2
    return np.concatenate([corner, extent]) / (size - 1)


def hanning(bins: int) -> Float[Tensor, "bins"]:
    """Weight of each level of a centre: an object seldom moves far from one frame to the next."""
    return torch.from_numpy(np.hanning(bins))


def best_token(
    logits: Float[Tensor, "b vocabulary"], bins: int, window: Float[Tensor, "bins"] | None
) -> tuple[Float[Tensor, "b"], Int[Tensor, "b"]]:
    """The likeliest level and its probability among all words, both after the window's penalty where there is one."""
    levels = logits.softmax(-1)[:, :bins]
    best = (levels if window is None else levels * window).max(-1)
    return best.values, best.indices
