"""The x-ray of a small rendered walk with cuts agrees with its truth; its parts with hand-made pictures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import spearmanr

from longtake.datasets import analyze as analyzing
from longtake.datasets.analyze import analyze, smooth
from longtake.datasets.detect import detector_of, regions
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.mini import jobs
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.world import prepare, walk_truth
from longtake.datasets.mini.worlds import WORLDS, World
from longtake.datasets.sources.base import build_source
from longtake.datasets.sources.world import truth_of
from longtake.datasets.xray import class_counts, difference_hash, figures_of, look, repeated, sampled, sharpness
from longtake.engine.config import plainly


def test_the_mini_world_is_seen_as_it_is(town: World, walk: Path, store: FrameStore) -> None:
    looks = look(store, detector_of("truth", truth_of(town, walk))[0], interval=1.0, progress=False)
    truth = walk_truth(walk)
    seen = truth["visible"] >= 0.1
    np.testing.assert_array_equal(looks.objects, [(truth["frame"][seen] == 12 * i).sum() for i in range(50)])
    at = np.isin(truth["frame"], 12 * np.arange(50)) & seen
    for index, name in enumerate(CLASSES):
        assert class_counts(looks)[name] == (truth["class_index"][at] == index).sum()
    figures = figures_of(store, looks)
    assert figures["shots"] == truth["shot"].max() + 1 == 8
    assert figures["frames looked at"] == 50
    assert figures["distinct classes"] == len(set(truth["class_index"][at]))
    assert figures["blank, %"] == 0
    # dusk falls: the renderer darkens the walk from beginning to end
    assert spearmanr(looks.seconds, looks.lightness).statistic < -0.6
    box = truth_of(town, walk).box
    np.testing.assert_array_equal(box, truth["box"] / [160, 120, 160, 120])  # shares of the frame
    assert 0 <= box.min() < box.max() <= 1
    assert np.isfinite(looks.motion).mean() > 0.9  # one that is last in its shot has no successor


def test_regions_count_patches_of_colour() -> None:
    picture = np.full((120, 160, 3), 90, np.uint8)
    for i in range(6):
        cv2.circle(picture, (20 + 24 * i, 60), 9, [(255, 0, 0), (0, 200, 0), (0, 0, 255)][i % 3], -1)
    assert len(regions(picture)) == 7  # six discs and the ground
    assert len(regions(np.full((120, 160, 3), 90, np.uint8))) == 1


def test_a_sample_is_the_first_frame_of_each_stretch(store: FrameStore) -> None:
    np.testing.assert_array_equal(sampled(store, 0.5), np.arange(0, 600, 6))


def test_sharpness_falls_with_blur() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)
    values = [sharpness(cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture) for sigma in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[3] > 2


def test_what_comes_again_is_found() -> None:
    rng = np.random.default_rng(0)
    places = [
        cv2.resize(rng.integers(0, 256, (9, 12), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC) for _ in range(5)
    ]
    order = [0, 0, 1, 2, 0, 3, 4]
    noisy = [np.clip(places[i] + rng.normal(0, 2, (120, 160)), 0, 255).astype(np.uint8) for i in order]
    hashes = np.array([difference_hash(picture) for picture in noisy], np.uint64)
    seconds, video = np.array([0.0, 1, 10, 20, 30, 40, 50]), np.zeros(7, int)
    np.testing.assert_array_equal(repeated(hashes, video, seconds), [True, True, False, False, True, False, False])
    close = repeated(hashes[:2], video[:2], seconds[:2])
    assert not close.any()  # neighbours in time always look alike
    assert repeated(hashes[:2], np.array([0, 1]), seconds[:2]).all()


def test_smooth_is_a_running_median() -> None:
    values = np.array([1.0, 9, 1, 1, np.nan, 1, 1])
    np.testing.assert_array_equal(smooth(values, 3), [1, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truth", r"needs a rendered world"),
        ("fasterrcnn", r"needs its weights at .*\.pth; analyze.detector=regions needs none"),
        ("yolo", r"got 'yolo', expected auto, truth, fasterrcnn, regions or package"),
    ],
)
def test_a_detector_that_cannot_be_had_is_named(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        detector_of(name, None)
    assert "proxy without labels" in detector_of("auto", None)[1]


def two_cats(image: np.ndarray) -> list[str]:
    return ["cat", "cat"]


def test_a_page_compares_the_sources(town: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(jobs, "MAX_WORKERS", 2)  # other processes do not check every array's shape
    town = replace(town, name="mini", seconds=12, num_cuts=0)
    monkeypatch.setitem(WORLDS, "mini", town)
    source = build_source(plainly(["pretrain=mini"])["pretrain"])
    page = analyze(source, "auto", 1.0, tmp_path / "xray")
    video = build_source(
        {**plainly(["pretrain=video"])["pretrain"], "path": str(prepare(town, tmp_path / "data") / "walk.mp4")}
    )
    monkeypatch.syspath_prepend(Path(__file__).parent)
    assert analyze(video, "test_xray:two_cats", 2.0, tmp_path / "xray") == page
    content = page.read_text()
    assert content.count("<img") == content.count("data:image/png;base64,") == 2
    assert "http" not in content.replace("xmlns", "")  # no network
    for part in ("<th>mini</th><th>video:walk</th>", "objects per frame", "<td>12</td><td>6</td>", "<td>2</td>"):
        assert part in content
    with (tmp_path / "xray" / "video_walk" / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["objects"] for row in rows] == ["2"] * 6
    assert rows[0]["labels"] == "cat cat"
    assert json.loads((tmp_path / "xray" / "mini" / "summary.json").read_text())["figures"]["distinct classes"] > 5
    with pytest.raises(ValueError, match="looks at videos"):
        analyze(build_source(plainly(["pretrain=imagenet1k"])["pretrain"]), "auto", 1.0, tmp_path / "xray")
    assert analyzing.cell(None) == "<td>-</td>"
