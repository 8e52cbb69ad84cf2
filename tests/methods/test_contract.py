"""The contract over every yaml of configs/method, on clips of a real video; and clauses that notice when they are broken."""

from pathlib import Path

import pytest
import torch
from torch import nn

from longtake.backbones.vit import ViT
from longtake.datasets.clips import Clips
from longtake.datasets.frames import StoreSpec, build
from longtake.engine.config import choices, plainly
from longtake.engine.plan import build_method, build_views
from longtake.methods import contract
from longtake.methods.base import Duration
from longtake.methods.dino import DINO
from longtake.tasks.check import broken_clauses, first_batches

METHODS = [name for name in choices("method") if name != "none"]
SMALL = ["backbone=vit_mini", "backbone.image_size=32", "pretrain.clips_per_epoch=16", "epochs=40", "batch_size=8"]
WIDTHS = {
    "out_dim": 24,
    "hidden_dim": 16,
    "bottleneck_dim": 8,
    "num_prototypes": 12,
    "patch_out_dim": 24,
    "queue_length": 16,
}


@pytest.fixture(scope="module")
def store(tiny_video: Path, tmp_path_factory: pytest.TempPathFactory):
    return build([tiny_video], StoreSpec(short_side=64), tmp_path_factory.mktemp("frames"), progress=False)


def recipe(name: str, *words: str) -> dict:
    """The method's own yaml, with small images and narrow heads."""
    config = plainly([f"method={name}", *SMALL, *words])
    method = config["method"]
    method.update({key: width for key, width in WIDTHS.items() if key in method and isinstance(method[key], int)})
    for crop in method["views"]["locals"]:
        crop.update(size=16, num=2)
    if "precrop" in method["views"] and method["views"]["precrop"]:
        method["views"]["precrop"]["size"] = 48
    method["num_frames"] = min(method["num_frames"], 2)
    return config


def clips_of(config: dict, store) -> Clips:
    return Clips(store, config["method"]["num_frames"], 0.5, 16, views=build_views(config))


@pytest.mark.parametrize("name", METHODS)
def test_the_contract_holds(name, store):
    config = recipe(name)
    assert broken_clauses(config, clips_of(config, store)) == []


def test_the_contract_holds_for_the_official_dora(store):
    config = recipe("dora", "method.fidelity=official")
    assert config["method"]["mask_kind"] == "binary_batch"
    assert broken_clauses(config, clips_of(config, store)) == []


@pytest.mark.parametrize("where", ["watched", "between"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_that_is_not_finite_is_skipped_whether_or_not_health_is_looked_at(name, value, where, store):
    config = recipe(name, "method.health_every=10")
    clips = clips_of(config, store)
    method = build_method(config, Duration(40, 2, 8))
    views = first_batches(clips)[0]
    spoilt = [view.clone() for view in views.globals]
    spoilt[0][0, 0, 0, 3, 3] = value
    before = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    method.global_step = 0 if where == "watched" else 1
    assert method.watching == (where == "watched")
    torch.manual_seed(0)
    loss = method.training_step(views._replace(globals=tuple(spoilt)))
    loss.backward()
    assert loss == 0
    assert method.skipping
    assert method.num_skipped == 1
    assert not any(parameter.grad.any() for parameter in method.parameters() if parameter.grad is not None)
    after = method.state_dict()
    assert [key for key in before if not torch.equal(before[key], after[key])] in (
        ["num_skipped"],
        ["num_skipped", "prototypes.weight"],  # SwAV keeps them at unit length
    )
    assert method.looks == []
    torch.manual_seed(0)
    assert method.training_step(views).isfinite()
    assert ("rankme" in method.notes) == (where == "watched")


class Careless(DINO):
    """Breaks the contract in chosen ways."""

    def __init__(self, *args, how: str, **keys) -> None:
        super().__init__(*args, **keys)
        self.how = how
        self.unused = nn.Linear(2, 2) if how == "unused" else None
        if how == "trained teacher":
            self.teacher_head.requires_grad_(True)

    def losses(self, views):
        terms = super().losses(views)
        if self.how == "nan":
            terms["dino"] = terms["dino"] * float("nan")
        if self.how == "moves early":
            with torch.no_grad():
                self.teacher_backbone.cls_token.add_(1)
        if self.how == "order":
            terms["order"] = self.backbone(views.globals[0][0]).cls[0, 0]
        if self.how == "clock":
            terms["clock"] = terms["dino"] * torch.rand((), generator=self.noise).item()
        return terms

    noise = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("how", "clause"),
    [
        ("nan", contract.losses_are_finite),
        ("unused", contract.gradients_reach_the_student_alone),
        ("trained teacher", contract.gradients_reach_the_student_alone),
        ("moves early", contract.teacher_moves_only_after_the_step),
        ("order", contract.order_of_the_batch_does_not_matter),
        ("clock", contract.training_is_deterministic),
        ("clock", contract.a_stopped_run_goes_on_exactly),
        ("nan", contract.two_epochs_leave_finite_weights_that_moved),
    ],
)
def test_a_broken_clause_is_noticed(how, clause, store):
    config = recipe("dino")
    batches = first_batches(clips_of(config, store))

    def make() -> Careless:
        torch.manual_seed(0)
        keys = {"out_dim": 24, "hidden_dim": 16, "bottleneck_dim": 8, "warmup_epochs": 0, "norm_last_layer": False}
        return Careless(ViT("mini", 8, 32), Duration(2, 2, 8), how=how, **keys)

    assert clause(make, batches)
