"""Numbers of object maps: how sharp they are, and on the mini world whether they follow the objects that are there.

Letters: t frames, k objects, n patches of a grid of rows x columns.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from longtake.methods.health import entropy
from longtake.methods.tracking import overlap

InstanceBoxes = Mapping[
    int, tuple[float, float, float, float]
]  # instance -> x0, y0, x1, y1 in shares of the frame's width and height


def sharpness_of_maps(maps: Float[Tensor, "t k n"]) -> dict[str, float]:
    """Overlap of the objects (mean cosine), and spatial entropy as a share of the uniform map's: 1 is no place at all."""
    return {
        "overlap": overlap(maps).mean().item(),
        "entropy": entropy(maps).mean().item() / math.log(maps.shape[-1]),
    }


def region(box: tuple[float, float, float, float], grid: tuple[int, int]) -> Bool[np.ndarray, "rows columns"]:
    """Patches whose centre lies in the box; at least the one nearest to the box's centre."""
    rows, columns = grid
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    x0, y0, x1, y1 = box
    inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None]
    inside[min(int((y0 + y1) / 2 * rows), rows - 1), min(int((x0 + x1) / 2 * columns), columns - 1)] = True
    return inside


def overlaps(
    maps: Float[Tensor, "t k n"], truth: list[InstanceBoxes], grid: tuple[int, int]
) -> list[list[dict[int, float]]]:
    """Return, for each object and frame, the IoU of its map, cut at its mean, with every visible instance's box."""
    kept = (maps > maps.mean(-1, keepdim=True)).unflatten(-1, grid).numpy()
    return [
        [
            {i: (kept[t, k] & (r := region(box, grid))).sum() / (kept[t, k] | r).sum() for i, box in boxes.items()}
            for t, boxes in enumerate(truth)
        ]
        for k in range(maps.shape[1])
    ]


def against_truth(maps: Float[Tensor, "t k n"], truth: list[InstanceBoxes], grid: tuple[int, int]) -> dict[str, float]:
    """Track IoU and identity switches.

    An object is the instance that its map overlaps most in the first frame. `track_iou` is the mean IoU of the map with that
    instance's box over the frames in which it is visible, in per cent; `identity_switches` the share of steps, in per cent,
    after which another instance is overlapped most. Objects that overlap nothing in the first frame count with IoU 0.
    """
    ious, switches = [], []
    for frames in overlaps(maps, truth, grid):
        best = [max(seen, key=lambda i: seen[i]) if seen and max(seen.values()) > 0 else None for seen in frames]
        start = best[0]
        ious.append(float(np.mean([seen[start] for seen in frames if start in seen])) if start is not None else 0.0)
        pairs = [(a, b) for a, b in pairwise(best) if a is not None and b is not None]
        switches += [a != b for a, b in pairs]
    return {
        "track_iou": 100 * float(np.mean(ious)),
        "identity_switches": 100 * float(np.mean(switches)) if switches else 0.0,
    }


def resized(frames: Tensor, short_side: int, patch_size: int) -> Float[Tensor, "t 3 h w"]:
    """Frames in [0, 1] whose shorter side has about `short_side` pixels and whose sides are multiples of the patch."""
    height, width = frames.shape[-2:]
    size = [max(1, round(side * short_side / min(height, width) / patch_size)) * patch_size for side in (height, width)]
    x = torch.nn.functional.interpolate(frames.float() / 255, size=size, mode="bilinear", antialias=True)
    return x.clamp(0, 1)
