"""LOST and DAVIS as evaluations: an encoder that sees colours finds coloured objects exactly; odd sizes; files that are kept."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from longtake.backbones.vit import Tokens, ViT
from longtake.datasets.davis import write_davis
from longtake.datasets.voc import Annotated, write_voc
from longtake.downstream.base import DOWNSTREAM

# Background (ImageNet's mean, with which images are padded), two objects.
COLOURS = np.array([[121, 113, 101], [250, 130, 110], [130, 120, 245]], np.uint8)


class Colours(nn.Module):
    """An encoder whose keys, queries and tokens are the mean colours of the patches, centred on the background's."""

    embed_dim, patch_size, depth = 3, 8, 1

    def forward(self, x: torch.Tensor, *, pos_mode: str | None = None) -> Tokens:
        patches = nn.functional.avg_pool2d(x, 8).flatten(2).transpose(1, 2)  # (1, n, 3)
        ground = patches.median(1, keepdim=True).values
        keys = patches - ground - 0.05
        everything = torch.cat([keys.new_ones(1, 1, 3), keys], 1)[:, None]
        return Tokens(patches[:, 0], patches - ground + 0.3, everything, everything)

    def intermediate(self, x: torch.Tensor, blocks: Sequence[int], norm: bool = True) -> list[torch.Tensor]:
        raise AssertionError("neither task asks for it")


def scene(boxes: list, height: int = 61, width: int = 83) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles of the objects' colours and their mask."""
    mask = np.zeros((height, width), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        mask[y0:y1, x0:x1] = number
    noise = np.random.default_rng(0).integers(0, 6, (height, width, 3), np.uint8)
    return COLOURS[mask] + noise, mask


def voc_folder(root: Path) -> Path:
    boxes = [[(16, 8, 48, 40)], [(24, 24, 72, 56)], [(0, 16, 24, 48)]]
    images = []
    for i, objects in enumerate(boxes):
        image, mask = scene(objects)
        images.append(Annotated(f"{i:06d}", image, np.array(objects), ["thing"], mask if i < 2 else None))
    return write_voc(root, images).root


@pytest.fixture
def lost(tmp_path: Path):
    return DOWNSTREAM["lost"](preset="lost", root=str(voc_folder(tmp_path / "VOC")), progress=False, gallery=True)


def test_coloured_objects_are_found(lost, tmp_path: Path) -> None:
    assert lost.check() == []
    metrics = lost.evaluate(Colours(), tmp_path / "out")
    assert list(metrics) == list(lost.metrics)
    assert metrics["corloc"] == metrics["corloc_segval"] == 100
    assert metrics["jaccard_besthead_60"] > 10
    boxes = json.loads((tmp_path / "out" / "boxes.json").read_text())
    assert boxes["000000"] == [16, 8, 48, 40]
    assert boxes["000001"] == [24, 24, 72, 56]
    assert (tmp_path / "out" / "lost.jpg").stat().st_size > 1000
    with np.load(tmp_path / "out" / "outcomes.npz") as outcomes:
        assert outcomes["items"].tolist() == ["000000", "000001", "000002"]
        assert np.isnan(outcomes["corloc_segval"]).tolist() == [False, False, True]
        assert np.isnan(outcomes["corloc"]).sum() == 0


def test_a_real_encoder_takes_images_of_any_size(lost, tmp_path: Path) -> None:
    torch.manual_seed(0)
    metrics = lost.evaluate(ViT("mini", 8, 64), tmp_path / "out")
    assert all(0 <= value <= 100 for value in metrics.values())


def test_an_image_smaller_than_a_patch_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"000007": (5, 40), "000008": (64, 64)}
    images = [
        Annotated(name, np.zeros((*size, 3), np.uint8), np.array([[0, 0, 4, 4]]), ["dog"], np.ones(size, np.uint8))
        for name, size in sizes.items()
    ]
    root = write_voc(tmp_path / "VOC", images).root
    DOWNSTREAM["lost"](preset="lost", root=str(root), progress=False).evaluate(Colours(), tmp_path / "out")
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("not scored") == 1
    assert "not scored: 1 of 2 images are smaller than a patch: 000007" in said
    with np.load(tmp_path / "out" / "outcomes.npz") as outcomes:
        assert outcomes["items"].tolist() == ["000007", "000008"]
        assert np.isnan(outcomes["corloc"]).tolist() == [True, False]


def davis_folder(root: Path, height: int = 64, width: int = 96) -> Path:
    """Two objects that move by a patch per frame."""
    sequences = []
    for name, step in (("right", 8), ("left", -8)):
        start = 8 if step > 0 else 40
        shown = [
            scene([(start + step * t, 8, start + 24 + step * t, 32), (40, 40, 64, 56)], height, width) for t in range(5)
        ]
        sequences.append((name, np.stack([image for image, _ in shown]), np.stack([mask for _, mask in shown])))
    return write_davis(root, sequences).root


@pytest.mark.parametrize("size", [(64, 96), (80, 80), (96, 64), (67, 101)])
def test_coloured_objects_are_followed(tmp_path: Path, size: tuple[int, int]) -> None:
    root = davis_folder(tmp_path / "DAVIS", *size)
    task = DOWNSTREAM["davis"](
        preset="davis",
        root=str(root),
        short_side=min(size),
        multiple=8,
        radius=3,
        keep_small=True,
        progress=False,
        gallery=True,
    )
    assert task.check() == []
    metrics = task.evaluate(Colours(), tmp_path / "out")
    assert list(metrics) == list(task.metrics)
    assert metrics["J"] > (80 if size[0] % 8 == 0 else 50)  # patches end where objects do, or do not
    assert metrics["J&F"] == pytest.approx((metrics["J"] + metrics["F"]) / 2)
    masks = sorted(
        p.relative_to(tmp_path / "out" / "masks").as_posix() for p in (tmp_path / "out" / "masks").rglob("*.png")
    )
    assert masks == [f"{name}/{t:05d}.png" for name in ("left", "right") for t in range(5)]
    assert (tmp_path / "out" / "davis.jpg").stat().st_size > 1000
    with (tmp_path / "out" / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["object"] for row in rows] == ["right/1", "right/2", "left/1", "left/2"]
    assert np.mean([float(row["J_mean"]) for row in rows]) * 100 == pytest.approx(metrics["J"])
