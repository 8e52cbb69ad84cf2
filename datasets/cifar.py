"""CIFAR-10 and CIFAR-100 as their Python archives unpack (https://www.cs.toronto.edu/~kriz/cifar.html; torchvision's folders).

    cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta
    cifar-100-python/train, test, meta

The files are pickles, which can run any code when they are loaded. These are read by an unpickler that knows arrays and plain
containers and refuses everything else.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, UInt8

from longtake.datasets.labelled import ArrayImages, ImageSet, counted_from

SIDE = 32  # pixels


@dataclass(frozen=True)
class CIFAR(ImageSet):
    """One of the two: a folder and the names that its pickles use."""

    expected: ClassVar[dict[str, int]] = {"train": 50_000, "test": 10_000}

    batches: ClassVar[dict[str, list[str]]]  # files of each split
    meta: ClassVar[tuple[str, str]]  # file of the class names, and their key
    labels_key: ClassVar[str]
    num_classes: ClassVar[int]

    def needed(self, split: str) -> list[str]:
        return [*self.batches[split], self.meta[0]]

    def open(self, split: str) -> ArrayImages:
        file, key = self.meta
        classes = read_pickle(self.root / file).get(key)
        if not isinstance(classes, list) or len(classes) != self.num_classes:
            raise ValueError(f"{self.root / file}: expected a list {key!r} of {self.num_classes} names")
        parts = [self._batch(self.root / name) for name in self.batches[split]]
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        items = [
            f"{name}/{i:05d}" for name, (_, y) in zip(self.batches[split], parts, strict=True) for i in range(len(y))
        ]
        return ArrayImages(items, labels, [str(name) for name in classes], pixels)

    def _batch(self, path: Path) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, "n"]]:
        batch = read_pickle(path)
        rows, labels = batch.get("data"), batch.get(self.labels_key)
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (3 * SIDE * SIDE,):
            got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise ValueError(f"{path}: got data of {got}, expected uint8 (images, {3 * SIDE * SIDE})")
        if not isinstance(labels, list) or len(labels) != len(rows):
            count = len(labels) if isinstance(labels, list) else "no"
            raise ValueError(f"{path}: got {count} {self.labels_key} for {len(rows)} images")
        pixels = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        return pixels, counted_from(0, np.array(labels, np.int64), self.num_classes, path)


@dataclass(frozen=True)
class CIFAR10(CIFAR):
    """Ten classes; 50 000 and 10 000 images."""

    title: ClassVar[str] = "CIFAR-10"
    folder: ClassVar[str] = "cifar-10-batches-py"
    how_to_get: ClassVar[str] = (
        "CIFAR-10: cifar-10-python.tar.gz from cs.toronto.edu/~kriz/cifar.html, unpacked under the data root; or root=FOLDER"
    )
    batches: ClassVar[dict[str, list[str]]] = {
        "train": [f"data_batch_{i}" for i in range(1, 6)],
        "test": ["test_batch"],
    }
    meta: ClassVar[tuple[str, str]] = ("batches.meta", "label_names")
    labels_key: ClassVar[str] = "labels"
    num_classes: ClassVar[int] = 10


@dataclass(frozen=True)
class CIFAR100(CIFAR):
    """The hundred fine classes."""

    title: ClassVar[str] = "CIFAR-100"
    folder: ClassVar[str] = "cifar-100-python"
    how_to_get: ClassVar[str] = (
        "CIFAR-100: cifar-100-python.tar.gz from cs.toronto.edu/~kriz/cifar.html, unpacked under the data root; or root=FOLDER"
    )
    batches: ClassVar[dict[str, list[str]]] = {"train": ["train"], "test": ["test"]}
    meta: ClassVar[tuple[str, str]] = ("meta", "fine_label_names")
    labels_key: ClassVar[str] = "fine_labels"
    num_classes: ClassVar[int] = 100


def read_pickle(path: Path) -> dict[str, Any]:
    """A dictionary of arrays, lists, texts and numbers, as Python 2 or 3 wrote it.

    Raises `ValueError` for anything else in it: nothing of the file is executed.
    """
    try:
        with path.open("rb") as file:
            found = PlainUnpickler(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a pickle of arrays and lists ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got a pickled {type(found).__name__}, expected a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


class PlainUnpickler(pickle.Unpickler):
    """Makes arrays and plain containers; any other class or function that a pickle names is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return PLAIN[module, name]


def _bytes_of(text: str, encoding: str = "latin1") -> bytes:
    """Python 3 writes bytes for Python 2 as a text to encode."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, which is refused")
    return text.encode("latin1")


_reconstruct: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]  # makes an empty array
# What a pickled array of numbers consists of; numpy 2 has moved one of them.
PLAIN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes_of,
}


def write_cifar(
    cifar: CIFAR,
    train: tuple[UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, "n"]],
    test: tuple[UInt8[np.ndarray, "m 32 32 3"], Int[np.ndarray, "m"]],
) -> CIFAR:
    """Write images and their labels in the official layout."""
    cifar.root.mkdir(parents=True, exist_ok=True)
    for split, (pixels, labels) in {"train": train, "test": test}.items():
        names = cifar.batches[split]
        for name, part in zip(names, np.array_split(np.arange(len(labels)), len(names)), strict=True):
            rows = pixels[part].transpose(0, 3, 1, 2).reshape(len(part), -1)
            batch = {"data": np.ascontiguousarray(rows), cifar.labels_key: labels[part].tolist()}
            (cifar.root / name).write_bytes(pickle.dumps(batch, protocol=2))
    file, key = cifar.meta
    names = [f"class {label}" for label in range(cifar.num_classes)]
    (cifar.root / file).write_bytes(pickle.dumps({key: names}, protocol=2))
    return cifar
