"""Label propagation: the masks of a video's first frame are carried on by the similarity of features, without training.

The procedure is that of DINO's eval_video_segmentation.py (the paper's J&F columns): each patch takes the labels of the patches
most like it, of the first and the last few frames, near its own place.

Letters: f context frames, n patches of a grid of rows x columns, d feature width, c labels (0 is the background), k nearest.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor

TEMPERATURE = 0.1
TOP_K, NUM_CONTEXT, RADIUS = 5, 7, 12  # neighbours, last frames beside the first, patches (the script's defaults)
ROWS_AT_ONCE = 4  # rows of target patches whose affinities are held: 120 x 8 frames x some 700 patches are 3 MB


class Strip(NamedTuple):
    """A few rows of patches, and what of a context frame can be near them."""

    targets: slice  # patches
    sources: slice
    near: Bool[Tensor, "m s"]  # which sources are at most the radius away, in rows and in columns


def strips(grid: tuple[int, int], radius: int, device: torch.device | str = "cpu") -> list[Strip]:
    """The grid in strips of `ROWS_AT_ONCE` rows. Patches farther away than the radius are not even compared."""
    (rows, columns), made = grid, []
    near_columns = _apart(torch.arange(columns), torch.arange(columns)) <= radius
    for first in range(0, rows, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, rows)
        low, high = max(0, first - radius), min(rows, last + radius)
        near_rows = _apart(torch.arange(first, last), torch.arange(low, high)) <= radius
        near = (near_rows[:, None, :, None] & near_columns[None, :, None, :]).flatten(2).flatten(0, 1)
        made.append(
            Strip(slice(first * columns, last * columns), slice(low * columns, high * columns), near.to(device))
        )
    return made


def _apart(first: Int[Tensor, "a"], second: Int[Tensor, "b"]) -> Int[Tensor, "a b"]:
    return (first[:, None] - second[None]).abs()


def propagate_step(
    target: Float[Tensor, "n d"],
    context: Float[Tensor, "f n d"],
    labels: Float[Tensor, "f n c"],
    neighborhoods: list[Strip],
    top_k: int = TOP_K,
) -> Float[Tensor, "n c"]:
    """Labels of a frame: of its `top_k` most similar context patches, of all frames together, weighted by exp(cosine / 0.1).

    Features are L2-normalised; patches as similar as the k-th one count, too, so that the order of equal ones does not matter.
    """
    out = []
    for targets, sources, near in neighborhoods:
        similarity = torch.matmul(target[targets], context[:, sources].transpose(1, 2))  # (f, m, s)
        similarity = similarity.masked_fill_(~near, -torch.inf).transpose(0, 1).flatten(1)
        given = labels[:, sources].flatten(0, 1)
        values, nearest = similarity.topk(min(top_k + 1, similarity.shape[1]), dim=1)
        weights = (values[:, :top_k] / TEMPERATURE).exp()
        weights = weights / weights.sum(1, keepdim=True)
        new = torch.einsum("nk,nkc->nc", weights, given[nearest[:, :top_k]])
        tied = (values[:, top_k - 1] == values[:, -1]) & (values.shape[1] > top_k)
        for row in tied.nonzero().flatten().tolist():
            kept = similarity[row] >= values[row, top_k - 1]
            weight = (similarity[row, kept] / TEMPERATURE).exp()
            new[row] = weight @ given[kept] / weight.sum()
        out.append(new)
    return torch.cat(out)


def propagate(
    features: Iterable[Float[Tensor, "n d"]],
    first: Float[Tensor, "n c"],
    grid: tuple[int, int],
    top_k: int = TOP_K,
    num_context: int = NUM_CONTEXT,
    radius: int = RADIUS,
) -> Iterator[Float[Tensor, "n c"]]:
    """Soft labels of every frame after the first, one at a time; `features` (normalised here) come frame by frame."""
    # Strips cut the longer side: what a strip can see is a smaller part of it.
    turned = grid[1] > grid[0]
    order = torch.arange(grid[0] * grid[1], device=first.device).reshape(grid)
    order = order.T.flatten() if turned else order.flatten()
    neighborhoods = strips(grid[::-1] if turned else grid, radius, first.device)
    frames = (F.normalize(f[order], dim=1) for f in features)
    start = (next(iter(frames)), first[order])
    recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=num_context)
    for target in frames:
        context, labels = (torch.stack(v) for v in zip(start, *recent, strict=True))
        new = propagate_step(target, context, labels, neighborhoods, top_k)
        recent.append((target, new))
        yield torch.empty_like(new).index_copy_(0, order, new)


def one_hot(
    mask: UInt8[np.ndarray, "h w"], grid: tuple[int, int], num_labels: int | None = None
) -> Float[Tensor, "n c"]:
    """A mask on the grid of patches (nearest pixel, as Pillow has it), one column per number, the background first.

    The official script has as many columns as the largest number that is left on the grid; `num_labels` keeps those of small
    objects that vanish there.
    """
    small = np.array(Image.fromarray(mask).resize(grid[::-1], Image.Resampling.NEAREST)).astype(np.int64)
    count = int(small.max()) + 1 if num_labels is None else num_labels
    return F.one_hot(torch.from_numpy(small).flatten(), count).float()


def full_size(
    soft: Float[Tensor, "n c"], grid: tuple[int, int], patch_size: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Turn soft labels into numbers at `size`: bilinear to the network's pixels, each label stretched to 0 ... 1, argmax.

    A label that is equal everywhere, and not 0, takes all: the script divides 0 by 0, and NaN is its largest number.
    """
    maps = soft.T.unflatten(1, grid)[None]
    pixels = F.interpolate(maps, scale_factor=patch_size, mode="bilinear", align_corners=False)[0]
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    span = (high - low).clamp_min(torch.finfo(pixels.dtype).tiny)
    stretched = torch.where(high > 0, (pixels - low) / span, pixels).masked_fill((high > 0) & (high == low), torch.inf)
    numbers = stretched.argmax(0).to(torch.uint8).cpu().numpy()
    return np.array(Image.fromarray(numbers).resize(size[::-1], Image.Resampling.NEAREST))


def network_size(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Short side to `short_side`, the long one down to a multiple. 64 is the script's multiple; square frames stay square
    (there the official script transposes frames against masks)."""
    if height == width:
        return short_side, short_side
    longer = int(max(height, width) * short_side / min(height, width)) // multiple * multiple
    return (short_side, longer) if height < width else (longer, short_side)
