"""What attention found in a video, at the end of a run: a few clips of the training's own data in one picture."""

from pathlib import Path

import torch

from longtake.backbones.vit import Tokens, ViT, cls_attention
from longtake.datasets.clips import Clips
from longtake.datasets.pictures import normalize
from longtake.datasets.sources.base import Source
from longtake.datasets.store import Store
from longtake.engine.identity import Config
from longtake.tasks.visualize.draw import tracker_of
from longtake.tasks.visualize.pictures import overlay, strip
from longtake.tasks.visualize.tracks import resized

NAME = "attention.png"
CLIPS = 3
LENGTHS = (6, 4, 3, 2, 1)  # frames of a clip: the first that the data have room for
SHORT_SIDE = 160  # pixels
OBJECTS = 3


@torch.no_grad()
def draw_found(encoder: ViT, config: Config, source: Source, folder: Path) -> Path:
    """Frames of clips spread over the data, under the class token's attention in each head; of methods that track, T' (eq. 6), too.

    Raises `ValueError` for data without a clip.
    """
    clips = _clips(source, source.open())
    spread = torch.linspace(0, len(clips.starts) - 1, CLIPS + 2)[1:-1].round().long().unique().tolist()
    rows: dict[str, torch.Tensor] = {}
    tracker = tracker_of(config["method"], min(OBJECTS, encoder.last_heads), encoder)
    for number, start in enumerate(clips.starts[spread].tolist(), 1):
        frames = resized(clips.store.read(clips.frames_of(start)), SHORT_SIDE, encoder.patch_size)
        grid, tokens = encoder.grid_of(frames), encoder(normalize(frames))
        at = f"{clips.store.seconds[start]:.1f} s"
        rows[f"clip {number}, {at}"] = frames
        rows[f"attention {number}"] = overlay(frames, cls_attention(tokens.q, tokens.k), grid)
        if config["method"]["num_frames"] > 1:
            rows[f"tracks {number}"] = overlay(frames, _tracks(tokens, tracker, len(frames), grid), grid)
    what = f"attention of the class token, a colour for each of {encoder.last_heads} heads"
    title = f"{config['method']['name']} on {source.label}: {what}"
    strip(rows, folder / NAME, title)
    return folder / NAME


def _tracks(tokens: Tokens, tracker: object, frames: int, grid: tuple[int, int]) -> torch.Tensor:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return tracker(tokens, frames, grid)[0]  # type: ignore[operator]


def _clips(source: Source, store: Store) -> Clips:
    """The longest clips of `LENGTHS` that fit."""
    for frames in LENGTHS:
        try:
            return Clips(store, frames, source.stride_seconds, cross_cuts=source.cross_cuts, skip_short=True)
        except ValueError:
            if frames == LENGTHS[-1]:
                raise
    raise AssertionError("unreachable")
