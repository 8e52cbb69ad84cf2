"""Pixels counted as mmsegmentation 1.2.2 counts them: its numbers (golden values, section 06)."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from longtake.datasets.ade20k import ADE20K
from longtake.downstream.miou import class_accuracies, class_ious, confusion, image_accuracies, image_ious
from tests.golden import S


def case(
    shapes: list[tuple[int, int]], a: float, b: float, mul: int, top: int, classes: int, *, last_ignored: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction of every image; `last_ignored`: the last one has no truth at all."""
    pairs = []
    for i, shape in enumerate(shapes):
        s = S(shape, a + 0.01 * i, b).double().numpy()
        found = np.clip(np.floor((s + 1) / 2 * top), 0, top - 1).astype(int) * mul % top
        u = S(shape, a + 0.5 + 0.01 * i, b + 0.4).double().numpy()
        predicted = np.where(u > 0.35, (found + 1 + np.trunc(np.abs(u) * 10).astype(int)) % classes, found)
        truth = np.where(S(shape, a + 0.9 + 0.01 * i, b + 0.9).double().numpy() > 0.9, 255, found)
        truth[found == 2] = 3
        pairs.append((np.full_like(truth, 255) if last_ignored and i == len(shapes) - 1 else truth, predicted))
    return pairs


NAN = float("nan")
A = case([(24, 30), (17, 41), (10, 12)], 0.37, 0.2, 5, 7, 19, last_ignored=True)
B = case([(64, 48), (40, 90), (33, 33)], 0.91, 0.6, 37, 131, 150, last_ignored=False)
IOU_A = [0.6120402, 0.6272727, 0, 0.1573034, 0.5324675, 0.5804196, 0.5422535, *[0.0] * 10, NAN, NAN]
ACCURACY_A = [0.6120402, 0.6272727, NAN, 0.1573034, 0.5503356, 0.6240602, 0.6416667, *[NAN] * 12]
IOU_B = [
    0.6193182, 0.6666667, 0, 0.4107143, 0.5365854, 0.4210526, 0.5147059, 0.4166667, 0.3278688, 0.3376623, 0.25, 0.4915254,
]  # fmt: skip
ACCURACY_B = [
    0.6193182, 0.6666667, NAN, 0.4107143, 0.5789474, 0.5333334, 0.7, 0.6451613, 0.6060606, 0.5531915, 0.6428571, 0.725,
]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "classes", "miou", "macc", "pixels", "ious", "accuracies"),
    [
        (A, 19, 0.17951511, 0.53544647, 0.44904459, IOU_A, ACCURACY_A),
        (B, 150, 0.38136411, 0.60150987, 0.59981972, IOU_B, ACCURACY_B),
    ],
)
def test_scores_are_mmsegmentations(pairs, classes, miou, macc, pixels, ious, accuracies) -> None:
    matrix = sum(confusion(truth, predicted, classes) for truth, predicted in pairs)
    found, right = class_ious(matrix), class_accuracies(matrix)
    np.testing.assert_allclose(found[: len(ious)], ious, rtol=1e-6)
    np.testing.assert_allclose(right[: len(accuracies)], accuracies, rtol=1e-6)
    np.testing.assert_allclose(np.nanmean(found), miou, rtol=1e-6)
    np.testing.assert_allclose(np.nanmean(right), macc, rtol=1e-6)
    np.testing.assert_allclose(matrix.diagonal().sum() / matrix.sum(), pixels, rtol=1e-6)


@pytest.mark.parametrize(
    ("pairs", "overlaps", "unions", "ignored"),
    [(A, [282, 282, 0], [1004, 944, 0], [77, 84, 120]), (B, [1574, 1857, 562], [3692, 4325, 1304], [439, 509, 156])],
)
def test_the_areas_of_each_image_are_exact(pairs, overlaps, unions, ignored) -> None:
    matrices = [confusion(truth, predicted, 150) for truth, predicted in pairs]
    assert [int(m.diagonal().sum()) for m in matrices] == overlaps
    assert [int((m.sum(0) + m.sum(1) - m.diagonal()).sum()) for m in matrices] == unions
    assert [int((truth == 255).sum()) for truth, _ in pairs] == ignored


def test_a_class_that_is_only_predicted_has_iou_zero_and_no_accuracy() -> None:
    truth, predicted = np.array([[0, 0, 1, 1], [255, 3, 3, 255]]), np.array([[0, 1, 1, 2], [2, 3, 0, 3]])
    matrix = confusion(truth, predicted, 6)
    assert matrix.diagonal().tolist() == [1, 1, 0, 1, 0, 0]
    assert (matrix.sum(0) + matrix.sum(1) - matrix.diagonal()).tolist() == [3, 3, 1, 2, 0, 0]
    np.testing.assert_allclose(class_ious(matrix), [1 / 3, 1 / 3, 0, 0.5, NAN, NAN])
    np.testing.assert_allclose(class_accuracies(matrix), [0.5, 0.5, NAN, 0.5, NAN, NAN])


def test_label_0_of_the_files_is_unlabelled(tmp_path: Path) -> None:
    """As mmsegmentation's reduce_zero_label; numbers above 150, which it would map, too, are refused."""
    raw = np.array([[0, 1, 2, 149], [150, 1, 1, 1]], np.uint8)
    (tmp_path / "annotations" / "validation").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "annotations" / "validation" / "a.png"), raw)
    assert ADE20K(tmp_path).mask("validation/a").tolist() == [[255, 0, 1, 148], [149, 0, 0, 0]]
    cv2.imwrite(str(tmp_path / "annotations" / "validation" / "a.png"), raw + np.uint8(1))
    with pytest.raises(ValueError, match="got class 151, expected 0 to 150"):
        ADE20K(tmp_path).mask("validation/a")


def test_images_add_up_to_the_mean_over_classes() -> None:
    for pairs, classes in ((A, 19), (B, 150)):
        counts = np.stack([confusion(truth, predicted, classes) for truth, predicted in pairs])
        np.testing.assert_allclose(image_ious(counts).mean(), np.nanmean(class_ious(counts.sum(0))))
        np.testing.assert_allclose(image_accuracies(counts).mean(), np.nanmean(class_accuracies(counts.sum(0))))


def test_what_images_add_varies_as_a_bootstrap_of_images_does() -> None:
    rng = np.random.default_rng(0)
    n, classes = 150, 6
    truth = rng.dirichlet(np.full(classes, 0.5), n)  # images have few classes, and some are hard
    right = rng.beta(4, 2, (n, 1, 1)) * np.eye(classes) + rng.dirichlet(np.ones(classes), (n, classes)) * 0.5
    counts = np.round(400 * truth[:, :, None] * right).astype(np.int64)
    drawn = rng.multinomial(n, np.full(n, 1 / n), 2000)
    for shares, score in ((image_ious, class_ious), (image_accuracies, class_accuracies)):
        spread = np.std([np.nanmean(score(np.tensordot(times, counts, 1))) for times in drawn])
        np.testing.assert_allclose(shares(counts).std() / n**0.5, spread, rtol=0.06)
