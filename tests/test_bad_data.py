"""What is wrong with an evaluation's data, encoder or libraries is said in one line, exit code 2, before hours are spent on it;
bugs are shown whole."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from spoilt import other_annotations

from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.coco import COCO, ImageWithObjects, Mask, write_coco
from longtake.datasets.got10k import LabelledSequence as LabelledTrack
from longtake.datasets.got10k import write_got10k
from longtake.downstream import mm
from longtake.downstream.augmented import epoch_order
from longtake.run import is_stated

ALONE = ["method=none", "backbone=vit_mini", "backbone.image_size=16", "device=cpu", "num_workers=0", "baseline=false"]
PICTURE, MASK = np.full((16, 24, 3), 90, np.uint8), np.zeros((16, 24), np.uint8)


def ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        write_ade20k(root, split, [(f"{split}{n}", PICTURE, MASK + np.uint8(n)) for n in range(3)])


def coco(root: Path) -> None:
    pixels = MASK.copy()
    pixels[2:9, 3:12] = 1
    for split in ("train2017", "val2017"):
        write_coco(root, split, [ImageWithObjects(n, PICTURE, [Mask(7, pixels)]) for n in (1, 2)], {7: "box"})


def got10k(root: Path) -> None:
    frames, boxes = np.stack([PICTURE] * 20), np.tile([4.0, 3, 9, 8], (20, 1))
    for split in ("train", "val"):
        track = LabelledTrack(f"{split}_00", frames, boxes, np.full(20, 8), np.zeros(20, bool))
        write_got10k(root, [track], split)


SETS = {"upernet_mini": ade20k, "cascade_mask_rcnn_mini": coco, "seqtrack_got10k": got10k}


def other_classes(root: Path) -> None:
    for number, label in ((1, 200), (2, 151)):
        Image.fromarray(MASK + np.uint8(label)).save(root / f"annotations/validation/validation{number}.png")


def rewritten(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Other annotations of COCO's training images."""

    return lambda root: other_annotations(root, change, "train2017")


def cut(pattern: str) -> Callable[[Path], object]:
    """Files that end after a few bytes."""
    return lambda root: [path.write_bytes(path.read_bytes()[:40]) for path in root.glob(pattern)]


class Bad(NamedTuple):
    task: str
    spoil: Callable[[Path], object]  # sound data
    said: str


DATA = {
    "class": Bad("upernet_mini", other_classes, "2 of 6 masks: .*ion1.png: got class 200, expected 0 to 150; .*class 151"),
    "size": Bad(
        "upernet_mini", lambda root: Image.fromarray(MASK[:8]).save(root / "annotations/training/training0.png"),
        "1 of 6 masks: .*training0.png: the mask is not as large as the image",
    ),
    "mask cut": Bad("upernet_mini", cut("annotations/*/training0.png"), "cannot read the image .*training0.png"),
    "mask": Bad("upernet_mini", lambda root: (root / "annotations/training/training0.png").unlink(), "1 images of training"),
    "annotations": Bad("cascade_mask_rcnn_mini", rewritten(lambda c: c.update(annotations=[])), "no annotations in it"),
    "segmentation": Bad(
        "cascade_mask_rcnn_mini", rewritten(lambda c: c["annotations"][1].pop("segmentation")),
        "instances_train2017.json: annotations 2 has no segmentation",
    ),
    "categories": Bad(
        "cascade_mask_rcnn_mini", rewritten(lambda c: c["categories"].append({"id": 9, "name": "cup"})),
        "train2017 and val2017 list different categories",
    ),
    "list": Bad("cascade_mask_rcnn_mini", lambda root: COCO(root).annotation_file("val2017").write_text("[1]"), "got a list"),
    "bytes": Bad(
        "cascade_mask_rcnn_mini", lambda root: COCO(root).annotation_file("val2017").write_bytes(b"\xff\xfe{"),
        "instances_val2017.json: not JSON",
    ),
    "image": Bad(
        "cascade_mask_rcnn_mini", lambda root: (root / "val2017/000000000002.jpg").unlink(),
        r"val2017.json: 1 of 2 images missing: \['000000000002.jpg'\]",
    ),
    "resolution": Bad(
        "seqtrack_got10k", lambda root: Image.new("RGB", (48, 32)).save(root / "train/train_00/00000020.jpg"),
        r"train_00: a frame is not as large as meta_info.ini says; leave out with exclude=\[train_00\]",
    ),
    "frame": Bad("seqtrack_got10k", lambda root: (root / "val/val_00/00000005.jpg").unlink(), "19 frames and 20 lines"),
    "first box": Bad(
        "seqtrack_got10k", lambda root: (root / "val/val_00/groundtruth.txt").write_text("3,3,0,0\n" + 19 * "3,3,5,5\n"),
        r"val_00: the first box has no area; leave out with exclude=\[val_00\]",
    ),
    "frames cut": Bad("seqtrack_got10k", cut("train/*/000000[01][1-9].jpg"), "cannot read the image .*train_00"),
}  # fmt: skip

SEEN_LATE = ("class", "size", "mask cut", "first box")  # by the evaluation, which looks at every file


@pytest.fixture
def told(said, tmp_path: Path) -> Callable[..., str]:
    """The one line that an evaluation of random init ends with."""

    def run(task: str, *words: str, ends_with: int = 2) -> str:
        quiet = f"+eval.{task}.progress=false"
        code, _, error = said(*ALONE, f"output={tmp_path / 'out'}", f"eval=[{task}]", quiet, *words)
        (line,) = error.strip().splitlines()
        assert code == ends_with
        assert line.startswith("error: ")
        return line

    return run


@pytest.mark.parametrize("case", DATA)
def test_bad_data_are_named(told, tmp_path: Path, case: str) -> None:
    bad, root = DATA[case], tmp_path / "set"
    SETS[bad.task](root)
    bad.spoil(root)
    ends_with = 1 if case in SEEN_LATE else 2
    assert re.search(bad.said, told(bad.task, f"eval.{bad.task}.root={root}", ends_with=ends_with))


# The encoder or the number of processes: known before anything is computed.
UNFIT = {
    "patch": (
        "upernet_mini",
        "backbone.patch_size=4",
        "eval.upernet_mini: a pyramid for patches of 4: expected 8 or 16",
    ),
    "taps": ("upernet_mini", "eval.upernet_mini.taps=[0,1]", r"taps=\[0, 1\]: expected 4 blocks"),
    "depth": ("cascade_mask_rcnn_mini", "eval.cascade_mask_rcnn_mini.taps=[0,1,2,4]", "the encoder has 4 blocks"),
    "crops": (
        "seqtrack_got10k",
        "eval.seqtrack_got10k.search_size=60",
        "search_size: got 60 pixels, expected a multiple",
    ),
    "size": (
        "knn_mini",
        "eval.knn_mini.size=36",
        "eval.knn_mini: size=36 is not divisible by the encoder's patch size 8",
    ),
    "batch": (
        "upernet_mini",
        "trainer.devices=3",
        "eval.upernet_mini: train_batch_size=8: expected a multiple of batch_size=2 times 3 process",
    ),
    "groups": ("finetune_mini", "trainer.devices=3", r"the 2 group\(s\) of a step cannot be divided among 3 processes"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_named_before_any_compute(told, tmp_path: Path, case: str) -> None:
    task, word, message = UNFIT[case]
    assert re.search(message, told(task, f"eval.{task}.root=mini", word))
    assert not list((tmp_path / "out").glob("*"))


def test_libraries_that_cannot_be_imported_are_named_with_their_versions(told, tmp_path: Path, monkeypatch) -> None:
    ade20k(tmp_path / "set")
    monkeypatch.setattr(mm, "load", mm.load.__wrapped__)
    monkeypatch.setitem(sys.modules, "mmseg.registry", None)
    line = told("upernet_mini", f"eval.upernet_mini.root={tmp_path / 'set'}")
    assert "mm* cannot be imported (import of mmseg.registry halted" in line
    assert re.search(r"found: mmengine 0\.\d+\.\d+, mmcv .*; needed: mmengine 0\.10, mmcv 2\.1", line)


def stated(work: Callable[[], object]) -> bool:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - whatever it says
        work()
    return is_stated(error.value)


def test_bugs_are_not_taken_for_bad_data(said, tmp_path: Path, monkeypatch) -> None:
    assert stated(lambda: mm.pyramid(8, 14))
    assert not stated(lambda: epoch_order(4, 4, -1)), "numpy's, called by us"
    monkeypatch.setattr("longtake.downstream.upernet.UperNet.evaluate", lambda *_: int("a bug"))
    ade20k(tmp_path / "set")
    words = ["eval=[upernet_mini]", f"eval.upernet_mini.root={tmp_path / 'set'}", f"output={tmp_path / 'out'}"]
    code, _, error = said(*ALONE, *words)
    assert code == 1
    assert "Traceback" in error
    assert "invalid literal for int() with base 10: 'a bug'" in error
