"""Pictures of attention and tracks, as the paper's figures 4 to 6: one colour for each object, over the frames of a clip.

Letters: t frames, h heads, k objects, n patches of a grid of rows x columns.
"""

import colorsys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

FIRST_COLOURS = ((0.1, 0.3, 1.0), (1.0, 0.15, 0.1), (0.1, 0.9, 0.2))  # blue, red, green, as in figure 4
DIM = 0.35  # of the frame's light under the maps
MILLISECONDS = 500  # of a frame of the animation


def colours(k: int) -> Float[Tensor, "k 3"]:
    """One colour for each object: the paper's three, or hues around the wheel."""
    wheel = FIRST_COLOURS if k <= 3 else [colorsys.hsv_to_rgb(i / k, 0.9, 1.0) for i in range(k)]
    return torch.tensor(wheel[:k])


def overlay(
    frames: Float[Tensor, "t 3 h w"], maps: Float[Tensor, "t k n"], grid: tuple[int, int]
) -> Float[Tensor, "t 3 h w"]:
    """Frames, dimmed, under the maps of k objects, each stretched to 0 ... 1 in its frame; where two meet their colours add."""
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    light = F.interpolate(
        ((maps - low) / (high - low).clamp(min=1e-12)).unflatten(-1, grid), size=frames.shape[-2:], mode="bilinear"
    )
    painted = torch.einsum("tkhw,kc->tchw", light.clamp(0, 1).square(), colours(maps.shape[1]))
    return (DIM * frames + painted).clamp(0, 1)


def strip(rows: dict[str, Float[Tensor, "t 3 h w"]], path: Path, title: str) -> None:
    """One line of pictures for each entry, a column for each frame, written as PNG."""
    t, _, height, width = next(iter(rows.values())).shape
    inches = 1.6 * max(1.0, width / height)
    figure = Figure(figsize=(inches * t + 1.2, 1.6 * len(rows) * max(1.0, height / width) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), t, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8, parse_math=False)
    figure.suptitle(title, fontsize=9, parse_math=False)
    figure.savefig(path, dpi=110)


def animation(rows: dict[str, Float[Tensor, "t 3 h w"]], path: Path) -> None:
    """The pictures of each frame side by side, one frame after the other, as GIF."""
    side_by_side = torch.cat(list(rows.values()), dim=-1)
    scale = max(1, round(240 / side_by_side.shape[-2]))
    pixels = (255 * side_by_side).byte().permute(0, 2, 3, 1).numpy()
    images = [Image.fromarray(np.ascontiguousarray(p)) for p in pixels]
    images = [image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST) for image in images]
    images[0].save(path, save_all=True, append_images=images[1:], duration=MILLISECONDS, loop=0)
