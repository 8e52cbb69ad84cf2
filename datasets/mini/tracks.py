"""The mini world as GOT-10k has it: short walks towards one object that is followed, with exact truth.

The object is alone in the street: in minutes a tracker learns to find *the* object, but not to tell objects apart (with all of
the walk's objects in view it learnt where boxes usually are, and nothing else). Training sequences are of streets of the
training pictures' kind, validation sequences of the test pictures'; no street and no object is in both, or in the walk. The box
is that of the object's visible pixels; where nothing of it shows, it is absent and keeps its last box.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from longtake.datasets.got10k import LabelledSequence, write_got10k
from longtake.datasets.mini.formats import fitting_objects, prepared, ticking
from longtake.datasets.mini.jobs import in_order
from longtake.datasets.mini.layout import walk_scene
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.scene import Rendered, Seen, render
from longtake.datasets.mini.world import street_of
from longtake.datasets.mini.worlds import SPLITS, World

NUM_SEQUENCES = {"train": 240, "val": 40}
PER_STREET = 8  # attempts to find a sequence in one street
NUM_FRAMES, FPS, SIZE = 16, 10, (180, 240)  # 10 frames per second as in GOT-10k
WALK_SECONDS = 90.0
SEEN_AGAIN, BARELY = 0.75, 0.1  # after that share of the frames, that share of the object is visible
# GOT-10k's levels: 0 is hidden, 8 in full view; between them these shares of the object end levels 1 to 6.
COVER_ENDS = (0.15, 0.30, 0.45, 0.60, 0.75, 0.90)
KEY = 104  # among the seeds, where the other formats have 101 to 103


def prepare_got10k(world: World, root: Path, *, progress: bool = True) -> Path:
    """The folder in GOT-10k's layout, rendered unless it is there."""

    def write(folder: Path, pool: ProcessPoolExecutor | None, advance: Callable[[], object]) -> None:
        for split in NUM_SEQUENCES:
            write_got10k(folder, ticking(track_sequences(world, split, pool), advance), split)

    return prepared(world, root, "got10k", write, sum(NUM_SEQUENCES.values()), progress)


def track_sequences(world: World, split: str, pool: ProcessPoolExecutor | None = None) -> Iterator[LabelledSequence]:
    """The sequences of a split: train or val."""
    attempts = ((world, split, attempt) for attempt in count())
    found = (sequence for sequence in in_order(pool, _sequence, attempts) if sequence is not None)
    for number, sequence in zip(range(NUM_SEQUENCES[split]), found, strict=False):
        frames, followed = sequence
        seen = [s for s in followed if s is not None]
        yield LabelledSequence(
            f"walk_{split}_{number:04d}",
            frames,
            _boxes(followed),
            np.array([0 if s is None else cover_level(s.visible) for s in followed]),
            np.array([s is not None and _at_border(s) for s in followed]),
            CLASSES[seen[0].class_index],
        )


def _sequence(task: tuple[World, str, int]) -> tuple[np.ndarray, list[Seen | None]] | None:
    """Frames and the truth of the followed object in each; None when no object of a fitting size stays in view."""
    world, split, attempt = task
    key = SPLITS.index("train" if split == "train" else "test")
    seed = [world.seed, KEY, key, attempt]
    rng = np.random.default_rng([*seed, 1])
    times = float(rng.uniform(0, 60)) + np.arange(NUM_FRAMES) / FPS
    scene = walk_scene(street_of(world, key, attempt // PER_STREET), seed, times, *SIZE, WALK_SECONDS)
    alone = [
        replace(scene, things=[t for t in scene.things if t.instance == c]) for c in fitting_objects(render(scene, 0))
    ]
    staying = [walk for walk in alone if _visible(render(walk, int(SEEN_AGAIN * NUM_FRAMES))) >= BARELY]
    if not staying:
        return None
    walk = staying[int(rng.integers(len(staying)))]
    shown = [render(walk, t) for t in range(NUM_FRAMES)]
    return np.stack([frame.image for frame in shown]), [next(iter(frame.objects), None) for frame in shown]


def _visible(frame: Rendered) -> float:
    return next((seen.visible for seen in frame.objects), 0.0)


def _boxes(followed: list[Seen | None]) -> np.ndarray:
    """x, y, w, h of every frame; the object is visible in the first."""
    boxes: list[tuple[float, ...]] = []
    for seen in followed:
        if seen is None:
            boxes.append(boxes[-1])
        else:
            x0, y0, x1, y1 = seen.box
            boxes.append((x0, y0, x1 - x0, y1 - y0))
    return np.array(boxes, np.float64)


def cover_level(visible: float) -> int:
    """GOT-10k's level of the visible share of an object, of which something shows."""
    return 8 if visible >= 1 else 1 + int(np.searchsorted(COVER_ENDS, visible))


def _at_border(seen: Seen) -> bool:
    """Whether the object reaches the edge of the picture."""
    x0, y0, x1, y1 = seen.box
    return x0 == 0 or y0 == 0 or x1 == SIZE[1] or y1 == SIZE[0]
