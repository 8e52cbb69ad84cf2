"""The mini world in the formats of benchmarks: pictures as Pascal VOC has them, sequences as DAVIS has them, with exact truth.

Both are of streets and objects that are in no training picture and not in the walk. They lie beside the world's own folder.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from longtake.console import Bars
from longtake.datasets.davis import write_davis
from longtake.datasets.mini.jobs import in_order, workers
from longtake.datasets.mini.layout import picture_scene, walk_scene
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.scene import Rendered, render
from longtake.datasets.mini.street import Street
from longtake.datasets.mini.world import street_of
from longtake.datasets.mini.worlds import FORMATS_VERSION, SPLITS, World, world_folder
from longtake.datasets.voc import VOID, Annotated, write_voc
from longtake.files import locked

VOC_SIZE, VOC_OBJECT = (120, 160), 104  # pixels; pixels of the square that the main object fills mostly
# Pictures of each class, by the lists they are in; those of the training list show another street.
VOC_PER_CLASS = {("Segmentation/train",): 10, ("Main/trainval", "Segmentation/val"): 20}
VOC_CLASSES = len(CLASSES) + 1  # the background is one
OVERSAMPLING = 2
MIN_VISIBLE, HARD_BELOW = 0.1, 0.5  # visible share of an object that is listed, and of one that is not called difficult
NUM_SEQUENCES, NUM_FRAMES, DAVIS_FPS, DAVIS_SIZE = 20, 16, 12, (240, 320)
MAX_OBJECTS, MIN_AREA, MAX_AREA = 3, 0.008, 0.4  # of a sequence; share of the first frame
KEY_VOC, KEY_DAVIS = 101, 102  # among the seeds, where the splits and the walk have 0 to 3

Writer = Callable[[Path, ProcessPoolExecutor | None, Callable[[], object]], None]  # into a folder, with a tick per item


def prepare_voc(world: World, root: Path, *, progress: bool = True) -> Path:
    """The folder in VOC's layout, rendered unless it is there."""

    def write(folder: Path, pool: ProcessPoolExecutor | None, advance: Callable[[], object]) -> None:
        write_voc(folder, ticking(voc_pictures(world, pool), advance), VOC_CLASSES)

    return prepared(world, root, "voc", write, sum(VOC_PER_CLASS.values()) * len(CLASSES), progress)


def prepare_davis(world: World, root: Path, *, progress: bool = True) -> Path:
    """The folder in DAVIS's layout, rendered unless it is there."""

    def write(folder: Path, pool: ProcessPoolExecutor | None, advance: Callable[[], object]) -> None:
        write_davis(folder, ticking(davis_sequences(world, pool), advance))

    return prepared(world, root, "davis", write, NUM_SEQUENCES, progress)


def voc_pictures(world: World, pool: ProcessPoolExecutor | None = None) -> Iterator[Annotated]:
    """Street scenes with one object in full view and up to four others; pixels where two meet are void."""
    tasks = [
        (world, lists, class_index, number)
        for lists, number in VOC_PER_CLASS.items()
        for class_index in range(len(CLASSES))
    ]
    return chain.from_iterable(in_order(pool, _pictures_of, tasks))


def _pictures_of(task: tuple[World, tuple[str, ...], int, int]) -> list[Annotated]:
    """That many pictures of a class in some lists."""
    world, lists, class_index, per_class = task
    key = SPLITS.index("train" if lists == ("Segmentation/train",) else "test")
    pictures = []
    for number in range(per_class):
        seed = [world.seed, KEY_VOC, key, class_index, number]
        rendered = wider_picture(street_of(world, key, 0), seed, class_index)
        pictures.append(_annotated(f"{SPLITS[key]}_{CLASSES[class_index]}_{number:04d}", rendered, lists))
    return pictures


def wider_picture(street: Street, seed: list[int], class_index: int) -> Rendered:
    """A picture as those of the image folder, somewhere in a larger one."""
    side = VOC_OBJECT * OVERSAMPLING
    scene, _ = picture_scene(street, seed, class_index, side)
    height, width = (OVERSAMPLING * size for size in VOC_SIZE)
    rng = np.random.default_rng([*seed, 1])
    x, y = (float(rng.uniform(0, size - side)) for size in (width, height))
    view = scene.views[0]
    wider = replace(view, height=height, width=width, center=(view.center[0] + x, view.center[1] + y))
    return render(replace(scene, views=[wider]), 0)


def _annotated(name: str, rendered: Rendered, lists: tuple[str, ...]) -> Annotated:
    image = cv2.resize(rendered.image, VOC_SIZE[::-1], interpolation=cv2.INTER_AREA)
    ids = blocks(rendered.ids)
    pure = (ids == ids[..., :1]).all(-1)
    classes = {seen.instance: seen.class_index for seen in rendered.objects}
    mask = np.zeros(VOC_SIZE, np.uint8)
    for instance, class_index in classes.items():
        mask[ids[..., 0] == instance] = class_index + 1
    mask[~pure] = VOID
    seen = [s for s in rendered.objects if s.visible >= MIN_VISIBLE]
    boxes = np.array([_halved(s.box) for s in seen], np.int64).reshape(-1, 4)
    limits = np.array([0, 0, VOC_SIZE[1], VOC_SIZE[0]])
    return Annotated(
        name,
        image,
        boxes,
        [CLASSES[s.class_index] for s in seen],
        mask,
        truncated=[bool((box == limits).any()) for box in boxes],
        difficult=[s.visible < HARD_BELOW for s in seen],
        lists=lists,
    )


def blocks(labels: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "rows columns pixels"]:
    """The labels of the rendered pixels that become one pixel."""
    rows, columns = VOC_SIZE
    return labels.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING).transpose(0, 2, 1, 3).reshape(rows, columns, -1)


def _halved(box: tuple[int, int, int, int]) -> list[int]:
    """A box in the pixels of the picture; what it touches is in it."""
    return [*(v // OVERSAMPLING for v in box[:2]), *(-(-v // OVERSAMPLING) for v in box[2:])]


def davis_sequences(
    world: World, pool: ProcessPoolExecutor | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Short walks, each past other things, with the largest objects that are in full view at the start: name, frames, masks."""
    attempts = ((world, attempt) for attempt in count())
    found = (sequence for sequence in in_order(pool, _sequence, attempts) if sequence is not None)
    for number, (frames, masks) in zip(range(NUM_SEQUENCES), found, strict=False):
        yield f"walk{number:02d}", frames, masks


def _sequence(task: tuple[World, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Frames and masks; None when the first frame has no object of a fitting size."""
    world, attempt = task
    seed = [world.seed, KEY_DAVIS, attempt]
    start = float(np.random.default_rng([*seed, 1]).uniform(0, 60))
    times = start + np.arange(NUM_FRAMES) / DAVIS_FPS
    street = street_of(world, SPLITS.index("test"), 0)
    scene = walk_scene(street, seed, times, *DAVIS_SIZE, 90.0)
    first = render(scene, 0)
    chosen = fitting_objects(first)[:MAX_OBJECTS]
    if not chosen:
        return None
    shown = [first, *(render(scene, t) for t in range(1, NUM_FRAMES))]
    masks = np.zeros((NUM_FRAMES, *DAVIS_SIZE), np.uint8)
    for mask, frame in zip(masks, shown, strict=True):
        for number, instance in enumerate(chosen, 1):
            mask[frame.ids == instance] = number
    return np.stack([frame.image for frame in shown]), masks


def fitting_objects(first: Rendered) -> list[int]:
    """Instances that are mostly in view and neither tiny nor close to filling the frame, the largest first."""
    areas = {s.instance: (first.ids == s.instance).mean() for s in first.objects if s.visible >= HARD_BELOW}
    fitting = [instance for instance, area in areas.items() if MIN_AREA <= area <= MAX_AREA]
    return sorted(fitting, key=lambda instance: -areas[instance])


def prepared(world: World, root: Path, kind: str, write: Writer, total: int, progress: bool) -> Path:
    """The world's folder of that kind, written (`total` ticks) unless it is there. Atomic; a second process waits for the first."""
    base = world_folder(world, root)
    folder = base.with_name(f"{base.name}-{kind}-v{FORMATS_VERSION}")
    if folder.exists():  # no lock then: the place may be one where nothing can be written
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return folder
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with workers() as pool, Bars(*columns, disable=not progress) as bar:
            task = bar.add_task(f"rendering {world.name}: {kind}", total=total)
            write(partial, pool, lambda: bar.advance(task))
        partial.rename(folder)
    return folder


def ticking(items: Iterator, advance: Callable[[], object]) -> Iterator:
    """The same items; every one that has been used is counted."""
    for item in items:
        yield item
        advance()
