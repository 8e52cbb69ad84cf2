"""VOC on disk: what is written is read again; what is wrong is named. Boxes: LOST's datasets.py, extract_gt_VOC."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.datasets.voc import VOC, Annotated, write_voc
from longtake.datasets.voc_boxes import read_boxes


def annotated(name: str = "2008_000001") -> Annotated:
    """Boxes of the golden annotation: one object in full view, one truncated, one difficult."""
    boxes = np.array([[0, 0, 100, 80], [47, 11, 320, 200], [6, 8, 17, 29]])
    mask = np.zeros((200, 320), np.uint8)
    mask[:80, :100], mask[80, :100] = 12, 255
    flags = {"truncated": [False, True, False], "difficult": [False, False, True]}
    return Annotated(name, np.full((200, 320, 3), 90, np.uint8), boxes, ["dog", "cat", "car"], mask, **flags)


@pytest.fixture
def voc(tmp_path: Path) -> VOC:
    return write_voc(tmp_path / "VOC2012", [annotated(), annotated("2008_000002")])


@pytest.mark.parametrize(
    ("hard", "boxes", "classes"),
    [(True, [[0, 0, 100, 80], [47, 11, 320, 200], [6, 8, 17, 29]], ["dog", "cat", "car"]),
     (False, [[0, 0, 100, 80]], ["dog"])],
)  # fmt: skip
def test_boxes_equal_the_original_s(voc: VOC, hard: bool, boxes: list, classes: list) -> None:
    found = voc.boxes("2008_000001", hard)
    assert (found.boxes.tolist(), found.classes) == (boxes, classes)
    text = (voc.root / "Annotations" / "2008_000001.xml").read_text()
    assert "<xmin>48</xmin><ymin>12</ymin><xmax>320</xmax><ymax>200</ymax>" in text  # VOC counts from 1


def test_what_is_written_is_read_again(voc: VOC) -> None:
    assert voc.check(["Main/trainval", "Segmentation/val"]) == []
    assert voc.names("Segmentation/val") == ["2008_000001", "2008_000002"]
    np.testing.assert_array_equal(voc.mask("2008_000001"), annotated().mask)
    assert Image.open(voc.image("2008_000001")).size == (320, 200)


def test_a_missing_folder_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    (line,) = VOC(tmp_path / "VOC2012").check(["Main/trainval"])
    assert str(tmp_path / "VOC2012") in line
    assert "VOCtrainval_11-May-2012.tar" in line


def without(voc: VOC, name: str) -> VOC:
    (voc.root / name).unlink()
    return voc


BAD = {
    "level": (
        lambda voc: VOC(voc.root.parent).check([]),
        r"expected the folder VOC2012 itself; did you mean .*VOC2012\?",
    ),
    "image": (
        lambda voc: without(voc, "JPEGImages/2008_000002.jpg").check(["Main/trainval"]),
        r"1 of 2 images .*2008_000002",
    ),
    "list": (lambda voc: voc.check(["Main/test"]), r"Main/test\.txt: no such image list"),
    "annotation": (lambda voc: voc.boxes("2008_000009"), "no such annotation"),
    "mask": (lambda voc: without(voc, "SegmentationClass/2008_000001.png").mask("2008_000001"), "no such mask"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(voc: VOC, case: str) -> None:
    work, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        work(voc)


def test_annotations_without_objects_or_that_are_no_xml(tmp_path: Path) -> None:
    for text, message in (("<annotation></annotation>", "no object in it"), ("<annotation>", "not XML")):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(ValueError, match=rf"a\.xml: {message}"):
            read_boxes(tmp_path / "a.xml")


def test_a_coloured_mask_is_refused(voc: VOC) -> None:
    Image.new("RGB", (320, 200)).save(voc.root / "SegmentationClass" / "2008_000001.png")
    with pytest.raises(ValueError, match="mode RGB, expected class numbers"):
        voc.mask("2008_000001")
