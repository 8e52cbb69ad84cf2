"""iBOT against its original's numbers (main_ibot.iBOTLoss, bytedance/ibot @ da316d8)."""

import pytest
import torch
from golden import G

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import Duration
from longtake.methods.cross_entropy import cross_entropies, other_views
from longtake.methods.dino import targets, updated_center
from longtake.methods.ibot import iBOT, masked_patch_loss

S_CLS, S_PATCH = G((4, 32), 0.37, 0.1).view(2, 2, 32), G((4, 16, 32), 0.21, 0.3)
T_CLS, T_PATCH = G((4, 32), 0.53, 0.2).view(2, 2, 32), G((4, 16, 32), 0.29, 0.4)
LOCAL = G((4, 32), 0.41, 0.5).view(2, 2, 32)
MASK = (torch.arange(64).reshape(4, 16) % 3 == 0).index_fill(0, torch.tensor([0]), False)
TEMP = 0.055  # of epoch 1, both


def both(center, patch_center, local=LOCAL):
    cls = other_views(cross_entropies(torch.cat([S_CLS, local]), targets(T_CLS, center, TEMP), 0.1))
    patch = masked_patch_loss(S_PATCH[MASK], targets(T_PATCH[MASK], patch_center, TEMP), MASK, 0.1)
    return cls.item(), patch.item()


def test_golden_terms_and_centres_over_two_calls():
    assert MASK.sum(1).tolist() == [0, 5, 5, 6]
    zero = torch.zeros(32)
    assert both(zero, zero) == pytest.approx((11.535390, 8.987162), rel=1e-6)
    assert sum(both(zero, zero)) == pytest.approx(20.522552, rel=1e-6)
    assert both(zero, zero, LOCAL[:0]) == pytest.approx((11.712219, 8.987162), rel=1e-6)
    center, patch_center = updated_center(zero, T_CLS, 0.9), updated_center(zero, T_PATCH, 0.9)
    assert center[:3].tolist() == pytest.approx([0.008920, 0.015810, 0.018362], abs=1e-6)
    assert patch_center[:3].tolist() == pytest.approx([0.000819, 0.001165, 0.001414], abs=1e-6)
    assert both(center, patch_center) == pytest.approx((11.517428, 8.987630), rel=1e-6)


def test_patch_loss_equals_loops_in_float64():
    target, student = targets(T_PATCH, torch.zeros(32), 0.07).double(), S_PATCH.double()
    total = 0.0
    for image in range(4):
        hidden = [i for i in range(16) if MASK[image, i]]
        each = [-(target[image, i] * (student[image, i] / 0.1).log_softmax(-1)).sum().item() for i in hidden]
        total += sum(each) / max(len(each), 1)
    got = masked_patch_loss(S_PATCH[MASK], target.float()[MASK], MASK, 0.1)
    assert got.item() == pytest.approx(total / 4, rel=1e-6)


LENGTH = Duration(4, 1, 4)


def small(duration: Duration = LENGTH, **changes) -> iBOT:
    torch.manual_seed(0)
    arguments = {
        "out_dim": 24, "hidden_dim": 16, "bottleneck_dim": 8, "warmup_epochs": 0, "warmup_teacher_temp_epochs": 0,
        "norm_last_layer": False, **changes,
    }  # fmt: skip
    return iBOT(ViT("mini", 8, 32), duration, **arguments)


def views(seed: int = 0) -> Views:
    gen = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(3, 1, 3, size, size, generator=gen)  # noqa: E731
    return Views((draw(32), draw(32)), (draw(16),), torch.arange(3))


@pytest.mark.parametrize("shared", [True, False])
def test_a_step_equals_the_computation_with_all_patch_logits(shared, monkeypatch):
    """Logits of masked patches alone, and the centre from the mean embedding, change no number."""
    method = small(shared_head=shared, patch_out_dim=20)
    mask = (torch.arange(6 * 16).view(6, 16) % 5 < 2).index_fill(0, torch.tensor([1]), False)
    monkeypatch.setattr(method, "draw_masks", lambda tokens, views: mask)
    method.backbone.mask_token.data.normal_()
    terms = method.losses(views())
    images = torch.cat(views().globals).flatten(0, 1)
    teacher, student = method.teacher_backbone(images), method.backbone(images, mask)
    last = (method.teacher_patch_layer or method.teacher_head.last_layer, method.patch_layer or method.head.last_layer)
    every = last[0](method.teacher_head.embed(teacher.patches.flatten(0, 1))).view(6, 16, -1)
    logits = last[1](method.head.embed(student.patches.flatten(0, 1))).view(6, 16, -1)
    k = every.shape[-1]
    target = targets(every, torch.zeros(k), method.patch_temps[0])
    ce = -(target * (logits / 0.1).log_softmax(-1)).sum(-1)
    expected = ((ce * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()
    torch.testing.assert_close(terms["patch"], expected)
    torch.testing.assert_close(method.patch_center, 0.1 * every.flatten(0, 1).mean(0), rtol=1e-4, atol=1e-7)
    cls = torch.cat([student.cls, method.backbone(views().locals[0].flatten(0, 1)).cls])
    cls_logits = method.head(cls).view(3, 3, -1)
    cls_target = targets(method.teacher_head(teacher.cls).view(2, 3, -1), torch.zeros(24), 0.04)
    torch.testing.assert_close(terms["cls"], other_views(cross_entropies(cls_logits, cls_target, 0.1)))


def test_without_any_mask_the_patch_term_is_zero_and_has_a_gradient(monkeypatch):
    method = small()
    monkeypatch.setattr(method, "draw_masks", lambda tokens, views: torch.zeros(6, 16, dtype=torch.bool))
    terms = method.losses(views())
    assert terms["patch"] == 0
    sum(terms.values()).backward()
    assert method.backbone.mask_token.grad is not None  # DDP waits for every parameter


def test_masks_wait_for_their_epoch_and_the_patch_temperature_with_them():
    method = small(Duration(6, 1, 4), pred_start_epoch=2, warmup_teacher_temp_epochs=2)
    tokens = method.teacher_backbone(torch.cat(views().globals).flatten(0, 1))
    assert not method.draw_masks(tokens, views()).any()
    assert method.patch_temps[:4] == pytest.approx([0.04, 0.04, 0.04, 0.07])
    assert small().draw_masks(tokens, views()).any()


def test_the_teacher_and_the_encoder_have_no_mask_token():
    method = small()
    assert method.backbone.mask_token is not None
    assert method.encoder.mask_token is None
    method.after_step(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_ratio": [0.0, 0.3], "pred_ratio_var": [0.0]}, "pred_ratio"),
        ({"pred_ratio": 0.9, "pred_ratio_var": 0.2}, "pred_ratio"),
        ({"mask_shape": "blob"}, "mask_shape"),
        ({"teacher_patch_temp": 0.0}, "teacher_patch_temp"),
        ({"warmup_teacher_temp_epochs": 30}, "warmup_teacher_temp_epochs"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
