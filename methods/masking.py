"""Choose the patches that are hidden from the student.

Letters: b images, n patches of a grid of h x w.
"""

import math
import random

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ATTEMPTS = 10  # per block, and blocks end with the first that finds no place (iBOT's loader, from BEiT's)
LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))


def block_mask(grid: tuple[int, int], ratio: float, draw: random.Random) -> Bool[Tensor, "h w"]:
    """Rectangles of random area and aspect until `ratio` of the patches is hidden; never more, often a little less.

    Block-wise masking of BEiT (https://arxiv.org/abs/2106.08254, algorithm 1) as iBOT draws it.
    """
    (h, w), target = grid, ratio * grid[0] * grid[1]
    mask, hidden = torch.zeros(grid, dtype=torch.bool), 0
    while hidden < target:
        for _ in range(ATTEMPTS):
            area = draw.uniform((min(h, w) // 3) ** 2, target - hidden)
            aspect = math.exp(draw.uniform(*LOG_ASPECT))
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rows >= h or columns >= w:
                continue
            top, left = draw.randint(0, h - rows), draw.randint(0, w - columns)
            block = mask[top : top + rows, left : left + columns]
            new = int((~block).sum())
            if 0 < new <= target - hidden:
                block[:] = True
                hidden += new
                break
        else:
            break
    return mask


def random_mask(grid: tuple[int, int], ratio: float, draw: random.Random) -> Bool[Tensor, "h w"]:
    """Exactly int(ratio n) patches, anywhere."""
    n = grid[0] * grid[1]
    mask = torch.zeros(n, dtype=torch.bool)
    mask[draw.sample(range(n), int(ratio * n))] = True
    return mask.view(grid)


def attention_mask(attention: Float[Tensor, "b n"], ratio: float, most: bool) -> Bool[Tensor, "b n"]:
    """Hide the int(ratio n) patches that the class token attends to the most, or the least: AttMask-High and -Low."""
    order = attention.argsort(dim=1, descending=most, stable=True)
    return torch.zeros_like(attention, dtype=torch.bool).scatter(1, order[:, : int(ratio * attention.shape[1])], True)


def reveal_hints(
    mask: Bool[Tensor, "b n"], attention: Float[Tensor, "b n"], show_ratio: float, show_max: float
) -> Bool[Tensor, "b n"]:
    """Show again int(show_ratio n) of the int(show_max n) most attended patches, drawn uniformly (AttMask-Hint).

    Where the grid is so small that a count is zero, nothing is shown.
    """
    n = attention.shape[1]
    top, shown = int(show_max * n), min(int(show_ratio * n), int(show_max * n))
    if shown == 0:
        return mask
    order = attention.argsort(dim=1, descending=True, stable=True)[:, :top]
    chosen = torch.rand(order.shape, device=order.device).argsort(1)[:, :shown]
    return mask.scatter(1, order.gather(1, chosen), False)
