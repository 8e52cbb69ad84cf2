"""What the base class promises every method: steps that are not finite change nothing, are counted, and end a hopeless run."""

import copy
import re

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import Duration, Method
from longtake.methods.training import Training


class Fragile(Method):
    """A loss, or a gradient, that is not finite at chosen steps; a centre that such a step would spoil."""

    def __init__(self, bad_loss: tuple[int, ...] = (), bad_gradient: tuple[int, ...] = (), **recipe) -> None:
        torch.manual_seed(0)
        super().__init__(ViT("mini", 8, 16), Duration(6, 1, 4), warmup_epochs=0, **recipe)
        self.bad_loss, self.bad_gradient = bad_loss, bad_gradient
        self.probe = nn.Linear(128, 4)
        self.register_buffer("center", torch.zeros(4))
        self.moved: list[int] = []
        self.states: list[dict[str, torch.Tensor]] = []

    def losses(self, views: Views):
        out = self.probe(self.backbone(views.globals[0].flatten(0, 1)).cls)
        step = self.global_step
        if step in self.bad_loss:
            out = out * float("nan")
        self.center = self.center + out.mean(0).detach()
        if step in self.bad_gradient:
            out = (out - out.detach()).abs().sqrt()  # 0, with a slope of 0 / 0
        return {"square": out.square().mean() if step not in self.bad_gradient else out.sum()}

    def after_step(self, step: int) -> None:
        self.moved.append(step)


class Watching(Callback):
    """Keeps the state of a method after each step."""

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        pl_module.method.states.append(copy.deepcopy(pl_module.state_dict()))


def fit(method: Fragile, tmp_path) -> Fragile:
    batches = [Views((torch.randn(4, 1, 3, 16, 16),), (), torch.arange(4)) for _ in range(6)]
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=6, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[Watching()],
    )  # fmt: skip
    trainer.fit(Training(method), torch.utils.data.DataLoader(batches, batch_size=None))
    return method


@pytest.mark.parametrize("kind", ["bad_loss", "bad_gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path, kind):
    method = fit(Fragile(**{kind: (2, 4)}), tmp_path)
    assert method.num_skipped == 2
    assert method.moved == [0, 1, 3, 5]
    for step, state in enumerate(method.states):
        for name, tensor in state.items():
            assert tensor.isfinite().all(), name
        if step in (2, 4):
            unchanged = [name for name in state if name.startswith(("backbone", "probe"))]
            assert all(torch.equal(state[name], method.states[step - 1][name]) for name in unchanged)
    if kind == "bad_loss":
        assert torch.equal(method.states[2]["center"], method.states[1]["center"])
    assert not torch.equal(method.states[3]["probe.weight"], method.states[2]["probe.weight"])


def test_too_many_of_them_end_the_run_with_the_terms_and_a_hint(tmp_path):
    with pytest.raises(FloatingPointError, match=r"2 steps were not finite .*square = nan.*method\.lr"):
        fit(Fragile(bad_loss=(1, 3), max_skipped_steps=1), tmp_path)


def test_finite_steps_are_not_touched(tmp_path):
    method = fit(Fragile(), tmp_path)
    assert method.moved == list(range(6))
    assert method.num_skipped == 0


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars", "larc"])
def test_every_optimizer_moves_the_weights_and_decays(tmp_path, optimizer):
    method = Fragile(optimizer=optimizer, lr=0.1)
    before = method.probe.weight.clone()
    rates: list[float] = []
    set_rates = method.set_rates
    method.set_rates = lambda optimizer: (set_rates(optimizer), rates.append(optimizer.param_groups[0]["weight_decay"]))
    fit(method, tmp_path)
    assert not torch.equal(method.probe.weight, before)
    assert rates == pytest.approx(method.weight_decays[:6])


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match=r"method.optimizer: got 'lamb'.*adamw"):
        Fragile(optimizer="lamb")


def test_a_look_that_fails_ends_nothing(tmp_path):
    method = Fragile()
    losses = method.losses

    def watched(views: Views):
        method.look(lambda: {"good": torch.tensor(1.0)})
        method.look(lambda: {"bad": torch.linalg.svdvals(torch.full((4, 4), float("nan")))})
        return losses(views)

    method.losses = watched
    assert fit(method, tmp_path).moved == list(range(6))
    assert method.notes.keys() == {"good"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", -1e-3), ("lr", 1e30), ("lr", float("nan")), ("min_lr", -1.0), ("weight_decay", float("nan")),
        ("weight_decay", -0.1), ("weight_decay", float("inf")), ("weight_decay_end", -1.0), ("sgd_momentum", 1.5),
        ("sgd_momentum", float("nan")), ("clip_grad", -3.0), ("health_every", 0), ("max_skipped_steps", -1),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_named(key, value):
    with pytest.raises(
        ValueError, match=rf"method\.{key}: got {re.escape(str(value))}, expected a number of (at least|0 to)"
    ):
        Fragile(**{key: value})
