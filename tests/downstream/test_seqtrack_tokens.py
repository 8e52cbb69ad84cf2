"""SeqTrack's arithmetic against its code: tokens of a box, the search crop, boxes in and out of it, the window penalty."""

import numpy as np
import pytest
import torch
from golden import G, S

from longtake.downstream.seqtrack_tokens import (
    best_token,
    box_in_crop,
    clip_box,
    crop_side,
    hanning,
    quantised,
    search_crop,
    sequences,
    square_crop,
    tokens_to_box,
)

BOXES = torch.tensor([  # x, y, w, h, shares of the crop
    [0.25, 0.3, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], [-0.1, 0.2, 0.3, 0.25], [0.7, 0.85, 0.5, 0.3],
    [0.4999, 0.5001, 0.0003, 0.0002], [0.123456, 0.654321, 0.2, 0.1],
])  # fmt: skip
TOKENS = {
    4000: [[1999, 1999, 1999, 1599], [1999, 1999, 3999, 3999], [399, 1299, 799, 999], [3399, 3699, 1199, 599],
           [1999, 2000, 1, 0], [893, 2816, 799, 399]],
    1000: [[499, 499, 499, 399], [499, 499, 999, 999], [99, 324, 199, 249], [849, 924, 299, 149], [499, 499, 0, 0],
           [223, 703, 199, 99]],
}  # fmt: skip


@pytest.mark.parametrize("bins", TOKENS)
def test_tokens_of_boxes(bins: int) -> None:
    assert quantised(BOXES, bins).tolist() == TOKENS[bins]
    fed, target = sequences(BOXES, bins)
    assert fed.tolist() == [[bins + 1, *tokens] for tokens in TOKENS[bins]]
    assert target.tolist() == [[*tokens, bins] for tokens in TOKENS[bins]]


DECODED = [  # previous box, tokens, side of the crop, resize factor, box
    ([60, 50, 40, 30], [1999, 1999, 640, 480], 139, 1.84172661871, [68.8598404, 56.6405344, 22.2455597, 16.6841717]),
    ([60, 50, 40, 30], [2300, 1500, 900, 700], 139, 1.84172661871, [74.8035822, 35.4724941, 31.2828197, 24.3310814]),
    ([-5, -3, 30, 22], [1800, 2100, 1000, 990], 103, 2.4854368932, [0.0, 0.0, 17.7398071, 23.3379574]),
    ([140, 100, 18, 19], [2600, 2900, 1200, 1100], 74, 3.45945945946, [149.009251, 110.0, 10.9907494, 10.0]),
    ([10.5, 20.25, 33.3, 27.7], [0, 0, 100, 100], 122, 2.09836065574, [0.0, 0.0, 10.0, 10.0]),
    ([80, 60, 12, 12], [3999, 3999, 3999, 3999], 48, 5.33333333333, [86.0, 66.0, 48.0, 48.0]),
]  # fmt: skip


@pytest.mark.parametrize(("previous", "tokens", "side", "factor", "expected"), DECODED)
def test_boxes_of_tokens(previous: list, tokens: list, side: int, factor: float, expected: list) -> None:
    before = np.array(previous, np.float64)
    assert crop_side(before, 4.0) == side
    assert 256 / side == pytest.approx(factor)
    box = tokens_to_box(torch.tensor(tokens), before, 256 / side, size=256, bins=4000)
    np.testing.assert_allclose(clip_box(box, (120, 160), margin=10), expected, atol=1e-4)


CROPS = [  # box, factor, side, sum, weighted sum, zeros, mean of the resized crop
    ([60, 50, 40, 30], 4.0, 139, 6304704.0, -14058.52288, 2782, 108.62916),
    ([5, 8, 30, 22], 4.0, 103, 1919764.0, 17983.08167, 5570, 60.271474),
    ([140, 95, 18, 20], 4.0, 76, 947250.0, -4372.206123, 3280, 54.617874),
    ([-6, -4, 25, 25], 4.0, 100, 1233936.0, 13811.52291, 6753, 41.079992),
    ([70.5, 40.25, 21, 13], 2.0, 34, 445513.0, 6548.618461, 0, 128.33326),
]


@pytest.mark.parametrize(("box", "factor", "side", "total", "weighted", "zeros", "mean"), CROPS)
def test_crops(box: list, factor: float, side: int, total: float, weighted: float, zeros: int, mean: float) -> None:
    # the values of S in float64 before they are cut to bytes
    image = torch.floor((S64((120, 160, 3), 0.67, 0.2) + 1) * 127.5).to(torch.uint8).numpy()
    before = np.array(box, np.float64)
    crop = square_crop(image, before, factor)
    assert crop.shape == (side, side, 3)
    flat = crop.astype(np.float64).ravel()
    assert flat.sum() == total
    assert flat @ np.sin(0.7 * np.arange(flat.size) + 0.3) == pytest.approx(weighted, abs=1e-3)
    assert (crop.sum(2) == 0).sum() == zeros
    resized, resize_factor = search_crop(image, before, factor, 256)
    assert resized.shape == (256, 256, 3)
    assert resize_factor == 256 / side
    assert resized.mean() == pytest.approx(mean, abs=0.02)


def S64(shape: tuple[int, ...], a: float, b: float) -> torch.Tensor:
    return S(shape, a, b).double()


def test_a_crop_beyond_the_picture_is_empty() -> None:
    image = np.full((50, 60, 3), 9, np.uint8)
    assert not square_crop(image, np.array([300.0, 20, 10, 10]), 4.0).any()
    assert not square_crop(image, np.array([20.0, -90, 10, 10]), 4.0).any()


@pytest.mark.parametrize(
    ("box", "around", "factor", "out", "normalised"),
    [
        ([12, 20, 30, 40], [10, 22, 33, 36], 1.75, [102.125, 92.5, 52.5, 70.0], [0.4004902, 0.3627451, 0.2058824, 0.2745098]),
        ([100, 50, 20, 10], [90, 60, 44, 22], 0.8125, [117.75, 110.4375, 16.25, 8.125],
         [0.4617647, 0.4330882, 0.06372549, 0.03186275]),
    ],
)  # fmt: skip
def test_boxes_in_a_crop(box: list, around: list, factor: float, out: list, normalised: list) -> None:
    found = box_in_crop(np.array(box, np.float64), np.array(around, np.float64), factor, 256)
    np.testing.assert_allclose(found, normalised, atol=1e-7)
    np.testing.assert_allclose(found * 255, out, atol=1e-9)


@pytest.mark.parametrize(
    ("box", "margin", "out"),
    [
        ([10, 20, 30, 40], 0, [10, 20, 30, 40]), ([-15, -20, 30, 40], 10, [0, 0, 15, 20]),
        ([150, 110, 30, 40], 10, [150, 110, 10, 10]), ([155, 100, 2, 2], 10, [150, 100, 10, 10]),
        ([-50, 10, 20, 20], 10, [0, 10, 10, 20]), ([40, -30, 20, 35], 10, [40, 0, 20, 10]),
        ([200, 200, 10, 10], 10, [150, 110, 10, 10]), ([12.5, 7.25, 3.5, 4.75], 10, [12.5, 7.25, 10, 10]),
    ],
)  # fmt: skip
def test_boxes_are_clipped(box: list, margin: int, out: list) -> None:
    assert clip_box(np.array(box, np.float64), (120, 160), margin).tolist() == out


PEAKS = {
    "p1": [[(300, 6.0), (2100, 5.5), (3900, 6.2)], [(1500, 4.0), (60, 4.9), (3990, 7.5)], [(50, 6.0), (2000, 5.8)],
           [(3980, 5.0), (2000, 4.9), (4000, 9.0)]],
    "p2": [[(10, 9.0), (1950, 3.0)], [(4001, 10.0), (2500, 5.0), (1200, 5.3)], [(700, 5.0), (701, 5.2)],
           [(1, 4.0), (4000, 8.0)]],
}  # fmt: skip
ANSWERS = [
    ("p1", True, [2100, 1500, 50, 3980], [0.04456838, 0.00745611, 0.08179437, 0.01173237]),
    ("p1", False, [3900, 3990, 50, 3980], [0.09031146, 0.2892054, 0.08179437, 0.01173237]),
    ("p2", True, [1950, 1200, 701, 1], [0.00161226, 0.004925395, 0.04004328, 0.007477654]),
    ("p2", False, [10, 1200, 701, 1], [0.6514166, 0.007522758, 0.04004328, 0.007477654]),
]


@pytest.mark.parametrize(("peaks", "windowed", "tokens", "confidence"), ANSWERS)
def test_the_window_pulls_the_centre(peaks: str, windowed: bool, tokens: list, confidence: list) -> None:
    logits = 0.5 * G((4, 4002), 0.013, 0.4)
    for row, entries in zip(logits, PEAKS[peaks], strict=True):
        for token, value in entries:
            row[token] = value
    window = hanning(4000) if windowed else None
    found = [best_token(row[None], 4000, window if step < 2 else None) for step, row in enumerate(logits)]
    assert [int(token) for _, token in found] == tokens
    assert [float(value) for value, _ in found] == pytest.approx(confidence, rel=1e-5)


def test_a_level_read_at_its_middle_does_not_shrink_boxes() -> None:
    """With few levels truncation takes half a level off everything; a tracker would shrink its box in every frame."""
    boxes = torch.rand(4000, 4, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.1
    previous = np.array([0.0, 0.0, 64.0, 64.0])
    for within, bias in ((0.0, -0.5), (0.5, 0.0)):
        read = np.stack([tokens_to_box(t, previous, 1.0, 64, 32, within) for t in quantised(boxes, 32)])
        off = (read[:, 2:] / 64 - boxes[:, 2:].numpy()) * 31
        assert off.mean() == pytest.approx(bias, abs=0.02)
