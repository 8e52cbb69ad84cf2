"""Few-shot k-NN, logistic regression, in-context segmentation, clusters of a video: formulae and encoders with a known answer."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.backbones.vit import Tokens
from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.davis import write_davis
from longtake.datasets.voc import Annotated, write_voc
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.dense_knn import patch_labels, retrieve
from longtake.downstream.knn_fewshot import draw_shots
from longtake.downstream.miou import class_ious, confusion, matching
from longtake.downstream.video_kmeans import kmeans

COLOURS = np.array([[60, 60, 60], [220, 40, 40], [40, 60, 220]], np.uint8)


class Colours(nn.Module):
    """An encoder whose tokens are the mean colours of the patches."""

    embed_dim, patch_size, depth = 3, 8, 4

    def forward(self, x: torch.Tensor, *, pos_mode: str | None = None) -> Tokens:
        patches = F.avg_pool2d(x, 8).flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], 1)[:, None]
        return Tokens(patches.mean(1), patches, tokens, tokens)

    def intermediate(self, x: torch.Tensor, blocks, norm: bool = True) -> list[torch.Tensor]:
        tokens = self(x)
        return [torch.cat([tokens.cls[:, None], tokens.patches], 1) for _ in blocks]


def scene(number: int, corner: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of an object's colour on the ground, on the grid of patches, and its mask."""
    mask = np.zeros((64, 64), np.uint8)
    mask[corner : corner + 24, corner : corner + 24] = number
    return COLOURS[mask] + np.random.default_rng(corner).integers(0, 5, (64, 64, 3), np.uint8), mask


def test_shots_are_drawn_from_every_class() -> None:
    labels = np.repeat([0, 1, 2], [30, 3, 10])
    chosen = draw_shots(labels, 5, (0, 5, 0))
    assert np.bincount(labels[chosen]).tolist() == [5, 3, 5]
    np.testing.assert_array_equal(chosen, draw_shots(labels, 5, (0, 5, 0)))
    assert chosen.tolist() != draw_shots(labels, 5, (0, 5, 1)).tolist()


@pytest.mark.parametrize("task", ["knn_fewshot", "logreg"])
def test_an_outcome_per_image_and_a_share_of_hits(task: str, tiny_folder: Path, tmp_path: Path) -> None:
    keys = {"costs": (1e-2, 1e2, 5)} if task == "logreg" else {"tries": 3}
    evaluation = DOWNSTREAM[task](
        preset=task, root=str(tiny_folder), test_split="val", size=16, resize=16, progress=False, **keys
    )
    assert evaluation.check() == []
    metrics = evaluation.evaluate(Colours(), tmp_path)
    assert list(metrics) == list(evaluation.metrics)
    with np.load(tmp_path / "outcomes.npz") as outcomes:
        for metric in metrics:
            assert outcomes[metric].shape == (30,)
            if task == "knn_fewshot":
                np.testing.assert_allclose(outcomes[metric] * 3, np.round(outcomes[metric] * 3))
    assert evaluation.evaluate(Colours(), tmp_path) == metrics


def test_logistic_regression_separates_what_can_be_separated() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = np.eye(3)[y] * 4 + rng.normal(0, 0.3, (90, 3))
    evaluation = DOWNSTREAM["logreg"](preset="logreg", root="x", costs=(1e-3, 1e3, 4), progress=False)
    assert evaluation.fit(x, y, evaluation.choose(x, y)).score(x, y) == 1


def test_ious_of_a_confusion_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [1, 2, 2, 255]])
    predicted = np.array([[0, 1, 1, 1], [0, 2, 0, 2]])
    matrix = confusion(truth, predicted, 4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [1, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(class_ious(matrix), [1 / 4, 2 / 4, 1 / 2, np.nan])


def test_clusters_are_matched_whatever_their_numbers() -> None:
    truth = np.random.default_rng(0).integers(0, 3, 500)
    matrix = confusion(truth, np.array([2, 0, 1])[truth], 3)
    classes = matching(matrix)
    np.testing.assert_array_equal(classes[np.array([2, 0, 1])[truth]], truth)


def test_patches_have_the_shares_of_their_pixels() -> None:
    mask = np.array([[0, 0, 1, 255], [0, 2, 1, 1], [255, 255, 2, 2], [255, 255, 2, 0]], np.uint8)
    expected = [[3 / 4, 0, 1 / 4], [0, 1, 0], [0, 0, 0], [1 / 4, 0, 3 / 4]]
    torch.testing.assert_close(patch_labels(mask, 2, 3), torch.tensor(expected))


def test_retrieval_equals_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, features = (F.normalize(torch.randn(n, 6, generator=generator), dim=1) for n in (4, 20))
    labels = torch.rand(20, 3, generator=generator)
    for query, found in zip(queries, retrieve(queries, features, labels, 5, 0.1), strict=True):
        cosines = sorted(((float(query @ f), i) for i, f in enumerate(features)), reverse=True)[:5]
        weights = [math.exp(c / 0.1) for c, _ in cosines]
        expected = sum(w * labels[i] for w, (_, i) in zip(weights, cosines, strict=True)) / sum(weights)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", ["voc", "ade20k"])
def test_colours_are_labelled_exactly(layout: str, tmp_path: Path) -> None:
    scenes = [(number, corner) for number in (1, 2) for corner in (0, 16, 40)]
    if layout == "voc":
        images = []
        for split, (n, c) in itertools.product(("train", "val"), scenes):
            image, mask = scene(n, c)
            lists = [f"Segmentation/{split}"]
            images.append(Annotated(f"{split}{n}{c}", image, np.zeros((0, 4), int), [], mask, lists=lists))
        root = write_voc(tmp_path / "data", images).root
        names = ("Segmentation/train", "Segmentation/val")
    else:
        names = ("training", "validation")
        for split in names:
            root = write_ade20k(tmp_path / "data", split, [(f"{n}{c}", *scene(n, c)) for n, c in scenes]).root
    task = DOWNSTREAM["dense_knn"](
        preset="icl", root=str(root), layout=layout, train_list=names[0], test_list=names[1], size=64, num_neighbors=3,
        progress=False, gallery=True,
    )  # fmt: skip
    assert task.check() == []
    metrics = task.evaluate(Colours(), tmp_path / "out")
    assert metrics["icl_miou"] > 85  # bilinear borders
    assert (tmp_path / "out" / "dense_knn.jpg").is_file()
    with np.load(tmp_path / "out" / "outcomes.npz") as outcomes:
        assert len(outcomes["items"]) == len(scenes)  # an item is an image


def test_clusters_of_a_video_are_its_objects(tmp_path: Path) -> None:
    shown = [scene(1, c) for c in (0, 8, 16, 24)]
    root = write_davis(tmp_path / "DAVIS", [("clip", *(np.stack(v) for v in zip(*shown, strict=True)))]).root
    task = DOWNSTREAM["video_kmeans"](preset="k", root=str(root), short_side=64, progress=False, gallery=True)
    metrics = task.evaluate(Colours(), tmp_path / "out")
    assert metrics == {"kmeans_miou": pytest.approx(100), "kmeans_objects_iou": pytest.approx(100)}
    assert (tmp_path / "out" / "video_kmeans.jpg").is_file()


def test_kmeans_repeats_with_its_seed() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4))
    np.testing.assert_array_equal(kmeans(x, 5, 3), kmeans(x, 5, 3))
