"""SimCLR against its formula as google-research/simclr @ 383d414 has it (twice the mean over 2N), evaluated on the same inputs."""

import math

import pytest
import torch
import torch.nn.functional as F
from golden import G

from longtake.methods.simclr import nt_xent

Z0, Z1 = G((8, 16), 0.37, 0.1), G((8, 16), 0.37, 0.35)


@pytest.mark.parametrize(
    ("temperature", "mean", "google"), [(0.1, 1.376323, 2.752646), (0.2, 1.622992, 3.245984), (0.5, 2.001897, 4.003793)]
)
def test_golden(temperature, mean, google):
    loss = nt_xent(Z0, Z1, temperature).item()
    assert loss == pytest.approx(mean, rel=1e-6)
    assert 2 * loss == pytest.approx(google, rel=1e-6)


def test_equals_equation_1_in_float64_loops():
    z = F.normalize(torch.cat([Z0, Z1]).double(), dim=-1)
    total = 0.0
    for i in range(16):
        similarity = [math.exp(float(z[i] @ z[j]) / 0.3) for j in range(16)]
        total -= math.log(similarity[(i + 8) % 16] / (sum(similarity) - similarity[i]))
    assert nt_xent(Z0, Z1, 0.3).item() == pytest.approx(total / 16, rel=1e-6)


def test_small_temperatures_do_not_overflow():
    assert nt_xent(Z0, Z1, 1e-3).isfinite()


def test_the_order_of_the_batch_does_not_matter():
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nt_xent(Z0[order], Z1[order], 0.1), nt_xent(Z0, Z1, 0.1))
