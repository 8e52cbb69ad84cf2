"""Two gloo processes, each with half of the batch, give the numbers of one process with all of it: losses, gradients, buffers."""

import pytest
import torch
from gloo import METHOD_KEYS, everything, two_steps
from golden import G
from processes import RANKS, on_two_processes


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    return on_two_processes(everything, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("name", METHOD_KEYS)
def test_two_processes_give_the_numbers_of_one(name, of_ranks):
    expected, ranks = two_steps(name, lambda crops: crops), [found[name] for found in of_ranks]
    assert expected.keys() == ranks[0].keys()
    scale = max(value.norm() for key, value in expected.items() if key.startswith("grad"))
    for key, value in expected.items():
        if key.startswith("buffer"):  # every rank holds the single process's
            for found in ranks:
                assert_near(found[key], value, 0.0, key)
        else:  # DDP takes the mean of gradients, the logger that of losses
            assert_near(torch.stack([found[key] for found in ranks]).mean(0), value, scale, key)


def assert_near(got: torch.Tensor, expected: torch.Tensor, scale: float, key: str) -> None:
    """Equal up to float32's rounding: 1e-4 of the tensor's norm, 1e-6 of the largest gradient's (some are exactly 0)."""
    assert got.shape == expected.shape, key
    error, norm = ((x.double()).norm().item() for x in (got.double() - expected.double(), expected))
    assert error <= 1e-4 * norm + 1e-6 * scale, f"{key}: off by {error:.2e} of {norm:.2e}"


def test_gather_norm_and_decisions(of_ranks):
    first, second = (found["primitives"] for found in of_ranks)
    x = G((RANKS * 3, 4), 0.3, 0.1)
    assert torch.equal(first["gather"], x)
    assert torch.equal(second["gather"], x)
    torch.testing.assert_close(torch.cat([first["gather grad"], second["gather grad"]]), RANKS * G((6, 4), 0.7, 0.2))
    norm, y = torch.nn.BatchNorm1d(4), x.clone().requires_grad_()
    out = norm(y)
    out.square().mul(G((4,), 0.2, 0.5)).sum().backward()
    torch.testing.assert_close(torch.cat([first["norm"], second["norm"]]), out.detach())
    torch.testing.assert_close(torch.cat([first["norm grad"], second["norm grad"]]), y.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first["running var"], norm.running_var)
    torch.testing.assert_close(second["running mean"], norm.running_mean)
    assert (first["mean"].item(), second["mean"].item()) == (0.5, 0.5)
    assert not first["all"]
    assert not second["all"]
