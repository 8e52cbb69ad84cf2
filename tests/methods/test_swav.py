"""SwAV against its original's numbers (main_swav.py, facebookresearch/swav @ 06b1b7c)."""

import pytest
import torch
import torch.nn.functional as F
from golden import G

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import Duration
from longtake.methods.cross_entropy import cross_entropies, other_views
from longtake.methods.swav import SwAV, assign, enqueued

EMBEDDING = F.normalize(G((32, 16), 0.37, 0.1), dim=-1).view(
    4, 8, 16
)  # crop-major: 2 assigned and 2 other crops of 8 images
PROTOTYPES = F.normalize(G((12, 16), 0.31, 0.2), dim=-1)
QUEUE = F.normalize(G((2, 24, 16), 0.23, 0.7), dim=-1)


@pytest.mark.parametrize(("queue", "expected"), [(QUEUE[:, :0], 12.529438), (QUEUE, 12.926476)])
def test_golden_loss(queue, expected):
    q = torch.stack([assign(EMBEDDING[i], PROTOTYPES, queue[i], 0.05, 3) for i in range(2)])
    loss = other_views(cross_entropies(EMBEDDING @ PROTOTYPES.T, q, 0.1))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_queue_takes_the_batch_at_its_front():
    queue = enqueued(QUEUE[0], EMBEDDING[0])
    assert torch.equal(queue[:8], EMBEDDING[0])
    assert torch.equal(queue[8:], QUEUE[0, :16])


def small(**changes) -> SwAV:
    torch.manual_seed(0)
    arguments = {"hidden_dim": 32, "out_dim": 16, "num_prototypes": 12, "warmup_epochs": 0, **changes}
    return SwAV(ViT("mini", 8, 16), Duration(4, 1, 4), **arguments)


def views(seed: int = 0) -> Views:
    gen = torch.Generator().manual_seed(seed)
    draw = lambda size: torch.randn(4, 1, 3, size, size, generator=gen)  # noqa: E731
    return Views((draw(16), draw(16)), (draw(8), draw(8)), torch.arange(4))


def test_the_step_that_fills_the_queue_does_not_use_it_yet(monkeypatch):
    method, used = small(queue_length=8, queue_start_epoch=0), []
    monkeypatch.setattr(
        "longtake.methods.swav.assign", lambda e, c, queue, *a: used.append(len(queue)) or assign(e, c, queue, *a)
    )
    for seed in range(3):
        method.losses(views(seed))
    assert used == [0, 0, 0, 0, 8, 8]


def test_before_its_epoch_the_queue_stays_empty():
    method = small(queue_length=8, queue_start_epoch=1)
    method.losses(views())
    assert not method.queue.any()


def test_prototypes_have_unit_length_and_are_frozen_at_first():
    method = small(freeze_prototypes_steps=1)
    method.prototypes.weight.data.mul_(3)
    method.losses(views())["swav"].backward()
    torch.testing.assert_close(method.prototypes.weight.norm(dim=-1), torch.ones(12))
    assert method.prototypes.weight.grad.abs().sum() > 0
    method.clip_gradients()
    assert method.prototypes.weight.grad is None
    assert method.projector[0].weight.grad is not None
