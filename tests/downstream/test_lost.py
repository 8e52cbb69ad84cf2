"""LOST, CorLoc and Jaccard against the numbers of the originals: valeoai/LOST (object_discovery.py, datasets.py, main_lost.py);
thresholds of facebookresearch/dino visualize_attention.py. Jaccard has no official code: a slow loop is the reference."""

import numpy as np
import pytest
import torch
from golden import S

from longtake.downstream.attention import best_head, jaccard, mass_mask
from longtake.downstream.lost import box_ious, box_of, component_of, hit, lost

# name: grid, d, image size, num_seeds, a, disks, noise, object -> seed, its degree, sum and largest degree, weighted sum of
# degrees, similars, component's size, box
MAPS = {
    "m1": ((10, 12), 16, (160, 192), 99, (1.428, 0.2, 0.73, 0.4), [(4.0, 6.6, 2.2)], 1.3, 1.0,
           56, 15, 10640, 104, 289.3151365, 16, 16, (80, 32, 144, 112)),
    "m2": ((14, 14), 24, (224, 224), 51, (0.31, 0.30000000000000004, 0.78, 0.4), [(6.6, 7.7, 2.8), (12.0, 2.0, 1.3)], 1.45, 0.9,
           89, 31, 26880, 165, 258.9194468, 32, 26, (80, 64, 176, 160)),
    "m3": ((9, 15), 16, (139, 237), 40, (0.336, 0.4, 0.83, 0.4), [(3.6, 8.25, 3.4)], 1.6, 1.1,
           84, 34, 10462, 99, 48.10715554, 33, 35, (80, 16, 192, 112)),
    "m4": ((20, 18), 32, (317, 283), 98, (0.349, 0.5, 0.88, 0.4), [(9.0, 9.9, 4.0), (18.0, 2.0, 1.3)], 1.75, 1.0,
           190, 49, 93786, 308, -3970.540719, 50, 46, (96, 96, 224, 208)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_lost_equals_the_original(name: str) -> None:
    (rows, columns), d, size, num_seeds, a, disks, noise, strength, *expected = MAPS[name]
    y, x = np.mgrid[:rows, :columns]
    inside = np.any([(y - cy) ** 2 + (x - cx) ** 2 <= r**2 for cy, cx, r in disks], 0).ravel()
    side = torch.from_numpy(np.where(inside, strength, -1.0)).float()[:, None]
    keys = S((rows * columns, d), a[0], a[1]) * noise + side * S((d,), a[2], a[3])
    found = lost(keys, (rows, columns), size, 16, num_seeds)
    seed, degree, total, largest, weighted, similars, cells, box = expected
    assert (found.seed, int(found.degree[found.seed]), int(found.degree.sum())) == (seed, degree, total)
    assert int(found.degree.max()) == largest
    weights = np.sin(0.7 * np.arange(rows * columns) + 0.3)
    assert (found.degree * weights).sum() == pytest.approx(weighted, rel=1e-8)
    assert (len(found.similars), int(found.component.sum()), found.box) == (similars, cells, box)


@pytest.mark.parametrize(("seed", "box"), [(23, (32, 16, 80, 80)), (67, (96, 80, 144, 123)), (0, (0, 0, 16, 16))])
def test_the_box_of_the_component_that_holds_the_seed(seed: int, box: tuple) -> None:
    y, x = np.mgrid[:8, :10]
    region = ((y - 2.5) ** 2 + (x - 3) ** 2 <= 1.6**2) | ((y - 6) ** 2 + (x - 7) ** 2 <= 1.1**2)
    region[0, 0] = region[1, 1] = True  # neighbours at a corner are not connected
    assert box_of(component_of(region, seed), 16, (123, 153)) == box


def test_features_that_are_all_equal_or_zero() -> None:
    assert lost(torch.ones(12, 4), (3, 4), (45, 61)).box == (0, 0, 61, 45)
    with pytest.raises(ValueError, match="seed is not in its own region"):
        lost(torch.zeros(12, 4), (3, 4), (45, 61))


def test_equal_degrees_are_taken_row_by_row() -> None:
    keys = torch.eye(6).repeat_interleave(2, 0)  # pairs of equal patches: all degrees are 1
    found = lost(keys, (3, 4), (48, 64))
    assert (found.seed, found.similars.tolist(), found.box) == (0, [0, 1], (0, 0, 32, 16))


CORLOC = [
    ([0, 0, 10, 10], [[0, 0, 10, 20], [0, 0, 10, 10], [20, 20, 30, 30]], [0.5, 1.0, 0.0], True),
    ([5, 5, 25, 35], [[10, 10, 30, 40], [0, 0, 50, 50]], [0.45454547, 0.23999999], False),
    ([100, 40, 180, 120], [[120, 40, 200, 120], [90, 30, 140, 80]], [0.60000002, 0.21917808], True),
    ([0, 0, 64, 48], [[32, 24, 96, 72]], [0.14285715], False),
    ([3, 7, 40, 41], [[3, 7, 40, 40]], [0.97058821], True),
    ([10, 10, 20, 20], [[10, 10, 20, 30]], [0.5], True),
    ([10, 10, 20, 20], [[10, 10, 20, 31]], [0.47619048], False),
]


def test_ious_and_hits_equal_the_original() -> None:
    for box, objects, ious, is_hit in CORLOC:
        np.testing.assert_allclose(box_ious(tuple(box), np.array(objects)), ious, atol=1e-6)
        assert hit(tuple(box), np.array(objects)) == is_hit
    assert 100 * np.mean([hit(tuple(box), np.array(objects)) for box, objects, *_ in CORLOC]) == pytest.approx(
        57.14285714
    )


# name: heads, grid, patch, image size, a, bumps, objects, width of the void; and per mass: patches kept and sums of their numbers
# per head and of the average, IoUs of each object per head and of the average, the image's two numbers
IMAGES = {
    "im1": (6, (9, 12), 16, (150, 197), (0.57, 0.3, 1.2), [(4, 5, 1.5, 4.0), (4.5, 5.5, 2.2, 3.0), (2, 9, 1.2, 3.5)],
            [(7, 70, 88, 30), (15, 36, 150, 18)], 5, {0: 22142, 7: 2821, 15: 1009, 255: 1676}),
    "im2": (4, (8, 8), 8, (66, 69), (0.83, 0.1, 0.8), [(3, 3, 1.8, 3.0), (5, 6, 1.1, 4.0)],
            [(1, 26, 28, 17), (2, 44, 50, 9)], 2, {0: 2599, 1: 901, 2: 253, 255: 343}),
    "im3": (3, (6, 10), 8, (48, 80), (0.44, 0.9, 1.5), [(2, 2, 1.0, 4.0), (3, 7, 2.0, 3.0)],
            [(3, 18, 60, 15)], 3, {0: 2831, 3: 709, 255: 300}),
}  # fmt: skip
JACCARD = {
    ("im1", 0.6): ([7, 21, 11, 36, 36, 34], [396, 1281, 379, 1644, 1779, 1852], 41, 2073,
                   [[0.615030131, 0.424665179, 0.00831189392, 0.0801699717, 0.10518648, 0.0979847116],
                    [0.0, 0.00394917582, 0.396427052, 0.0225172597, 0.0375230452, 0.00971721804]],
                   [0.279292557, 0.0880774492], 0.505728592, 0.183685003),
    ("im1", 0.8): ([21, 44, 36, 56, 55, 52], [1233, 2325, 1548, 2819, 2872, 2814], 68, 3344,
                   [[0.49140625, 0.251076452, 0.0649461956, 0.0776589384, 0.0916678068, 0.0996007415],
                    [0.0, 0.0446113894, 0.113474335, 0.0396825397, 0.0380099795, 0.00658186659]],
                   [0.171483503, 0.0592358268], 0.302440292, 0.115359665),
    ("im2", 0.6): ([14, 8, 23, 24], [361, 354, 753, 779], 27, 933,
                   [[0.670987039, 0.0, 0.119462419, 0.204569607], [0.0138067061, 0.477124183, 0.107958478, 0.057478772]],
                   [0.3960047, 0.166779203], 0.574055611, 0.281391951),
    ("im2", 0.8): ([29, 23, 38, 39], [809, 844, 1278, 1215], 43, 1442,
                   [[0.426130099, 0.185347184, 0.188613478, 0.249703205], [0.00727272727, 0.199684294, 0.0905405405, 0.0401989225]],
                   [0.283576362, 0.103518822], 0.312907196, 0.193547592),
    ("im3", 0.6): ([10, 10, 20], [190, 358, 477], 22, 609,
                   [[0.0, 0.269503546, 0.266067726]], [0.230625], 0.269503546, 0.230625),
    ("im3", 0.8): ([22, 19, 27], [545, 615, 785], 35, 1016,
                   [[0.0854564756, 0.240425532, 0.203166227]], [0.204645048], 0.240425532, 0.204645048),
}  # fmt: skip


def golden_image(name: str) -> tuple[torch.Tensor, np.ndarray]:
    """Attention (heads, patches) and the truth, cut to whole patches."""
    heads, (rows, columns), patch, (height, width), a, bumps, objects, void, _ = IMAGES[name]
    logits = a[2] * S((heads, rows * columns), a[0], a[1]).double().numpy()
    y, x = np.mgrid[:rows, :columns]
    for j, (cy, cx, r, gain) in enumerate(bumps):
        logits[j % heads] += gain * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r**2)).ravel()
    attention = torch.from_numpy(logits).float().softmax(-1) * 0.97
    truth = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for wider in (void, 0):  # the rings of all objects come first
        for number, cy, cx, r in objects:
            truth[(y - cy) ** 2 + (x - cx) ** 2 <= (r + wider) ** 2] = 255 if wider else number
    return attention, truth[: rows * patch, : columns * patch]


@pytest.mark.parametrize(("name", "mass"), JACCARD)
def test_attention_masks_and_jaccard_equal_the_golden_numbers(name: str, mass: float) -> None:
    kept, sums, kept_average, sum_average, per_head, average, best, image_average = JACCARD[name, mass]
    _, grid, patch, *_, counts = IMAGES[name]
    attention, truth = golden_image(name)
    assert {int(n): int((truth == n).sum()) for n in np.unique(truth)} == counts
    for rows_of_attention, count, total, ious, value in (
        (attention, kept, sums, per_head, best),
        (attention.mean(0, keepdim=True), [kept_average], [sum_average], [[v] for v in average], image_average),
    ):
        masks = mass_mask(rows_of_attention, mass)
        assert masks.sum(1).tolist() == count
        assert (masks * torch.arange(masks.shape[1])).sum(1).tolist() == total
        overlaps = jaccard(masks.unflatten(1, grid), truth, patch)
        np.testing.assert_allclose(overlaps, ious, atol=1e-7)
        assert best_head(overlaps) == pytest.approx(value, abs=1e-7)


def test_one_patch_with_almost_all_the_mass_is_kept_alone() -> None:
    attention = torch.full((1, 20), 1e-4)
    attention[0, 7] = 0.9
    assert mass_mask(attention, 0.6).nonzero().tolist() == mass_mask(attention, 0.8).nonzero().tolist() == [[0, 7]]


def test_means_over_the_golden_images() -> None:
    expected = {0.6: (0.449762583, 0.231900652), 0.8: (0.285257674, 0.171184102)}
    for mass, numbers in expected.items():
        images = [JACCARD[name, mass][-2:] for name in IMAGES]
        np.testing.assert_allclose(np.mean(images, 0), numbers, atol=1e-7)
