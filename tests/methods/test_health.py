"""Numbers that tell collapse: known answers."""

import math

import pytest
import torch

from longtake.methods.health import entropy, feature_std, of_features, of_targets, rankme


def test_entropy_of_certain_and_of_uniform():
    assert entropy(torch.eye(4)).tolist() == [0, 0, 0, 0]
    assert entropy(torch.full((3, 4), 0.25)).tolist() == pytest.approx([math.log(4)] * 3)


def test_features_that_are_all_the_same_and_that_point_everywhere():
    same = torch.randn(1, 32).expand(256, 32)
    everywhere = torch.randn(256, 32, generator=torch.Generator().manual_seed(0))
    assert feature_std(same) == pytest.approx(0, abs=1e-5)
    assert feature_std(everywhere) == pytest.approx(1, abs=0.05)
    assert rankme(same) == pytest.approx(1, abs=0.01)
    assert rankme(everywhere) > 25
    assert of_features(everywhere.bfloat16())["rankme"].dtype == torch.float32


def test_rankme_of_equal_directions_is_their_number():
    assert rankme(torch.cat([torch.eye(5), torch.zeros(3, 5)])) == pytest.approx(5, rel=1e-4)


def test_targets_that_collapse_either_way():
    uniform = of_targets(torch.full((2, 8, 16), 1 / 16))
    assert uniform["target_kl"] == pytest.approx(0, abs=1e-6)
    assert uniform["prototype_usage"] == pytest.approx(1)
    one = of_targets(torch.eye(16)[:1].expand(8, 16))
    assert one["target_kl"] == pytest.approx(math.log(16))
    assert one["prototype_usage"] == pytest.approx(1 / 16)
    healthy = of_targets(torch.eye(16))
    assert (healthy["target_entropy"], healthy["prototype_usage"]) == (0, pytest.approx(1))
