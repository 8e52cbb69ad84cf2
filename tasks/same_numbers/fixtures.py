"""The fixtures of `task=same_numbers`: the commands that two trees run on small data of every format (`fixture_data`).

A fixture is a command line of `run`, the entry point that everybody uses. The trees share the data, which this tree has written.
Data and settings are made small; that the settings of the real presets agree is compared on its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from longtake.engine.config import plainly
from longtake.tasks.same_numbers.fixture_data import BINARY, ENCODER, NUMBERED, ODD

WORLD = {"seconds": 5, "train_per_class": 1, "val_per_class": 1, "test_per_class": 1}  # of the small mini world


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
ONE_TOO_HIGH = ("knn_mini", "finetune_cifar10", "seqtrack_mini")  # given the folder that holds their data's
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
    rate = "pretrain.frames_per_second=8"  # of the walk; the other videos there have more
    drawn = ("visualize.num_clips=1", "visualize.num_frames=2", "visualize.num_objects=2")
    return [
        Fixture("source video", ("pretrain=video", video, few, *words)),
        Fixture("source imagenet1k", ("pretrain=imagenet1k", pictures, few, *words)),
        Fixture("source world", (*walk, "pretrain.clips_per_epoch=null", *words, "batch_size=24", "epochs=1")),
        Fixture("source late views", (*walk, few, *words, "trainer.augment=device")),
        Fixture("source not finite", (*walk, few, *words, "epochs=8"), poisoned=True),
        Fixture("source prepared", ("task=prepare", *walk)),
        Fixture("source videos prepared", ("task=prepare", "pretrain=video", f"pretrain.path={data}", rate)),
        Fixture("source drawn", ("task=visualize", f"checkpoint={data / ENCODER}", *walk, *drawn)),
    ]


def of_evaluations(names: Sequence[str], data: Path) -> list[Fixture]:
    """Every preset, on small data and made small, of a fixed encoder; and for each kind of data the look at every file."""
    words = (f"checkpoint={data / ENCODER}", "baseline=false", "num_workers=0", "device=cpu")
    found = [Fixture(f"evaluation {name}", (*words, *_small(name, data))) for name in names]
    kinds = {_kind(name): name for name in names}
    looks = [Fixture(f"data {name}", ("task=check_data", *_small(name, data, odd=True))) for name in kinds.values()]
    roots = [f"eval.{name}.root={data}" for name in ONE_TOO_HIGH]
    binary = ("eval=[davis_mini]", "eval.davis_mini.binary_masks=true", f"eval.davis_mini.root={data / BINARY}")
    folder, keys = data / NUMBERED, ("kind=frames", "frames_per_second=4")
    numbered = [f"eval.own_video.{word}" for word in (*keys, f"root={folder}")]
    return [
        *found, *looks,
        Fixture("data above", ("task=check_data", f"eval=[{','.join(ONE_TOO_HIGH)}]", *roots)),
        Fixture("data of two colours", ("task=check_data", *binary)),
        Fixture("data of numbered pictures", (*words, *_small("own_video", data), *numbered)),
    ]  # fmt: skip


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
    """The words that choose an evaluation and make it small; `odd`: there is something to be said of its data."""
    task, root = _kind(name)
    words = [f"eval=[{name}]", *(f"eval.{name}.{key}={value}" for key, value in SMALL[task].items())]
    if task == "cascade_mask_rcnn":  # a mapping is added to, key by key
        words += [f"++eval.{name}.widths.{key}={value}" for key, value in NARROW.items()]
    return [*words, f"eval.{name}.root={data / (f'odd_{root}' if odd and root in ('pictures', *ODD) else root)}"]
