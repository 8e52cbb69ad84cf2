"""Label-free numbers of a video: known answers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_cases import own_video, vit
from PIL import Image

from longtake.downstream.own_video import OwnVideo, cluster_overlap, map_overlap, rank_share
from longtake.engine.config import plainly
from longtake.engine.identity import protocol_suffix


def test_the_rank_of_features():
    assert rank_share(torch.eye(4).repeat(3, 1)) == pytest.approx(1.0)  # four directions, equally much of each
    assert rank_share(torch.ones(6, 4)) == pytest.approx(1 / 4)  # one direction of four
    assert rank_share(torch.eye(4)[:2]) == pytest.approx(1.0)  # of two rows no more than two
    assert rank_share(torch.zeros(5, 3)) == 0
    values = torch.tensor([3.0, 1.0])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))) / 2
    assert rank_share(torch.diag(values)) == pytest.approx(expected)


def test_clusters_that_are_found_again():
    eye, draw = np.eye(3), np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    first = eye[labels] + 0.01 * draw.normal(size=(24, 3))
    moved = eye[np.roll(labels, 5)] + 0.01 * draw.normal(size=(24, 3))  # things move, what they are does not
    assert cluster_overlap(first, moved, 3, seed=0) == 1.0
    other = np.where(np.arange(24)[:, None] % 2, eye[0], eye[0] * 1.5) + 0.001 * draw.normal(size=(24, 3))
    assert cluster_overlap(first, other, 3, seed=0) < 0.5  # all near one centre: its clusters are new ones


def test_folders_of_pictures_are_told_apart_by_what_is_in_them(tmp_path: Path):
    """Those of one name, too: their numbers are never compared."""
    found = []
    for place, grey in (("a", 50), ("b", 200), ("c", 50)):
        (tmp_path / place / "walk").mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((32, 32, 3), grey + i, np.uint8)).save(tmp_path / place / "walk" / f"{i}.png")
        root = str(tmp_path / place / "walk")
        found.append(OwnVideo(preset="own-video", root=root, kind="frames", frames_per_second=2.0).protocol)
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_maps_that_meet():
    maps = torch.eye(3)[None]  # three heads, a patch each
    assert map_overlap(maps.double()) == 0
    assert map_overlap(torch.ones(2, 3, 5).double()) == pytest.approx(1.0)
    assert map_overlap(torch.ones(2, 1, 5).double()) == 1.0
    half = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]])
    assert map_overlap(half.double()) == pytest.approx(0.5)


def test_pairs_are_spread_over_the_video_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    root = own_video(tmp_path / "video")
    task = OwnVideo(
        preset="own-video", root=str(root / "walk.mp4"), num_pairs=8, num_stretches=4, short_side=64, progress=False
    )
    metrics = task.evaluate(vit(), tmp_path / "out")
    assert list(metrics) == list(task.metrics)
    with np.load(tmp_path / "out" / "outcomes.npz") as kept:
        seconds = [float(name.split()[-1]) for name in kept["items"]]
        assert kept["groups"].tolist() == sorted(2 * [f"stretch {i:03d}" for i in range(4)])
    assert (seconds[0], seconds[-1]) == (0.0, 4.375)  # the last start of a pair half a second apart
    assert seconds == sorted(seconds)


def test_the_protocol_says_which_video_it_is(tmp_path: Path):
    root = own_video(tmp_path / "video") / "walk.mp4"
    (copy := tmp_path / "other.mp4").write_bytes(root.read_bytes() + b"\0")
    words = ["pretrain=video", "eval=[own_video]"]
    recipe = plainly(words)["eval"]["own_video"]
    keys = plainly([*words, f"pretrain.path='{root}'"])["eval"]["own_video"]
    assert (keys["root"], protocol_suffix(keys, recipe)) == (str(root), "")
    found = [OwnVideo(preset="own-video", root=str(path)).protocol for path in (root, copy)]
    assert found[0].startswith("own-video-walk-")
    assert len(set(found)) == 2
    assert OwnVideo(preset="own-video", root=None).check() == [
        "no video; pretrain=video pretrain.path=walk.mp4 gives one, or root=walk.mp4"
    ]
