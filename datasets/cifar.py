"""CIFAR-10 and CIFAR-100 as their Python archives unpack (https://www.cs.toronto.edu/~kriz/cifar.html; torchvision's folders).

    cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta
    cifar-100-python/train, test, meta

The files are pickles, which can run any code when they are loaded. These are read by an unpickler that knows arrays and plain
containers and refuses everything else; of arrays it takes shape, type and bytes, and makes them itself.
"""

import pickle
import re
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
        return pixels, counted_from(0, whole_numbers(labels, path), self.num_classes, path)


def whole_numbers(labels: list[Any], path: Path) -> Int[np.ndarray, "n"]:
    """A list of labels. Raises `ValueError` for anything but whole numbers in it."""
    if others := [label for label in labels if type(label) is not int or abs(label) >= 1 << 31]:
        raise ValueError(f"{path}: got a label of type {type(others[0]).__name__}, expected whole numbers")
    return np.array(labels, np.int64)


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
    except Exception as error:  # a dozen kinds, by which byte is wrong
        raise ValueError(f"{path}: not a pickle of arrays and lists ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got a pickled {type(found).__name__}, expected a dictionary")
    return {text_of(key): array_of(value, path) for key, value in found.items()}


class PlainUnpickler(pickle.Unpickler):
    """Makes plain containers, and what is pickled of arrays; any other class or function that a pickle names is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return PLAIN[module, name]


class PickledType:
    """What a pickle says about the type of an array's numbers. NumPy would believe all of it, flags of its memory, too."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code: Any = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else None

    def numpy(self) -> np.dtype:
        """Raises `ValueError` for types that are not plain numbers."""
        code = self.code.decode("latin1") if isinstance(self.code, bytes) else self.code
        if not isinstance(code, str) or not NUMBERS.fullmatch(code) or self.order not in ("=", "<", ">", "|"):
            raise ValueError(f"an array of type {code!r} {self.order!r}, expected plain numbers")
        return np.dtype(code if self.order == "|" else self.order + code)


class PickledArray:
    """What a pickle says about an array: shape, type, order and bytes."""

    state: Any = None

    def __init__(self, *_: Any) -> None:
        """Made empty; a pickle's arguments are the class and shape of nothing."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        """Raises `ValueError` for what is no array of plain numbers."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("an array without its numbers")
        _, shape, kind, by_columns, content = self.state
        content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote bytes
        if not isinstance(kind, PickledType) or not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise ValueError("an array of other parts than shape, type and bytes")
        if not all(isinstance(side, int) and side >= 0 for side in shape) or len(shape) > MOST_SIDES:
            raise ValueError(f"an array of shape {str(shape)[:80]}")
        flat = np.frombuffer(content, kind.numpy())
        return flat.reshape(shape, order="F" if by_columns else "C").copy("K")


NUMBERS = re.compile("[iuf][1248]|b1")  # codes of NumPy's types
MOST_SIDES = 32  # dimensions, NumPy's own limit before its version 2


def text_of(key: Any) -> str:
    """A key of the dictionary, as Python 2 or 3 wrote it; of another kind, that kind: no key that is asked for."""
    return (
        key.decode("latin1") if isinstance(key, bytes) else key if isinstance(key, str) else f"<{type(key).__name__}>"
    )


def array_of(value: Any, path: Path) -> Any:
    """A value of the dictionary, an array where it was one. Raises `ValueError` for an array of anything but plain numbers."""
    try:
        return value.numpy() if isinstance(value, PickledArray) else value
    except (ValueError, TypeError, UnicodeError) as error:
        raise ValueError(f"{path}: not a pickle of arrays and lists ({error})") from error


def _bytes_of(text: Any, encoding: str = "latin1") -> bytes:
    """Python 3 writes bytes for Python 2 as a text to encode."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(
            f"it asks for the encoding {encoding!r} of a {type(text).__name__}, which is refused"
        )
    return text.encode("latin1")


# What a pickled array of numbers consists of; numpy 2 has moved one of them. None is NumPy's own.
PLAIN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
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
