"""Decay groups and clipping of the DINO family: numbers of facebookresearch/dino's utils.py."""

import pytest
import torch
from golden import G
from torch import nn

from longtake.backbones.vit import ViT
from longtake.methods.heads import DINOHead
from longtake.methods.optimizing import LARC, LARS, clip_each, decay_groups


def names(module: nn.Module, group: dict) -> set[str]:
    by_id = {id(p): name for name, p in module.named_parameters()}
    return {by_id[id(p)] for p in group["params"]}


def test_each_gradient_is_clipped_by_its_own_norm():
    # utils.clip_gradients(Linear(4, 3), 3.0): weight gradients of 2.0 (norm 6.928), bias gradients of 0.5 (norm 0.866)
    layer = nn.Linear(4, 3)
    layer.weight.grad, layer.bias.grad = torch.full((3, 4), 2.0), torch.full((3,), 0.5)
    assert [p.grad.norm().item() for p in layer.parameters()] == pytest.approx([6.9282031, 0.8660254])
    clip_each(layer.parameters(), 3.0)
    torch.testing.assert_close(layer.weight.grad, torch.full((3, 4), 0.8660253), atol=1e-7, rtol=0)
    assert torch.equal(layer.bias.grad, torch.full((3,), 0.5))


def test_parameters_without_gradient_are_left_alone():
    layer = nn.Linear(4, 3)
    layer.bias.grad = torch.full((3,), 9.0)
    clip_each(layer.parameters(), 1.0)
    assert layer.weight.grad is None
    assert layer.bias.grad.norm() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("norm_last_layer", [True, False])
def test_who_decays(norm_last_layer):
    student = nn.ModuleDict({"backbone": ViT("mini", 8, 16), "head": DINOHead(192, 32, 16, 8, norm_last_layer)})
    decayed, plain = decay_groups(student)
    # position table, class token, weight_v and a trainable weight_g decay in the original too
    expected = {"backbone.pos_embed", "backbone.cls_token", "head.last_layer.weight_v"}
    assert expected <= names(student, decayed)
    assert ("head.last_layer.weight_g" in names(student, decayed)) is not norm_last_layer
    assert "head.last_layer.weight_g" not in names(student, plain)
    assert all(
        name.endswith(".bias") or ".norm" in name or name.startswith("backbone.norm") for name in names(student, plain)
    )
    assert plain["weight_decay"] == 0.0
    trained = {name for name, p in student.named_parameters() if p.requires_grad}
    assert names(student, decayed) | names(student, plain) == trained
    assert not names(student, decayed) & names(student, plain)


def stepped(optimizer: torch.optim.Optimizer, p: nn.Parameter, b: nn.Parameter, steps: int = 2) -> None:
    for _ in range(steps):
        p.grad, b.grad = G((4, 3), 0.7, 0.2), G((4,), 0.9, 0.1)
        optimizer.step()


def test_golden_lars():
    # main_vicreg.LARS (facebookresearch/vicreg @ 4e12602): two steps, lr 0.5, weight decay 0.01, one-dimensional tensors exempt
    p, b = nn.Parameter(G((4, 3), 0.3, 0.1)), nn.Parameter(G((4,), 0.3, 0.5))
    groups = [{"params": [p], "weight_decay": 1e-2}, {"params": [b], "weight_decay": 0.0}]
    stepped(LARS(groups, lr=0.5), p, b)
    assert p[0].tolist() == pytest.approx([0.099565, 0.388358, 0.642863], abs=1e-6)
    assert b.tolist() == pytest.approx([0.334667, -0.502777, -0.480928, 0.499717], abs=1e-6)


def test_larc_equals_its_formula_in_a_loop():
    p, b = nn.Parameter(G((4, 3), 0.3, 0.1)), nn.Parameter(G((4,), 0.3, 0.5))
    expected, optimizer = (
        [p.detach().double(), b.detach().double()],
        LARC([{"params": [p, b], "weight_decay": 1e-2}], lr=0.5),
    )
    stepped(optimizer, p, b, steps=3)
    momentum = [torch.zeros(4, 3).double(), torch.zeros(4).double()]
    for _ in range(3):
        for i, grad in enumerate((G((4, 3), 0.7, 0.2).double(), G((4,), 0.9, 0.1).double())):
            w = expected[i]
            trust = 0.001 * w.norm() / (grad.norm() + 1e-2 * w.norm() + 1e-8)
            momentum[i] = 0.9 * momentum[i] + trust * (grad + 1e-2 * w)
            expected[i] = w - 0.5 * momentum[i]
    for ours, theirs in zip((p, b), expected, strict=True):
        torch.testing.assert_close(ours.detach().double(), theirs, rtol=1e-5, atol=1e-7)
    assert optimizer.param_groups[0]["weight_decay"] == 1e-2
