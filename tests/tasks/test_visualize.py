"""Numbers and pictures of attention and tracks."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.datasets.clips import Clips
from longtake.datasets.sources.base import Truth
from longtake.engine.config import composed
from longtake.methods.tracking import overlap
from longtake.tasks.visualize.draw import boxes_at, visualize
from longtake.tasks.visualize.pictures import colours, overlay
from longtake.tasks.visualize.tracks import against_truth, region, resized, sharpness_of_maps

GRID = (4, 8)
LEFT, RIGHT = (0.0, 0.0, 0.25, 1.0), (0.75, 0.0, 1.0, 1.0)


def map_of(*boxes) -> torch.Tensor:
    """One frame: a map for each box, all its weight inside."""
    maps = torch.stack([torch.from_numpy(region(box, GRID)).float().flatten() for box in boxes])
    return maps / maps.sum(-1, keepdim=True)


def test_perfect_tracks_have_iou_100_and_no_switch():
    maps = torch.stack([map_of(LEFT, RIGHT), map_of(RIGHT, LEFT)])  # the two instances change sides
    truth = [{7: LEFT, 9: RIGHT}, {7: RIGHT, 9: LEFT}]
    assert against_truth(maps, truth, GRID) == {"track_iou": 100, "identity_switches": 0}


def test_maps_that_stay_while_the_instances_change_sides_switch_every_time():
    maps = torch.stack([map_of(LEFT, RIGHT)] * 2)
    truth = [{7: LEFT, 9: RIGHT}, {7: RIGHT, 9: LEFT}]
    assert against_truth(maps, truth, GRID) == {"track_iou": 50, "identity_switches": 100}


def test_an_instance_out_of_sight_is_neither_hit_nor_missed():
    maps = torch.stack([map_of(LEFT), map_of(RIGHT), map_of(LEFT)])
    assert against_truth(maps, [{7: LEFT}, {}, {7: LEFT}], GRID) == {"track_iou": 100, "identity_switches": 0}
    nothing = against_truth(map_of(LEFT)[None], [{7: RIGHT}], GRID)
    assert nothing["track_iou"] == 0


def test_boxes_are_those_of_a_frames_time():
    box = np.array([[0.0, 0.0, 0.5, 1.0], [0.1, 0.0, 0.6, 1.0], [0.5, 0.5, 1.0, 1.0]])
    rows = {"frame": np.array([0, 6, 6]), "instance": np.array([3, 3, 4]), "class_index": np.array([0, 0, 1])}
    truth = Truth(fps=12, classes=("cat", "dog"), box=box, visible=np.ones(3), **rows)
    clips = object.__new__(Clips)
    clips.store = SimpleNamespace(seconds=np.array([0.0, 0.5, 1.0]))  # of frames 0, 6 and 12
    assert boxes_at(truth, clips, 1) == {3: (0.1, 0.0, 0.6, 1.0), 4: (0.5, 0.5, 1.0, 1.0)}
    assert boxes_at(truth, clips, 2) == {}


def test_small_boxes_are_at_least_one_patch():
    assert region((0.5, 0.5, 0.51, 0.51), GRID).sum() == 1


def test_sharpness_of_flat_and_of_separate_maps():
    flat = torch.full((3, 2, 32), 1 / 32)
    assert sharpness_of_maps(flat) == pytest.approx({"overlap": 1, "entropy": 1})
    assert sharpness_of_maps(map_of(LEFT, RIGHT)[None])["overlap"] == 0
    assert sharpness_of_maps(map_of(LEFT, RIGHT)[None])["entropy"] == pytest.approx(np.log(8) / np.log(32))
    assert overlap(map_of(LEFT)[None]) == 0


def test_overlays_colour_what_is_mapped():
    frames = torch.full((1, 3, 32, 64), 0.5)
    image = overlay(frames, map_of(LEFT, RIGHT)[None], GRID)[0]
    blue, red = image[:, 16, 2], image[:, 16, 61]
    assert blue.argmax() == 2
    assert red.argmax() == 0
    assert image[:, 16, 32].max() < 0.5
    assert len(colours(7)) == 7


def test_frames_are_resized_to_whole_patches():
    frames = torch.randint(0, 256, (2, 3, 90, 160), dtype=torch.uint8)
    assert resized(frames, 64, 16).shape == (2, 3, 64, 112)


def test_a_checkpoint_and_a_video_become_pictures_and_numbers(tiny_video: Path, tmp_path: Path, monkeypatch):
    from omegaconf import OmegaConf

    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    torch.manual_seed(0)
    about = {"method": "dino", "pretrain": "mini", "epochs": 3}
    encoder = save_encoder(ViT("mini", 8, 32, last_heads=8), tmp_path / "e.safetensors", about)
    words = [
        "method=dora",
        "pretrain=video",
        f"pretrain.path='{tiny_video}'",
        f"checkpoint={encoder}",
        f"output={tmp_path}",
    ]
    words += [
        "pretrain.stride_seconds=0.25",
        "visualize.num_frames=3",
        "visualize.num_objects=5",
        "visualize.num_clips=2",
    ]
    folder = visualize(OmegaConf.to_container(composed(words), resolve=True))
    assert {path.name for path in folder.iterdir()} == {
        "clip0.gif", "clip0_heads.png", "clip0_tracks.png", "clip1.gif", "clip1_heads.png", "clip1_tracks.png", "numbers.csv"
    }  # fmt: skip
    rows = list(csv.DictReader((folder / "numbers.csv").open()))
    assert len(rows) == 2
    assert 0 <= float(rows[0]["overlap"]) <= 1
    assert "track_iou" not in rows[0]  # a real video has no truth
    with Image.open(folder / "clip0.gif") as gif:
        assert gif.n_frames == 3
    config = OmegaConf.to_container(composed([*words, "visualize.num_objects=9"]), resolve=True)
    with pytest.raises(ValueError, match=r"visualize.num_objects=9.*8 heads"):
        visualize(config)
