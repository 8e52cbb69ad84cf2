"""The same data under other habits give the same numbers: other names, EXIF tags, numbers that skip, files of annotation tools.

Each evaluation is run on plain data and on the same data as somebody else would have stored them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_cases import CASES, Case, maker, vit
from eval_perfect import PERFECT
from PIL import Image
from spoilt import other_annotations

from longtake.datasets.coco import COCO, classes_of
from longtake.datasets.davis import write_mask
from longtake.downstream import mm

Change = Callable[[Path], object]
# In order, and in another one where `.jpg` stands behind them.
NAMES = ("photo", "photo (1)", "street", "street-2")
SEGMENTATION = Case("dense_knn_mini", CASES["upernet"].data, {"size": 32, "num_neighbors": 5, "layout": "ade20k",
                    "train_list": "training", "test_list": "validation"})  # fmt: skip
CROSSED = {**CASES, "dense_knn of ade20k": SEGMENTATION}


class Runs:
    """Metrics and outcomes of each case on plain data, computed once, and on a copy that is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plain = folder, dict[str, Any]()

    def data(self, name: str) -> Path:
        root = self.folder / name.replace(" ", "_") / "data"
        return root if root.is_dir() else CROSSED[name].data(root)

    def run(self, name: str, root: Path) -> tuple[dict[str, float], dict[str, np.ndarray], list[bytes]]:
        task, out = maker(CROSSED[name], root)(), root.with_name(f"{root.name}_out")
        if hasattr(task, "gallery"):
            task.gallery = True
        assert task.check() == []
        metrics = task.evaluate(vit(), out)
        with np.load(out / "outcomes.npz") as file:
            outcomes = {key: file[key] for key in file.files if key not in ("items", "groups")}
        kept = [
            path
            for pattern in ("training*.csv", "seqtrack*.csv", "detections.json", "*_001.txt")
            for path in sorted(out.rglob(pattern))
        ]
        return metrics, outcomes, [path.read_bytes() for path in kept]

    def same(self, name: str, change: Change) -> None:
        """The numbers on a changed copy are those on plain data, item by item, and loss by loss where there is a training."""
        if name not in self.plain:
            self.plain[name] = self.run(name, self.data(name))
        copy = shutil.copytree(self.data(name), self.folder / f"{len(list(self.folder.iterdir()))}_copy")
        change(copy)
        metrics, outcomes, kept = self.run(name, copy)
        expected, items, known = self.plain[name]
        assert kept == known
        assert known or name not in ("upernet", "cascade_mask_rcnn", "seqtrack")
        assert metrics == pytest.approx(expected, nan_ok=True, abs=0)
        for metric, values in items.items():
            np.testing.assert_array_equal(outcomes[metric], values)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("items"))


def rename_ade20k(root: Path) -> None:
    for path in [*root.rglob("*.jpg"), *root.rglob("*.png")]:
        path.rename(path.with_name(f"{NAMES[int(path.stem[-1])]}{path.suffix}"))


def rename_voc(root: Path) -> None:
    """Names of training and test images, and lists of one class, which say 1 behind a name."""
    new = {f"{n:06d}": f"{'' if n < 4 else 'z '}{NAMES[n % 4]}" for n in range(8)}
    for path in [p for p in root.rglob("*") if p.stem in new]:
        path.rename(path.with_name(f"{new[path.stem]}{path.suffix}"))
    for path in root.rglob("*.txt"):
        path.write_text("".join(f"{new[name]}  1\n" for name in path.read_text().split()))


def rename_coco(root: Path) -> None:
    for split in ("train2017", "val2017"):
        path = COCO(root).annotation_file(split)
        content = json.loads(path.read_text())
        for image in content["images"]:
            old, image["file_name"] = image["file_name"], f"cam 1/{NAMES[image['id'] % 4]}.JPG"
            (root / split / "cam 1").mkdir(exist_ok=True)
            (root / split / old).rename(root / split / image["file_name"])
        path.write_text(json.dumps(content))


def count_from(first: int, name: str = "{}") -> Change:
    """Frames without zeros in front, so that 10 stands before 9 where names are sorted."""

    def rename(root: Path) -> None:
        for folder in {path.parent for path in [*root.rglob("*.jpg"), *root.rglob("*.png")]}:
            for t, path in enumerate(sorted([*folder.glob("*.jpg"), *folder.glob("*.png")]), first):
                path.rename(path.with_name(f"{name.format(t)}{path.suffix}"))

    return rename


def upper_case(root: Path) -> None:
    for path in root.rglob("*.jpg"):
        path.rename(path.with_suffix(".JPG"))


RENAMED: list[tuple[str, Change]] = [
    ("upernet", rename_ade20k), ("dense_knn of ade20k", rename_ade20k), ("dense_knn", rename_voc), ("lost", rename_voc),
    ("cascade_mask_rcnn", rename_coco), ("davis", count_from(8)), ("video_kmeans", count_from(8)),
    ("davis", count_from(8, "frame{}")), ("seqtrack", count_from(1)), ("seqtrack", count_from(0, "img_{}")),
    *((name, upper_case) for name in ("upernet", "dense_knn", "davis", "seqtrack")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), RENAMED)
def test_names_do_not_matter(runs: Runs, name: str, change: Change) -> None:
    runs.same(name, change)


def tag(orientation: int) -> Change:
    """Pictures, which are not masks, as a camera tags them: the pixels are as they were."""
    exif = Image.Exif()
    exif[274] = orientation
    block = b"\xff\xe1" + (len(exif.tobytes()) + 2).to_bytes(2, "big") + exif.tobytes()

    def change(root: Path) -> None:
        for path in root.rglob("*.jpg"):
            content = path.read_bytes()
            path.write_bytes(content[:2] + block + content[2:])
        for path in root.rglob("class*/*.png"):
            Image.open(path).save(path, exif=exif.tobytes())

    return change


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("name", sorted(CROSSED.keys() - {"own_video"}))
def test_no_evaluation_turns_a_picture(runs: Runs, name: str, orientation: int) -> None:
    runs.same(name, tag(orientation))


def number_objects(*numbers: int) -> Change:
    def change(root: Path) -> None:
        for path in (root / "Annotations").rglob("*.png"):
            mask = np.array(Image.open(path))
            write_mask(np.array([0, *numbers, *[0] * (255 - len(numbers) - 1), 255], np.uint8)[mask], path)

    return change


@pytest.mark.parametrize("numbers", [(1, 3), (7, 254), (200, 201)])
@pytest.mark.parametrize("name", ["davis", "video_kmeans"])
def test_numbers_of_objects_may_skip(runs: Runs, name: str, numbers: tuple[int, int]) -> None:
    runs.same(name, number_objects(*numbers))


def rewrite(change: Callable[[dict[str, Any]], object]) -> Change:
    """Other annotations of both splits."""

    return lambda root: other_annotations(root, change, "train2017", "val2017")


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: [annotation.pop(key) for annotation in content["annotations"] for key in keys]


def renumber(kind: str, first: int) -> Callable[[dict[str, Any]], object]:
    return lambda content: [item.update(id=first + i) for i, item in enumerate(content[kind])]


HABITS = {
    "categories in another order": lambda c: c["categories"].sort(key=lambda entry: -entry["id"]),
    "categories in a third order": lambda c: c["categories"].append(c["categories"].pop(0)),
    "no iscrowd": without("iscrowd"),
    "no area": without("area"),
    "an area that is empty": lambda c: [annotation.update(area=[]) for annotation in c["annotations"]],
    "neither": without("iscrowd", "area"),
    "ids from 0": renumber("annotations", 0),
    "ids twice": lambda c: [annotation.update(id=5) for annotation in c["annotations"]],
    "ids that skip": lambda c: [a.update(id=10 * a["id"] + 90) for a in c["annotations"]],
    "annotations backwards": lambda c: c["annotations"].reverse(),
    "crowd said by null": lambda c: [annotation.update(iscrowd=None) for annotation in c["annotations"]],
}


@pytest.mark.parametrize("habit", HABITS)
def test_annotation_tools_write_the_same_data(runs: Runs, habit: str) -> None:
    runs.same("cascade_mask_rcnn", rewrite(HABITS[habit]))


@pytest.mark.parametrize("habit", HABITS)
def test_their_objects_are_trained_on_and_scored_by_the_same_numbers(runs: Runs, habit, tmp_path, monkeypatch) -> None:
    copy = shutil.copytree(runs.data("cascade_mask_rcnn"), tmp_path / "coco")
    rewrite(HABITS[habit])(copy)
    task, data = maker(CASES["cascade_mask_rcnn"], copy)(), COCO(copy)
    content = data.read("train2017")
    classes, of_image = classes_of(content), {a["image_id"]: a["category_id"] for a in content["annotations"]}
    for split in ("train2017", "val2017"):
        samples = mm.build_dataset("mmdet", task.dataset_config(data, split, classes, task.train_pipeline()))  # type: ignore[attr-defined]
        for info in map(samples.get_data_info, range(len(samples))):
            labels = [instance["bbox_label"] for instance in info["instances"]]
            assert labels == [list(classes).index(of_image[info["img_id"]])]
    perfect = PERFECT["cascade_mask_rcnn"](maker(CASES["cascade_mask_rcnn"], copy), tmp_path / "out", monkeypatch)
    assert perfect == dict.fromkeys(perfect, pytest.approx(100))


def small(content: dict[str, Any]) -> None:
    for image in content["images"]:
        image.update(width=28, height=28)


WRONG = {
    "small": (small, "4 images, none with an object and sides of 32 pixels or more"),
    "no objects": (lambda c: [i.update(id=i["id"] + 9) for i in c["images"]], "expected numbers that are listed"),
    "names": (lambda c: c["categories"][1].update(name=c["categories"][0]["name"]), "two of the categories have the name 'c'"),
    "numbers": (lambda c: c["categories"].append({**c["categories"][0], "name": "d"}), "two of the categories have the id 30"),
    "images": (lambda c: c["images"][1].update(id=1), "two of the images have the id 1"),
    "files": (
        lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]), "two of the images have the file_name",
    ),
    "outside": (
        lambda c: c["images"][0].update(file_name="../a.jpg"), r"train2017: got the name '\.\./a\.jpg', expected one of a file in",
    ),
    "entry": (lambda c: c["annotations"].append(7), r"annotations(\[4\] is a int,| has an entry that is no)"),
    "mask": (
        lambda c: c["annotations"][0].update(segmentation=[[1, 2]], area=None), "has neither an area nor a mask or box",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_annotations_that_will_not_do_are_one_line_before_training(runs: Runs, tmp_path: Path, case: str) -> None:
    change, message = WRONG[case]
    copy = shutil.copytree(runs.data("cascade_mask_rcnn"), tmp_path / "coco")
    rewrite(change)(copy)
    with pytest.raises(ValueError, match=message):
        maker(CASES["cascade_mask_rcnn"], copy)().check()


ODD: dict[str, tuple[str, Change, str]] = {
    "tagged, ade20k": ("upernet", tag(6), "training: 4 pictures would be turned by a viewer"),
    "tagged, voc": ("lost", tag(3), "Main/trainval: 8 pictures would be turned by a viewer"),
    "tagged, coco": ("cascade_mask_rcnn", tag(8), "val2017: 4 pictures would be turned by a viewer"),
    "tagged, davis": ("davis", tag(6), "val: 8 pictures would be turned by a viewer"),
    "tagged, got10k": ("seqtrack", tag(6), "val: 27 pictures would be turned by a viewer"),
    "tagged, classes": ("knn", tag(6), "train: 72 pictures would be turned by a viewer"),
    "ids that skip": ("davis", number_objects(1, 3), "walk: its objects have the numbers 1, 3, which skip some"),
    "ids twice": ("cascade_mask_rcnn", rewrite(HABITS["ids twice"]), "train2017: an id of annotations is there twice"),
    "order": (
        "cascade_mask_rcnn", rewrite(HABITS["categories in another order"]),
        "val2017: the categories stand in the order 30, 20, 10; classes are numbered by id",
    ),
    "empty, ade20k": (
        "upernet", lambda root: blank(root / "annotations/training/training2.png"),
        "training: 1 masks have nothing labelled: training2.png",
    ),
    "empty, voc": (
        "lost", lambda root: blank(root / "SegmentationClass/000005.png"),
        "Segmentation/val: 1 masks have nothing labelled: 000005.png",
    ),
    "empty, davis": (
        "davis", lambda root: blank(root / "Annotations/480p/bear/00002.png"), "bear: 1 masks have no object: 00002.png",
    ),
    "empty, coco": (
        "cascade_mask_rcnn", rewrite(lambda c: c["annotations"][0].update(area=0)),
        "val2017: 1 annotations have an empty mask or box: 1",
    ),
    "16 bits": ("upernet", lambda root: deepen(root / "images/training/training1.jpg"), "1 pictures have 16 bits a channel"),
}  # fmt: skip


def blank(path: Path) -> None:
    write_mask(np.zeros_like(np.array(Image.open(path))), path)


def deepen(path: Path) -> None:
    Image.fromarray(np.array(Image.open(path).convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))
    path.unlink()


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_said_before_anything_is_computed(runs: Runs, tmp_path: Path, case: str) -> None:
    name, change, line = ODD[case]
    before = maker(CASES[name], runs.data(name))().validate()
    assert not any(line in found for found in before)
    copy = shutil.copytree(runs.data(name), tmp_path / "copy")
    change(copy)
    assert any(line in found for found in maker(CASES[name], copy)().validate())
