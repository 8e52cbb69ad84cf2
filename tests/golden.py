"""The deterministic inputs of all golden values."""

import math

import torch


def G(shape: tuple[int, ...], a: float, b: float) -> torch.Tensor:
    """sin(a i + b) over the flat index, the sine in float64."""
    return torch.sin(a * torch.arange(math.prod(shape)).double() + b).float().reshape(shape)
