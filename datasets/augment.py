"""Photometric and geometric operators on the frames of a clip, each with one value per frame; on any device.

Letters: t frames of one clip. With equal values they get the same change; with values drawn per frame, each its own.
Colour operators take and return float frames in [0, 1]. Against `torchvision.transforms.v2.functional` on uint8 frames they
differ by at most one level of 255 (contrast 1.5), because nothing is rounded in between; crops and flips are equal to the last bit.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from longtake.datasets.pictures import normalize

Frames = Float[Tensor, "t 3 h w"]
PerFrame = Float[Tensor, "t"]

# ITU-R BT.601 luma, as PIL's convert("L") and torchvision's rgb_to_grayscale have it.
LUMA = (0.2989, 0.587, 0.114)


class Colours(NamedTuple):
    """The changes of colour that t frames get, in this order: jitter, grayscale, blur, solarisation, normalisation."""

    jitter: Bool[Tensor, "t"]
    order: Int[Tensor, "t 4"]  # of the operators in `JITTER`
    factors: Float[Tensor, "4 t"]  # of each operator in `JITTER`
    gray: Bool[Tensor, "t"]
    blur: Bool[Tensor, "t"]
    sigma: PerFrame
    max_sigma: float
    solarize: Bool[Tensor, "t"]


def coloured(frames: UInt8[Tensor, "t 3 h w"], colours: Colours) -> Frames:
    """Frames with these colours, normalised."""
    x = frames.float() / 255
    for place in range(4):
        for op in sorted(set(colours.order[:, place].tolist())):
            x = apply_to(x, colours.jitter & (colours.order[:, place] == op), JITTER[op], colours.factors[op])
    x = apply_to(x, colours.gray, lambda y: grayscale(y).expand_as(y))
    x = apply_to(x, colours.blur, lambda y, sigma: gaussian_blur(y, sigma, colours.max_sigma), colours.sigma)
    return normalize(apply_to(x, colours.solarize, solarize))


def crop_resize(
    frames: UInt8[Tensor, "t 3 h w"], boxes: Int[Tensor, "n 4"], size: int, mode: str = "bicubic"
) -> UInt8[Tensor, "t 3 size size"]:
    """Cut the box (top, left, height, width) out of every frame and resize it to size x size, antialiased.

    One box (n = 1) is cut from all frames at once; otherwise there is one box per frame (n = t).
    """
    whole = len(boxes) == 1
    cut = [
        (frames if whole else frames[i : i + 1])[:, :, top : top + height, left : left + width]
        for i, (top, left, height, width) in enumerate(boxes.tolist())
    ]
    if frames.is_cuda:  # has no antialiased kernel for integers
        resized = [F.interpolate(c.float(), size=(size, size), mode=mode, antialias=True) for c in cut]
        return torch.cat(resized).round_().clamp_(0, 255).to(torch.uint8)
    return torch.cat([F.interpolate(c, size=(size, size), mode=mode, antialias=True) for c in cut])


def hflip(frames: UInt8[Tensor, "t 3 h w"], flipped: Bool[Tensor, "t"]) -> UInt8[Tensor, "t 3 h w"]:
    """Mirror the frames for which `flipped` is True."""
    return apply_to(frames, flipped, lambda x: x.flip(-1))


def grayscale(x: Frames) -> Float[Tensor, "t 1 h w"]:
    """Luma of every pixel."""
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def blend(x: Frames, other: Float[Tensor, "t #c #h #w"], ratio: PerFrame) -> Frames:
    """ratio * x + (1 - ratio) * other, kept in [0, 1]."""
    ratio = ratio[:, None, None, None]
    return (ratio * x + (1 - ratio) * other).clamp_(0, 1)


def brightness(x: Frames, factor: PerFrame) -> Frames:
    """Towards black (factor < 1) or away from it."""
    return (x * factor[:, None, None, None]).clamp_(0, 1)


def contrast(x: Frames, factor: PerFrame) -> Frames:
    """Towards the frame's mean luma or away from it."""
    return blend(x, grayscale(x).mean((2, 3), keepdim=True), factor)


def saturation(x: Frames, factor: PerFrame) -> Frames:
    """Towards the pixel's luma or away from it."""
    return blend(x, grayscale(x), factor)


def hue(x: Frames, shift: PerFrame) -> Frames:
    """Turn the hue by `shift` full circles, value and saturation (HSV) unchanged."""
    value, chroma = x.amax(1), x.amax(1) - x.amin(1)  # (t, h, w)
    r, g, b = x.unbind(1)
    safe = chroma.clamp_min(1e-12)
    sector = torch.where(value == r, (g - b) / safe, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    sector = sector + 6 * shift[:, None, None]
    # f(n) = v - c * clamp(min(k, 4 - k), 0, 1), k = (n + sector) mod 6, for n = 5, 3, 1: HSV to RGB without cases
    k = (sector[:, None] + x.new_tensor([5.0, 3.0, 1.0])[:, None, None]).remainder_(6)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp_(0, 1)


def gaussian_blur(x: Frames, sigma: PerFrame, max_sigma: float = 2.0) -> Frames:
    """Separable Gaussian of `sigma` pixels (at most `max_sigma`), cut at 3 max_sigma, mirrored at the border."""
    t, c, h, w = x.shape
    radius = blur_radius(max_sigma, h, w)
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None].clamp_min(1e-6)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]  # (t * c, 1, taps)
    planes = F.pad(x.reshape(1, t * c, h, w), (radius, radius, radius, radius), mode="reflect")
    planes = F.conv2d(planes, kernel[:, :, None], groups=t * c)
    return F.conv2d(planes, kernel[:, :, :, None], groups=t * c).reshape(t, c, h, w)


def blur_radius(max_sigma: float, height: int, width: int) -> int:
    """Pixels on each side of the middle one that a kernel of `gaussian_blur` covers."""
    return min(int(3 * max_sigma + 0.5), height - 1, width - 1)


def solarize(x: Frames, threshold: float = 128 / 255) -> Frames:
    """Invert what is at or above the threshold (PIL's default: level 128)."""
    return torch.where(x >= threshold, 1 - x, x)


def apply_to(x: Tensor, chosen: Bool[Tensor, "t"], operator: Callable[..., Tensor], *values: PerFrame) -> Tensor:
    """The operator on the frames (t, ...) that are `chosen`; the others are returned as they are. Draws may lie on the CPU."""
    if not chosen.any():
        return x
    values = tuple(value.to(x.device) for value in values)
    if chosen.all():
        return operator(x, *values)
    chosen = chosen.to(x.device)
    out = x.clone()
    out[chosen] = operator(x[chosen], *(value[chosen] for value in values))
    return out


JITTER = (brightness, contrast, saturation, hue)
