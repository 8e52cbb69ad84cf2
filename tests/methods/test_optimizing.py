"""Decay groups and clipping of the DINO family: numbers of facebookresearch/dino's utils.py."""

import pytest
import torch
from torch import nn

from longtake.backbones.vit import ViT
from longtake.methods.heads import DINOHead
from longtake.methods.optimizing import clip_each, decay_groups


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
