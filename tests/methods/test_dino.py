"""DINO against numbers that its original gives for the same inputs (main_dino.DINOLoss, facebookresearch/dino @ 7c446df)."""

import copy
import itertools

import pytest
import torch
from golden import G

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import METHODS, Duration
from longtake.methods.dino import DINO, dino_loss, update_teacher, updated_center
from longtake.methods.optimizing import clip_each, decay_groups
from longtake.methods.schedules import cosine_schedule

STUDENT, TEACHER = G((8, 32), 0.37, 0.1).reshape(4, 2, 32), G((4, 32), 0.53, 0.2).reshape(2, 2, 32)  # crop-major


def test_golden_loss_and_center_over_two_calls():
    zero = torch.zeros(32)
    student = STUDENT.clone().requires_grad_()
    loss = dino_loss(student, TEACHER, zero, 0.1, 0.055)
    assert loss.item() == pytest.approx(11.680027, rel=1e-6)
    loss.backward()
    assert student.grad.norm().item() == pytest.approx(1.851128, rel=1e-6)
    center = updated_center(zero, TEACHER, 0.9)
    assert center[:4].tolist() == pytest.approx([0.008920, 0.015810, 0.018362, 0.015876], abs=1e-6)
    assert dino_loss(STUDENT, TEACHER, center, 0.1, 0.055).item() == pytest.approx(11.677371, rel=1e-6)
    center = updated_center(center, TEACHER, 0.9)
    assert center[:4].tolist() == pytest.approx([0.016948, 0.030039, 0.034888, 0.030164], abs=1e-6)
    assert dino_loss(STUDENT, TEACHER, zero, 0.1, 0.04).item() == pytest.approx(11.699928, rel=1e-6)


def test_loss_equals_the_equation_in_float64_loops():
    student, teacher, center = STUDENT.double(), TEACHER.double(), 0.1 * G((32,), 0.7, 0.4).double()
    terms = []
    for i, v in itertools.product(range(2), range(4)):
        if i == v:
            continue
        for b in range(2):
            target = torch.exp((teacher[i, b] - center) / 0.07)
            target = target / target.sum()
            prob = torch.exp(student[v, b] / 0.1)
            terms.append(-(target * torch.log(prob / prob.sum())).sum().item())
    assert len(terms) == 2 * (2 * 4 - 2)
    got = dino_loss(student.float(), teacher.float(), center.float(), 0.1, 0.07)
    assert got.item() == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_order_of_the_batch_does_not_matter():
    order = torch.tensor([1, 0])
    a = dino_loss(STUDENT, TEACHER, torch.zeros(32), 0.1, 0.04)
    torch.testing.assert_close(dino_loss(STUDENT[:, order], TEACHER[:, order], torch.zeros(32), 0.1, 0.04), a)


def test_ema_is_exact_over_three_steps():
    torch.manual_seed(0)
    student = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3))
    teacher, expected = copy.deepcopy(student), [p.detach().clone() for p in student.parameters()]
    for momentum in (0.9, 0.99, 0.996):
        for i, p in enumerate(student.parameters()):
            p.data.add_(torch.randn_like(p))
            expected[i] = expected[i] * momentum + (1 - momentum) * p.detach()
        update_teacher(teacher, student, momentum)
    for p, e in zip(teacher.parameters(), expected, strict=True):
        assert torch.equal(p, e)


def views(batch: int = 2, frames: int = 1, seed: int = 0) -> Views:
    gen = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(batch, frames, 3, size, size, generator=gen)  # noqa: E731
    return Views((draw(32), draw(32)), (draw(16), draw(16), draw(16)), torch.arange(batch))


LENGTH = Duration(epochs=4, steps_per_epoch=3, batch_size=8)


def small(duration: Duration = LENGTH, **changes) -> DINO:
    torch.manual_seed(0)
    arguments = {"out_dim": 64, "hidden_dim": 32, "bottleneck_dim": 16, "warmup_epochs": 1, **changes}
    return DINO(ViT("mini", patch_size=8, image_size=32), duration, **arguments)


def test_frames_of_a_clip_are_images_of_the_batch():
    method = small()
    clips = views(batch=2, frames=3)
    folded = Views(*(tuple(v.reshape(6, 1, *v.shape[2:]) for v in group) for group in clips[:2]), torch.arange(6))
    torch.testing.assert_close(method.losses(clips)["dino"], small().losses(folded)["dino"])


def test_gradients_reach_the_student_and_never_the_teacher():
    method = small(norm_last_layer=False)
    method.losses(views())["dino"].backward()
    for name, p in method.named_parameters():
        if name.startswith("teacher"):
            assert p.grad is None
            assert not p.requires_grad
        else:
            assert p.grad is not None, name
            assert p.grad.abs().sum() > 0 or name == "head.last_layer.weight_g", name


def test_one_training_step_equals_the_originals_order(tmp_path):
    """Through Lightning, against main_dino's loop written out: rates, loss, clip, freeze, AdamW, EMA; two epochs of one step."""
    import lightning

    from longtake.methods.training import Training

    duration = Duration(2, 1, 8)
    batches = [views(seed=s) for s in (1, 2)]
    recipe = {
        "lr": 0.5,
        "clip_grad": 0.02,
        "teacher_temp": 0.07,
        "warmup_teacher_temp": 0.04,
        "warmup_teacher_temp_epochs": 2,
    }
    method, reference = small(duration, **recipe), small(duration, **recipe)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Training(method), torch.utils.data.DataLoader(batches, batch_size=None))

    optimizer = torch.optim.AdamW(decay_groups(reference))
    lrs = cosine_schedule(0.5 * 8 / 256, 1e-6, 2, 1)
    for step, batch in enumerate(batches):
        for group, decay in zip(optimizer.param_groups, (cosine_schedule(0.04, 0.4, 2)[step], 0.0), strict=True):
            group["lr"], group["weight_decay"] = lrs[step], decay
        g = torch.cat(batch.globals).flatten(0, 1)
        teacher = reference.teacher_head(reference.teacher_backbone(g).cls).view(2, 2, -1)
        student = torch.cat([reference.backbone(g).cls, reference.backbone(torch.cat(batch.locals).flatten(0, 1)).cls])
        loss = dino_loss(reference.head(student).view(5, 2, -1), teacher, reference.center, 0.1, (0.04, 0.07)[step])
        reference.center = 0.9 * reference.center + 0.1 * teacher.flatten(0, 1).mean(0)
        optimizer.zero_grad()
        loss.backward()
        clip_each(reference.parameters(), 0.02)
        if step < 1:
            for p in reference.head.last_layer.parameters():
                p.grad = None
        optimizer.step()
        momentum = cosine_schedule(0.996, 1.0, 2)[step]
        update_teacher(reference.teacher_backbone, reference.backbone, momentum)
        update_teacher(reference.teacher_head, reference.head, momentum)
    expected = reference.state_dict()
    for name, tensor in method.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_last_layer_is_frozen_for_the_first_epoch():
    method = small(Duration(4, 3, 8))
    assert method.epoch == 0
    method.losses(views())["dino"].backward()
    assert method.head.last_layer.weight_v.grad.abs().sum() > 0
    method.clip_gradients()
    assert method.head.last_layer.weight_v.grad is None
    assert method.head.mlp[0].weight.grad is not None


def test_registered_under_its_name():
    assert METHODS["dino"] is DINO


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_epochs": 5}, "shorter than the warm-up"),
        ({"warmup_teacher_temp_epochs": 30}, "warmup_teacher_temp_epochs=30"),
        ({"teacher_temp": 0.0}, "method.teacher_temp"),
        ({"student_temp": -1.0}, "method.student_temp"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
