"""Every operator, batched and for one frame with OpenCV, against torchvision.transforms.v2 on uint8 frames.

Tolerance: one level of 255, because v2 cuts its result to integers and ours stays float; contrast 1.5 levels, because v2 also cuts
the luma before it takes the mean.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as v2

from longtake.datasets import augment, augment_cv
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD
from longtake.datasets.views import Crop, draw_colours

LEVEL = 1.001 / 255
CONTRAST = 1.5 / 255


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """Noise, a ramp, a flat grey, black and white, and saturated colours: 4 frames of 3 x 40 x 56."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, 40, 56), generator=generator)
    ramp = torch.linspace(0, 255, 56).round().expand(1, 3, 40, 56)
    patches = torch.tensor([0, 128, 255])[torch.randint(0, 3, (1, 3, 40, 56), generator=generator)]
    return torch.cat([noise, ramp, patches]).to(torch.uint8)


def check(got: torch.Tensor, expected: torch.Tensor, tolerance: float = LEVEL) -> None:
    assert (got - expected.float() / 255).abs().max() <= tolerance


def batched(operator):
    """An operator on one (h, w, 3) array in place, as one on a batch."""

    def on_frames(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        images = x.permute(0, 2, 3, 1).numpy().copy()
        for i, image in enumerate(images):
            operator(image, *(float(value[i]) for value in values))
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    return on_frames


def kinds(name: str) -> list:
    """The operator of this name: the batched one and that for one frame."""
    return [getattr(augment, name), batched(getattr(augment_cv, name))]


PAIRS = {
    "brightness": (v2.adjust_brightness, (0.6, 1.0, 1.4)),
    "contrast": (v2.adjust_contrast, (0.6, 1.0, 1.4)),
    "saturation": (v2.adjust_saturation, (0.8, 1.0, 1.8)),
    "hue": (v2.adjust_hue, (-0.5, -0.2, -0.1, 0.0, 0.07, 0.2, 0.5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_colour_operators_equal_torchvision(frames, name):
    theirs, factors = PAIRS[name]
    for ours in kinds(name):
        for factor in factors:
            got = ours(frames.float() / 255, torch.full((4,), factor))
            check(got, theirs(frames, factor), CONTRAST if name == "contrast" else LEVEL)


def test_each_frame_has_its_own_factor(frames):
    factors = torch.tensor([0.6, 0.9, 1.2, 1.4])
    got = augment.contrast(frames.float() / 255, factors)
    for i, factor in enumerate(factors.tolist()):
        check(got[i], v2.adjust_contrast(frames[i], factor), CONTRAST)


def test_grayscale_and_solarize_equal_torchvision(frames):
    x = frames.float() / 255
    for grayscale, solarize in zip(kinds("grayscale"), kinds("solarize"), strict=True):
        check(grayscale(x).expand_as(x), v2.rgb_to_grayscale(frames, num_output_channels=3))
        check(solarize(x), v2.solarize(frames, 128), 1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_equals_torchvision_with_the_same_taps(frames, sigma):
    for blur in kinds("gaussian_blur"):
        check(blur(frames.float() / 255, torch.full((4,), sigma)), v2.gaussian_blur(frames, [13, 13], [sigma, sigma]))


def test_blur_of_frames_smaller_than_the_kernel():
    x = torch.rand(1, 3, 4, 5)
    batch, single = (blur(x, torch.tensor([2.0])) for blur in kinds("gaussian_blur"))
    assert batch.shape == x.shape
    assert batch.std() < x.std()
    torch.testing.assert_close(single, batch)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_view_has_the_same_colours_from_both(seed, height, width, per_frame):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (3, 3, height, width), generator=generator, dtype=torch.uint8)
    colours = draw_colours(3, Crop(8, (0.1, 1.0), per_frame_colour=per_frame), generator)  # no edge: solarisation jumps
    torch.testing.assert_close(
        augment_cv.coloured(frames, colours), augment.coloured(frames, colours), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("box", [(3, 5, 20, 31), (0, 0, 40, 56), (7, 9, 11, 8)])
def test_crops_are_equal_to_the_last_bit(frames, mode, box):
    interpolation = {"bicubic": v2.InterpolationMode.BICUBIC, "bilinear": v2.InterpolationMode.BILINEAR}[mode]
    expected = v2.resized_crop(frames, *box, size=[24, 24], interpolation=interpolation, antialias=True)
    assert torch.equal(augment.crop_resize(frames, torch.tensor([box]), 24, mode), expected)


def test_one_box_per_frame(frames):
    boxes = torch.tensor([(i, 2 * i, 20 + i, 30 - i) for i in range(4)])
    got = augment.crop_resize(frames, boxes, 16)
    for i in range(4):
        assert torch.equal(got[i : i + 1], augment.crop_resize(frames[i : i + 1], boxes[i : i + 1], 16))


def test_flip_mirrors_the_chosen_frames(frames):
    got = augment.hflip(frames, torch.tensor([True, False, True, False]))
    assert torch.equal(got[::2], v2.horizontal_flip(frames[::2]))
    assert torch.equal(got[1::2], frames[1::2])


def test_normalize_equals_torchvision(frames):
    x = frames.float() / 255
    expected = v2.normalize(x, IMAGENET_MEAN, IMAGENET_STD)
    for normalize in kinds("normalize"):
        torch.testing.assert_close(normalize(x), expected)


def test_apply_to_touches_only_the_chosen_frames(frames):
    x, chosen = frames.float() / 255, torch.tensor([True, False, False, True])
    factors = torch.tensor([0.5, 0.6, 0.7, 0.8])
    got = augment.apply_to(x, chosen, augment.brightness, factors)
    assert torch.equal(got[~chosen], x[~chosen])
    assert torch.equal(got[chosen], augment.brightness(x, factors)[chosen])
    assert augment.apply_to(x, torch.zeros(4, dtype=torch.bool), augment.brightness, factors) is x
