"""What a look at every file finds: what a run refuses is an error there, too, and what is odd is said."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_cases import CASES, maker, vit
from omegaconf import OmegaConf
from PIL import Image
from spoilt import halved, other_annotations

from longtake.engine.config import composed
from longtake.tasks.check_data import check_data


def changed(path: Path, old: str, new: str, leaving_out: int = 0) -> None:
    """Replace the first `old`, and then leave out so many lines at the end."""
    text = path.read_text()
    assert old in text
    lines = text.replace(old, new, 1).splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) - leaving_out]))


def coco_changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda root: other_annotations(root, change)


def masked(path: str, mask: np.ndarray) -> Callable[[Path], object]:
    return lambda root: Image.fromarray(mask).save(root / path)


def alone(root: Path) -> None:
    for path in sorted((root / "train" / "class2").iterdir())[1:]:
        path.unlink()


NONE, SMALL = np.zeros((64, 96), np.uint8), np.ones((8, 8), np.uint8)
# What is wrong with the data of an evaluation, what is said about it, and whether a run refuses it.
FOUND = {
    "a box that is no number": (
        "lost",
        lambda r: changed(r / "Annotations/000005.xml", "<xmin>", "<xmin>nan"),
        "000005.xml",
        True,
    ),
    "an endless box": (
        "lost",
        lambda r: changed(r / "Annotations/000005.xml", "<xmin>", "<xmin>1e999"),
        "000005.xml: got xmin",
        True,
    ),
    "a huge box": (
        "lost",
        lambda r: changed(r / "Annotations/000005.xml", "<xmax>", "<xmax>99"),
        "000005: a box reaches",
        False,
    ),
    "a mask of another size": (
        "lost",
        masked("SegmentationClass/000005.png", SMALL),
        "000005: (a mask of 8 x 8|the mask is not as large)",
        True,
    ),
    "no object": (
        "lost",
        masked("SegmentationClass/000005.png", NONE),
        "masks have nothing labelled: 000005.png",
        False,
    ),
    "another size": (
        "dense_knn",
        masked("SegmentationClass/000005.png", SMALL),
        "000005: (a mask of 8 x 8|the mask is not as large)",
        True,
    ),
    "a class that there is not": (
        "dense_knn",
        masked("SegmentationClass/000005.png", NONE + np.uint8(99)),
        "000005.png: got classes 99 to 99, expected 0 to 20",
        True,
    ),
    "a frame of another size": (
        "davis",
        lambda r: Image.new("RGB", (40, 56)).save(r / "JPEGImages/480p/walk/00003.jpg"),
        "walk/00003.jpg: 40 x 56, its mask 96 x 64",
        False,
    ),
    "a frame of another size, in clusters": (
        "video_kmeans",
        lambda r: Image.new("RGB", (40, 56)).save(r / "JPEGImages/480p/walk/00003.jpg"),
        "walk/00003.jpg: 40 x 56, its mask 96 x 64",
        False,
    ),
    "a mask cut": ("dense_knn", lambda r: halved(r / "SegmentationClass/000005.png"), "000005.png", True),
    "a small mask": (
        "upernet",
        masked("annotations/validation/validation1.png", SMALL),
        "validation1.png: the mask is not",
        True,
    ),
    "no class": (
        "upernet",
        masked("annotations/validation/validation1.png", NONE[:, :64]),
        "1 masks have nothing labelled: validation1.png",
        False,
    ),
    "no first object": (
        "davis",
        masked("Annotations/480p/walk/00000.png", NONE),
        "walk: no object in the first mask",
        False,
    ),
    "a late object": (
        "video_kmeans",
        masked("Annotations/480p/walk/00002.png", NONE + np.uint8(7)),
        "walk: object 7",
        True,
    ),
    "a NaN of JSON": (
        "cascade_mask_rcnn",
        coco_changed(lambda c: c["annotations"][1].update(bbox=[1, 2, math.nan, 4])),
        "annotations 2 has the bbox",
        True,
    ),
    "an Infinity": (
        "cascade_mask_rcnn",
        coco_changed(lambda c: c["annotations"][1].update(bbox=[1, 2, 1e999, 4])),
        "annotations 2 has the bbox",
        True,
    ),
    "no width": (
        "cascade_mask_rcnn",
        coco_changed(lambda c: c["annotations"][1].update(bbox=[1, 2, 0, 4])),
        "1 annotations have an empty mask or box: 2",
        False,
    ),
    "outside": (
        "cascade_mask_rcnn",
        coco_changed(lambda c: c["annotations"][1].update(bbox=[1, 2, 99, 4])),
        "2 reaches",
        False,
    ),
    "a class of one image": ("linear", alone, r"\['class2'\]", True),
    "one image": ("knn", alone, "train: class 'class2' has one image", False),
    "a training image": ("logreg", alone, r"\['class2'\]", True),
    "fewer boxes": (
        "seqtrack",
        lambda r: changed(next(r.glob("val/*/groundtruth.txt")), "\n", "\n1,2,3,4\n"),
        "lines in",
        True,
    ),
    "NaN": (
        "seqtrack",
        lambda r: changed(next(r.glob("val/*/groundtruth.txt")), "\n", "\nnan,1,2,3\n", 1),
        "groundtruth.txt",
        True,
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_found(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, spoil, said, refused = FOUND[case]
    root = CASES[name].data(tmp_path / "data")
    spoil(root)
    task = maker(CASES[name], root)()
    yaml = CASES[name].yaml
    words = [f"++eval.{yaml}.{key}={value}" for key, value in CASES[name].small.items() if key.endswith("split")]
    made: Any = OmegaConf.to_container(composed([f"eval=[{yaml}]", f"eval.{yaml}.root={root}", *words]), resolve=True)
    if refused:
        with pytest.raises(ValueError, match="cannot be used"):
            check_data(made)
    else:
        check_data(made)
    shown = capsys.readouterr().out
    assert f"{yaml}: {'cannot run' if refused else 'odd'}" in shown
    assert re.search(said, shown)
    if refused:
        with pytest.raises(ValueError, match=said):  # noqa: PT012 - some look at every file in `check`
            missing = task.check()
            assert not missing
            task.evaluate(vit(), tmp_path / "out")
        assert not (tmp_path / "out" / "outcomes.npz").exists()
    else:  # what is only odd runs to its end, pictures for people and all
        task.evaluate(vit(), tmp_path / "out")
