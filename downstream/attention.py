"""Segmentation by the class token's attention: keep the patches that hold a share of the mass, compare with the truth.

The thresholding is that of DINO's visualize_attention.py. The Jaccard is DINO's (its author's definition, dino issue 54): the IoU
of each object with the mask of the head that suits it best, averaged over the objects of an image and over images.

Letters: h heads, n patches of a grid of rows x columns, o objects (classes) of an image.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

VOID = 255


def mass_mask(attention: Float[Tensor, "h n"], mass: float) -> Bool[Tensor, "h n"]:
    """For each head the fewest patches that hold `mass` of its attention; equal ones are kept in the order of the grid's end."""
    values, order = attention.sort(dim=1, stable=True)
    share = (values / values.sum(1, keepdim=True)).cumsum(1)
    return torch.zeros_like(attention, dtype=torch.bool).scatter(1, order, share > 1 - mass)


def jaccard(
    masks: Bool[Tensor, "h rows columns"], truth: UInt8[np.ndarray, "height width"], patch_size: int
) -> Float[np.ndarray, "o h"]:
    """IoU of each object of `truth` (numbers other than 0 and 255) with each head's mask; void pixels belong to neither.

    The truth has rows * patch_size x columns * patch_size pixels; masks are enlarged to it patch by patch.
    """
    pixels = masks.numpy().repeat(patch_size, 1).repeat(patch_size, 2) & (truth != VOID)  # (h, height, width)
    objects = [o for o in np.unique(truth).tolist() if o not in (0, VOID)]
    own = np.array([truth == o for o in objects]).reshape(len(objects), truth.size).astype(np.float32)  # (o, pixels)
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    overlap = (own @ flat.T).astype(np.float64)  # whole numbers below 2^24: exact
    return overlap / (own.sum(1, dtype=np.float64)[:, None] + flat.sum(1, dtype=np.float64)[None] - overlap)


def best_head(overlaps: Float[np.ndarray, "o h"]) -> float:
    """Mean over the objects of the IoU of the head that suits each best: an oracle, as it looks at the truth."""
    return float(overlaps.max(1).mean())
