"""Pictures and masks are pairs by their names, once for everybody; what has no partner is named, and so is what is listed twice."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.datasets.ade20k import ADE20K, write_ade20k
from longtake.datasets.davis import DAVIS, write_davis
from longtake.datasets.davis_masks import counted, objects_in
from longtake.datasets.got10k import GOT10k, LabelledSequence, write_got10k
from longtake.datasets.listing import by_stem, in_order, lines_of, shown
from longtake.datasets.voc import VOC, Annotated, write_voc
from longtake.downstream.davis import DAVIS as Propagation
from longtake.downstream.upernet import UperNet

PICTURE, MASK = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64), np.uint8)
MASK[4:20, 4:20] = 1
STEMS = ("photo", "photo (1)", "photo.v2", "street", "street-2", "a b", "Z")


@pytest.fixture
def ade(tmp_path: Path) -> ADE20K:
    for split in ("training", "validation"):
        write_ade20k(tmp_path / "ade", split, [(stem, PICTURE, MASK + np.uint8(n)) for n, stem in enumerate(STEMS)])
    return ADE20K(tmp_path / "ade")


def test_training_prediction_and_scores_have_one_list(ade: ADE20K) -> None:
    task = UperNet(preset="upernet", root=str(ade.root), crop=64)
    names = ade.names("validation")
    assert sorted(names) == names
    for pipeline in (task.train_pipeline(), task.test_pipeline()):
        records = task.dataset_config(ade, "validation", pipeline)["records"]
        assert [(r["img_path"], r["seg_map_path"]) for r in records] == [
            (str(ade.image(name)), str(ade.mask_file(name))) for name in names
        ]
    assert [int(ade.mask(name)[0, 0]) for name in names] == [STEMS.index(name.partition("/")[2]) for name in names]


def test_what_has_no_partner_is_named(ade: ADE20K) -> None:
    assert ade.check(["training"]) == []
    (ade.root / "images/training/street.jpg").unlink()
    with pytest.raises(ValueError, match=r"training: 1 masks have no image: street$"):
        ade.check(["training"])
    Image.fromarray(PICTURE).save(ade.root / "images/training/street.png")
    assert ade.check(["training"]) == []
    Image.fromarray(PICTURE).save(ade.root / "images/training/street.webp")
    with pytest.raises(ValueError, match=r"street\.png and street\.webp have the same name"):
        ade.check(["training"])
    (ade.root / "annotations/validation/photo (1).png").unlink()
    with pytest.raises(ValueError, match=r"1 images of validation have no mask: \['validation/photo \(1\)'\]"):
        ade.check(["validation"])


def test_a_list_of_voc_has_whole_names_each_once(tmp_path: Path) -> None:
    box = np.array([[4, 4, 20, 20]])
    voc = write_voc(tmp_path, [Annotated(stem, PICTURE, box, ["x"], MASK) for stem in STEMS])
    assert voc.names("Main/trainval") == list(STEMS)
    path = tmp_path / "ImageSets/Main/trainval.txt"
    path.write_text("photo (1)  1\nphoto -1\nstreet-2  0\n")
    assert VOC(tmp_path).names("Main/trainval") == ["photo (1)", "photo", "street-2"]
    path.write_text("photo\nstreet\nphoto\n")
    with pytest.raises(ValueError, match=r"trainval\.txt: photo is listed twice"):
        voc.check(["Main/trainval"])
    voc.mask_file("street").unlink()
    with pytest.raises(ValueError, match=r"1 of 7 images of Segmentation/val have no mask: \['street'\]"):
        voc.check(["Segmentation/val"])


def clip(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Frame t has its object t pixels further on."""
    return np.stack([np.roll(PICTURE, t, 1) for t in range(count)]), np.stack(
        [np.roll(MASK, t, 1) for t in range(count)]
    )


@pytest.fixture
def davis(tmp_path: Path) -> DAVIS:
    return write_davis(tmp_path / "DAVIS", [("clip", *clip())])


def rename(folder: Path, pattern: str, shift: int = 1) -> None:
    for path in sorted(folder.rglob("0*.*")):
        path.rename(path.with_name(f"{pattern.format(int(path.stem) + shift)}{path.suffix}"))


@pytest.mark.parametrize("pattern", ["{}", "frame{}", "{}_left", "a1_{}", "{:03d}"])
def test_frames_of_davis_are_in_natural_order(davis: DAVIS, pattern: str) -> None:
    expected = davis.truth(davis.sequences()[0])
    rename(davis.root, pattern)
    assert davis.check() == []
    (sequence,) = davis.sequences()
    assert [path.stem for path in sequence.frames] == [pattern.format(t) for t in range(1, 13)]
    assert [path.stem for path in sequence.masks] == [path.stem for path in sequence.frames]
    np.testing.assert_array_equal(davis.truth(sequence), expected)


def test_frames_without_a_mask_and_masks_without_a_frame_are_named(davis: DAVIS) -> None:
    (davis.root / "JPEGImages/480p/clip/00003.jpg").unlink()
    for name in ("00005", "00007"):
        (davis.root / "Annotations/480p/clip" / f"{name}.png").unlink()
    with pytest.raises(ValueError, match="expected the same names; 00005, 00007: no mask; 00003: no frame"):
        davis.check()


def own_list(davis: DAVIS, lines: list[str]) -> DAVIS:
    """As DAVIS 2016 comes: no list of 2017, one list of pairs for each resolution."""
    davis.list_file.unlink()
    path = davis.root / "ImageSets/480p/val.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return DAVIS(davis.root, davis.split, binary_masks=True)


PAIRS = [f"/JPEGImages/480p/clip/{t:05d}.jpg /Annotations/480p/clip/{t:05d}.png " for t in range(12)]


def test_the_own_lists_of_davis_2016_are_pairs(davis: DAVIS) -> None:
    for path in davis.sequences()[0].masks:
        Image.fromarray(np.array(Image.open(path)) * np.uint8(255)).save(path)
    found = own_list(davis, PAIRS[2:])
    assert found.check() == []
    (sequence,) = found.sequences()
    assert (sequence.name, len(sequence.frames), sequence.frames[0].name) == ("clip", 10, "00002.jpg")
    np.testing.assert_array_equal(found.truth(sequence), clip()[1][2:])
    assert "val.txt: 1 sequences, the original has 20" in found.validate()
    assert Propagation(preset="d", root=str(davis.root), binary_masks=True).check() == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (PAIRS[0].split()[0], "expected /JPEGImages/... /Annotations/..., a frame and its mask"),
        (PAIRS[0].replace("00000.png", "00099.png"), r"no file .*00099\.png"),
        (PAIRS[0].replace("480p/clip", "../../clip"), "expected /JPEGImages/"),
        (PAIRS[1], "is listed twice"),
    ],
)
def test_wrong_lines_of_them_are_named(davis: DAVIS, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_list(davis, [line, *PAIRS[1:]]).check()


def test_the_first_mask_says_what_255_is(tmp_path: Path) -> None:
    """A frame in which void is all that is left is sound; one object's masks have no other numbers."""
    frames, masks = clip(4)
    numbered = masks.copy()
    numbered[2] = 255 * (numbered[2] > 0)
    for binary in (False, True):
        davis = write_davis(tmp_path / f"numbered{binary}", [("clip", frames, numbered)])
        davis = DAVIS(davis.root, binary_masks=binary)
        np.testing.assert_array_equal(davis.truth(davis.sequences()[0]), numbered)
    mixed = 255 * masks
    mixed[2, 0, 0] = 7
    davis = DAVIS(write_davis(tmp_path / "mixed", [("clip", frames, mixed)]).root, binary_masks=True)
    with pytest.raises(
        ValueError, match=r"00002\.png: got object 7, but the sequence's first mask has 0 and 255 alone"
    ):
        davis.truth(davis.sequences()[0])


def track(count: int = 12) -> LabelledSequence:
    boxes = np.stack([np.array([4.0 + t, 4, 16, 16]) for t in range(count)])
    return LabelledSequence("walk", clip(count)[0], boxes, np.full(count, 8), np.zeros(count, bool))


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("pattern", ["{}.jpg", "img_{}.png", "{:03d}.JPG", "{:08d}.jpeg", "a2-{}.jpg"])
@pytest.mark.parametrize("first", [0, 1])
def test_frames_of_got10k_are_in_the_order_of_their_boxes(tmp_path: Path, pattern: str, first: int, split: str) -> None:
    got = write_got10k(tmp_path, [track()], split)
    for t, path in enumerate(sorted((tmp_path / split / "walk").glob("*.jpg")), first):
        path.rename(path.with_name(pattern.format(t)))
    (found,) = got.tracks()
    assert [found.frame(t).name for t in range(12)] == [pattern.format(first + t) for t in range(12)]


@pytest.mark.parametrize(
    ("name", "message"), [("5.jpg", "walk: 11 frames but no 5.jpg, expected frames from 1"), ("1.jpg", "no 1.jpg")]
)
def test_a_frame_that_is_missing_is_named(tmp_path: Path, name: str, message: str) -> None:
    got = write_got10k(tmp_path, [track()], "test")
    rename(tmp_path / "test/walk", "{}", shift=0)
    (tmp_path / "test/walk" / name).unlink()
    with pytest.raises(ValueError, match=message):
        got.tracks()


def test_lists_name_each_sequence_once(davis: DAVIS, tmp_path: Path) -> None:
    davis.list_file.write_text("clip\n\nclip\n")
    with pytest.raises(ValueError, match=r"val\.txt: clip is listed twice"):
        davis.check()
    got = write_got10k(tmp_path / "got", [track()])
    got.list_file.write_text("walk\nwalk\n")
    with pytest.raises(ValueError, match=r"list\.txt: walk is listed twice"):
        GOT10k(got.root).check()


def test_natural_order_and_files_by_name(tmp_path: Path) -> None:
    assert in_order(["10", "9", "a10", "a9", "01", "1"]) == ["01", "1", "9", "10", "a9", "a10"]
    for name in ("b.JPG", "._b.jpg", "c.txt", "d"):
        (tmp_path / name).touch()
    assert by_stem(tmp_path) == {"b": tmp_path / "b.JPG"}
    assert by_stem(tmp_path / "none") == {}
    assert shown([1, 2, 3, 4]) == "1, 2, 3 and 1 more"
    with pytest.raises(ValueError, match="no such list"):
        lines_of(tmp_path / "none.txt")


def test_objects_count_from_1_in_their_order() -> None:
    masks = np.array([[[0, 3, 254], [255, 9, 3]]], np.uint8)
    assert objects_in(masks) == [3, 9, 254]
    assert counted(masks, [3, 254]).tolist() == [[[0, 1, 2], [0, 0, 1]]]
    assert counted(masks, [9], void=255).tolist() == [[[0, 0, 0], [255, 1, 0]]]
