"""Every reader of files, on tiny data: what it is made from, which files are its own, and how they are read whole."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from eval_cases import ade20k, coco, davis, got10k, voc
from made_rows import make_rows
from tiny import pictures
from videos import textured, write

from longtake.backbones.checkpoints import open_encoder
from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.datasets.ade20k import ADE20K
from longtake.datasets.cars import write_cars
from longtake.datasets.cifar import CIFAR10, CIFAR100, write_cifar
from longtake.datasets.coco import COCO, classes_of
from longtake.datasets.davis import DAVIS
from longtake.datasets.findings import Wrong
from longtake.datasets.flowers import write_flowers
from longtake.datasets.got10k import GOT10k, check_given
from longtake.datasets.image_store import ImageStore
from longtake.datasets.images import odd_splits
from longtake.datasets.inaturalist import write_inat18
from longtake.datasets.sources.frames import Frames
from longtake.datasets.transfer import odd_images, open_images
from longtake.datasets.video import decode, probe
from longtake.datasets.voc import VOC
from longtake.downstream.got10k import read_result, write_result
from longtake.downstream.state import loaded
from longtake.leaderboards.outcomes import load_outcomes
from longtake.leaderboards.rows import read
from longtake.leaderboards.same_numbers import Equivalence, add_equivalences, read_equivalences


class Reader(NamedTuple):
    """`make` writes the data, `files` are the patterns of what is damaged, `look` reads all of them."""

    make: Callable[[Path], object]
    files: Sequence[str]
    look: Callable[[Path], object]


def whole(found: Sequence[str]) -> None:
    """Raise the first of the lines about what a run refuses."""
    for line in found:
        if isinstance(line, Wrong):
            raise ValueError(line)


def look_voc(root: Path) -> None:
    data, lists = VOC(root), ["Main/trainval", "Segmentation/val"]
    stop(data.check(lists))
    for image_list in lists:
        for name in data.names(image_list):
            data.boxes(name)
            if image_list.startswith("Segmentation"):
                data.mask(name)
    whole(data.validate(lists))


def look_davis(root: Path) -> None:
    data = DAVIS(root)
    stop(data.check())
    for sequence in data.sequences():
        data.truth(sequence)
    whole(data.validate())


def look_coco(root: Path) -> None:
    data = COCO(root)
    stop(data.check(["train2017", "val2017"]))
    classes_of(data.read("val2017"))
    whole(data.validate(["val2017"]))


def look_ade20k(root: Path) -> None:
    data = ADE20K(root)
    stop(data.check(["validation"]))
    whole(data.wrong_masks(data.names("validation")))
    whole(data.validate(["validation"]))


def look_got10k(root: Path) -> None:
    data = GOT10k(root, "val")
    stop(data.check())
    tracks = data.tracks()
    check_given(tracks)
    whole(data.validate())


def look_results(root: Path) -> None:
    for track in GOT10k(root, "val").tracks():
        read_result(root / "results", track)


def stop(missing: Sequence[str]) -> None:
    if missing:
        raise ValueError(missing[0])


def set_of(layout: str, splits: Sequence[str]) -> Callable[[Path], None]:
    def look(root: Path) -> None:
        open_images(layout, str(root), splits)
        whole(odd_images(layout, str(root), splits))

    return look


def results(root: Path) -> None:
    got10k(root)
    for track in GOT10k(root, "val").tracks():
        write_result(root / "results", track.name, track.boxes, np.ones(track.num_frames))


PIXELS = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), np.uint8)
LABELS = np.arange(12) % 3
HUNDRED = (PIXELS, np.arange(12) % 10), (PIXELS[:4], np.arange(4))


def rows(root: Path) -> None:
    make_rows(root, {"dino": 0.6}, seeds=2, items=20)


def look_rows(root: Path) -> None:
    read(root / "knn_mini.csv", ("top1_k20", "top5_k20", "top1_k10", "top1_k100", "top1_k200"))


def look_outcomes(root: Path) -> None:
    from made_rows import make_key

    for seed in range(2):
        load_outcomes(root, "knn_mini", make_key("dino", seed))


def equivalences(root: Path) -> None:
    root.mkdir(parents=True)
    lines = [Equivalence(f"old{i}", f"new{i}", "training dora", "a..b", "0123") for i in range(3)]
    add_equivalences(root / "same_numbers.csv", lines)


def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("tiny", 16, 32).eval()


def ours(root: Path) -> None:
    root.mkdir(parents=True)
    save_encoder(encoder(), root / "encoder.safetensors", {"method": "dino", "epochs": 1})


def foreign(root: Path) -> None:
    root.mkdir(parents=True)
    torch.save({"teacher": encoder().state_dict()}, root / "dino.pth")


def state(root: Path) -> None:
    root.mkdir(parents=True)
    torch.save({"identity": "x", "numbers": torch.arange(20)}, root / "state.ckpt")


def look_state(root: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # that it begins anew
        loaded(root / "state.ckpt")


def video(root: Path) -> None:
    root.mkdir(parents=True)
    write(root / "walk.mp4", textured(12))
    write(root / "walk.mkv", textured(12))


def look_video(root: Path) -> None:
    for name in ("walk.mp4", "walk.mkv"):
        probe(root / name)
        for _ in decode(root / name):
            pass


def frames(root: Path) -> None:
    pictures(root.parent / "pictures")
    os.rename(root.parent / "pictures" / "train" / "class0", root)


def look_frames(root: Path) -> None:
    store = Frames(name="frames", path=str(root), frames_per_second=2.0).open()
    for i in range(len(store)):
        store.read([i])


def images(root: Path) -> None:
    pictures(root)


def look_images(root: Path) -> None:
    whole(odd_splits(str(root), ("train", "val")))
    store = ImageStore(root / "val")
    for i in range(len(store)):
        store.read([i])


READERS = {
    "voc": Reader(voc, ["Annotations/*", "ImageSets/*/*", "JPEGImages/*", "SegmentationClass/*"], look_voc),
    "davis": Reader(davis, ["ImageSets/*/*", "JPEGImages/*/*/*", "Annotations/*/*/*"], look_davis),
    "coco": Reader(coco, ["annotations/*", "annotations/*", "val2017/*"], look_coco),
    "ade20k": Reader(ade20k, ["*/validation/*"], look_ade20k),
    "got10k": Reader(
        got10k, ["val/list.txt", "val/*/*.txt", "val/*/*.label", "val/*/*.ini", "val/*/*.jpg"], look_got10k
    ),
    "got10k results": Reader(results, ["results/*/*_001.txt"], look_results),
    "cifar10": Reader(lambda r: write_cifar(CIFAR10(r), *HUNDRED), ["*"], set_of("cifar10", ["train", "test"])),
    "cifar100": Reader(lambda r: write_cifar(CIFAR100(r), *HUNDRED), ["*"], set_of("cifar100", ["train", "test"])),
    "inat18": Reader(
        lambda r: write_inat18(r, {"train": (list(PIXELS), LABELS), "val": (list(PIXELS[:3]), LABELS[:3])}, 3),
        ["*.json", "*.json", "*/*/*/*.jpg"],
        set_of("inat18", ["train", "val"]),
    ),
    "flowers": Reader(
        lambda r: write_flowers(r, list(PIXELS), LABELS, {"trnid": [0, 1], "valid": [2], "tstid": [3, 4]}),
        ["*.mat"],
        set_of("flowers", ["train", "test"]),
    ),
    "cars": Reader(
        lambda r: write_cars(r, list(PIXELS), LABELS, [i % 3 == 0 for i in range(12)], ["a", "b", "c"]),
        ["*.mat"],
        set_of("cars", ["train", "test"]),
    ),
    "image folders": Reader(images, ["*/*/*"], look_images),
    "frames": Reader(frames, ["*"], look_frames),
    "rows": Reader(rows, ["*.csv"], look_rows),
    "outcomes": Reader(rows, ["outcomes/*/*.npz"], look_outcomes),
    "same_numbers": Reader(equivalences, ["*.csv"], lambda root: read_equivalences(root / "same_numbers.csv")),
    "encoder": Reader(ours, ["*"], lambda root: open_encoder(root / "encoder.safetensors")),
    "foreign checkpoint": Reader(foreign, ["*"], lambda root: open_encoder(root / "dino.pth")),
    "state": Reader(state, ["*"], look_state),
    "video": Reader(video, ["*"], look_video),
}
# How many times slower than others.
SLOW = {"flowers": 10, "cars": 10, "foreign checkpoint": 4, "encoder": 4, "video": 4}
