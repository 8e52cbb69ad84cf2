"""The deterministic inputs of all golden values."""

import math

import torch


def G(shape: tuple[int, ...], a: float, b: float) -> torch.Tensor:
    """sin(a i + b) over the flat index, the sine in float64."""
    return torch.sin(a * torch.arange(math.prod(shape)).double() + b).float().reshape(shape)


def S(shape: tuple[int, ...], a: float, b: float) -> torch.Tensor:
    """The values of `G` in a scrambled order: i = j^3 mod 65519, j the flat index mod 65519."""
    j = torch.arange(math.prod(shape)) % 65519
    return torch.sin(a * ((j * j % 65519) * j % 65519).double() + b).float().reshape(shape)
