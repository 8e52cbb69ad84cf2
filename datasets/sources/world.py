"""A procedural walking tour (datasets/mini/world.py), rendered where it is not there yet: a video whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.world import prepare, walk_truth
from longtake.datasets.mini.worlds import WORLDS, World, world_folder
from longtake.datasets.roots import data_root
from longtake.datasets.sources.base import Truth
from longtake.datasets.sources.stored import Stored


@dataclass(frozen=True, kw_only=True)
class RenderedWalk(Stored, name="world"):
    """The walk through one of `mini.world.WORLDS`. Raises `ValueError` for another world."""

    world: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.world not in WORLDS:
            raise ValueError(f"pretrain.world: got {self.world!r}, expected one of {', '.join(WORLDS)}")

    def found(self, num_frames: int) -> str:
        return f"the procedural walking tour {self.world!r}, rendered when it is not there yet"

    def stored_frames(self) -> int:
        return WORLDS[self.world].num_frames

    def files(self) -> Sequence[Path]:
        return [prepare(WORLDS[self.world], data_root()) / "walk.mp4"]

    def truth(self) -> Truth:
        return truth_of(WORLDS[self.world], world_folder(WORLDS[self.world], data_root()))


def truth_of(world: World, folder: Path) -> Truth:
    """The walk's truth, from the folder in which the world was rendered."""
    rows = walk_truth(folder)
    box = rows["box"] / np.array([world.width, world.height, world.width, world.height])
    return Truth(world.fps, CLASSES, rows["frame"], rows["instance"], rows["class_index"], box, rows["visible"])
