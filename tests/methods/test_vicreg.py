"""VICReg against its original's numbers (main_vicreg.VICReg, facebookresearch/vicreg @ 4e12602)."""

import math

import pytest
from golden import G

from longtake.backbones.vit import ViT
from longtake.methods.base import Duration
from longtake.methods.vicreg import VICReg, covariance_loss, invariance_loss, variance_loss

X, Y = 0.5 * G((16, 32), 0.37, 0.1), 0.5 * G((16, 32), 0.37, 0.35)


def test_golden_parts_and_total():
    invariance, variance = invariance_loss(X, Y), (variance_loss(X) + variance_loss(Y)) / 2
    covariance = covariance_loss(X) + covariance_loss(Y)
    assert invariance.item() == pytest.approx(0.007790, abs=5e-7)
    assert variance.item() == pytest.approx(0.636483, rel=1e-5)
    assert covariance.item() == pytest.approx(0.526901, rel=1e-5)
    assert (25 * invariance + 25 * variance + covariance).item() == pytest.approx(16.633720, rel=1e-6)
    assert (25 * invariance + 50 * variance + covariance).item() == pytest.approx(32.545799, rel=1e-6)  # solo-learn's


def test_equals_the_equations_in_float64_loops():
    x = X.double()
    n, d = x.shape
    mean = [sum(x[i, j] for i in range(n)) / n for j in range(d)]
    cov = [
        [sum((x[i, a] - mean[a]) * (x[i, b] - mean[b]) for i in range(n)) / (n - 1) for b in range(d)] for a in range(d)
    ]
    variance = sum(max(0.0, 1 - float(cov[j][j] + 1e-4) ** 0.5) for j in range(d)) / d
    covariance = sum(float(cov[a][b]) ** 2 for a in range(d) for b in range(d) if a != b) / d
    assert variance_loss(X).item() == pytest.approx(variance, rel=1e-6)
    assert covariance_loss(X).item() == pytest.approx(covariance, rel=1e-5)
    squares = sum((float(X[i, j]) - float(Y[i, j])) ** 2 for i in range(n) for j in range(d)) / (n * d)
    assert invariance_loss(X, Y).item() == pytest.approx(squares, rel=1e-5)


def test_expander_has_the_layers_of_the_original():
    method = VICReg(ViT("mini", 8, 16), Duration(10, 1, 4), hidden_dim=64, out_dim=48)
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm", "ReLU", "Linear"]
    assert method.projector[0].bias is not None
    assert method.projector[-1].bias is None
    assert method.projector[-1].weight.shape == (48, 64)


def test_rates_follow_adjust_learning_rate():
    """Linear from 0 in steps of base / warm-up, then half a cosine to a thousandth of the base (its formula, written out)."""
    duration, base = Duration(12, 5, 512), 0.3 * 512 / 256
    method = VICReg(
        ViT("mini", 8, 16), duration, hidden_dim=8, out_dim=8, lr=0.3, min_lr=base * 1e-3, warmup_epochs=10,
    )  # fmt: skip
    for step in range(60):
        if step < 50:
            expected = base * step / 50
        else:
            q = 0.5 * (1 + math.cos(math.pi * (step - 50) / 10))
            expected = base * q + base * 1e-3 * (1 - q)
        assert method.lrs[step] == pytest.approx(expected, abs=1e-12)
