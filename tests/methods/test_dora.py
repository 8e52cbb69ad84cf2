"""DoRA against its release's numbers (main.DINOLoss, shashankvkt/DoRA_ICLR24 @ 0508b2c) and its paper's equations."""

import itertools

import pytest
import torch
from golden import G

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import Batch, Duration
from longtake.methods.cross_entropy import cross_entropies
from longtake.methods.dino import targets, updated_center
from longtake.methods.dora import DoRA, local_loss, multi_object_loss, object_weights

T, B, OBJECTS, L, D = 4, 3, 3, 6, 16
LOCAL = G((T, L * B, D), 0.37, 0.1).view(T, L, B, D).transpose(0, 1).flatten(1, 2)  # (m, T B, D)
MASKED = torch.stack([G((T, B, D), 0.29, 0.1 + j).flatten(0, 1) for j in range(OBJECTS)])  # (k, T B, D)
TEACHER = G((T, B, D), 0.53, 0.2)


def release(center, local, masked):
    """The terms as DoRA.losses assembles them with one global view and the official switches."""
    pairs = cross_entropies(torch.cat([masked, local]), targets(TEACHER.flatten(0, 1), center, 0.04)[None], 0.1)
    objects, locals_ = pairs[:, :OBJECTS].unflatten(1, (OBJECTS, 1)), pairs[:, OBJECTS + 1 :]
    return multi_object_loss(objects, False, "leaky_mean", T) + local_loss(locals_, "leaky_mean", OBJECTS, T)


def test_golden_loss_centre_and_gradients_of_the_release():
    zero, local, masked = torch.zeros(D), LOCAL.clone().requires_grad_(), MASKED.clone().requires_grad_()
    loss = release(zero, local, masked)
    assert loss.item() == pytest.approx(12.538292, rel=1e-6)
    loss.backward()
    crops = local.grad.norm(dim=(1, 2)).tolist()
    assert crops == pytest.approx([0, 0.300217, 0.308242, 0.326585, 0.315296, 0.287471], rel=1e-4)
    assert masked.grad.norm(dim=(1, 2)).tolist() == pytest.approx([0.568754, 0.558861, 0.461558], rel=1e-4)
    center = updated_center(zero, TEACHER, 0.9)
    assert center[:3].tolist() == pytest.approx([-0.001511, 0.001315, 0.003780], abs=1e-6)
    assert release(center, LOCAL, MASKED).item() == pytest.approx(12.536461, rel=1e-6)


def test_the_releases_leak():
    assert object_weights(3, "leaky_mean", 8).tolist() == pytest.approx([1.140625, 1.125, 1])
    assert object_weights(3, "leaky_mean", 1).tolist() == [3, 2, 1]
    assert object_weights(3, "mean", 8).tolist() == [1, 1, 1]
    assert object_weights(1, "leaky_mean", 8).tolist() == [1]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_equations_8_to_10_in_float64_loops(reduction):
    """Two global views; student views v of object i are columns (i, v)."""
    g, k, m, b = 2, 3, 4, 6  # b = T frames x B clips: the mean over it is the mean over frames of (10), and over clips
    student, local = G((k, g, b, D), 0.37, 0.1), G((m, b, D), 0.41, 0.5)
    target = targets(G((g, b, D), 0.53, 0.2), torch.zeros(D), 0.07)
    p, s, l = target.double(), student.double(), local.double()
    ce = lambda t, x: -(t * (x / 0.1).log_softmax(-1)).sum(-1).mean().item()  # noqa: E731
    objects = [ce(p[u], s[i, v]) for u, v, i in itertools.product(range(g), range(g), range(k)) if u != v]
    locals_ = [ce(p[u], l[i]) for u, i in itertools.product(range(g), range(m))]
    pairs = cross_entropies(torch.cat([student.flatten(0, 1), local]), target, 0.1)
    object_term = multi_object_loss(pairs[:, : k * g].unflatten(1, (k, g)), True, reduction, 2)
    local_term = local_loss(pairs[:, k * g :], reduction, k, 2)
    if reduction == "sum":
        assert object_term.item() == pytest.approx(sum(objects), rel=1e-6)
        assert local_term.item() == pytest.approx(sum(locals_), rel=1e-6)
    else:
        assert object_term.item() == pytest.approx(sum(objects) / len(objects) / 2, rel=1e-6)
        assert local_term.item() == pytest.approx(sum(locals_) / len(locals_) / 2, rel=1e-6)


LENGTH = Duration(4, 1, 4)


def small(**changes) -> DoRA:
    torch.manual_seed(0)
    backbone = ViT("mini", 8, 32, last_heads=changes.pop("last_heads", None))
    arguments = {"out_dim": 24, "hidden_dim": 16, "bottleneck_dim": 8, "warmup_epochs": 0, **changes}
    return DoRA(backbone, LENGTH, **arguments)


def views(frames: int = 3, num_globals: int = 2, seed: int = 0) -> Views:
    gen = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(2, frames, 3, size, size, generator=gen)  # noqa: E731
    return Views(tuple(draw(32) for _ in range(num_globals)), tuple(draw(16) for _ in range(4)), torch.arange(2))


def test_every_local_view_and_every_object_trains_alike_in_the_paper_preset():
    method = small()
    crops = views()
    for view in crops.locals:
        view.requires_grad_()
    sum(method.losses(crops).values()).backward()
    assert all(view.grad.abs().sum() > 0 for view in crops.locals)
    skipping = small(skip_first_local=True)
    crops = views()
    for view in crops.locals:
        view.requires_grad_()
    sum(skipping.losses(crops).values()).backward()
    assert [bool(view.grad.abs().sum() > 0) for view in crops.locals] == [False, True, True, True]


def test_a_step_equals_one_forward_per_frame_and_object(monkeypatch):
    """The release's order of work: frame by frame, object by object, the local term for each; same numbers."""
    monkeypatch.setattr(
        "longtake.methods.tracking.Tracker.choose_heads", lambda self, h: torch.arange(self.num_objects)
    )
    method, crops = small(), views()
    terms = method.losses(crops)
    tokens = [method.teacher_backbone(view.flatten(0, 1)) for view in crops.globals]
    masked = torch.stack(
        [method.masked(view, t) for view, t in zip(crops.globals, tokens, strict=True)], 1
    )  # (k, g, B, T, ...)
    expected = {"object": 0.0, "local": 0.0}
    for t in range(3):
        teacher = [method.teacher_head(method.teacher_backbone(view[:, t]).cls) for view in crops.globals]
        target = targets(torch.stack(teacher), torch.zeros(24), 0.04)
        ce = lambda p, images: -(p * (method.head(method.backbone(images).cls) / 0.1).log_softmax(-1)).sum(-1).mean()  # noqa: E731
        expected["object"] += sum(ce(target[u], masked[i, 1 - u, :, t]) for u in range(2) for i in range(3)) / 3
        expected["local"] += sum(ce(target[u], view[:, t]) for u in range(2) for view in crops.locals) / 3
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5)


def test_without_tracking_every_frame_is_an_image():
    method, crops = small(tracking=False), views(frames=3)
    other, folded = (
        small(tracking=False),
        Views(*(tuple(v.flatten(0, 1)[:, None] for v in group) for group in crops[:2]), torch.arange(6)),
    )
    torch.manual_seed(1)  # the same heads
    terms = method.losses(crops)
    torch.manual_seed(1)
    other = other.losses(folded)
    for name, value in terms.items():
        torch.testing.assert_close(value, other[name])


@pytest.mark.parametrize("num_objects", [16, 32])
def test_more_objects_than_heads_with_a_last_block_of_more_heads(num_objects):
    terms = small(num_objects=num_objects, last_heads=num_objects).losses(views())
    assert all(value.isfinite() for value in terms.values())


@pytest.mark.parametrize("frames", [2, 4, 6, 8])
def test_any_number_of_frames(frames):
    assert all(value.isfinite() for value in small().losses(views(frames)).values())


@pytest.mark.parametrize(
    "changes",
    [{"sinkhorn": False}, {"objects_from": "random_block"}, {"objects_from": "random_block", "sinkhorn": False},
     {"mask_kind": "binary_sample"}, {"mask_norm": "none"}, {"mask_norm": "minmax"}, {"num_objects": 1}],
)  # fmt: skip
def test_ablations_run(changes):
    method = small(**changes)
    sum(method.losses(views()).values()).backward()
    assert {"map_kept", "map_contrast", "map_overlap", "map_bad"} <= method.notes.keys()


def test_an_almost_black_view_shows_in_the_statistics():
    method = small(mask_norm="none")
    method.losses(views())
    assert method.notes["map_kept"] == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_objects": 5}, "num_objects=5.*4 heads.*backbone.last_heads"),
        ({"num_objects": 0}, "num_objects"),
        ({"mask_kind": "hard"}, "mask_kind"),
        ({"loss_reduction": "max"}, "loss_reduction"),
        ({"sk_epsilon": 0.0}, "sk_epsilon"),
        ({"objects_from": "noise"}, "objects_from"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "batch", "message"),
    [
        ({}, Batch(4, 1, 2, 4), "num_frames=1.*tracking=false"),
        ({}, Batch(4, 2, 2, 0), "locals.*at least 1"),
        ({"skip_first_local": True}, Batch(4, 2, 2, 1), "at least 2"),
        ({}, Batch(4, 2, 1, 4), "cross_view"),
    ],
)
def test_batches_that_do_not_fit_are_named(changes, batch, message):
    with pytest.raises(ValueError, match=message):
        small(**changes).check_batch(batch)
