"""Cuts are found where they were planted, and nowhere else; no clip crosses one or shows nothing."""

from pathlib import Path

import av
import numpy as np
import pytest

from longtake.datasets.clips import Clips
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import StoreSpec, build, findings
from longtake.datasets.mini.world import walk_truth
from longtake.datasets.shots import CutFinder, blanks, shots


def test_planted_cuts_are_found_and_nothing_else(walk: Path, store: FrameStore) -> None:
    truth = walk_truth(walk)["shot"]
    assert np.diff([*np.flatnonzero(np.diff(truth)), len(truth)]).min() > 4  # else the detector's windows overlap
    np.testing.assert_array_equal(store.shot, truth)  # precision, recall and every frame's shot
    assert findings(store) == [f"walk.mp4: 7 cuts, the first at {store.cuts[0][0]:.2f} s"]


def test_a_sparse_store_has_the_same_cuts(walk: Path, store: FrameStore, tmp_path: Path) -> None:
    sparse = build([walk / "walk.mp4"], StoreSpec(frames_per_second=2), tmp_path, progress=False)
    assert len(sparse) == 100
    np.testing.assert_allclose(sparse.cuts[0], store.cuts[0])
    whole = np.searchsorted(store.seconds, sparse.seconds)
    np.testing.assert_array_equal(sparse.shot, store.shot[whole])


def test_no_clip_crosses_a_cut_in_100_000_draws(store: FrameStore) -> None:
    clips = Clips(store, num_frames=4, stride_seconds=1.0, clips_per_epoch=100_000)
    frames = {start: clips.frames_of(start) for start in set(clips.epoch_starts(0).tolist())}
    drawn = np.array([store.shot[frames[start]] for start in clips.epoch_starts(0).tolist()])
    assert drawn.shape == (100_000, 4)
    assert (drawn == drawn[:, :1]).all()
    crossing = Clips(store, num_frames=4, stride_seconds=1.0, cross_cuts=True)
    assert len(crossing.starts) == 600 - 36 > len(clips.starts)


def test_without_cuts_there_is_one_shot(walk: Path, tmp_path: Path) -> None:
    plain = build([walk / "walk.mp4"], StoreSpec(cuts=False, frames_per_second=1), tmp_path, progress=False)
    assert plain.cuts == [[]]
    assert not plain.shot.any()


def test_a_finder_goes_on_from_its_tail() -> None:
    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 256, (9, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(3)]
    pictures = [(i / 10, np.roll(scenes[i // 10], i, 1)) for i in range(30)]
    whole = CutFinder([])
    assert [t for p in pictures for t in whole.feed(*p)] == [1.0, 2.0]
    for stop in range(1, 30):
        first = CutFinder([])
        found = [t for p in pictures[:stop] for t in first.feed(*p)]
        second = CutFinder(list(first.tail))
        found += [t for p in pictures[stop:] for t in second.feed(*p)]
        assert found == [1.0, 2.0]


def test_shots_count_cuts_up_to_a_frame() -> None:
    seconds, video = np.array([0.0, 1, 2, 3, 0, 1]), np.array([0, 0, 0, 0, 1, 1], np.int32)
    np.testing.assert_array_equal(shots(seconds, video, [[0.5, 2.0], []]), [0, 1, 2, 2, 0, 0])


def test_blanks_by_hand() -> None:
    seconds = np.arange(10) / 2
    contrast, change = np.full(10, 20, np.float32), np.ones(10, np.float32)
    change[0] = np.nan
    contrast[9] = 0.5  # one colour
    change[2:6] = 0.0  # frames 1 to 5 are one picture for 2.0 s
    change[7] = 0.0  # frames 6 and 7 for half a second
    np.testing.assert_array_equal(np.flatnonzero(blanks(seconds, contrast, change)), [1, 2, 3, 4, 5, 9])


def write_with_a_black_end(path: Path) -> Path:
    """Three seconds of a moving texture, three of black, three frozen: 20 frames per second."""
    texture = np.random.default_rng(0).integers(0, 256, (8, 24, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for i in range(180):
            image = np.roll(texture, -min(i, 120), 1)[:, :96] if not 60 <= i < 120 else np.zeros((64, 96, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("num_frames", [1, 3])
def test_blank_and_frozen_stretches_are_never_drawn(tmp_path: Path, num_frames: int) -> None:
    store = build([write_with_a_black_end(tmp_path / "mirror.mp4")], StoreSpec(), tmp_path / "s", progress=False)
    shown = np.flatnonzero(~store.blank)
    assert shown[:60].tolist() == list(range(60))
    assert set(shown[60:]) <= set(range(120, 140))  # until the codec has refined the frozen picture
    clips = Clips(store, num_frames, stride_seconds=0.5)
    assert all((clips.frames_of(start) < 60).all() for start in clips.starts if start < 120)
    assert (clips.starts < 60).sum() == 60 - 10 * (num_frames - 1)
    assert f"{180 - len(shown)} frames blank or standing still, the first at 3.00 s" in findings(store)[0]
