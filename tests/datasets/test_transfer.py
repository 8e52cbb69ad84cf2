"""The sets of fine-tuning: what is written is read again, labels from 0; what is missing or wrong is named; pickles run no code."""

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from longtake.datasets import matlab
from longtake.datasets.annotations import read_mat
from longtake.datasets.cars import write_cars
from longtake.datasets.cifar import CIFAR10, CIFAR100, read_pickle, write_cifar
from longtake.datasets.flowers import write_flowers
from longtake.datasets.inaturalist import write_inat18
from longtake.datasets.labelled import ImageSet
from longtake.datasets.transfer import missing_images, odd_images, open_images

DRAW = np.random.default_rng(0)


def flat(colours: list[int], side: int = 24) -> list[np.ndarray]:
    """Pictures of one grey each, which JPEG keeps."""
    return [np.full((side, side + 2 * i, 3), colour, np.uint8) for i, colour in enumerate(colours)]


def cifar(kind: type) -> object:
    def make(root: Path) -> ImageSet:
        train, test = (DRAW.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (12, 4))
        return write_cifar(kind(root), (train, np.arange(12) % 10), (test, np.array([9, 0, 3, 3])))

    return make


def flowers(root: Path) -> ImageSet:
    lists = {"trnid": [4, 0], "valid": [2], "tstid": [3, 1, 5]}
    return write_flowers(root, flat([10, 20, 30, 40, 50, 60]), np.array([0, 1, 101, 2, 1, 0]), lists)


def cars(combined: bool) -> object:
    def make(root: Path) -> ImageSet:
        tested = [False, True, True, False]
        return write_cars(
            root, flat([10, 20, 30, 40]), np.array([1, 0, 1, 0]), tested, ["Audi TT", "BMW M3"], combined=combined
        )

    return make


def inat(root: Path) -> ImageSet:
    return write_inat18(
        root, {"train": (flat([10, 20, 30]), np.array([2, 0, 1])), "val": (flat([40]), np.array([2]))}, 3
    )


# Layout, how to make one, items and labels of both splits.
CASES = {
    "cifar10": (cifar(CIFAR10), "cifar10", ("train", "test"), [i % 10 for i in range(12)], [9, 0, 3, 3]),
    "cifar100": (cifar(CIFAR100), "cifar100", ("train", "test"), [i % 10 for i in range(12)], [9, 0, 3, 3]),
    "flowers": (flowers, "flowers", ("train", "test"), [1, 0, 101], [2, 1, 0]),
    "cars": (cars(combined=True), "cars", ("train", "test"), [1, 0], [0, 1]),
    "cars devkit": (cars(combined=False), "cars", ("train", "test"), [1, 0], [0, 1]),
    "inat18": (inat, "inat18", ("train", "val"), [2, 0, 1], [2]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_read_again(case: str, tmp_path: Path) -> None:
    make, layout, splits, train_labels, test_labels = CASES[case]
    root = str(make(tmp_path / "set").root)
    assert missing_images(layout, root, splits) == []
    train, test = open_images(layout, root, splits)
    assert train.labels.tolist() == train_labels
    assert test.labels.tolist() == test_labels
    assert len(set(train.items) | set(test.items)) == len(train) + len(test), "names are unique"
    assert len(train.classes) == len(test.classes) > max(train_labels)
    assert train.image(0).mode == "RGB"
    odd = odd_images(layout, root, splits)
    assert any(f"{len(train)} images" in line for line in odd), "the original has more"
    assert not any("cannot read" in line for line in odd)


def test_pixels_are_where_they_belong(tmp_path: Path) -> None:
    """CIFAR stores planes of red, green and blue; the fifth training picture lies in the second file."""
    pixels = DRAW.integers(0, 256, (12, 32, 32, 3), np.uint8)
    made = write_cifar(CIFAR10(tmp_path), (pixels, np.arange(12) % 10), (pixels[:1], np.array([0])))
    (train,) = open_images("cifar10", str(tmp_path), ["train"])
    assert all(np.array_equal(np.array(train.image(i)), pixels[i]) for i in range(12))
    assert train.items[4] == "data_batch_2/00001"
    rows = read_pickle(tmp_path / "data_batch_1")["data"]
    assert rows[0, 0] == pixels[0, 0, 0, 0]
    assert rows[0, 1024] == pixels[0, 0, 0, 1]
    assert rows[0, 32] == pixels[0, 1, 0, 0]
    assert made.open("train").classes[3] == "class 3"


def test_files_are_matched_with_their_labels(tmp_path: Path) -> None:
    """By number in Flowers, by name in Cars, by id in iNaturalist: the picture's grey says which one it is."""
    greys = {}
    for case in ("flowers", "cars", "cars devkit", "inat18"):
        make, layout, splits, _, _ = CASES[case]
        for images in open_images(layout, str(make(tmp_path / case).root), splits):
            greys.setdefault(case, []).append(
                [round(float(np.array(images.image(i)).mean()), -1) for i in range(len(images))]
            )
    assert greys == {
        "flowers": [[50, 10, 30], [40, 20, 60]],
        "cars": [[10, 40], [20, 30]],
        "cars devkit": [[10, 40], [20, 30]],
        "inat18": [[10, 20, 30], [40]],
    }


def test_the_order_of_annotations_is_not_that_of_images(tmp_path: Path) -> None:
    root = inat(tmp_path).root
    content = json.loads((root / "train2018.json").read_text())
    content["annotations"].reverse()
    (root / "train2018.json").write_text(json.dumps(content))
    assert open_images("inat18", str(root), ["train"])[0].labels.tolist() == [2, 0, 1]
    assert open_images("inat18", str(root), ["train"])[0].classes == ["species 0", "species 1", "species 2"]
    (root / "categories.json").unlink()
    assert open_images("inat18", str(root), ["train"])[0].classes == ["0", "1", "2"]


def test_folders_and_worlds_have_the_same_interface(tiny_folder: Path) -> None:
    train, val = open_images("imagefolder", str(tiny_folder), ["train", "val"])
    assert (len(train), len(val), train.labels.max()) == (36, 30, 2)
    assert train.items[0] == "across/0.png"
    assert train.image(0).size == (64, 64)
    assert missing_images("imagefolder", "mini", ["train", "test"]) == []


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_named_with_the_way_to_get_it(case: str, tmp_path: Path) -> None:
    make, layout, splits, _, _ = CASES[case]
    (line,) = missing_images(layout, str(tmp_path / "set"), splits)
    assert f"no folder {tmp_path / 'set'}" in line
    assert "under the data root" in line
    made = make(tmp_path / "set")
    (hint,) = missing_images(layout, str(tmp_path), splits)
    assert f"did you mean {tmp_path / 'set'}?" in hint or layout == "cars"
    lost = made.needed(splits[1])[0]
    (made.root / lost).rename(tmp_path / "elsewhere")
    (line,) = missing_images(layout, str(made.root), splits)
    assert ("cars_meta.mat" if layout == "cars" else lost) in line


@pytest.mark.parametrize("case", ["flowers", "cars", "cars devkit", "inat18"])
def test_listed_images_that_are_missing_are_named(case: str, tmp_path: Path) -> None:
    make, layout, splits, _, _ = CASES[case]
    made = make(tmp_path)
    gone = made.open(splits[1]).items[0]
    (made.root / gone).unlink()
    with pytest.raises(ValueError, match=rf"1 of the \d images of {splits[1]} missing: \['{gone}'\]"):
        open_images(layout, str(tmp_path), splits)


def test_images_that_cannot_be_decoded_are_odd(tmp_path: Path) -> None:
    made = flowers(tmp_path)
    (tmp_path / "jpg" / "image_00001.jpg").write_bytes(b"not a picture")
    assert any("image_00001.jpg" in line for line in made.validate(["train", "test"]))


def rewritten(path: Path, **changes: object) -> None:
    """A pickle or a MATLAB file with some variables replaced, or left out where None."""
    if path.suffix == ".mat":
        kept = {key: value for key, value in loadmat(path).items() if not key.startswith("__")} | changes
        savemat(path, {key: value for key, value in kept.items() if value is not None})
    else:
        path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | changes))


def listing(**changes: object) -> str:
    """An iNaturalist list of one image, with some keys replaced."""
    one = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 7}]}
    return json.dumps(one | {"categories": [{"id": 0}]} | changes)


# Which set, its file, what is written over it (variables, or a whole content), and what is said.
BAD = {
    "cifar labels": ("cifar10", "test_batch", {"labels": [0, 1, 10, 2]}, "numbers 0 to 10, expected 0 to 9"),
    "cifar count": ("cifar10", "test_batch", {"labels": [0, 1]}, "got 2 labels for 4 images"),
    "cifar data": ("cifar10", "test_batch", {"data": np.zeros((4, 7))}, r"float64 \(4, 7\), expected uint8"),
    "cifar kind": ("cifar100", "meta", {"fine_label_names": ["a"]}, "a list 'fine_label_names' of 100"),
    "cifar cut": ("cifar10", "test_batch", b"\x80\x04\x95\x00", "not a pickle"),
    "cifar list": ("cifar10", "test_batch", pickle.dumps([1]), "a pickled list, expected a dictionary"),
    "flower labels": ("flowers", "imagelabels.mat", {"labels": [[1, 2, 103, 3, 2, 1]]}, "expected 1 to 102"),
    "flower zero": ("flowers", "imagelabels.mat", {"labels": [[0, 1, 2, 3, 2, 1]]}, "numbers 0 to 2, expected 1"),
    "flower ids": ("flowers", "setid.mat", {"tstid": [[9]]}, "not among the 6 of imagelabels"),
    "flower key": ("flowers", "setid.mat", {"tstid": None, "other": [[1]]}, "no variable 'tstid'"),
    "flower mat": ("flowers", "setid.mat", b"x" * 300, "not a MATLAB file"),
    "cars classes": ("cars", "cars_annos.mat", {"class_names": np.array([["A"]], object)}, "1 to 2, expected 1 to 1"),
    "cars key": ("cars devkit", "devkit/cars_train_annos.mat", {"annotations": None}, "no variable 'annotations'"),
    "cars field": ("cars", "cars_annos.mat", {"annotations": np.zeros((1, 2), [("class", "O")])}, "without rel.*test"),
    "inat json": ("inat18", "val2018.json", b"{", "not JSON"),
    "inat list": ("inat18", "val2018.json", b"[]", "got a list, expected an object with the keys"),
    "inat keys": ("inat18", "val2018.json", b'{"images": []}', "annotations, categories missing"),
    "inat unlabelled": ("inat18", "val2018.json", listing(annotations=[]).encode(), "1 of 1 images have no annotation"),
    "inat classes": (
        "inat18",
        "val2018.json",
        listing(annotations=[{"image_id": 1, "category_id": 0}]).encode(),
        "missing: ",
    ),
    "inat large": (
        "inat18",
        "val2018.json",
        listing(annotations=[{"image_id": 1, "category_id": 10**20}]).encode(),
        "category_id 1000.*, expected a whole number of 64 bits",
    ),
    "inat category": ("inat18", "val2018.json", listing().encode(), "class numbers 7 to 7, expected 0 to 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    name, file, content, message = BAD[case]
    make, layout, splits, _, _ = CASES[name]
    root = make(tmp_path).root
    if isinstance(content, bytes):
        (root / file).write_bytes(content)
    else:
        rewritten(root / file, **content)
    with pytest.raises(ValueError, match=message) as error:
        open_images(layout, str(root), splits)
    assert "\n" not in str(error.value)


def test_layouts_and_splits_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layout: got 'cifar', expected one of imagefolder, cifar10"):
        missing_images("cifar", "x", ["train"])
    with pytest.raises(ValueError, match="expected the folder of Flowers-102"):
        missing_images("flowers", None, ["train"])
    with pytest.raises(ValueError, match="got split 'val', expected one of train, test"):
        missing_images("cifar10", str(tmp_path), ["train", "val"])


class Malicious:
    def __reduce__(self) -> tuple:
        return (exec, ("import builtins; builtins.executed = True",))


@pytest.mark.parametrize("content", [{"data": Malicious()}, Malicious()])
def test_code_in_pickles_is_refused_and_not_executed(content: object, tmp_path: Path) -> None:
    import builtins

    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"asks for builtins\.exec, which is refused"):
        read_pickle(path)
    assert not hasattr(builtins, "executed")


class Python2(pickle._Pickler):
    """Writes bytes and texts as Python 2 wrote its strings, and numpy's old module name: what the original files hold."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes | str) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"T" + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    def save_global(self, value: object, name: str | None = None) -> None:
        module = "numpy.core.multiarray" if value.__name__ == "_reconstruct" else value.__module__
        self.write(f"c{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string
    dispatch[type] = dispatch[type(len)] = save_global


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    rows = DRAW.integers(0, 256, (3, 3072), np.uint8)
    buffer = io.BytesIO()
    Python2(buffer, protocol=2).dump({"data": rows, "labels": [6, 9, 9], "batch_label": "testing batch 1 of 1"})
    (tmp_path / "batch").write_bytes(buffer.getvalue())
    assert b"numpy.core.multiarray\n_reconstruct" in buffer.getvalue()
    assert b"_codecs" not in buffer.getvalue()
    found = read_pickle(tmp_path / "batch")
    np.testing.assert_array_equal(found["data"], rows)
    assert found["labels"] == [6, 9, 9]


class Pointing:
    """Pickles as an array of objects whose type denies that: a reader that believes it follows the file's bytes as pointers."""

    def __init__(self, code: str, flags: int, content: bytes, shape: tuple[int, ...]) -> None:
        self.code, self.flags, self.content, self.shape = code, flags, content, shape

    def __reduce__(self) -> Any:
        kind = Kind(self.code, self.flags)
        return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, self.shape, kind, False, self.content)


class Kind:
    def __init__(self, code: str, flags: int) -> None:
        self.code, self.flags = code, flags

    def __reduce__(self) -> Any:
        return np.dtype, (self.code, False, True), (3, "|", None, None, None, 8, 8, self.flags)


@pytest.mark.parametrize(
    ("code", "flags", "shape"),
    [
        ("O8", 0, (1, 3072)),
        ("O8", 63, (1, 3072)),
        ("V8", 0, (1, 3072)),
        ("M8", 0, (1, 3072)),
        ("u1", 0, (1, 10**12)),
        ("u1", 0, (-1, 3072)),
    ],
)
def test_an_array_that_is_not_of_plain_numbers_is_refused(
    code: str, flags: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    """NumPy ends the process at the first of them (a segmentation fault), so it is tried in one of its own."""
    content = (0x4141414141414141).to_bytes(8, "little") * 3072
    batch = {"data": Pointing(code, flags, content, shape), "labels": [0]}
    (tmp_path / "batch").write_bytes(pickle.dumps(batch, protocol=2))
    reads = "import pathlib, sys, longtake.datasets.cifar as cifar; print(cifar.read_pickle(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", reads, str(tmp_path / "batch")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ValueError: {tmp_path / 'batch'}: not a pickle of arrays and lists" in done.stderr


def test_a_matlab_file_that_ends_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.mat"
    path.write_bytes(b"MATLAB 5.0")
    monkeypatch.setattr(matlab, "READER", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ValueError, match=r"labels\.mat: not a MATLAB file \(reading it ends the reader with -11"):
        read_mat(path, ["labels"])


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("file", ["train2018.json", "categories.json"])
@pytest.mark.parametrize("content", [DEEP, b'{"a": ' * 100_000, b"[1]", b'"x"', b"null", b"[[1]]", b"\xff"])
def test_other_json_is_a_sentence(file: str, content: bytes, tmp_path: Path) -> None:
    make, layout, splits, _, _ = CASES["inat18"]
    root = make(tmp_path).root
    (root / file).write_bytes(content)
    with pytest.raises(ValueError, match=file):
        open_images(layout, str(root), splits)
