"""The fixtures of `task=same_numbers`: small data in every format, and the commands that two trees run on them.

A fixture is a command line of `run`, the entry point that everybody uses. The trees share the data, which this tree has written.
Data and settings are made small; that the settings of the real presets agree is compared on its own.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from PIL import Image

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.cars import write_cars
from longtake.datasets.cifar import CIFAR10, CIFAR100, write_cifar
from longtake.datasets.coco import ImageWithObjects as Picture
from longtake.datasets.coco import Mask, write_coco
from longtake.datasets.davis import write_davis
from longtake.datasets.flowers import write_flowers
from longtake.datasets.got10k import LabelledSequence as Walk
from longtake.datasets.got10k import write_got10k
from longtake.datasets.inaturalist import write_inat18
from longtake.datasets.voc import Annotated, write_voc
from longtake.engine.config import plainly

WORLD = {"seconds": 5, "train_per_class": 1, "val_per_class": 1, "test_per_class": 1}  # of the small mini world
SIDE = 64
SETTLED = 1.6e9  # seconds: some day in 2020
ENCODER = "encoder.safetensors"
COLOURS = np.array([[200, 60, 50], [60, 170, 70], [70, 80, 210], [210, 190, 60]])


class Fixture(NamedTuple):
    """A command, run once; with `stop_after` it is stopped after that step of what it trains, then continued."""

    name: str
    words: tuple[str, ...]
    stop_after: int | None = None
    processes: int = 1
    poisoned: bool = False  # a loss and a gradient of the training are not finite


# The evaluations' settings that are made small, by the word of `task:`; {data} is the fixtures' folder.
SMALL: dict[str, dict[str, Any]] = {
    "knn": {"size": 32, "resize": 40},
    "knn_fewshot": {"size": 32, "resize": 32},
    "linear": {"size": 32, "resize": 40, "epochs": 3, "train_batch_size": 8, "held_out": 0.2, "batch_size": 8},
    "logreg": {"size": 32, "resize": 32, "costs": "[1e-4,1e3,3]", "held_out": 0.2},
    "lost": {"num_seeds": 20},
    "davis": {"short_side": 64, "multiple": 8, "radius": 3},
    "video_kmeans": {"short_side": 64},
    "own_video": {"num_pairs": 4, "short_side": 64},
    "dense_knn": {"size": 32, "num_neighbors": 5},
    "finetune": {
        "size": 32, "resize": 40, "epochs": 3, "warmup_epochs": 1, "train_batch_size": 8, "mixup_batch_size": 4, "batch_size": 4
    },
    "upernet": {
        "crop": 64, "stride": 48, "taps": "[0,1,2,3]", "channels": 16, "iterations": 3, "train_batch_size": 4, "batch_size": 2,
        "warmup": 1, "save_every": 2,
    },
    "cascade_mask_rcnn": {
        "taps": "[0,1,2,3]", "iterations": 3, "milestones": "[2]", "train_batch_size": 2, "batch_size": 1, "warmup": 1,
        "save_every": 2, "long_side": 96, "train_short": "[56,64]", "test_short": 64,
    },
    "seqtrack": {
        "bins": 16, "search_size": 64, "template_size": 32, "hidden_dim": 32, "epochs": 2, "samples_per_epoch": 4,
        "train_batch_size": 2, "drop_epoch": 1, "min_frames": 2, "max_gap": 2, "save_every": 1, "submission": "true",
    },
}  # fmt: skip
NARROW = {
    "fpn": 16, "fc": 16, "num_convs": 1, "train_proposals": 20, "test_proposals": 20, "rpn_samples": 16, "roi_samples": 16
}  # fmt: skip
SHARED = ("knn_mini", "linear_mini", "finetune_mini", "upernet_mini", "seqtrack_mini")  # by two processes
# Stopped after as many steps of an optimiser: behind the first checkpoint, before the end.
STOPPED = {"linear_mini": 5, "finetune_mini": 6, "upernet_mini": 2, "cascade_mask_rcnn_mini": 2, "seqtrack_mini": 2}
ROOTS = {
    "knn": "pictures", "knn_fewshot": "pictures", "linear": "pictures", "logreg": "pictures", "lost": "voc", "davis": "davis",
    "video_kmeans": "davis", "own_video": "walk.mp4", "dense_knn": "voc", "finetune": "pictures",
    "upernet": "ade20k", "cascade_mask_rcnn": "coco",
    "seqtrack": "got10k", "ade20k": "ade20k", "cifar10": "cifar10", "cifar100": "cifar100", "flowers": "flowers", "cars": "cars",
    "inat18": "inat18",
}  # fmt: skip


def of_training(method: str) -> list[Fixture]:
    """A training by the method's recipe for the mini world, whole, and stopped and continued."""
    words = (
        f"method={method}", "pretrain=mini", "pretrain.world=small", "pretrain.clips_per_epoch=4", "batch_size=4", "eval=[]",
        "num_workers=0", "device=cpu", "trainer.precision=32-true", "trainer.log_every_n_steps=1",
    )  # fmt: skip
    return [Fixture(f"{method} whole", words), Fixture(f"{method} continued", words, stop_after=4)]


def of_random_init(data: Path) -> Fixture:
    """An encoder that nobody trained, as its row has it."""
    common = ("method=none", "backbone=vit_mini", "num_workers=0", "device=cpu")
    return Fixture("none untrained", (*common, *_small("knn_mini", data)))


def of_source(data: Path) -> list[Fixture]:
    """What trainings can do besides: all kinds of sources, views made late, steps that are not finite, a look at the data."""
    words = (
        "method=simclr", "backbone=vit_tiny", "backbone.image_size=32", "batch_size=4", "epochs=2", "method.warmup_epochs=1",
        "eval=[]", "num_workers=0", "device=cpu", "trainer.precision=32-true", "trainer.log_every_n_steps=1",
    )  # fmt: skip
    walk, few = ("pretrain=mini", "pretrain.world=small"), "pretrain.clips_per_epoch=4"
    video, pictures = f"pretrain.path={data / 'walk.mp4'}", f"pretrain.images={data / 'pictures' / 'train'}"
    drawn = ("visualize.num_clips=1", "visualize.num_frames=2", "visualize.num_objects=2")
    return [
        Fixture("source video", ("pretrain=video", video, few, *words)),
        Fixture("source imagenet1k", ("pretrain=imagenet1k", pictures, few, *words)),
        Fixture("source world", (*walk, "pretrain.clips_per_epoch=null", *words, "batch_size=24", "epochs=1")),
        Fixture("source late views", (*walk, few, *words, "trainer.augment=device")),
        Fixture("source not finite", (*walk, few, *words, "epochs=8"), poisoned=True),
        Fixture("source prepared", ("task=prepare", *walk)),
        Fixture("source drawn", ("task=visualize", f"checkpoint={data / ENCODER}", *walk, *drawn)),
    ]


def of_evaluations(names: Sequence[str], data: Path) -> list[Fixture]:
    """Every preset, on small data and made small, of a fixed encoder; and for each kind of data the look at every file."""
    words = (f"checkpoint={data / ENCODER}", "baseline=false", "num_workers=0", "device=cpu")
    found = [Fixture(f"evaluation {name}", (*words, *_small(name, data))) for name in names]
    kinds = {_kind(name): name for name in names}
    return found + [
        Fixture(f"data {name}", ("task=check_data", *_small(name, data, odd=True))) for name in kinds.values()
    ]


def of_continued(names: Sequence[str], data: Path) -> list[Fixture]:
    """Evaluations that train, one of each kind, stopped in between."""
    found = of_evaluations([name for name in STOPPED if name in names], data)
    whole = [fixture for fixture in found if fixture.name.startswith("evaluation")]
    return [f._replace(name=f"continued {f.name}", stop_after=STOPPED[f.name.split(" ")[1]]) for f in whole]


def of_processes(names: Sequence[str], data: Path) -> list[Fixture]:
    """Evaluations that two processes share, one of each kind."""
    found = of_evaluations([name for name in SHARED if name in names], data)
    whole = [fixture for fixture in found if fixture.name.startswith("evaluation")]
    return [fixture._replace(name=f"two processes {fixture.name}", processes=2) for fixture in whole]


def _kind(name: str) -> tuple[str, str]:
    """The class of an evaluation and the folder of its data."""
    keys = plainly([f"eval=[{name}]"])["eval"][name]
    task = keys["task"]
    return task, ROOTS[task] if keys.get("layout") in (None, "imagefolder", "voc") else ROOTS[keys["layout"]]


def _small(name: str, data: Path, odd: bool = False) -> list[str]:
    """The words that choose an evaluation and make it small; `odd`: one picture of its data cannot be decoded."""
    task, root = _kind(name)
    words = [f"eval=[{name}]", *(f"eval.{name}.{key}={value}" for key, value in SMALL[task].items())]
    if task == "cascade_mask_rcnn":  # a mapping is added to, key by key
        words += [f"++eval.{name}.widths.{key}={value}" for key, value in NARROW.items()]
    return [*words, f"eval.{name}.root={data / ('odd_pictures' if odd and root == 'pictures' else root)}"]


def write_data(folder: Path) -> None:
    """Everything that the fixtures read; the same in every call."""
    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    save_encoder(ViT("mini", 8, SIDE).eval(), folder / ENCODER, PROVENANCE)
    _write_video(folder / "walk.mp4", draw)
    _write_pictures(folder / "pictures", draw)
    _write_pictures(folder / "odd_pictures", draw)
    next((folder / "odd_pictures").rglob("0.png")).write_bytes(b"no picture")
    lists = {"a": ("Segmentation/train",), "b": ("Main/trainval", "Segmentation/val")}
    write_voc(folder / "voc", [_voc(f"{kind}{i}", i, draw, names) for kind, names in lists.items() for i in range(4)])
    for split, count in (("training", 6), ("validation", 3)):
        write_ade20k(folder / "ade20k", split, [(f"{split}{i}", *_scene(i, draw)) for i in range(count)])
    write_davis(folder / "davis", [(f"walk{i}", *_frames(i, 5, draw)) for i in range(2)])
    for split, count in (("train2017", 4), ("val2017", 2)):
        write_coco(
            folder / "coco", split, [_coco(i + 1, draw) for i in range(count)], {3: "red", 7: "green", 9: "blue"}
        )
    for split in ("train", "val", "test"):
        write_got10k(folder / "got10k", [_track(f"walk{i}", i, draw) for i in range(2)], split)
    _write_sets(folder, draw)
    for path in folder.rglob("*"):
        os.utime(path, (SETTLED, SETTLED))  # a listing of a folder that has just changed is not kept


PROVENANCE = {
    "method": "simclr", "variant": "", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": 1, "seed": 0,
    "config_hash": "fixture",    "code_hash": "fixture", "frames_seen": 1, "hours": 1.0, "peak_memory_gb": 1.0, "device": "fixture",
}  # fmt: skip


def _scene(number: int, draw: np.random.Generator, t: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two coloured boxes before noise, and the mask of their classes, 1 and 2 (of 4)."""
    image = draw.integers(90, 150, (SIDE, SIDE + 16, 3)).astype(np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)
    for k in range(2):
        label = (number + k) % 3
        top, left = 6 + 22 * k + 2 * number % 8, 8 + 20 * k + t
        mask[top : top + 24, left : left + 28] = label + 1
        image[top : top + 24, left : left + 28] = (COLOURS[label] + draw.integers(-20, 20, (24, 28, 3))).astype(
            np.uint8
        )
    return image, mask


def _frames(number: int, count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    images, masks = zip(*(_scene(number, draw, t) for t in range(count)), strict=True)
    return np.stack(images), np.stack(masks)


def _box(pixels: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _voc(name: str, number: int, draw: np.random.Generator, lists: Sequence[str]) -> Annotated:
    image, mask = _scene(number, draw)
    labels = [int(label) for label in np.unique(mask) if label]
    boxes = np.array([_box(mask == label) for label in labels])
    return Annotated(
        name, image, boxes, [("aeroplane", "bicycle", "bird")[label - 1] for label in labels], mask, lists=lists
    )


def _coco(number: int, draw: np.random.Generator) -> Picture:
    image, mask = _scene(number, draw)
    objects = [Mask((3, 7, 9)[label - 1], (mask == label).astype(np.uint8)) for label in np.unique(mask) if label]
    return Picture(number, image, objects)


def _track(name: str, number: int, draw: np.random.Generator) -> Walk:
    frames, masks = _frames(number, 16, draw)
    boxes = np.array([_box(mask == masks[0].max()) for mask in masks], float)
    boxes[:, 2:] -= boxes[:, :2]
    return Walk(name, frames, boxes, np.full(16, 8), np.zeros(16, bool))


def _write_video(path: Path, draw: np.random.Generator) -> None:
    """Six seconds of a moving scene, a cut in the middle."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "250"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        street = np.kron(draw.integers(0, 256, (12, 60, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
        for t in range(48):
            first = 3 * t + 100 * (t >= 24)
            picture = np.ascontiguousarray(street[:, first : first + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _write_pictures(root: Path, draw: np.random.Generator) -> None:
    """<root>/{train,val,test}/<class>/: three classes of colours under noise."""
    for split, count in (("train", 10), ("val", 5), ("test", 5)):
        for label, image in _coloured(3, count, draw, SIDE):
            path = root / split / f"class{label}" / f"{len(list((root / split).rglob('*.png')))}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def _coloured(classes: int, count: int, draw: np.random.Generator, side: int) -> Iterator[tuple[int, np.ndarray]]:
    for label in range(classes):
        for _ in range(count):
            noise = draw.normal(0, 60, (side, side, 3))
            yield label, (COLOURS[label % 4] + noise).clip(0, 255).astype(np.uint8)


def _write_sets(folder: Path, draw: np.random.Generator) -> None:
    """CIFAR, Flowers, Cars and iNaturalist."""
    labels, images = zip(*_coloured(3, 6, draw, 32), strict=True)
    numbers, pixels = np.array(labels), np.stack(images)
    for cifar in (CIFAR10, CIFAR100):
        write_cifar(
            cifar(folder / ("cifar10" if cifar is CIFAR10 else "cifar100")),
            (pixels, numbers),
            (pixels[::3], numbers[::3]),
        )
    ids = np.arange(len(labels))
    lists = {
        "trnid": ids[ids % 3 == 0].tolist(),
        "valid": ids[ids % 3 == 1].tolist(),
        "tstid": ids[ids % 3 == 2].tolist(),
    }
    write_flowers(folder / "flowers", list(images), numbers, lists)
    write_cars(folder / "cars", list(images), numbers, (ids % 3 == 2).tolist(), ["Audi TT", "BMW M3", "Fiat 500"])
    held = ids % 3 == 2
    splits = {"train": (pixels[~held], numbers[~held]), "val": (pixels[held], numbers[held])}
    write_inat18(folder / "inat18", {name: (list(x), y) for name, (x, y) in splits.items()}, 3)
