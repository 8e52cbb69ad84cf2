"""Views: what is drawn, for whom, how often. Rates of DINO's pipeline: main_dino.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD
from longtake.datasets.views import Crop, MultiCrop, Precrop, Views, collate, draw_box, make_view

PLAIN = {"flip": 0.0, "jitter_prob": 0.0, "gray": 0.0, "blur": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def denormalized(x: torch.Tensor) -> torch.Tensor:
    return x * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]


def clip(t: int = 4) -> torch.Tensor:
    """Equal frames of noise: whatever differs between the frames of a view was drawn per frame."""
    return torch.randint(0, 256, (1, 3, 48, 64), generator=generator(9), dtype=torch.uint8).expand(t, -1, -1, -1)


@given(st.integers(4, 300), st.integers(4, 300), st.integers(0, 10_000))
def test_boxes_lie_inside_and_have_a_legal_ratio(height, width, seed):
    top, left, h, w = draw_box(height, width, (0.08, 1.0), (3 / 4, 4 / 3), generator(seed))
    assert 0 <= top <= height - h
    assert 0 <= left <= width - w
    assert h >= 1
    assert w >= 1
    if min(h, w) > 20:  # rounding to pixels bends the ratio of small boxes
        assert 0.7 < w / h < 1.43


def test_areas_and_ratios_of_boxes_have_torchvisions_distribution():
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    image, theirs = torch.zeros(3, 240, 320), RandomResizedCrop(8, scale=(0.2, 0.6))
    expected = torch.tensor(
        [[p[k] for k in ("top", "left", "height", "width")] for p in (theirs.make_params([image]) for _ in range(3000))]
    )
    gen = generator()
    got = torch.tensor([draw_box(240, 320, (0.2, 0.6), (3 / 4, 4 / 3), gen) for _ in range(3000)])
    for quantity in (
        lambda b: b[:, 2] * b[:, 3] / 76800,
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0] / 240,
        lambda b: b[:, 1] / 320,
    ):
        a, e = quantity(got).double(), quantity(expected).double()
        error = 4 * (a.var() / 3000 + e.var() / 3000).sqrt()
        assert abs(a.mean() - e.mean()) < error
        assert a.std() == pytest.approx(e.std().item(), rel=0.06)


def test_draws_are_shared_by_the_frames_of_a_clip_or_not():
    for seed in range(20):
        shared = make_view(clip(), Crop(16, (0.2, 0.8)), generator(seed))
        assert torch.equal(shared, shared[:1].expand_as(shared))
    single = make_view(clip(), Crop(16, (0.2, 0.8), per_frame_box=True, per_frame_colour=True), generator(0))
    assert all((single[0] - single[i]).abs().max() > 0.1 for i in range(1, 4))


def test_per_frame_draws_of_a_one_frame_clip_equal_per_clip_draws():
    for seed in range(10):
        a = make_view(clip(1), Crop(16, (0.2, 0.8)), generator(seed))
        b = make_view(clip(1), Crop(16, (0.2, 0.8), per_frame_box=True, per_frame_colour=True), generator(seed))
        assert torch.equal(a, b)


def rate(crop: Crop, happened, n: int = 2000) -> float:
    """Share of n frames, drawn independently, on which `happened` (frames of one view, denormalised)."""
    frames = clip().expand(4, -1, -1, -1)[:1].expand(n, -1, -1, -1)
    return happened(denormalized(make_view(frames, crop, generator(1)))).float().mean().item()


WHOLE = {"size": 48, "scale": (1.0, 1.0), "ratio": (64 / 48, 64 / 48), "per_frame_box": True, "per_frame_colour": True}
EVENTS = {
    "flip": lambda x: (x - x[0]).abs().amax((1, 2, 3)) > 1e-4,
    "gray": lambda x: (x.amax(1) - x.amin(1)).amax((1, 2)) < 1e-4,
    "blur": lambda x: x.std((1, 2, 3)) < 0.85 * x.std((1, 2, 3)).max(),
    "solarize": lambda x: x.amax((1, 2, 3)) < 0.51,
    "jitter_prob": lambda x: (
        (x - x[(x - x.median(0).values).abs().sum((1, 2, 3)).argmin()]).abs().amax((1, 2, 3)) > 1e-4
    ),
}


@pytest.mark.parametrize(("event", "prob"), [("gray", 0.2), ("solarize", 0.2), ("jitter_prob", 0.4)])
def test_rates_of_events(event, prob):
    crop = Crop(**WHOLE, **{**PLAIN, event: prob})
    assert rate(crop, EVENTS[event]) == pytest.approx(prob, abs=4 * (prob * (1 - prob) / 2000) ** 0.5)


@pytest.mark.parametrize(("event", "prob"), [("flip", 0.5), ("blur", 0.5)])
def test_rates_of_flip_and_blur(event, prob):
    crop = Crop(**WHOLE, **{**PLAIN, event: prob}, blur_sigma=(1.5, 2.0))
    got = rate(crop, EVENTS[event])
    assert min(got, 1 - got) == pytest.approx(0.5, abs=0.045)  # relative to frame 0, which may itself be flipped


def test_order_of_a_view_and_normalisation():
    view = make_view(
        clip(1), Crop(**{**WHOLE, "per_frame_box": False, "per_frame_colour": False}, **PLAIN), generator()
    )
    from torchvision.transforms.v2 import functional as v2

    expected = v2.resize(clip(1), [48, 48], v2.InterpolationMode.BICUBIC, antialias=True).float() / 255
    torch.testing.assert_close(denormalized(view), expected, atol=1e-5, rtol=0)


def test_multicrop_order_numbers_and_batches():
    views = MultiCrop([Crop(32, (0.4, 1.0)), Crop(32, (0.4, 1.0), solarize=1.0, num=2)], [Crop(16, (0.05, 0.4), num=5)])
    samples = [(views(clip(3), generator(i)), 10 + i) for i in range(2)]
    batch = collate(samples)
    assert isinstance(batch, Views)
    assert [tuple(v.shape) for v in batch.globals] == [(2, 3, 3, 32, 32)] * 3
    assert [tuple(v.shape) for v in batch.locals] == [(2, 3, 3, 16, 16)] * 5
    assert batch.index.tolist() == [10, 11]
    assert denormalized(batch.globals[1]).max() < 0.51 < denormalized(batch.globals[0]).max()
    assert collate([(MultiCrop([Crop(16, (0.5, 1.0))])(clip(1), generator()), 0)]).locals == ()


def test_same_generator_same_views():
    views = MultiCrop([Crop(32, (0.4, 1.0), per_frame_box=True, per_frame_colour=True)], [Crop(16, (0.05, 0.4), num=2)])
    a, b, c = (views(clip(), generator(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(x, y) for x, y in zip(a[0] + a[1], b[0] + b[1], strict=True))
    assert not torch.equal(a[0][0], c[0][0])


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 1.0)}, {"scale": (0.6, 0.4)}, {"scale": (0.5, 1.5)}, {"scale": (0.5, 1.0), "gray": 1.2}]
)
def test_bad_crops_are_named(wrong):
    with pytest.raises(ValueError, match=r"views: (scale|gray)"):
        Crop(size=16, **wrong)


def test_a_plain_precrop_takes_pixels_as_they_are():
    frames = clip(3)
    region = Precrop(size=20, scale=None)(frames, generator(4))
    assert region.shape == (3, 3, 20, 20)
    height, width = frames.shape[-2:]
    places = [(y, x) for y in range(height - 19) for x in range(width - 19)]
    assert any(torch.equal(region, frames[..., y : y + 20, x : x + 20]) for y, x in places)
    assert Precrop(size=4000, scale=None)(frames, generator())[0].shape == (3, min(height, width), min(height, width))


def test_boxes_and_colours_are_drawn_for_each_frame_on_their_own():
    still = {"flip": 0.0, "blur": 0.0, "gray": 0.0}
    boxes = make_view(clip(), Crop(16, (0.2, 0.5), per_frame_box=True, jitter_prob=0.0, **still), generator(1))
    colours = make_view(clip(), Crop(16, (1.0, 1.0), per_frame_colour=True, jitter_prob=1.0, **still), generator(1))
    shared = make_view(clip(), Crop(16, (1.0, 1.0), jitter_prob=1.0, **still), generator(1))
    assert (boxes[0] - boxes[1]).abs().max() > 0.1
    assert (colours[0] - colours[1]).abs().max() > 0.01
    assert torch.equal(shared[0], shared[1])


@pytest.mark.gpu
def test_a_gpu_makes_the_same_views():
    frames = torch.randint(0, 256, (4, 3, 90, 120), generator=generator(1), dtype=torch.uint8)
    crops = [Crop(32, (0.3, 1.0), blur=1.0, num=2)], [Crop(16, (0.1, 0.4), solarize=0.0, num=3)]
    make = MultiCrop(*crops, Precrop(64, (0.3, 1.0)))
    for host, device in zip(make(frames, generator()), make(frames.cuda(), generator()), strict=True):
        for a, b in zip(host, device, strict=True):
            assert b.is_cuda
            assert (denormalized(a) - denormalized(b.cpu())).abs().max() < 2 / 255  # resizing rounds differently
