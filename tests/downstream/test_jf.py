"""J and F against davis2017-evaluation (DAVISEvaluation semi-supervised, db_eval_iou, db_eval_boundary, db_statistics)."""

import numpy as np
import pytest
from golden import G
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.downstream.jf import contour, contour_accuracy, evaluate_sequence, region_overlap, statistics, summary

# name: height, width, frames, objects [number, cy, cx, r, vy, vx(, frames)], void, predicted objects
SEQUENCES = {
    "alpha": (60, 80, 7, [(1, 25, 20, 11.2, 1.5, 3.0), (2, 40, 58, (9, 7), -2.0, -1.0, (0, 1, 2, 4, 5, 6))],
              [(255, 31, 26, 4.3, 1.5, 3.0)],
              [(1, 25.7, 19, 10.4, 1.5, 3.4), (2, 41, 57, (8, 9), -2.0, -0.6, (0, 1, 2, 3, 5, 6))]),
    "beta": (120, 214, 11, [(1, 60, 50, 24.3, 0.5, 6.0), (2, 35, 150, (14, 22), 2.2, -4.0), (3, 95, 180, 9.6, -1.0, 1.5)], [],
             [(1, 61, 53, 23.1, 0.5, 5.5), (2, 36, 151, (15, 19), 2.0, -4.4)]),
}  # fmt: skip
# pixels of the truth in every frame; mean, recall, decay of J and of F
OBJECTS = {
    "alpha/1": ([350, 343, 350, 343, 350, 339, 307],
                (0.729406472472, 1.0, 0.0338185694953), (0.684298610109, 1.0, 0.0522368465313)),
    "alpha/2": ([285, 285, 285, 0, 285, 285, 281],
                (0.448047349251, 0.6, 0.397738769729), (0.337459254979, 0.6, 0.286463386715)),
    "beta/1": ([1861, 1856, 1861, 1856, 1861, 1856, 1785, 1554, 1267, 954, 682],
               (0.885923522032, 1.0, -0.0154535704914), (0.862433332181, 1.0, -0.279558608287)),
    "beta/2": ([1305, 1260, 1260, 1260, 1260, 1305, 1260, 1260, 1260, 1260, 1305],
               (0.779204262755, 1.0, 0.0), (0.722527250377, 1.0, -0.172150353825)),
    "beta/3": ([293, 288, 293, 288, 293, 288, 293, 288, 293, 288, 293], (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
}  # fmt: skip
PER_FRAME = {  # J, F of frames 1 ... T - 2
    "alpha/1": ([0.746153846154, 0.736180904523, 0.75, 0.713930348259, 0.700767263427],
                [0.690244780418, 0.70408825438, 0.73730067401, 0.663615560641, 0.626243781095]),
    "alpha/2": ([0.758928571429, 0.758928571429, 0.0, 0.0, 0.722379603399],
                [0.565055762082, 0.565055762082, 0.0, 0.0, 0.557184750733]),
    "beta/1": ([0.852941176471, 0.871240105541, 0.887640449438, 0.901340482574, 0.900862068966, 0.901104972376, 0.890977443609,
                0.89737654321, 0.869828456105],
               [0.650793650794, 0.697916666667, 0.756745752674, 0.869883953082, 0.904826774823, 0.937601296596, 0.973644838301,
                0.992287917738, 0.978199138958]),
}  # fmt: skip
GLOBAL = {
    "J&F-Mean": 0.544930005416, "J-Mean": 0.568516321302, "J-Recall": 0.72, "J-Decay": 0.0832207537466,
    "F-Mean": 0.521343689529, "F-Recall": 0.72, "F-Decay": -0.0226017457731,
}  # fmt: skip


def masks(height: int, width: int, num_frames: int, entries: list) -> np.ndarray:
    labels = np.zeros((num_frames, height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for number, cy, cx, r, vy, vx, *frames in entries:
        for t in frames[0] if frames else range(num_frames):
            dy, dx = y - (cy + vy * t), x - (cx + vx * t)
            inside = dy**2 + dx**2 <= r**2 if not isinstance(r, tuple) else (abs(dy) <= r[0]) & (abs(dx) <= r[1])
            labels[t][inside] = number
    return labels


def sequence(name: str) -> tuple[np.ndarray, np.ndarray]:
    height, width, num_frames, objects, void, predicted = SEQUENCES[name]
    truth, ours = masks(height, width, num_frames, objects + void), masks(height, width, num_frames, predicted)
    ours[0], ours[-1] = 1, 0  # these two must not matter
    return truth, ours


def test_sequences_equal_the_official_evaluation() -> None:
    found = {}
    for name in SEQUENCES:
        truth, ours = sequence(name)
        for number, score in evaluate_sequence(truth, ours).items():
            pixels, J, F = OBJECTS[f"{name}/{number}"]
            assert (truth == number).sum((1, 2)).tolist() == pixels
            np.testing.assert_allclose(score.J, J, atol=1e-9)
            np.testing.assert_allclose(score.F, F, atol=1e-9)
            found[f"{name}/{number}"] = score
    assert found.keys() == OBJECTS.keys()
    scores = summary(found)
    assert scores.keys() == GLOBAL.keys()
    for key, value in GLOBAL.items():
        assert scores[key] == pytest.approx(value, abs=1e-9), key


@pytest.mark.parametrize("name", PER_FRAME)
def test_every_frame_equals_the_official_one(name: str) -> None:
    truth, ours = sequence(name.split("/")[0])
    truth[truth == 255] = 0
    number = int(name.split("/")[1])
    J, F = PER_FRAME[name]
    for t, (j, f) in enumerate(zip(J, F, strict=True), 1):
        assert region_overlap(truth[t], ours[t], int(truth[0].max()))[number - 1] == pytest.approx(j, abs=1e-9)
        assert contour_accuracy(truth[t] == number, ours[t] == number) == pytest.approx(f, abs=1e-9)


def shapes() -> dict[str, np.ndarray]:
    height, width = 48, 64
    y, x = np.mgrid[:height, :width]

    def disk(cy: float, cx: float, r: float) -> np.ndarray:
        return (y - cy) ** 2 + (x - cx) ** 2 <= r**2

    return {
        "empty": np.zeros((height, width), bool), "full": np.ones((height, width), bool),
        "one": (y == height // 2) & (x == width // 3), "corner": (y >= height - 9) & (x >= width - 13),
        "left": (y >= 5) & (y < 20) & (x < 8), "disk": disk(0.45 * height, 0.5 * width, 0.3 * height),
        "disk_shift": disk(0.45 * height + 2, 0.5 * width - 3, 0.28 * height),
        "disk_far": disk(0.8 * height, 0.15 * width, 5.2), "stripes": x // 5 % 2 == 0,
    }  # fmt: skip


FRAMES = [  # truth, prediction, J, F, F with a bound of 0.03, F with a bound of 3 pixels
    ("empty", "empty", 1.0, 1.0, 1.0, 1.0),
    ("empty", "full", 0.0, 1.0, 1.0, 1.0),
    ("full", "empty", 0.0, 1.0, 1.0, 1.0),
    ("full", "full", 1.0, 1.0, 1.0, 1.0),
    ("one", "one", 1.0, 1.0, 1.0, 1.0),
    ("one", "disk", 0.0015503875969, 0.0, 0.0815217391304, 0.0815217391304),
    ("disk", "empty", 0.0, 0.0, 0.0, 0.0),
    ("empty", "disk", 0.0, 0.0, 0.0, 0.0),
    ("disk", "disk_shift", 0.707865168539, 0.30813050233, 0.767857142857, 0.767857142857),
    ("disk_shift", "disk", 0.707865168539, 0.30813050233, 0.767857142857, 0.767857142857),
    ("disk", "disk_far", 0.0, 0.0, 0.0, 0.0),
    ("corner", "left", 0.0, 0.0, 0.0, 0.0),
    ("corner", "corner", 1.0, 1.0, 1.0, 1.0),
    ("disk", "stripes", 0.176136363636, 0.161648177496, 0.358974358974, 0.358974358974),
    ("stripes", "disk", 0.176136363636, 0.161648177496, 0.358974358974, 0.358974358974),
    ("full", "disk", 0.2099609375, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("truth", "predicted", "j", "f", "f3", "f3_pixels"), FRAMES)
def test_single_masks_equal_the_official_numbers(
    truth: str, predicted: str, j: float, f: float, f3: float, f3_pixels: float
) -> None:
    a, b = shapes()[truth], shapes()[predicted]
    assert region_overlap(a.astype(np.uint8), b.astype(np.uint8), 1)[0] == pytest.approx(j, abs=1e-9)
    for bound, expected in ((0.008, f), (0.03, f3), (3, f3_pixels)):
        assert contour_accuracy(a, b, bound=bound) == pytest.approx(expected, abs=1e-9)


def test_void_pixels_belong_to_neither() -> None:
    a, b = shapes()["disk"], shapes()["disk_shift"]
    void = np.zeros_like(a)
    void[:, 32:38] = True
    assert contour_accuracy(a, b, void) == pytest.approx(0.520452885318, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "mean", "recall", "decay"),
    [(2, 0.822970598936, 1.0, -0.303043425083), (3, 0.854796866576, 1.0, -0.0954788029194),
     (4, 0.777530729771, 1.0, 0.0908797383308), (5, 0.649705773592, 0.8, 0.48090146482),
     (17, 0.563180849833, 0.647058823529, 0.0827524483204), (80, 0.513881004974, 0.525, -0.000617548113778),
     (256, 0.503514691722, 0.47265625, None), (300, 0.500063445767, 0.483333333333, None)],
)  # fmt: skip
def test_statistics_equal_the_official_numbers(n: int, mean: float, recall: float, decay: float | None) -> None:
    values = (0.5 + 0.5 * G((n,), 0.9, 0.35)).double().numpy()
    found = statistics(values)
    np.testing.assert_allclose(found[:2], (mean, recall), atol=1e-9)
    if decay is not None:
        assert found.decay == pytest.approx(decay, abs=1e-9)
    else:  # there the official code has none; the borders are those of the rule
        first, last = (round(float(v) + 1e-10) for v in np.linspace(1, n, 5)[[1, 3]])
        assert found.decay == pytest.approx(values[:first].mean() - values[last - 1 :].mean(), abs=1e-9)


def direct_contour(mask: np.ndarray) -> np.ndarray:
    """By the definition, pixel by pixel."""
    height, width = mask.shape
    out = np.zeros_like(mask, dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            out[y, x] = any(mask[y, x] != mask[p] for p in ((y, right), (below, x), (below, right)))
    return out


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_contours_of_a_window_are_those_of_the_picture(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < 0.4
    whole = direct_contour(mask)
    np.testing.assert_array_equal(contour(mask), whole)
    top, left = int(rng.integers(height)), int(rng.integers(width))
    window = (slice(top, int(rng.integers(top, height)) + 1), slice(left, int(rng.integers(left, width)) + 1))
    np.testing.assert_array_equal(contour(mask, window), whole[window])


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_identity_is_1_and_the_order_of_the_numbers_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, ours = (rng.integers(0, 4, (5, 3, 4), np.uint8).repeat(6, 1).repeat(6, 2) for _ in range(2))
    truth[0, 0, :3] = [1, 2, 3]
    assert all(score.J == score.F == (1.0, 1.0, 0.0) for score in evaluate_sequence(truth, truth).values())
    order = np.array([0, 3, 1, 2], np.uint8)
    scores, other = evaluate_sequence(truth, ours), evaluate_sequence(order[truth], order[ours])
    assert {int(order[number]): score for number, score in scores.items()} == other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, p: (t, p[:, :-1].copy()), "expected the same"),
        (lambda t, p: (t[:2], p[:2]), "3 frames or more"),
        (lambda t, p: (t, np.where(p == 1, 9, p)), "got object 9, expected 1 to 2"),
    ],
)
def test_what_cannot_be_scored_is_named(change, message: str) -> None:
    truth, ours = change(*sequence("alpha"))
    with pytest.raises(ValueError, match=message):
        evaluate_sequence(truth.astype(np.uint8), ours.astype(np.uint8))
