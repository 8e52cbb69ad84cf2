"""Objects, tracks and masks: DoRA's numbers (utils.MOT, shashankvkt/DoRA_ICLR24 @ 0508b2c) and its paper's equations in loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from golden import G

from longtake.backbones.vit import Tokens
from longtake.methods import tracking
from longtake.methods.tracking import (
    Tracker,
    contrast,
    discover,
    joined,
    masked_frames,
    mended,
    refine,
    track,
    weights_of,
)  # fmt: skip

T, B, H = 3, 2, 6
Q, K = G((T, B, H, 197, 16), 0.013, 0.1), G((T, B, H, 197, 16), 0.017, 0.3)
ATTENTION = (3 * G((T, B, H, 197, 197), 0.019, 0.5)).softmax(-1)[0, :, :, 0, 1:]  # of frame 0 and its class token
PATCHES = G((T, B, 196, 96), 0.023, 0.7)
TOKENS = Tokens(  # clip-major, as our frames are
    torch.zeros(T * B, 96), *(x.transpose(0, 1).flatten(0, 1) for x in (PATCHES, Q, K))
)
KEPT = [[[83, 87, 83], [79, 76, 81]], [[62, 57, 60], [112, 116, 111]], [[69, 74, 70], [96, 97, 92]]]  # [k][b][t]
INDICES = [
    [[8092, 8418, 8103], [7706, 7130, 7907]],
    [[5923, 5626, 5900], [10776, 11350, 10953]],
    [[6873, 7309, 6819], [9250, 9496, 9106]],
]
OFFICIAL = {"sk_normalize": True, "sk_row_mass": "n/k", "sk_domain": "exp"}


@pytest.fixture
def heads_0_2_5(monkeypatch):
    monkeypatch.setattr(Tracker, "choose_heads", lambda self, num_heads: torch.tensor([0, 2, 5]))
    monkeypatch.setattr(tracking, "cls_attention", lambda q, k: ATTENTION)


def test_golden_masks_of_the_release(heads_0_2_5):
    maps = Tracker(**OFFICIAL)(TOKENS, T, (14, 14))
    masks = weights_of(maps, "binary_batch").permute(2, 0, 1, 3)  # (k, b, t, n)
    assert (masks.sum(-1) - torch.tensor(KEPT)).abs().max() <= 1
    assert ((masks * torch.arange(196)).sum(-1) - torch.tensor(INDICES)).abs().max() <= 196
    exact = (masks.sum(-1) == torch.tensor(KEPT)) & ((masks * torch.arange(196)).sum(-1) == torch.tensor(INDICES))
    assert exact.float().mean() > 0.9
    frames = masked_frames(torch.ones(B, T, 3, 224, 224), masks.permute(1, 2, 0, 3), (14, 14), "nearest")
    assert frames.shape == (3, B, T, 3, 224, 224)
    cells = frames.unfold(-2, 16, 16).unfold(-2, 16, 16)
    assert torch.equal(cells.amax((-1, -2)), cells.amin((-1, -2)))
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(frames[0, 0, 0, 0].mean() * 196, masks[0, 0, 0].sum())


def test_only_the_release_blanks_the_batch_when_one_clip_breaks(heads_0_2_5):
    """Scores more than 5.2 (104 epsilon) below a clip's largest one: the release's exponentials are 0 / 0."""
    normal = torch.randn(Q.shape, generator=torch.Generator().manual_seed(0))[:, :1]
    one_hot = normal.transpose(0, 1).flatten(0, 1) * 100
    poisoned = TOKENS._replace(q=torch.cat([one_hot, TOKENS.q[T:]]))  # the first of two clips
    maps = Tracker(**OFFICIAL)(poisoned, T, (14, 14))
    assert maps[0].isnan().all()
    assert maps[1].isfinite().all()
    assert not weights_of(maps, "binary_batch").any()  # both clips are blank, and no number says so
    weights, bad = mended(weights_of(Tracker()(poisoned, T, (14, 14))))
    assert weights.isfinite().all()
    assert weights.amax(-1).eq(1).all()
    assert not bad.any()


def test_a_clip_that_is_not_finite_is_shown_whole_and_counted(heads_0_2_5):
    broken = TOKENS._replace(q=TOKENS.q.clone().index_fill(0, torch.tensor([0]), float("nan")))
    weights, bad = mended(weights_of(Tracker()(broken, T, (14, 14))))
    assert bad[0].all()
    assert not bad[1].any()
    assert weights[0].eq(1).all()


def test_equations_2_to_6_in_float64_loops():
    n, d, k = 9, 6, 2
    attention, queries = G((1, k, n), 0.3, 0.2).softmax(-1), G((1, n, d), 0.7, 0.1)
    patches, keys = G((1, n, d), 0.11, 0.4), G((1, 2, n, d), 0.23, 0.9)
    a, q, z, key = (x[0].double() for x in (attention, queries, patches, keys))
    p = [[sum(a[i, j] * q[j, c] for j in range(n)) for c in range(d)] for i in range(k)]  # (2)
    torch.testing.assert_close(discover(attention, queries)[0].double(), torch.tensor(p), rtol=1e-5, atol=1e-7)
    m = [[math.exp(sum(p[i][c] * z[j, c] for c in range(d)) / 0.5) for j in range(n)] for i in range(k)]  # (4)
    for _ in range(50):
        m = [[m[i][j] / sum(m[i]) / k for j in range(n)] for i in range(k)]
        m = [[m[i][j] / sum(m[l][j] for l in range(k)) / n for j in range(n)] for i in range(k)]
    assert [sum(row) for row in m] == pytest.approx([1 / k] * k, rel=1e-6)
    refined = [[sum(m[i][j] * z[j, c] for j in range(n)) for c in range(d)] for i in range(k)]  # (5)
    got = refine(discover(attention, queries), patches, epsilon=0.5, num_iterations=50)
    torch.testing.assert_close(got[0].double(), torch.tensor(refined).double(), rtol=1e-5, atol=1e-6)
    for prototypes, ours in ((p, discover(attention, queries)), (refined, got)):  # (3), (6)
        maps = track(ours, keys)
        for t in range(2):
            for i in range(k):
                row = [
                    math.exp(sum(prototypes[i][c] * key[t, j, c] for c in range(d)) / math.sqrt(d)) for j in range(n)
                ]
                expected = torch.tensor(row).double() / sum(row)
                torch.testing.assert_close(maps[0, t, i].double(), expected, rtol=1e-5, atol=1e-6)


def test_equation_7_multiplies_every_channel_with_the_upsampled_map():
    frames, weights = G((1, 1, 3, 32, 32), 0.1, 0.2), torch.rand(1, 1, 2, 4, generator=torch.Generator().manual_seed(0))
    got = masked_frames(frames, weights, (2, 2), "nearest")
    for i in range(2):
        for y, x, c in ((0, 0, 0), (5, 20, 1), (31, 31, 2), (17, 3, 1)):
            expected = frames[0, 0, c, y, x] * weights[0, 0, i, (y // 16) * 2 + x // 16]
            assert got[i, 0, 0, c, y, x] == expected
    assert masked_frames(frames, weights, (2, 2)).shape == got.shape


def test_heads_are_joined_in_order():
    x = G((2, 3, 5, 4), 0.1, 0.3)
    assert torch.equal(joined(x)[1, 2], torch.cat([x[1, h, 3] for h in range(3)]))


def test_soft_weights_and_their_norms():
    maps = G((2, 3, 2, 10), 0.7, 0.1).softmax(-1)
    assert weights_of(maps).amax(-1).eq(1).all()
    assert torch.equal(weights_of(maps, norm="none"), maps)
    stretched = weights_of(maps, norm="minmax")
    assert stretched.amax(-1).eq(1).all()
    assert stretched.amin(-1).eq(0).all()
    assert contrast(stretched).eq(1).all()
    torch.testing.assert_close(contrast(weights_of(maps)), contrast(maps))


def test_binary_masks_per_sample_do_not_hang_on_the_batch():
    maps = G((4, 1, 2, 16), 0.7, 0.1).softmax(-1)
    assert torch.equal(weights_of(maps, "binary_sample")[:1], weights_of(maps[:1], "binary_sample"))
    scaled = maps.clone()
    scaled[1:] = (20 * G((3, 1, 2, 16), 0.9, 0.4)).softmax(-1)
    assert not torch.equal(weights_of(scaled, "binary_batch")[:1], weights_of(scaled[:1], "binary_batch"))


def test_flat_maps_become_whole_frames():
    weights = torch.stack([torch.full((5,), 0.3), torch.linspace(0, 1, 5), torch.zeros(5)])
    got, bad = mended(weights)
    assert bad.tolist() == [True, False, True]
    assert got[0].eq(1).all()
    assert torch.equal(got[1], weights[1])


def test_random_blocks_stand_in_for_attention():
    torch.manual_seed(0)
    shown = Tracker(objects_from="random_block", sinkhorn=False)(TOKENS, T, (14, 14))
    assert shown.shape == (B, T, 3, 196)
    assert torch.equal(shown[:, 0], shown[:, 2])  # a block stays where it is
    assert (weights_of(shown) == 0).float().mean() == pytest.approx(0.3, abs=0.06)
    refined = Tracker(objects_from="random_block")(TOKENS, T, (14, 14))
    assert not torch.equal(refined[:, 0], refined[:, 2])
    torch.testing.assert_close(refined.sum(-1), torch.ones(B, T, 3))


def test_heads_are_drawn_from_the_global_generator_without_repetition():
    torch.manual_seed(3)
    drawn = [Tracker(num_objects=4).choose_heads(6) for _ in range(50)]
    torch.manual_seed(3)
    assert all(torch.equal(a, Tracker(num_objects=4).choose_heads(6)) for a in drawn)
    assert all(len(set(heads.tolist())) == 4 for heads in drawn)
    assert {int(h) for heads in drawn for h in heads} == set(range(6))


def test_tracking_from_a_real_vit_equals_its_own_softmax():
    from longtake.backbones.vit import ViT

    torch.manual_seed(0)
    vit = ViT("mini", 8, 32)
    tokens = vit(torch.randn(4, 3, 32, 32))
    maps = Tracker(num_objects=4, sinkhorn=False)(tokens, 2, (4, 4))
    own = (tokens.q[::2] @ tokens.k[::2].transpose(-1, -2) / math.sqrt(32)).softmax(-1)[:, :, 0, 1:]
    prototypes = own @ joined(tokens.q[::2])
    keys = joined(tokens.k).view(2, 2, 16, 128)
    expected = torch.einsum("bkd,btnd->btkn", prototypes, keys).div(math.sqrt(128)).softmax(-1)
    assert torch.allclose(maps.sort(2).values, expected.sort(2).values, atol=1e-6)  # heads come in random order
    assert F.cosine_similarity(maps.sum(2), expected.sum(2), dim=-1).min() > 0.9999
