"""Masks: iBOT's blocks (statistics of its loader @ da316d8), AttMask's (numbers of attmask.py @ 9f62061)."""

import random

import pytest
import torch
from golden import G

from longtake.methods.ibot import ratio_ranges
from longtake.methods.masking import attention_mask, block_mask, random_mask, reveal_hints

ATTENTION = G((4, 196), 0.7, 0.3) + 2
INDEX = torch.arange(196)


def test_blocks_have_the_statistics_of_ibots_recipe():
    draw = random.Random(0)
    ranges = ratio_ranges([0.0, 0.3], [0.0, 0.2])
    shares = []
    for _ in range(3000):
        ratio = draw.uniform(*draw.choice(ranges))
        shares.append(block_mask((14, 14), ratio, draw).float().mean().item())
        assert shares[-1] <= ratio + 1e-6
    masked = [share for share in shares if share]
    assert 1 - len(masked) / 3000 == pytest.approx(0.504, abs=0.02)
    assert sum(masked) / len(masked) == pytest.approx(0.296, abs=0.01)
    assert 0.06 < min(masked) < 0.09
    assert max(masked) < 0.5


def test_blocks_on_grids_of_any_size_end():
    draw = random.Random(1)
    for grid in ((1, 1), (2, 2), (3, 7), (8, 8), (37, 14)):
        for ratio in (0.0, 0.3, 0.9, 1.0):
            assert block_mask(grid, ratio, draw).shape == grid


def test_random_masks_hide_exactly_their_share():
    assert random_mask((7, 7), 0.3, random.Random(0)).sum() == int(0.3 * 49)


@pytest.mark.parametrize(
    ("ratio", "count", "high", "low"),
    [
        (0.1, 19, [1759, 2109, 1868, 1824], [2166, 1827, 1881, 1837]),
        (0.3, 58, [5361, 5783, 5742, 5701], [6085, 5595, 5609, 5568]),
        (0.5, 98, [9099, 9649, 9702, 9702], [10011, 9461, 9408, 9408]),
    ],
)
def test_golden_high_and_low(ratio, count, high, low):
    for most, expected in ((True, high), (False, low)):
        mask = attention_mask(ATTENTION, ratio, most)
        assert mask.sum(1).tolist() == [count] * 4
        assert (mask * INDEX).sum(1).tolist() == expected


def test_golden_hints():
    mask = attention_mask(ATTENTION, 0.3, most=True)
    hinted = reveal_hints(mask, ATTENTION, 0.03, 0.1)
    assert hinted.sum(1).tolist() == [53] * 4
    shown = mask & ~hinted
    assert not (hinted & ~mask).any()
    assert not (shown & ~attention_mask(ATTENTION, 0.1, most=True)).any()
    torch.manual_seed(1)
    assert not torch.equal(hinted, reveal_hints(mask, ATTENTION, 0.03, 0.1))


def test_hints_on_small_grids_show_nothing_instead_of_failing():
    attention = G((2, 49), 0.7, 0.3)
    mask = attention_mask(attention, 0.3, most=True)
    assert torch.equal(reveal_hints(mask, attention, 0.1 * 0.1, 0.1), mask)
    assert torch.equal(reveal_hints(mask, attention, 0.02, 0.0), mask)
