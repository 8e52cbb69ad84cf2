"""The mini world: a procedural walking tour as a real video, and real folders of its objects, with exact truth.

`prepare(WORLDS["mini"], data_root())` renders once, into a folder named after a hash of all parameters, and returns that folder:

    walk.mp4            the walk, long-GOP H.264
    walk_truth.npz      its truth, one row per visible object and frame (see `walk_truth`)
    imagefolder/        {train,val,test}/<class>/<number>.png: one main object each, in varied scenes
    world.json          parameters, hash, names of classes and stuff

The walk, train, val and test have different streets and different objects. The same world gives the same pixels (before
encoding) for any number of processes; id and semantic masks are rendered again from the world when they are needed (`walk_frame`).

What can be learnt from `mini`'s pictures: top-1 in per cent on test, 16 classes, from
`pytest -m slow -s tests/datasets/test_mini_bounds.py` (k-NN with k = 20):

    chance                                                     6.2
    k-NN on colour histograms                                 14.4
    k-NN on the CLS token of an untrained ViT (three seeds)   12.7, 10.6, 11.2
    a small residual network, 40 epochs on train              98.0

All of it took ten minutes on two busy cores. Colour gives almost nothing, because class is in shape and parts alone. Measured with
renderer version 1; 144 pictures compared with version 2 were the same in every pixel.
"""

import itertools
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from jaxtyping import Int, UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from longtake.console import Bars
from longtake.datasets.mini.jobs import in_order, workers
from longtake.datasets.mini.layout import picture_scene, walk_scene
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.scene import Rendered, Scene, render
from longtake.datasets.mini.street import STUFF, Street, build_street
from longtake.datasets.mini.worlds import RENDERER_VERSION, SPLITS, World, world_folder
from longtake.files import Refused, locked

_WALK = len(SPLITS)  # the walk's key among the seeds; a split's key is its index

_OVERSAMPLING = 2  # pictures are rendered this much larger, then averaged down
_FRAMES_PER_TASK = 12
_PICTURES_PER_TASK = 25


def prepare(world: World, root: Path, *, progress: bool = True, num_workers: int | None = None) -> Path:
    """Renders the world unless it is there, and returns its folder. Atomic; a second process waits for the first.

    `num_workers` processes render (default: one per core, at most 16); 1 renders in this process.
    """
    folder = world_folder(world, root)
    if folder.exists():  # no lock then: the place may be one where nothing can be written
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return folder
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process: nobody else is here, we hold the lock
        try:
            partial.mkdir()
            _write(world, partial, progress, num_workers)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def walk_frame(world: World, frame: int) -> Rendered:
    """One frame of the walk before encoding, with its truth."""
    starts = _shot_starts(world)
    shot = int(np.searchsorted(starts, frame, side="right")) - 1
    return render(_walk_shot(world, shot), frame - int(starts[shot]))


def picture(world: World, split: str, class_index: int, number: int) -> UInt8[np.ndarray, "size size 3"]:
    """One picture of the image folder, RGB."""
    key = SPLITS.index(split)
    seed = [world.seed, key, class_index, number]
    _, rendered = picture_scene(street_of(world, key, 0), seed, class_index, world.image_size * _OVERSAMPLING)
    return cv2.resize(rendered.image, (world.image_size, world.image_size), interpolation=cv2.INTER_AREA)


def walk_truth(folder: Path) -> dict[str, np.ndarray]:
    """The walk's truth, read from a prepared folder.

    `shot` (frames,) is each frame's shot. Every other array has one row per visible object and frame: `frame`; `instance`, the
    track (one object, one number, within a shot); `class_index`; `box` (x0, y0, x1, y1 of the visible pixels, ends exclusive);
    `visible`, the visible fraction of the whole silhouette; `depth` in metres. Rows of a frame go from near to far.
    """
    with np.load(folder / "walk_truth.npz") as arrays:
        return dict(arrays)


def _write(world: World, folder: Path, progress: bool, num_workers: int | None) -> None:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with workers(num_workers) as pool, Bars(*columns, disable=not progress) as bar:
        _write_walk(world, folder, pool, bar)
        _write_pictures(world, folder, pool, bar)
    names = {"classes": CLASSES, "stuff": STUFF}
    about = {"hash": world.hash, "renderer": RENDERER_VERSION, "world": asdict(world), **names}
    (folder / "world.json").write_text(json.dumps(about, indent=2) + "\n")


def _write_walk(world: World, folder: Path, pool: ProcessPoolExecutor | None, bar: Progress) -> None:
    task = bar.add_task(f"rendering {world.name}: walk", total=world.num_frames)
    starts = range(0, world.num_frames, _FRAMES_PER_TASK)
    tasks = [(world, start, min(start + _FRAMES_PER_TASK, world.num_frames)) for start in starts]
    rows: list[tuple[Any, ...]] = []
    count = itertools.count()
    with av.open(folder / "walk.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=world.fps)
        stream.height, stream.width, stream.pix_fmt = world.height, world.width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, world.fps)
        keyframes = {"g": str(world.gop), "keyint_min": str(world.gop), "sc_threshold": "0"}
        # Without mbtree: with it and B-frames, x264 was seen to write other bytes in every run.
        stream.options = {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0", **keyframes}
        for images, truth in in_order(pool, _render_frames, tasks):
            for image in images:
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts, picture.time_base = next(count), Fraction(1, world.fps)
                container.mux(stream.encode(picture))
            bar.advance(task, len(images))
            rows += truth
        container.mux(stream.encode())
    shot = np.searchsorted(_shot_starts(world), np.arange(world.num_frames), side="right") - 1
    frame, instance, class_index, box, visible, depth = zip(*rows, strict=True)
    np.savez_compressed(
        folder / "walk_truth.npz",
        shot=shot.astype(np.int32),
        frame=np.array(frame, np.int32),
        instance=np.array(instance, np.int32),
        class_index=np.array(class_index, np.uint8),
        box=np.array(box, np.int16),
        visible=np.array(visible, np.float32),
        depth=np.array(depth, np.float32),
    )


def _render_frames(task: tuple[World, int, int]) -> tuple[list[np.ndarray], list[tuple[Any, ...]]]:
    world, start, end = task
    rendered = [walk_frame(world, frame) for frame in range(start, end)]
    truth = [
        (start + k, seen.instance, seen.class_index, seen.box, seen.visible, seen.depth)
        for k, frame in enumerate(rendered)
        for seen in frame.objects
    ]
    return [frame.image for frame in rendered], truth


def _write_pictures(world: World, folder: Path, pool: ProcessPoolExecutor | None, bar: Progress) -> None:
    tasks = [
        (world, folder, split, class_index, range(start, min(start + _PICTURES_PER_TASK, world.per_class(split))))
        for split in SPLITS
        for class_index in range(len(CLASSES))
        for start in range(0, world.per_class(split), _PICTURES_PER_TASK)
    ]
    task = bar.add_task(f"rendering {world.name}: pictures", total=sum(len(numbers) for *_, numbers in tasks))
    for count in in_order(pool, _render_pictures, tasks):
        bar.advance(task, count)


def _render_pictures(task: tuple[World, Path, str, int, range]) -> int:
    world, folder, split, class_index, numbers = task
    target = folder / "imagefolder" / split / CLASSES[class_index]
    target.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        image = picture(world, split, class_index, number)
        if not cv2.imwrite(str(target / f"{number:04d}.png"), image[..., ::-1]):
            raise Refused(
                f"{target / f'{number:04d}.png'}: cannot be written; make room there (df -h, df -i, quota -s)"
            )
    return len(numbers)


@lru_cache(maxsize=4)
def street_of(world: World, key: int, shot: int) -> Street:
    """The street of a split (its index in `SPLITS`), or of a shot of the walk."""
    return build_street([world.seed, key, shot, 1], float(world.texels_per_metre))


@lru_cache(maxsize=2)
def _walk_shot(world: World, shot: int) -> Scene:
    starts = [*_shot_starts(world), world.num_frames]
    times = np.arange(starts[shot], starts[shot + 1]) / world.fps
    seed = [world.seed, _WALK, shot]
    return walk_scene(street_of(world, _WALK, shot), seed, times, world.height, world.width, float(world.seconds))


def _shot_starts(world: World) -> Int[np.ndarray, " shots"]:
    """First frame of every shot: 0 and the planted cuts."""
    rng = np.random.default_rng([world.seed, _WALK])
    cuts = rng.choice(np.arange(1, world.num_frames), world.num_cuts, replace=False)
    return np.concatenate([[0], np.sort(cuts)]).astype(np.int64)
