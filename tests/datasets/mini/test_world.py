"""The mini world on disk: determinism, truth, the video's structure, caching."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from longtake.datasets.mini import world as mini
from longtake.datasets.mini.world import CLASSES, prepare, walk_truth
from longtake.datasets.mini.worlds import SPLITS, World, world_folder

TINY = World(
    "tiny", height=64, width=96, fps=10, seconds=2, gop=8, num_cuts=1, texels_per_metre=8, image_size=32,
    train_per_class=2, val_per_class=1, test_per_class=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(TINY, tmp_path_factory.mktemp("data"), progress=False, num_workers=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_the_number_of_processes_does_not_change_a_byte(folder: Path, tmp_path: Path) -> None:
    again = prepare(TINY, tmp_path, progress=False, num_workers=2)
    first, second = contents(folder), contents(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_frames_repeat_exactly_and_another_seed_differs() -> None:
    frame = mini.walk_frame(TINY, 7)
    mini._walk_shot.cache_clear()
    mini.street_of.cache_clear()
    again, other = mini.walk_frame(TINY, 7), mini.walk_frame(replace(TINY, seed=1), 7)
    np.testing.assert_array_equal(frame.image, again.image)
    np.testing.assert_array_equal(frame.ids, again.ids)
    assert (frame.image != other.image).mean() > 0.5


def test_every_parameter_is_in_the_hash() -> None:
    changed = [replace(TINY, **{name: value * 2}) for name, value in vars(TINY).items() if name != "seed"]
    assert len({world.hash for world in [TINY, replace(TINY, seed=5), *changed]}) == len(vars(TINY)) + 1


def test_video_has_the_frames_times_and_keyframes_of_the_world(folder: Path) -> None:
    with av.open(folder / "walk.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(stream))
    assert [round(frame.time * TINY.fps, 6) for frame in frames] == list(range(TINY.num_frames))
    assert [k for k, frame in enumerate(frames) if frame.key_frame] == [0, 8, 16]
    for k in (0, 11, 19):
        decoded = frames[k].to_ndarray(format="rgb24").astype(float)
        assert np.abs(decoded - mini.walk_frame(TINY, k).image).mean() < 10  # levels of 255: the codec's loss


def test_truth_on_disk_is_the_truth_of_the_rendered_frames(folder: Path) -> None:
    truth = walk_truth(folder)
    assert truth["frame"].tolist() == sorted(truth["frame"].tolist())
    for k in (0, TINY.num_frames - 1):
        rows = truth["frame"] == k
        objects = mini.walk_frame(TINY, k).objects
        assert truth["instance"][rows].tolist() == [seen.instance for seen in objects]
        assert truth["class_index"][rows].tolist() == [seen.class_index for seen in objects]
        assert truth["box"][rows].tolist() == [list(seen.box) for seen in objects]
        np.testing.assert_allclose(truth["visible"][rows], [seen.visible for seen in objects], rtol=1e-6)


def test_a_planted_cut_changes_everything_at_once(folder: Path) -> None:
    shot = walk_truth(folder)["shot"]
    assert shot.shape == (TINY.num_frames,)
    (cut,) = np.flatnonzero(np.diff(shot)) + 1
    frames = [mini.walk_frame(TINY, k).image.astype(float) for k in range(TINY.num_frames)]
    change = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert int(np.argmax(change)) == cut - 1


def test_picture_folder_is_balanced_and_its_splits_differ(folder: Path) -> None:
    images = {}
    for split in SPLITS:
        names = sorted(path.name for path in (folder / "imagefolder" / split).iterdir())
        assert names == sorted(CLASSES)
        for name in names:
            paths = sorted((folder / "imagefolder" / split / name).iterdir())
            assert [path.name for path in paths] == [f"{k:04d}.png" for k in range(TINY.per_class(split))]
            images.update({(split, name, path.stem): cv2.imread(str(path)) for path in paths})
    assert {image.shape for image in images.values()} == {(32, 32, 3)}
    assert len({image.tobytes() for image in images.values()}) == len(CLASSES) * 4


def test_world_json_tells_what_was_rendered(folder: Path) -> None:
    about = json.loads((folder / "world.json").read_text())
    assert World(**about["world"]) == TINY
    assert tuple(about["classes"]) == CLASSES
    assert folder.name == f"tiny-{about['hash']}" == f"tiny-{TINY.hash}"


def test_a_prepared_world_is_not_rendered_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(mini, "_write", fail)
    assert prepare(TINY, folder.parent.parent) == folder


def test_an_interrupted_prepare_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(mini, "_write_pictures", interrupt)  # after the walk has been written
        with pytest.raises(KeyboardInterrupt):
            prepare(TINY, tmp_path, progress=False, num_workers=1)
    assert [path for path in (tmp_path / "mini").iterdir() if path.is_dir()] == []
    leftover = world_folder(TINY, tmp_path).with_name(f".{world_folder(TINY, tmp_path).name}.partial")
    leftover.mkdir()  # as a killed process leaves it
    (leftover / "walk.mp4").write_text("half")
    finished = prepare(TINY, tmp_path, progress=False, num_workers=1)
    assert (finished / "walk.mp4").stat().st_size > 1000
    assert not leftover.exists()


@pytest.mark.parametrize(("change", "message"), [({"width": 95}, "even sizes"), ({"num_cuts": 20}, "0 to 19")])
def test_impossible_worlds_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)
