"""Views of a clip: random crops and colours, all draws from one generator.

A clip (t frames) becomes global and local views. By default all frames of a view share every draw, so that motion is the only
difference between them; boxes, or colours, can be drawn for each frame instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from longtake.datasets import augment, augment_cv


class Views(NamedTuple):
    """A batch: global and local views, each of shape (B, T, 3, H, W), and the clips' ids (B,)."""

    globals: tuple[Float[Tensor, "b t 3 h w"], ...]
    locals: tuple[Float[Tensor, "b t 3 h w"], ...]
    index: Int[Tensor, "b"]  # type: ignore[assignment]  # hides tuple.index, which nobody calls


@dataclass(frozen=True)
class Crop:
    """The making of one kind of view: random resized crop, flip, colour jitter, grayscale, blur, solarisation, normalisation.

    `scale` is the share of the frame's area, `ratio` the range of width / height. `jitter` holds the strengths of brightness,
    contrast, saturation and hue, in random order. Probabilities: `flip`, `jitter_prob`, `gray`, `blur`, `solarize`. `num` views
    are made. With `per_frame_box` every frame has a box and flip of its own, with `per_frame_colour` colours and blur of its own
    (DoRA's release). The defaults are what DINO's views have in common (main_dino.py, DataAugmentationDINO).
    """

    size: int
    scale: tuple[float, float]
    num: int = 1
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_prob: float = 0.8
    gray: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    per_frame_box: bool = False
    per_frame_colour: bool = False

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"views: scale is {list(self.scale)}, expected 0 < low <= high <= 1")
        for key in ("flip", "jitter_prob", "gray", "blur", "solarize"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"views: {key} is {getattr(self, key)}, expected a probability")


def uniform(n: int, low: float, high: float, generator: Generator) -> Float[Tensor, "n"]:
    return torch.rand(n, generator=generator) * (high - low) + low


def draw_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a random crop by torchvision's rule: ten tries, then the largest legal central crop."""
    areas = height * width * uniform(10, *scale, generator)
    log_low, log_high = torch.tensor(ratio).log().tolist()
    ratios = uniform(10, log_low, log_high, generator).exp()
    widths, heights = (areas * ratios).sqrt().round().int(), (areas / ratios).sqrt().round().int()
    place = torch.rand(2, generator=generator).tolist()
    for w, h in zip(widths.tolist(), heights.tolist(), strict=True):
        if 0 < w <= width and 0 < h <= height:
            return int(place[0] * (height - h + 1)), int(place[1] * (width - w + 1)), h, w
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def draw_colours(t: int, crop: Crop, generator: Generator) -> augment.Colours:
    """Colours for t frames: one draw for all of them, or with `per_frame_colour` one for each."""
    n = t if crop.per_frame_colour else 1

    def happens(prob: float) -> Bool[Tensor, "t"]:
        return (torch.rand(n, generator=generator) < prob).expand(t)

    jitter = happens(crop.jitter_prob)
    ranges = [(max(0.0, 1 - s), 1 + s) for s in crop.jitter[:3]] + [(-crop.jitter[3], crop.jitter[3])]
    factors = torch.stack([uniform(n, low, high, generator).expand(t) for low, high in ranges])
    order = torch.rand(n, 4, generator=generator).argsort(1).expand(t, 4)
    gray = happens(crop.gray)
    sigma = uniform(n, *crop.blur_sigma, generator).expand(t)
    blur, solarize = happens(crop.blur), happens(crop.solarize)
    return augment.Colours(jitter, order, factors, gray, blur, sigma, crop.blur_sigma[1], solarize)


def make_view(frames: UInt8[Tensor, "t 3 h w"], crop: Crop, generator: Generator) -> Float[Tensor, "t 3 s s"]:
    """One view of a clip, normalised. Order: crop, flip, jitter, grayscale, blur, solarise, as in DINO."""
    t, (height, width) = len(frames), frames.shape[-2:]
    n = t if crop.per_frame_box else 1
    boxes = torch.tensor([draw_box(height, width, crop.scale, crop.ratio, generator) for _ in range(n)])
    flipped = (torch.rand(n, generator=generator) < crop.flip).expand(t)
    cut = augment.hflip(augment.crop_resize(frames, boxes, crop.size, crop.interpolation), flipped)
    colours = draw_colours(t, crop, generator)
    return (augment_cv if frames.device.type == "cpu" else augment).coloured(cut, colours)


@dataclass(frozen=True)
class Precrop:
    """A random resized crop that comes first: all views of a clip are taken from it, one box for all frames.

    As DoRA does with 300 pixels and `scale` 0.2 to 1 of the frame (paper, appendix B.1). `scale` None takes `size` x `size` pixels
    of the frame as they are, or the largest square where the frame is smaller.
    """

    size: int
    scale: tuple[float, float] | None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"

    def __call__(self, frames: UInt8[Tensor, "t 3 h w"], generator: Generator) -> UInt8[Tensor, "t 3 s s"]:
        height, width = frames.shape[-2:]
        if self.scale is None:
            side = min(self.size, height, width)
            top, left = (torch.rand(2, generator=generator) * torch.tensor([height - side + 1, width - side + 1])).int()
            return frames[..., top : top + side, left : left + side]
        box = torch.tensor([draw_box(height, width, self.scale, self.ratio, generator)])
        return augment.crop_resize(frames, box, self.size, self.interpolation)


class MultiCrop:
    """Turn a clip into its views: every `Crop` of `globals` and `locals`, `num` times each, in order."""

    def __init__(self, globals: Sequence[Crop], locals: Sequence[Crop] = (), precrop: Precrop | None = None) -> None:
        self.globals, self.locals, self.precrop = tuple(globals), tuple(locals), precrop

    def __call__(
        self, frames: UInt8[Tensor, "t 3 h w"], generator: Generator
    ) -> tuple[list[Float[Tensor, "t 3 s s"]], list[Float[Tensor, "t 3 z z"]]]:
        if self.precrop is not None:
            frames = self.precrop(frames, generator)
        first = [make_view(frames, crop, generator) for crop in self.globals for _ in range(crop.num)]
        rest = [make_view(frames, crop, generator) for crop in self.locals for _ in range(crop.num)]
        return first, rest


def collate(samples: Sequence[tuple[tuple[list[Tensor], list[Tensor]], int]]) -> Views:
    """Stack ((globals, locals), id) of the clips of a batch."""
    views, ids = zip(*samples, strict=True)
    first, rest = zip(*views, strict=True)
    return Views(
        tuple(torch.stack(v) for v in zip(*first, strict=True)),
        tuple(torch.stack(v) for v in zip(*rest, strict=True)),
        torch.tensor(ids, device=first[0][0].device),
    )
