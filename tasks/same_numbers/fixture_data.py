"""Small data in every format, which the fixtures of `task=same_numbers` read: written by this tree, for both."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

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

ENCODER = "encoder.safetensors"
ODD = ("voc", "davis", "coco", "got10k")
BINARY = "davis_binary"  # masks of 0 and 255
NUMBERED = "numbered"  # pictures of a video
PACKETS = {
    "short.mkv": 6,
    "long.mkv": 210,
}  # seconds of videos whose packets are read, all of them and the first 20,000
DEFECT = "GOT-10k_Train_001636"  # some of its frames show something else, as its users found
SIDE = 64
SETTLED = 1.6e9  # seconds: some day in 2020
COLOURS = np.array([[200, 60, 50], [60, 170, 70], [70, 80, 210], [210, 190, 60]])
PROVENANCE = {
    "method": "simclr", "variant": "", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": 1, "seed": 0,
    "config_hash": "fixture", "code_hash": "fixture", "frames_seen": 1, "hours": 1.0, "peak_memory_gb": 1.0, "device": "fixture",
}  # fmt: skip


def write_data(folder: Path) -> None:
    """Everything that the fixtures read; the same in every call."""
    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    save_encoder(ViT("mini", 8, SIDE).eval(), folder / ENCODER, PROVENANCE)
    _write_video(folder / "walk.mp4", draw)
    for name, seconds in PACKETS.items():
        _write_packets(folder / name, seconds)
    _write_pictures(folder / "pictures", draw)
    _write_pictures(folder / "odd_pictures", draw)
    next((folder / "odd_pictures").rglob("0.png")).write_bytes(b"no picture")
    lists = {"a": ("Segmentation/train",), "b": ("Main/trainval", "Segmentation/val")}
    write_voc(folder / "voc", [_voc(f"{kind}{i}", i, draw, names) for kind, names in lists.items() for i in range(4)])
    for split, count in (("training", 6), ("validation", 3)):
        write_ade20k(folder / "ade20k", split, [(f"{split}{i}", *_scene(i, draw)) for i in range(count)])
    write_davis(folder / "davis", [(f"walk{i}", *_frames(3 * i, 5, draw)) for i in range(2)])
    for split, count in (("train2017", 4), ("val2017", 2)):
        write_coco(
            folder / "coco", split, [_coco(i + 1, draw) for i in range(count)], {3: "red", 7: "green", 9: "blue"}
        )
    for split in ("train", "val", "test"):
        write_got10k(folder / "got10k", [_track(f"walk{i}", i, draw) for i in range(2)], split)
    _write_sets(folder, draw)
    _write_odd(folder)
    for path in folder.rglob("*"):
        os.utime(path, (SETTLED, SETTLED))  # a listing of a folder that has just changed is not kept


def _write_odd(folder: Path) -> None:
    """Copies of data that `task=check_data` has something to say about, in each format."""
    for kind in ODD:
        shutil.copytree(folder / kind, folder / f"odd_{kind}")
    shutil.copytree(folder / "davis", folder / BINARY)
    for path in (folder / BINARY / "Annotations").rglob("*.png"):
        Image.fromarray(np.where(np.array(Image.open(path)), 255, 0).astype(np.uint8)).save(path)
    frames, _ = _frames(0, 12, np.random.default_rng(1))
    (folder / NUMBERED).mkdir()
    for t, image in enumerate(frames):
        Image.fromarray(image).save(folder / NUMBERED / f"{t:03d}.png")
    _write_id_twice(folder / "odd_coco" / "annotations" / "instances_val2017.json")
    small, voc = Image.new("RGB", (20, 10)), folder / "odd_voc"
    small.save(voc / "JPEGImages" / "b0.jpg")  # smaller than its boxes and its mask
    small.save(folder / "odd_davis" / "JPEGImages" / "480p" / "walk0" / "00003.jpg")
    small.save(folder / "odd_coco" / "val2017" / "000000000001.jpg")
    got10k = folder / "odd_got10k" / "val"
    small.save(got10k / "walk1" / "00000008.jpg")
    (got10k / "walk0").rename(got10k / DEFECT)
    (got10k / "list.txt").write_text(f"{DEFECT}\nwalk1\n")


def _write_id_twice(path: Path) -> None:
    content = json.loads(path.read_text())
    content["annotations"][1]["id"] = content["annotations"][0]["id"]
    path.write_text(json.dumps(content))


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


def _write_packets(path: Path, seconds: int) -> None:
    """100 frames a second, tiny, in a container that keeps no list of its frames."""
    street = np.random.default_rng(0).integers(0, 256, (32, 164, 3), dtype=np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for t in range(100 * seconds):
            picture = np.ascontiguousarray(street[:, t % 100 : t % 100 + 64])
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
