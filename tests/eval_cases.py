"""For each evaluation, a tiny data set in its official format, settings that make it take a second, and how to be perfect at it
(a module that a spawned process can import).

A new evaluation needs a `Case` in CASES: `tests/downstream/test_contract.py` says so until it has one.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from seqtrack_runs import moving
from tiny import pictures

from longtake.backbones.vit import ViT
from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.coco import ImageWithObjects, Mask, write_coco
from longtake.datasets.davis import write_davis
from longtake.datasets.voc import Annotated, write_voc
from longtake.downstream.base import Downstream
from longtake.downstream.contract import MakeEvaluation
from longtake.engine.config import choices, composed, plain
from longtake.engine.plan import build_evaluation

COLOURS = np.array([[124, 116, 104], [250, 40, 40], [40, 60, 250], [40, 250, 60]], np.uint8)  # ground, three classes


class Case(NamedTuple):
    """`yaml` has the settings, `small` changes them; `tested` are the lists of what is tested, by glob (None: every list)."""

    yaml: str
    data: Callable[[Path], Path]
    small: dict[str, Any]
    tested: str | None = None


def scene(number: int, size: tuple[int, int] = (64, 96), shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A square of a class (1 to 3) on the ground, somewhere on the grid of patches, and its mask."""
    mask = np.zeros(size, np.uint8)
    y, x = 8 * (number % 4), 8 * (number % 7) + shift
    mask[y : y + 24, x : x + 24] = 1 + number % 3
    noise = np.random.default_rng(number).integers(0, 5, (*size, 3), np.uint8)
    return COLOURS[mask] + noise, mask


def voc(root: Path) -> Path:
    images = []
    for n in range(8):
        image, mask = scene(n)
        (rows, columns), name = np.nonzero(mask), ("train" if n < 4 else "val")
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        mask[-1, -1] = 255
        lists = ["Main/trainval", f"Segmentation/{name}"]
        images.append(Annotated(f"{n:06d}", image, box, ["thing"], mask if n != 6 else None, lists=lists))
    return write_voc(root, images).root


def ade20k(root: Path) -> Path:
    for split in ("training", "validation"):
        write_ade20k(root, split, [(f"{split}{n}", *scene(n, (64, 64))) for n in range(4)])
    return root


def coco(root: Path) -> Path:
    for split in ("train2017", "val2017"):
        images = []
        for n in range(4):
            image, mask = scene(n, (64, 64))
            images.append(ImageWithObjects(n + 1, image, [Mask(10 * int(mask.max()), (mask > 0).astype(np.uint8))]))
        write_coco(root, split, images, {30: "c", 10: "a", 20: "b"})
    return root


def davis(root: Path) -> Path:
    sequences = []
    for number, name in ((1, "walk"), (5, "bear")):
        shown = [scene(number, shift=8 * t) for t in range(4)]
        masks = np.stack([(mask > 0).astype(np.uint8) for _, mask in shown])
        masks[:, 48:56, :24] = 2
        masks[0, 60:, 60:] = 255
        sequences.append((name, np.stack([image for image, _ in shown]), masks))
    return write_davis(root, sequences).root


def got10k(root: Path) -> Path:
    for split, number, frames in (("train", 3, 12), ("val", 3, 9), ("test", 1, 5)):
        moving(root, split, number, frames)
    return root


def own_video(root: Path) -> Path:
    """Five seconds in which two squares walk over the ground; its store lies beside it."""
    root.mkdir(parents=True, exist_ok=True)
    with av.open(root / "walk.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "250"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for t in range(40):
            image = np.ascontiguousarray(np.roll(scene(t // 20 + 1)[0], 2 * t, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return root


IMAGES = {"train_split": "train", "test_split": "val", "size": 16, "resize": 16}
WIDTHS = {
    "fpn": 16, "fc": 32, "num_convs": 1, "train_proposals": 32, "test_proposals": 16, "rpn_samples": 16, "roi_samples": 16,
}  # fmt: skip
CASES = {
    "knn": Case("knn_mini", pictures, IMAGES | {"batch_size": 24}),
    "knn_fewshot": Case("knn_fewshot_mini", pictures, IMAGES | {"tries": 2, "batch_size": 24}),
    "linear": Case(
        "linear_mini", pictures,
        IMAGES | {"epochs": 2, "train_batch_size": 20, "held_out": 0.3, "augment": True, "batch_size": 24},
    ),
    "logreg": Case("logreg_mini", pictures, IMAGES | {"costs": [1e-2, 1e2, 3], "batch_size": 24}),
    "lost": Case("lost_mini", voc, {"num_seeds": 20}),
    "davis": Case("davis_mini", davis, {"short_side": 64, "radius": 3}),
    "video_kmeans": Case("video_kmeans_mini", davis, {"short_side": 64}),
    "own_video": Case("own_video", own_video, {"num_pairs": 6, "short_side": 64, "kind": "video"}),
    "dense_knn": Case("dense_knn_mini", voc, {"size": 32, "num_neighbors": 5}),
    "finetune": Case(
        "finetune_imagenet1k", pictures,
        IMAGES | {"epochs": 1, "warmup_epochs": 0.5, "train_batch_size": 24, "mixup_batch_size": 6, "batch_size": 6, "lr": 1e-3},
    ),
    "upernet": Case(
        "upernet_mini", ade20k,
        {"iterations": 3, "train_batch_size": 4, "batch_size": 2, "crop": 64, "stride": 43, "channels": 16, "warmup": 1,
         "drop_path": 0.1, "distort": True},
    ),
    "cascade_mask_rcnn": Case(
        "cascade_mask_rcnn_mini", coco,
        {"iterations": 3, "milestones": [2], "train_batch_size": 2, "batch_size": 1, "warmup": 1, "lr": 1e-3,
         "long_side": 64, "train_short": [64], "test_short": 64, "widths": WIDTHS},
        tested="annotations/instances_val2017.json",
    ),
    "seqtrack": Case(
        "seqtrack_mini", got10k,
        {"bins": 50, "search_size": 32, "template_size": 32, "epochs": 2, "samples_per_epoch": 8, "train_batch_size": 4,
         "drop_epoch": 1, "num_templates": 2, "update_threshold": 0.0},
        tested="val/list.txt",
    ),
}  # fmt: skip


def case_of(name: str) -> Case:
    assert name in CASES, f"no tiny data for {name}: add a Case to CASES in tests/eval_cases.py"
    return CASES[name]


def vit() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 32).eval()


@cache
def all_keys() -> dict[str, Any]:
    """The settings of every yaml, on a CPU without workers."""
    words = [f"eval=[{','.join(choices('eval'))}]", "device=cpu", "num_workers=0"]
    return plain(composed(words))["eval"]


def maker(case: Case, root: Path) -> MakeEvaluation:
    """Builds the case's evaluation as `run` does, with changed settings where asked to."""
    keys = all_keys()[case.yaml] | case.small | {"root": str(root), "progress": False}
    return lambda **changes: build_evaluation(keys | changes)


def relisted(case: Case, root: Path, copy: Path) -> MakeEvaluation:
    """The same evaluation on a copy of the data whose lists and folders are in reverse."""
    shutil.copytree(root, copy)
    lists = [*copy.rglob("*.txt"), *copy.rglob("*.json")] if case.tested is None else [*copy.glob(case.tested)]
    for path in lists:
        if path.suffix == ".txt" and path.name != "groundtruth.txt":
            path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().splitlines())))
        elif path.suffix == ".json":
            content = json.loads(path.read_text())
            path.write_text(json.dumps({key: value[::-1] for key, value in content.items()}))
    plain = maker(case, copy)

    def make() -> Downstream:
        task = plain()
        evaluate = task.evaluate

        def backwards(encoder: Any, workdir: Path) -> dict[str, float]:
            with folders_backwards():
                return evaluate(encoder, workdir)

        task.evaluate = backwards  # type: ignore[method-assign]
        return task

    return make


@contextmanager
def folders_backwards() -> Iterator[None]:
    """Whoever lists a folder gets its files by descending name; otherwise a file system has the order that it likes."""
    scandir, listdir = os.scandir, os.listdir

    class Scanned(Iterator):
        """What `os.scandir` answers."""

        def __init__(self, path: Any = ".") -> None:
            with scandir(path) as found:
                self.entries = iter(sorted(found, key=lambda entry: entry.name, reverse=True))

        def __next__(self) -> os.DirEntry:
            return next(self.entries)

        def __enter__(self) -> "Scanned":
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing is open."""

    os.scandir, os.listdir = Scanned, lambda path=".": sorted(listdir(path), reverse=True)  # type: ignore
    try:
        yield
    finally:
        os.scandir, os.listdir = scandir, listdir


def together(rank: int) -> dict[str, Any]:
    """Metrics and outcomes of the cases that SHARED_CASES names, each process in a folder of its own."""
    root, found = Path(os.environ["SHARED_OUT"]), dict[str, Any]()
    for name in os.environ["SHARED_CASES"].split():
        case = CASES[name]
        metrics = maker(case, root / name)().evaluate(vit(), root / f"{rank}_{name}")
        found[name] = metrics
    return found
