"""The mini world as GOT-10k has it: exact truth, other streets for training than for validation, the same bytes again."""

from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from longtake.datasets.got10k import GOT10k
from longtake.datasets.mini import formats as mini_formats
from longtake.datasets.mini import tracks as mini_tracks
from longtake.datasets.mini.tracks import cover_level, prepare_got10k, track_sequences
from longtake.datasets.mini.worlds import World

TINY = World("tiny", seconds=2, texels_per_metre=8)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_tracks, "NUM_FRAMES", 4)
    monkeypatch.setattr(mini_tracks, "NUM_SEQUENCES", {"train": 2, "val": 1})
    monkeypatch.setattr(mini_formats, "workers", nullcontext)  # processes of a pool would not know these numbers


def test_boxes_follow_one_object(short: None) -> None:
    for sequence in islice(track_sequences(TINY, "train"), 2):
        height, width = mini_tracks.SIZE
        assert sequence.frames.shape == (4, height, width, 3)
        x, y, w, h = sequence.boxes.T
        assert min(x.min(), y.min()) >= 0
        assert (x + w).max() <= width
        assert (y + h).max() <= height
        assert sequence.cover[0] >= 4  # half in view at first
        assert sequence.cover[3] >= 1  # and seen again
        assert set(sequence.cover.tolist()) <= set(range(9))
        centres = sequence.boxes[:, :2] + sequence.boxes[:, 2:] / 2
        assert abs(np.diff(centres[sequence.cover > 4], axis=0)).max(initial=0) < 60  # pixels: it does not jump
        border = (x == 0) | (y == 0) | (x + w == width) | (y + h == height)
        np.testing.assert_array_equal(sequence.cut, border & (sequence.cover > 0))


def test_the_splits_show_other_things(short: None) -> None:
    train, val = (next(track_sequences(TINY, split)) for split in ("train", "val"))
    assert (train.name, val.name) == ("walk_train_0000", "walk_val_0000")
    assert np.abs(train.frames.astype(int) - val.frames).mean() > 10


@pytest.mark.parametrize(
    ("visible", "level"), [(0.01, 1), (0.15, 1), (0.16, 2), (0.5, 4), (0.75, 5), (0.9, 6), (0.95, 7), (1.0, 8)]
)
def test_levels_of_cover(visible: float, level: int) -> None:
    assert cover_level(visible) == level


def test_the_folder_is_rendered_once_and_equal(short: None, tmp_path: Path) -> None:
    folders = [prepare_got10k(TINY, tmp_path / name, progress=False) for name in "ab"]
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in folders]
    assert files[0] == files[1]
    stamp = folders[0].stat().st_mtime_ns
    assert prepare_got10k(TINY, tmp_path / "a", progress=False).stat().st_mtime_ns == stamp
    for split, number in (("train", 2), ("val", 1)):
        got = GOT10k(folders[0], split)
        assert got.check() == got.validate() == []
        assert len(got.tracks()) == number
