"""ImageNet-style folders, `<root>/<split>/<class>/<image>`, and the two transforms of frozen classification.

Layout and class numbers (sorted folder names) are those of torchvision's ImageFolder, which DINO's evaluations read
(https://github.com/facebookresearch/dino, eval_knn.py and eval_linear.py). Photographs are read as they are stored, like
theirs: an EXIF orientation turns nothing (`task=check_data` counts them). What is wrong with a folder is said in one line before
any compute.
"""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from longtake.datasets.content import Content, as_published, content_of, content_of_world
from longtake.datasets.draws import drawn_from
from longtake.datasets.findings import undecodable
from longtake.datasets.folders import nearby
from longtake.datasets.image_listing import files_of_classes, find_classes, lonely_classes
from longtake.datasets.mini.world import prepare
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD, read_picture
from longtake.datasets.roots import data_root, expanded

Transform = Callable[[Image.Image], Float[Tensor, "3 h w"]]

RESIZE_PER_CROP = 256 / 224  # DINO's eval_knn.py: short side 256, then the central 224 x 224
CROP_SCALE = (0.08, 1.0)  # share of the image's area; the default of RandomResizedCrop, as in DINO's eval_linear.py

HOW_TO_GET = (
    "ImageNet-1k: image-net.org, free account, with the validation images sorted into their class folders; "
    "LONGTAKE_DATA moves the data root and root=FOLDER names another image folder"
)
IMAGENET_CLASSES, IMAGENET_IMAGES = 1000, {"train": 1_281_167, "val": 50_000}  # ILSVRC 2012


def eval_transform(size: int = 224, resize: int | None = None) -> Transform:
    """Short side to `resize` (bicubic), central crop of `size` pixels, ImageNet mean and std.

    `resize` is 256/224 of `size` unless given. Raises ValueError when it is smaller than the crop.
    """
    from torchvision.transforms import InterpolationMode, v2  # here: it takes a second, and a plan reads no picture

    resize = short_side(size, resize)
    return v2.Compose([v2.Resize(resize, InterpolationMode.BICUBIC), v2.CenterCrop(size), *_to_normalised()])


def short_side(size: int, resize: int | None) -> int:
    """What the short side becomes before the central crop. Raises ValueError when that is smaller than the crop."""
    resize = round(size * RESIZE_PER_CROP) if resize is None else resize
    if resize < size:
        raise ValueError(f"got resize={resize} below size={size}: the crop would be padded; expected resize >= size")
    return resize


def train_transform(size: int = 224) -> Transform:
    """Random resized crop (bilinear) and horizontal flip, the augmentation of DINO's eval_linear.py."""
    from torchvision.transforms import InterpolationMode, v2

    crop = v2.RandomResizedCrop(size, scale=CROP_SCALE, interpolation=InterpolationMode.BILINEAR)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *_to_normalised()])


def _to_normalised() -> list[torch.nn.Module]:
    from torchvision.transforms import v2

    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


class ImageFolder(Dataset):
    """One split, `<folder>/<class>/<image>`: item i is (image, label, i), so results can be stored by image.

    Random draws of the transform depend on (`seed`, `epoch`, i) alone, never on the worker that makes them. Raises
    ValueError when the folder is missing, has fewer than two classes or an empty class, and at reading time
    `UnreadableImage`.
    """

    def __init__(self, folder: Path, transform: Transform, seed: int = 0) -> None:
        self.root, self.transform = str(expanded(folder)), transform
        self.classes = find_classes(Path(self.root))
        self.samples = images_in(Path(self.root), self.classes)
        self.targets = [label for _, label in self.samples]
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int, int]:
        path, label = self.samples[index]
        image = read_picture(path)
        with drawn_from(self.seed, self.epoch, index):
            return self.transform(image), label, index

    @property
    def items(self) -> list[str]:
        """`<class>/<file>` of every image, in order."""
        return [os.path.relpath(path, self.root).replace(os.sep, "/") for path, _ in self.samples]

    def subset(self, indices: Iterable[int], transform: Transform) -> "ImageFolder":
        """The images `indices`, numbered anew from 0, under another transform; classes keep their numbers."""
        part = copy.copy(self)
        part.samples = [self.samples[index] for index in indices]
        part.targets = [label for _, label in part.samples]
        part.transform = transform
        return part


def images_in(folder: Path, classes: Sequence[str] | None = None) -> list[tuple[str, int]]:
    """Path and label of every image of `<folder>/<class>/<image>`. Raises what `find_classes` raises."""
    classes = find_classes(folder) if classes is None else classes
    files = files_of_classes(folder, classes)
    return [(os.path.join(folder, name, file), label) for label, name in enumerate(classes) for file in files[name]]


def missing_splits(root: str | None, splits: Sequence[str]) -> list[str]:
    """List what is missing of `root`'s splits, where it is expected and how to get it; [] when they can be read or rendered.

    `root` is a folder, the name of a procedural world (`mini`), or None for ImageNet-1k under the data root. Raises
    ValueError when the splits exist but are wrong (`find_classes`) or list different classes.
    """
    if root in WORLDS:
        return []
    folders = [_root_folder(root) / split for split in splits]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        hint = nearby(_root_folder(root), splits[0])
        return [f"no image folder {folder} (expected <class>/<image> in it{hint}). {HOW_TO_GET}" for folder in missing]
    first, *others = [(folder, find_classes(folder)) for folder in folders]
    for folder, classes in others:
        _check_same_classes(*first, folder, classes)
    return []


def odd_splits(root: str | None, splits: Sequence[str], progress: bool = False) -> list[str]:
    """List what is odd: classes of one image, pictures that are read in a way of their own (`odd_pictures`); with ImageNet's 1000
    classes, other numbers of images than the original's. `Wrong` are images that cannot be decoded."""
    found = []
    for split, folder in zip(splits, open_splits(root, splits, eval_transform()), strict=True):
        if len(folder.classes) == IMAGENET_CLASSES and len(folder) != IMAGENET_IMAGES.get(split, len(folder)):
            found.append(f"{split}: {len(folder)} images, ImageNet-1k has {IMAGENET_IMAGES[split]}")
        paths = [path for path, _ in folder.samples]
        found += [f"{split}: class {name!r} has one image" for name in lonely_classes(Path(folder.root))]
        found += undecodable(read_picture, paths, f"images of {split}", progress)
        found += odd_pictures(paths, split)
    return found


def content_of_splits(root: str | None, splits: Sequence[str]) -> Content:
    """What is in the splits, or a world. For data that `missing_splits` accepts."""
    if root in WORLDS:
        return content_of_world(root)
    folder = _root_folder(root)
    images = {split: images_in(folder / split) for split in splits}
    counts = {split: len(found) for split, found in images.items()}
    original = as_published(counts, {"imagenet1k": IMAGENET_IMAGES}, find_classes(folder / splits[0]), r"n\d{8}")
    return content_of(folder, counts, [path for found in images.values() for path, _ in found], original=original)


def enough_images(root: str | None, split: str, held_out: bool) -> list[str]:
    """Nothing is missing. Raises `ValueError` for classes with one image, where one of each class is held out."""
    if held_out and root not in WORLDS and (lonely := lonely_classes(_root_folder(root) / split)):
        raise ValueError(
            f"{_root_folder(root) / split}: {len(lonely)} classes have one training image, expected two or more, as one is held "
            f"out: {lonely[:3]}"
        )
    return []


def _check_same_classes(folder: Path, classes: list[str], other_folder: Path, other_classes: list[str]) -> None:
    alone, other_alone = sorted(set(classes) - set(other_classes)), sorted(set(other_classes) - set(classes))
    if alone or other_alone:
        raise ValueError(
            f"{folder} and {other_folder} list different classes, expected the same: "
            f"{len(alone)} only in the first {alone[:3]}, {len(other_alone)} only in the second {other_alone[:3]}"
        )


def open_splits(
    root: str | None, splits: Sequence[str], transform: Transform, progress: bool = True
) -> list[ImageFolder]:
    """The splits of `root` (see `missing_splits`); a procedural world is rendered first when it is not there yet.

    Raises ValueError when a split is missing, wrong, or its classes are not those of the others.
    """
    if root in WORLDS:
        root = str(prepare(WORLDS[root], data_root(), progress=progress) / "imagefolder")
    missing = missing_splits(root, splits)
    if missing:
        raise ValueError(missing[0])
    return [ImageFolder(_root_folder(root) / split, transform) for split in splits]


def _root_folder(root: str | None) -> Path:
    return data_root() / "imagenet1k" if root is None else expanded(root)
