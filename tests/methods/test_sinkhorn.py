"""Sinkhorn-Knopp against SwAV's (main_swav.distributed_sinkhorn @ 06b1b7c) and DoRA's (SinkhornKnopp @ 0508b2c) numbers."""

import pytest
import torch
import torch.nn.functional as F
from golden import G

from longtake.methods.sinkhorn import sinkhorn, sinkhorn_exp


@pytest.mark.parametrize("solve", [sinkhorn, sinkhorn_exp])
def test_golden_swav(solve):
    embedding = F.normalize(G((32, 16), 0.37, 0.1), dim=-1)[:8]  # the first of four crops
    q = solve(embedding @ F.normalize(G((12, 16), 0.31, 0.2), dim=-1).T, 0.05, 3)
    assert q[0, :6].tolist() == pytest.approx([0.021512, 0, 0, 0.004177, 0.340155, 0.000971], abs=2e-6)
    assert q.sum(0)[:4].tolist() == pytest.approx([0.748734, 1.188947, 0.391775, 0.345546], rel=1e-5)
    torch.testing.assert_close(q.sum(1), torch.ones(8))


@pytest.mark.parametrize("solve", [sinkhorn, sinkhorn_exp])
def test_golden_dora(solve):
    q = solve(2 * G((2, 196, 3), 0.11, 0.2), 0.05, 30)
    assert q[0, 0].tolist() == pytest.approx([0.000238, 0.107173, 0.892589], rel=1e-3, abs=1e-6)
    assert q[1, 100].tolist() == pytest.approx([0.838817, 0.160401, 0.000782], rel=1e-3, abs=1e-6)
    assert q[0].sum(0).tolist() == pytest.approx([65.3332, 65.3333, 65.3335], abs=1e-3)


def test_equals_the_iteration_in_float64_loops():
    scores = G((7, 3), 0.9, 0.3).double()
    q = [[float(torch.exp(scores[n, k] / 0.3)) for k in range(3)] for n in range(7)]
    for _ in range(4):
        columns = [sum(q[n][k] for n in range(7)) for k in range(3)]
        q = [[q[n][k] / columns[k] / 3 for k in range(3)] for n in range(7)]
        rows = [sum(q[n]) for n in range(7)]
        q = [[q[n][k] / rows[n] / 7 for k in range(3)] for n in range(7)]
    torch.testing.assert_close(
        sinkhorn(scores.float(), 0.3, 4).double(), 7 * torch.tensor(q).double(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(("gap", "finite"), [(5.0, True), (5.3, False)])
def test_only_the_release_loses_a_cluster_far_below_the_others(gap, finite):
    scores = torch.zeros(1, 196, 3)
    scores[..., 1] -= gap
    assert sinkhorn_exp(scores, 0.05, 30).isfinite().all() == finite
    q = sinkhorn(scores, 0.05, 30)
    torch.testing.assert_close(q, torch.full_like(q, 1 / 3), atol=1e-4, rtol=0)


def test_scores_of_any_size_stay_finite_and_balanced():
    q = sinkhorn(1e4 * G((64, 4), 0.7, 0.1), 0.05, 200)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(1), torch.ones(64))
