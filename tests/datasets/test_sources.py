"""Which files a source stands for, and what is said when they are not there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from longtake.datasets.prepare import prepare, print_store
from longtake.datasets.sources.base import Source, build_source
from longtake.datasets.video import VideoInfo, probe
from longtake.datasets.video_files import doubts
from longtake.engine.config import choices, plainly
from longtake.engine.identity import config_hash, variant


def source(config: str = "video", **keys: object) -> Source:
    return build_source({**plainly([f"pretrain={config}"])["pretrain"], **keys})


def write(path: Path, num_frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for i in range(num_frames):
            noise = np.random.default_rng(i).integers(0, 256, (4, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.mp4", "a/1.MKV", "a/3.mp4"):
        write(tmp_path / "videos" / name, 12)
    (tmp_path / "videos" / "notes.txt").touch()
    return tmp_path / "videos"


def test_a_path_is_a_file_a_folder_a_pattern_or_several(folder: Path) -> None:
    one, two, three = folder / "a/1.MKV", folder / "b/2.mp4", folder / "a/3.mp4"
    assert source(path=str(two)).paths == [two]
    assert source(path=str(folder)).paths == [one, three, two]
    assert source(path=f"{folder}/*/*.mp4").paths == [three, two]
    assert source(path=[str(two), f"{folder}/a"]).paths == [two, one, three]
    assert source(path=f"{folder}/a").collection
    assert not source(path=[str(one), str(two)]).collection


def test_a_file_whose_name_looks_like_a_pattern_is_one_video(tmp_path, tiny_video):
    for name in ("walk[1].mp4", "walk1.mp4"):
        (tmp_path / name).symlink_to(tiny_video)
    video: Any = source(path=str(tmp_path / "walk[1].mp4"))
    assert (video.collection, video.label, len(video.paths)) == (False, "video:walk[1]", 1)
    assert source(path=str(tmp_path / "walk[2].mp4")).collection  # a pattern: there is no such file


def test_another_spelling_of_a_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path))
    for written, name in (("Chiang Mai.webm", "wt_chiang_mai"), ("Kuala_Lampur.MP4", "wt_kuala_lumpur")):
        path = write(tmp_path / "walking_tours" / Path(written).with_suffix(".mp4"), 3)
        path = path.rename(path.with_name(written))
        assert source(name).paths == [path]
        assert source(name).missing() == []


def test_a_subset_is_drawn_with_its_seed_and_named_by_a_hash(folder: Path) -> None:
    for i in range(10):
        write(folder / "c" / f"{i}.mp4", 10 + i)
    subset = source(path=str(folder), subset_seconds=4.0, name="walks")
    seconds = [probe(path).seconds for path in subset.paths]
    assert sum(seconds) >= 4.0 > sum(seconds) - max(seconds)
    assert subset.paths == sorted(subset.paths) == source(path=str(folder), subset_seconds=4.0).paths
    others = [source(path=str(folder), subset_seconds=4.0, subset_seed=seed, name="walks") for seed in range(1, 5)]
    assert len({subset.label, *(other.label for other in others)}) > 1
    assert subset.label.startswith("walks:")
    assert subset.check(num_frames=1).startswith(f"{len(seconds)} videos, 0.00 h, 48 x 32")


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"wt_venice: 1 of 1 files not found") as error:
        source("wt_venice").check(num_frames=8)
    for part in (
        str(tmp_path / "walking_tours" / "venice.mp4"),
        "v=fGX0Te6pFvk",
        "CC BY 4.0",
        "task=prepare pretrain=wt_venice",
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="10 of 10 files not found"):
        source("wt_all").check(num_frames=8)
    with pytest.raises(ValueError, match=r"no video at .*kinetics400(.|\n)*cvdfoundation/kinetics-dataset"):
        source("kinetics400_subset").check(num_frames=8)
    with pytest.raises(ValueError, match=r"no video at .*\*\.mp4"):
        source(path=f"{tmp_path}/*.mp4").check(num_frames=8)


def test_every_pretrain_config_is_a_source() -> None:
    tours = [name for name in choices("pretrain") if name.startswith("wt_")]
    assert len(tours) == 11
    for name in choices("pretrain"):
        assert source(name).name == name


@pytest.mark.parametrize("wrong", [{"cuts": "no"}, {"faces": "hide"}, {"decoder": "decord"}])
def test_a_wrong_word_is_refused(folder: Path, wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"pretrain.{next(iter(wrong))}: got '{next(iter(wrong.values()))}', expected"):
        source(path=str(folder), **wrong).open()


def test_prepare_builds_and_sums_up(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    print_store(prepare(source(path=str(folder))))
    shown = capsys.readouterr().out
    assert all(f"{number}" in shown for number in ("1.MKV", "2.mp4", "3.mp4", "12"))
    with pytest.raises(ValueError, match=r"walk\.mp4"):
        prepare(source(path="walk.mp4"))
    assert "nobody knows where it comes from" in capsys.readouterr().err


def test_doubts_about_a_file() -> None:
    sound = {"codec": "h264", "width": 4, "height": 4, "rotation": 0, "fps": 30.0, "num_frames": 1}
    venice = VideoInfo(path=Path("venice.mp4"), seconds=220 * 60.0, container_seconds=220 * 60.0, **sound)
    assert doubts(venice) == ["220 min, published with 110 min; what is blank is never sampled"]
    assert (
        "tone mapping"
        in doubts(VideoInfo(path=Path("a.mp4"), seconds=1.0, container_seconds=1.0, hdr=True, **sound))[0]
    )
    longer = VideoInfo(path=Path("a.mp4"), seconds=100.0, container_seconds=200.0, **sound)
    assert doubts(longer) == ["the file lasts 200 s, its video 100 s; is it complete?"]
    info = VideoInfo(path=Path("a.mp4"), seconds=100.0, container_seconds=100.5, **sound)
    assert doubts(info) == []
    assert doubts(info, short_side=360) == ["4 x 4 is smaller than short_side=360; frames are stored as they are"]
    assert doubts(replace(info, timed=False)) == ["its frames have no times; they are taken to be 0.0333 s apart"]


def test_what_a_yaml_gets_wrong_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown source 'vidoe'. Did you mean video\?.*frames, images, video, world"):
        source(source="vidoe")
    with pytest.raises(ValueError, match=r"unknown key of source video: 'cutz'. Did you mean cuts\?"):
        source(path=str(folder), cutz="cross")
    with pytest.raises(ValueError, match="unknown key of source images: 'short_side'"):
        source("imagenet1k", short_side=64)  # each kind has its own
    with pytest.raises(ValueError, match=r"source images needs pretrain\.name"):
        build_source({"source": "images"})
    with pytest.raises(ValueError, match=r"pretrain\.world: got 'mars', expected one of mini, mini_hd"):
        source("mini", world="mars")
    with pytest.raises(ValueError, match=r"a clip of 0 frames, 1\.0 s apart"):
        source("mini").check(0)


def test_a_default_spelt_out_changes_nothing() -> None:
    ours, recipe = plainly(["pretrain=wt_venice"]), plainly(["pretrain=wt_venice"])
    assert ours["pretrain"]["cuts"] == "avoid"
    assert ours == plainly(["pretrain=wt_venice", "pretrain.cuts=avoid"])
    ours["pretrain"]["cuts"] = "cross"
    assert variant(ours, recipe) == "pretrain.cuts=cross"
    assert config_hash(ours) != config_hash(recipe)


def test_a_rate_that_has_to_be_given_is_in_the_variant(tmp_path: Path) -> None:
    recipe = plainly(["pretrain=frames"])
    ours = plainly(["pretrain=frames", f"pretrain.path={tmp_path}", "pretrain.frames_per_second=30"])
    assert variant(ours, recipe) == "pretrain.frames_per_second=30"
