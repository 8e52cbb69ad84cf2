"""A procedural world is its parameters and their hash. The renderer (world.py and its imports) is known by its version."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

RENDERER_VERSION = 2
"""Part of every world's hash: raise it with any change of what is drawn."""

SPLITS: tuple[str, ...] = ("train", "val", "test")

FORMATS_VERSION = 3
"""Part of the names of the folders in benchmarks' formats: raise it with any change of what is written."""


@dataclass(frozen=True)
class World:
    """Everything a world depends on. Sizes in pixels; `gop` is the distance of the walk's keyframes in frames."""

    name: str
    seed: int = 0
    height: int = 240
    width: int = 320
    fps: int = 12
    seconds: int = 180
    gop: int = 250
    num_cuts: int = 0
    texels_per_metre: int = 28
    image_size: int = 64
    train_per_class: int = 150
    val_per_class: int = 25
    test_per_class: int = 75

    def __post_init__(self) -> None:
        if self.height % 2 or self.width % 2:
            raise ValueError(f"got a walk of {self.height} x {self.width}, expected even sizes (for yuv420p)")
        if not 0 <= self.num_cuts < self.num_frames:
            raise ValueError(f"got num_cuts={self.num_cuts}, expected 0 to {self.num_frames - 1} (frames - 1)")

    @property
    def num_frames(self) -> int:
        return self.fps * self.seconds

    @property
    def hash(self) -> str:
        content = json.dumps([RENDERER_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    def per_class(self, split: str) -> int:
        return {"train": self.train_per_class, "val": self.val_per_class, "test": self.test_per_class}[split]


WORLDS: dict[str, World] = {
    "mini": World("mini"),
    "mini_hd": World("mini_hd", height=720, width=1280, fps=24, seconds=300, texels_per_metre=64),
}


def world_folder(world: World, root: Path) -> Path:
    """Where `prepare` puts this world; exists only when complete."""
    return root / "mini" / f"{world.name}-{world.hash}"
