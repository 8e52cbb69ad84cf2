"""A fine-tuning that is stopped anywhere ends as one that is not; schedules; the order of what is read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from longtake.downstream import drawing
from longtake.downstream.drawing import Budget, Drawn, Places, at_once, batches, seeded
from longtake.downstream.tuning import DRAWS, Passes, Tuning, polynomial, steps


class Noisy:
    """Ten samples with an augmentation from NumPy's generator, as mm*'s are."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index + np.random.rand(), torch.rand(()).item()], dtype=torch.float32)  # noqa: NPY002


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def loss_of(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    return {"square": network(batch).square().mean(), "sum": network(batch).mean() * 0.1}


def tuned(checkpoint: Path, iterations: int, stop_after: int | None = None, at_once: int = 4) -> dict[str, Tensor]:
    network = model()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    budget = Budget(iterations, 4, at_once, save_every=2)
    tuning = Tuning(network, optimizer, polynomial(iterations, 2), checkpoint, "same", clip_grad=1.0)
    seen = 0

    def after(done: int) -> bool:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise KeyboardInterrupt
        return budget.save_due(done)

    passes = Passes(network, loss_of, batches(Noisy(), budget, 0, tuning.done), budget)
    tuning.run(passes, iterations, after)
    return network.state_dict()


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_interrupted_and_continued_is_the_same(tmp_path: Path, stop_after: int) -> None:
    whole = tuned(tmp_path / "a.ckpt", 9)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "b.ckpt", 9, stop_after)
    torch.manual_seed(99)  # another process
    continued = tuned(tmp_path / "b.ckpt", 9)
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
    again = tuned(tmp_path / "b.ckpt", 9)  # done already
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    lines = (tmp_path / "b_loss.csv").read_text()
    assert lines == (tmp_path / "a_loss.csv").read_text()
    assert lines.startswith("step,loss\n0,")
    assert lines.count("\n") == 10


def test_what_a_model_draws_depends_on_seed_and_place_alone(tmp_path: Path) -> None:
    draws = [drawn_by_a_model(tmp_path / f"{seed}.ckpt", seed) for seed in (0, 1)]
    assert len({*draws[0], *draws[1]}) == 8, "each pass has its own"
    torch.manual_seed(99)
    assert drawn_by_a_model(tmp_path / "again.ckpt", 0) == draws[0]
    with seeded(0, 6, DRAWS):  # the second half of the second iteration
        assert torch.rand(()).item() == draws[0][3]


def drawn_by_a_model(checkpoint: Path, seed: int) -> list[float]:
    """What comes first in each of the four passes of two iterations."""
    network, draws = nn.Linear(2, 1), list[float]()
    budget = Budget(2, 4, 2)
    tuning = Tuning(network, torch.optim.SGD(network.parameters()), polynomial(2, 0), checkpoint, "same")

    def loss_of(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        draws.append(torch.rand(()).item())
        return {"mean": model(batch).mean()}

    before = torch.get_rng_state()
    tuning.run(Passes(network, loss_of, batches(Noisy(), budget, 0, 0), budget, seed), 2, budget.save_due)
    assert torch.equal(torch.get_rng_state(), before)
    return draws


def test_another_training_is_not_continued(tmp_path: Path) -> None:
    tuned(tmp_path / "a.ckpt", 4)
    network = model()
    optimizer = torch.optim.AdamW(network.parameters())
    assert Tuning(network, optimizer, polynomial(4, 0), tmp_path / "a.ckpt", "other").done == 0
    assert Tuning(network, optimizer, polynomial(4, 0), tmp_path / "a.ckpt", "same").done == 4


def test_the_global_batch_is_kept_by_accumulation() -> None:
    """Gradients of two halves are those of the whole (without dropout)."""
    gradients = []
    for size in (4, 2):
        network = model().eval()
        budget = Budget(1, 4, size)
        data = batches(Noisy(), budget, 0, 0)
        for _ in range(budget.accumulate):
            (sum(loss_of(network, next(data)).values()) / budget.accumulate).backward()
        gradients.append(network[0].weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_pass_is_never_more_than_a_process_has_of_a_step() -> None:
    assert [at_once(16, 4, count) for count in (1, 2, 4, 8)] == [4, 4, 4, 2]
    assert [at_once(16, None, count) for count in (1, 2)] == [16, 8]
    with pytest.raises(ValueError, match=r"train_batch_size=6: expected a multiple of batch_size=4 times 1 process"):
        at_once(6, 4, 1)
    with pytest.raises(ValueError, match=r"train_batch_size=8: expected a multiple of batch_size=2 times 3 process"):
        at_once(8, 4, 3)


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    network = model()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tuning = Tuning(network, torch.optim.SGD(network.parameters()), polynomial(4, 0), tmp_path / "a.ckpt", "same")
    budget = Budget(4, 2, 2)
    bad = lambda net, batch: {"fine": net(batch).mean(), "bad": net(batch).mean() * float("nan")}  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"iteration 0: the loss is not finite \(fine .*, bad nan\)"):
        tuning.run(Passes(network, bad, batches(Noisy(), budget, 0, 0), budget), 4, budget.save_due)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert tuning.losses == []


def test_every_sample_once_in_each_pass() -> None:
    whole = list(Places(10, 3, 0, 25, 5))
    assert [place for place, _ in whole] == list(range(25))
    counts = Counter(index for _, index in whole[:20])
    assert set(counts.values()) == {2}
    assert [i for _, i in whole[:10]] != [i for _, i in whole[10:20]]
    assert list(Places(10, 3, 12, 25, 5)) == whole[12:]


@pytest.mark.parametrize("num_samples", [10, None])
def test_processes_share_the_places_of_one(monkeypatch: pytest.MonkeyPatch, num_samples: int | None) -> None:
    budget, whole = Budget(7, 12, 3), list(Places(num_samples, 3, 24, 84, 3))
    if num_samples is None:
        assert whole == [(place, place) for place in range(24, 84)]
    monkeypatch.setattr(drawing, "world_size", lambda: 2)
    shares = []
    for number in range(2):
        monkeypatch.setattr(drawing, "rank", lambda: number)  # noqa: B023 - called at once
        share = list(Places(num_samples, 3, 24, 84, 3))
        assert [place for place, _ in share[::3]] == [p for i in range(2, 7) for p in budget.places(i)]
        shares += share
    assert sorted(shares) == sorted(whole)


class Numbered:
    """A sample for every number."""

    def __getitem__(self, number: int) -> Tensor:
        return torch.tensor(number)


def test_samples_without_a_length_are_drawn_by_number() -> None:
    found = list(batches(Numbered(), Budget(4, 10, 5), 0, 2))
    assert [batch.tolist() for batch in found] == [list(range(n, n + 5)) for n in (20, 25, 30, 35)]


def test_samples_depend_on_their_place_alone() -> None:
    drawn = Drawn(Noisy(), 0)
    first = drawn[7, 2]
    np.random.rand(3)  # noqa: NPY002
    before = torch.get_rng_state()
    assert torch.equal(drawn[7, 2], first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn[8, 2], first)
    with seeded(0, 7):
        assert np.random.rand() == pytest.approx(float(first[0]) - 2, abs=1e-6)  # noqa: NPY002


def test_schedules() -> None:
    factor = polynomial(100, 10)
    assert factor(0) == pytest.approx(1e-6)
    assert factor(5) == pytest.approx(0.5, abs=1e-5)
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == 0
    dropped = steps([30, 40], 10)
    assert dropped(0) == pytest.approx(1e-3)
    assert [dropped(i) for i in (10, 29, 30, 39, 40)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert steps([30], 0)(0) == 1
