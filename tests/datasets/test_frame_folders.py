"""Folders of numbered pictures as videos: order, times, gaps, sizes, and what is said of folders that are none."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.datasets.clips import Clips
from longtake.datasets.pictures import UnreadableImage
from longtake.datasets.prepare import prepare, print_store
from longtake.datasets.sources.base import Source, build_source
from longtake.datasets.store import Store
from longtake.engine.config import plainly


def source(path: Path | None, rate: float | None = 10, **keys: object) -> Source:
    yaml = plainly(["pretrain=frames"])["pretrain"]
    return build_source({**yaml, "path": path and str(path), "frames_per_second": rate, **keys})


def picture(path: Path, level: int, size: tuple[int, int] = (24, 16)) -> None:
    """One grey, so that a picture says which it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), level, np.uint8)).save(path)


def levels(store: Store, indices: list[int]) -> list[int]:
    return [int(store.read([i])[0, 0, 0, 0]) for i in indices]


def test_numbers_are_the_order_whatever_the_names(tmp_path: Path) -> None:
    for number in (2, 10, 1, 9):
        picture(tmp_path / f"take2_frame_{number}.png", 20 * number)
    (tmp_path / "notes_3.txt").touch()
    store = source(tmp_path).open()
    assert isinstance(store, Store)
    assert levels(store, [0, 1, 2, 3]) == [20, 40, 180, 200]
    np.testing.assert_allclose(store.seconds, [0, 0.1, 0.8, 0.9])
    assert levels(pickle.loads(pickle.dumps(store)), [3]) == [200]


def test_a_missing_number_is_a_missing_frame(tmp_path: Path) -> None:
    """Of 40 pictures at 10 per second the 21st is missing: clips of two frames 0.5 s apart leave it out, and the rest in place."""
    for number in range(100, 140):
        if number != 120:
            picture(tmp_path / f"{number:06d}.png", number)
    found = source(tmp_path)
    assert found.check(2) == "39 pictures in 1 folder(s), 0.1 min, 1 missing between them, 24 x 16"
    clips = Clips(found.open(), num_frames=2, stride_seconds=0.5)
    pairs = [tuple(levels(clips.store, clips.frames_of(start).tolist())) for start in clips.starts]
    assert pairs == [(n, n + 5) for n in range(100, 135) if 120 not in (n, n + 5)]


def test_folders_are_videos_with_a_numbering_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count, size in (("walk10", 30, (24, 16)), ("walk2/left", 12, (16, 32)), ("walk2/right", 3, (24, 16))):
        for number in range(count):
            picture(tmp_path / name / f"{number + 7}.png", number, size)
    walks = source(tmp_path)
    store = walks.open()
    assert store.names == ["walk2/left", "walk2/right", "walk10"]
    np.testing.assert_array_equal(store.video, [0] * 12 + [1] * 3 + [2] * 30)
    np.testing.assert_allclose(store.seconds, np.concatenate([np.arange(n) for n in (12, 3, 30)]) / 10)
    assert walks.check(2).endswith("45 pictures in 3 folder(s), 0.1 min, various sizes")
    assert walks.collection
    clips = Clips(store, num_frames=2, stride_seconds=1.0, skip_short=walks.collection)  # one folder is too short
    assert len(clips) == 2 + 20
    assert {clips[i].frames.shape for i in range(22)} == {(2, 3, 16, 24), (2, 3, 32, 16)}
    print_store(prepare(walks))
    assert "45 pictures in 3 folder(s)" in capsys.readouterr().out


def test_pictures_are_made_smaller_never_larger(tmp_path: Path) -> None:
    picture(tmp_path / "1.jpg", 90, size=(48, 32))
    assert source(tmp_path, short_side=8).open().read([0]).shape == (1, 3, 8, 12)
    assert source(tmp_path, short_side=360).open().read([0]).shape == (1, 3, 32, 48)
    with pytest.raises(ValueError, match="short_side: got 0, expected at least 1"):
        source(tmp_path, short_side=0)


def test_a_row_has_the_folders_name(tmp_path: Path) -> None:
    picture(tmp_path / "my walk" / "1.png", 0)
    assert source(tmp_path / "my walk").label == "frames:my walk"
    assert source(tmp_path / "my walk", name="walks").label == "walks"


def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    def said(match: str, error: type = ValueError, num_frames: int = 1, rate: float | None = 10) -> None:
        with pytest.raises(error, match=match) as found:
            source(tmp_path / "walk", rate).check(num_frames)
        assert "\n" not in str(found.value)

    said("walk: no such folder; expected pictures like 000001.jpg")
    (tmp_path / "walk").mkdir()
    said("walk: no picture in it or below")
    picture(tmp_path / "walk" / "cover.png", 0)
    said(r"cover\.png: no number in its name")
    (tmp_path / "walk" / "cover.png").rename(tmp_path / "walk" / "1.png")
    said(r"frames_per_second=None, expected 30", rate=None)
    said(r"frames_per_second=0, expected 30", rate=0)
    said(r"0\.0 s of pictures, but one clip lasts 1\.0 s", num_frames=2)
    picture(tmp_path / "walk" / "01.png", 0)
    said(r"1\.png and .*1\.png have the same number")
    (tmp_path / "walk" / "01.png").rename(tmp_path / "walk" / "2.png")
    assert source(tmp_path / "walk").check(1)
    picture(tmp_path / "walk" / "3.png", 0, size=(32, 16))
    said(r"3\.png has 32 x 16 pixels and .*1\.png 24 x 16; expected one size", UnreadableImage)
    with pytest.raises(UnreadableImage, match=r"3\.png has 32 x 16"):
        source(tmp_path / "walk").open().read([0, 2])
    (tmp_path / "walk" / "3.png").write_bytes(b"no picture")
    said(r"cannot read the image .*3\.png", UnreadableImage)
    with pytest.raises(ValueError, match=r"pretrain=frames needs a folder.*pretrain\.path=FOLDER"):
        source(None).check(1)
