"""What evaluations have in common: registration, protocol, and outcomes whose means are the metrics."""

import numpy as np
import pytest
from eval_cases import all_keys

from longtake.backbones.vit import ViT
from longtake.downstream.base import DOWNSTREAM, Encoder, save_outcomes
from longtake.downstream.knn import KNN
from longtake.downstream.linear import Linear
from longtake.engine.plan import build_evaluation


def test_registered_by_class_keyword():
    assert DOWNSTREAM["knn"] is KNN
    assert DOWNSTREAM["linear"] is Linear


def test_the_vit_is_an_encoder():
    assert isinstance(ViT("mini", patch_size=16, image_size=32), Encoder)


def test_outcome_means_are_the_metrics_in_per_cent(tmp_path):
    outcomes = {"top1": np.array([1, 0, 0, 1, 1], np.float32), "iou": np.array([0.5, 0.25, 0, 1, 0], np.float32)}
    metrics = save_outcomes(tmp_path / "new", ["a", "b", "c", "d", "e"], outcomes)
    assert metrics == {"top1": pytest.approx(60), "iou": pytest.approx(35)}
    with np.load(tmp_path / "new" / "outcomes.npz") as saved:
        assert saved["items"].tolist() == ["a", "b", "c", "d", "e"]
        assert saved["iou"].tolist() == outcomes["iou"].tolist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["outcomes.npz"]


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("knn_mini", "knn-mini-v1"),
        ("linear_mini", "linear-mini-cached-v1"),
        ("knn_imagenet1k", "knn-imagenet1k-v1"),
        ("linear_imagenet1k", "linear-imagenet1k-v1"),
    ],
)
def test_a_yaml_names_the_protocol(name, protocol):
    assert build_evaluation(all_keys()[name]).protocol == protocol
