"""GOT-10k on disk: what is written is read again; what is wrong is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.datasets.got10k import GOT10k, LabelledSequence, write_got10k


def labelled(name: str, n: int = 5) -> LabelledSequence:
    frames = np.random.default_rng(0).integers(0, 256, (n, 48, 86, 3), np.uint8)
    boxes = np.stack([np.array([10 + 2.5 * t, 20 - t, 30, 20.25]) for t in range(n)])
    cover = np.array([8, 7, 0, *[1] * (n - 3)])
    return LabelledSequence(name, frames, boxes, cover, cut=np.arange(n) == 1, object_class="dog")


@pytest.fixture
def got(tmp_path: Path) -> GOT10k:
    return write_got10k(tmp_path / "GOT-10k", [labelled("first"), labelled("second", 4)])


def test_what_is_written_is_read_again(got: GOT10k) -> None:
    assert got.check() == got.validate() == []
    first, second = got.tracks()
    assert (first.name, first.num_frames, second.name, second.num_frames) == ("first", 5, "second", 4)
    assert first.resolution == (86, 48)
    np.testing.assert_array_equal(first.boxes, labelled("first").boxes)
    assert first.cover.tolist() == [8, 7, 0, 1, 1]
    assert first.absent.tolist() == [False, False, True, False, False]
    assert first.visible.tolist() == [True, True, False, True, True]
    assert Image.open(first.frame(4)).size == (86, 48)
    assert first.frame(0).name == "00000001.jpg"
    assert (first.folder / "cut_by_image.label").read_text().split() == ["0", "1", "0", "0", "0"]
    assert (first.folder / "groundtruth.txt").read_text().splitlines()[1] == "12.5000,19.0000,30.0000,20.2500"
    assert [t.name for t in GOT10k(got.root, exclude=["first"]).tracks()] == ["second"]


def test_of_the_test_split_only_the_first_box_is_known(tmp_path: Path) -> None:
    got = write_got10k(tmp_path, [labelled("hidden")], "test")
    assert got.check() == []
    (track,) = got.tracks()
    assert (track.num_frames, track.boxes.tolist()) == (5, [[10, 20, 30, 20.25]])
    assert not list(track.folder.glob("*.label"))


def test_what_is_missing_is_named_with_the_way_to_get_it(got: GOT10k, tmp_path: Path) -> None:
    for missing in (GOT10k(tmp_path / "none"), GOT10k(got.root, "train")):
        (line,) = missing.check()
        assert str(missing.root) in line
        assert "got-10k.aitestunion.com" in line


def edited(got: GOT10k, name: str, text: str | None) -> GOT10k:
    path = got.root / "val" / "first" / name
    path.unlink() if text is None else path.write_text(text)
    return got


def resized(got: GOT10k, t: int, name: str = "first") -> GOT10k:
    Image.new("RGB", (40, 48)).save(got.root / "val" / name / f"{t:08d}.jpg")
    return got


def unlisted(got: GOT10k) -> GOT10k:
    got.list_file.unlink()
    return got


def renamed(got: GOT10k) -> GOT10k:
    (got.root / "val/first/00000005.jpg").rename(got.root / "val/first/00000008.jpg")
    return got


BAD = {
    "deeper": (lambda got: GOT10k(got.root.parent), r"expected the folder GOT-10k; did you mean .*GOT-10k\?"),
    "higher": (lambda got: GOT10k(got.root / "val"), r"did you mean .*GOT-10k\?"),
    "list": (unlisted, r"list\.txt: no such list of sequences"),
    "folder": (lambda got: (got.list_file.write_text("third\n"), got)[1], "third: no such sequence"),
    "lines": (lambda got: edited(got, "groundtruth.txt", "1,2,3,4\n"), "first: 5 frames and 1 lines in groundtruth"),
    "spaces": (lambda got: edited(got, "groundtruth.txt", "1 2 3 4\n" * 5), "expected 4 numbers with commas"),
    "columns": (lambda got: edited(got, "groundtruth.txt", "1,2\n" * 5), "expected 4 numbers with commas"),
    "labels": (lambda got: edited(got, "cover.label", "8\n" * 4), "first: 4 lines in cover.label, expected 5"),
    "no label": (lambda got: edited(got, "absence.label", None), "absence.label: no such file"),
    "cut": (lambda got: edited(got, "cut_by_image.label", "0\n"), "1 lines in cut_by_image.label"),
    "gap": (renamed, r"no 00000005\.jpg, expected frames from 1"),
    "meta": (lambda got: edited(got, "meta_info.ini", "[METAINFO]\nresolution: 86x48\n"), r"got resolution:' 86x48'"),
    "last": (lambda got: resized(got, 5), r"first: a frame is not as large .* exclude=\[first\]"),
    "first": (lambda got: resized(got, 1, "second"), r"second: a frame is not as large"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(got: GOT10k, case: str) -> None:
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        change(got).check()


def test_validation_looks_at_every_frame(got: GOT10k) -> None:
    resized(got, 3)
    assert got.check() == []
    (line,) = got.validate()
    assert "00000003.jpg: 40 x 48, meta_info.ini says 86 x 48" in line


def test_known_defects_of_the_original_are_told_and_no_error(tmp_path: Path) -> None:
    names = ["GOT-10k_Val_000136", "GOT-10k_Train_008630"]
    got = write_got10k(tmp_path, [labelled(name) for name in names])
    resized(got, 5, names[0])
    assert got.check() == []
    count, changed, doubtful = got.validate()
    assert count == "val: 2 sequences, the original has 180"
    assert changed.endswith("(known of the original)")
    assert "GOT-10k_Train_008630: repeated first frames" in doubtful
