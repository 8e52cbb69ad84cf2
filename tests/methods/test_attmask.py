"""AttMask: whose attention, how often, which modes. Its masks are in test_masking."""

import pytest
import torch

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.attmask import AttMask
from longtake.methods.base import Duration

VIEWS = Views((torch.zeros(1, 1, 3, 64, 64),) * 2, (), torch.arange(1))


def small(**changes) -> AttMask:
    torch.manual_seed(0)
    arguments = {
        "out_dim": 24,
        "hidden_dim": 16,
        "bottleneck_dim": 8,
        "warmup_epochs": 0,
        "warmup_teacher_temp_epochs": 0,
    }
    return AttMask(ViT("mini", 8, 64), Duration(4, 1, 4), **{**arguments, **changes})


def tokens(method: AttMask, images: int):
    return method.teacher_backbone(torch.randn(images, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


def test_high_hides_what_the_teachers_last_block_attends_to():
    method = small(mode="high", masking_prob=1.0, pred_ratio_var=0.0)
    seen = tokens(method, 4)
    mask = method.draw_masks(seen, VIEWS)
    with torch.no_grad():  # the block's own softmax, all rows
        attention = (seen.q @ seen.k.transpose(-1, -2) * seen.q.shape[-1] ** -0.5).softmax(-1)[:, :, 0, 1:].mean(1)
    assert mask.sum(1).tolist() == [int(0.3 * 64)] * 4
    assert (attention.masked_fill(~mask, 2).amin(1) >= attention.masked_fill(mask, -1).amax(1)).all()
    low = small(mode="low", masking_prob=1.0, pred_ratio_var=0.0).draw_masks(seen, VIEWS)
    assert not (low & mask).any()


def test_half_of_the_images_are_masked_and_all_share_one_ratio():
    method = small(mode="high")
    seen = tokens(method, 4)
    big = seen._replace(
        q=seen.q.repeat(2500, 1, 1, 1), k=seen.k.repeat(2500, 1, 1, 1), patches=seen.patches.repeat(2500, 1, 1)
    )
    counts = method.draw_masks(big, VIEWS).sum(1)
    assert (counts > 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert len(counts[counts > 0].unique()) == 1
    ratios = {int(method.draw_masks(big, VIEWS).sum(1).max()) for _ in range(30)}
    assert min(ratios) >= int(0.1 * 64)
    assert max(ratios) <= int(0.5 * 64)
    assert len(ratios) > 5


def test_hint_shows_some_of_the_top_again():
    method = small(mode="hint", masking_prob=1.0, pred_ratio_var=0.0, show_max=0.5)
    mask = method.draw_masks(tokens(method, 4), VIEWS)
    shown = int(0.5 * 0.3 * 64)  # of the 32 most attended patches, 19 of which are hidden
    assert (mask.sum(1) >= 19 - shown).all()
    assert (mask.sum(1) < int(0.3 * 64)).any()


@pytest.mark.parametrize(
    ("changes", "message"), [({"mode": "middle"}, "mode"), ({"masking_prob": 1.5}, "masking_prob")]
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
