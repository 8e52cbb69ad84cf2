"""Scorers leave what they are given alone, and count what is there alone."""

import copy
from typing import Any

import coco_golden as coco
import numpy as np
import pytest
import torch

from longtake.downstream import attention, got10k, jf, knn, lost, miou, propagation
from longtake.downstream.coco_eval import evaluate_coco
from longtake.downstream.dense_knn import patch_labels, retrieve

DRAW = np.random.default_rng(0)
MASKS, OTHERS = (DRAW.integers(0, 3, (4, 24, 32), np.uint8) for _ in range(2))
MASKS[0, :2, 0] = 1, 2
MASKS[:, 5] = 255
BOXES, SHIFTED = (DRAW.uniform(1, 20, (5, 4)) for _ in range(2))
CLASSES, FOUND = (DRAW.integers(0, 4, (20, 20)) for _ in range(2))
COUNTS = DRAW.integers(1, 9, (3, 4, 4))
UNIT = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
SOFT = torch.rand(12, 3, generator=torch.Generator().manual_seed(0))

SCORERS: dict[str, tuple[Any, ...]] = {
    "evaluate_sequence": (jf.evaluate_sequence, MASKS, OTHERS),
    "j_and_f": (jf.j_and_f, {"a": (MASKS, OTHERS)}),
    "region_overlap": (jf.region_overlap, MASKS[1], OTHERS[1], 2),
    "contour_accuracy": (jf.contour_accuracy, MASKS[1] == 1, OTHERS[1] == 1, MASKS[1] == 255),
    "statistics": (jf.statistics, DRAW.random(9)),
    "evaluate_coco bbox": (evaluate_coco, coco.truth(), coco.results("bbox"), "bbox"),
    "evaluate_coco segm": (evaluate_coco, coco.truth(), coco.results("segm"), "segm"),
    "evaluate_coco nothing": (evaluate_coco, coco.truth(), [], "segm"),
    "confusion": (miou.confusion, CLASSES, FOUND, 4),
    "mean_iou": (miou.mean_iou, CLASSES, FOUND, 4),
    "image_ious": (miou.image_ious, COUNTS),
    "image_accuracies": (miou.image_accuracies, COUNTS),
    "matching": (miou.matching, COUNTS[0]),
    "rect_iou": (got10k.rect_iou, BOXES, SHIFTED, (16, 16)),
    "bounded": (got10k.bounded, BOXES, (16, 16)),
    "frame_overlaps": (got10k.frame_overlaps, BOXES, SHIFTED, np.array([1, 1, 0, 1, 1]), (16, 16)),
    "average_overlap": (got10k.average_overlap, BOXES, SHIFTED, (16, 16), np.array([1, 1, 0, 1, 1])),
    "report": (got10k.report, {"a": np.array([np.nan, 0.5, 0.8])}),
    "corloc": (lost.corloc, [(0, 0, 9, 9)], [np.array([[0, 0, 9, 9]])]),
    "lost": (lost.lost, UNIT, (5, 6), (40, 48), 8),
    "knn_classify": (knn.knn_classify, UNIT, torch.arange(30) % 3, UNIT, [3], 3),
    "jaccard": (attention.jaccard, torch.rand(2, 3, 4) > 0.5, MASKS[1], 8),
    "mass_mask": (attention.mass_mask, torch.rand(2, 12), 0.6),
    "patch_labels": (patch_labels, MASKS[1][:24, :24], 8, 3),
    "retrieve": (retrieve, UNIT[:3], UNIT, torch.rand(30, 4), 5),
    "full_size": (propagation.full_size, SOFT, (3, 4), 8, (24, 32)),
    "one_hot": (propagation.one_hot, OTHERS[0], (3, 4), None),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORERS)
def test_arguments_are_left_alone(name: str) -> None:
    score, *arguments = SCORERS[name]
    kept = copy.deepcopy(arguments)
    first = score(*arguments)
    assert equal(arguments, kept)
    assert equal(first, score(*arguments)), "the same again"


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray | torch.Tensor):
        return bool(
            np.array_equal(np.asarray(first), np.asarray(second), equal_nan=np.asarray(first).dtype.kind == "f")
        )
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if hasattr(first, "__dataclass_fields__"):
        return equal(vars(first), vars(second))
    return first == second or (first != first and second != second)


def boxes(*numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Objects in a row, of which the prediction finds all but the last column."""
    truth = np.zeros((5, 20, 60), np.uint8)
    for place, number in enumerate(numbers):
        truth[:, 4:16, 20 * place + 3 : 20 * place + 15] = number
    predicted = truth.copy()
    predicted[..., 14::20] = 0
    return truth, predicted


@pytest.mark.parametrize("numbers", [(1, 3), (2, 5), (7, 254), (254,), (3, 1)])
def test_there_are_no_objects_but_those_in_the_first_frame(numbers: tuple[int, ...]) -> None:
    plain = jf.evaluate_sequence(*boxes(*np.argsort(np.argsort(numbers)) + 1))
    found = jf.evaluate_sequence(*boxes(*numbers))
    assert list(found) == sorted(numbers)
    assert list(found.values()) == list(plain.values())
    scores = jf.j_and_f({"a": boxes(*numbers)})
    assert scores == jf.j_and_f({"a": boxes(*np.argsort(np.argsort(numbers)) + 1)})


@pytest.mark.parametrize("late", [2, 9, 254])
def test_what_appears_later_is_background(late: int) -> None:
    """25 of 41 pixels of the prediction are the object's; the others lie on what appears later."""
    truth = np.zeros((3, 12, 12), np.uint8)
    truth[:, :5, :5] = 1
    predicted = truth.copy()
    predicted[1, :4, 5:9] = 1
    truth[1, :4, 5:9] = late
    assert jf.evaluate_sequence(truth, predicted)[1].J.mean == pytest.approx(25 / 41)
    assert jf.region_overlap(truth[1], predicted[1], 1)[0] == pytest.approx(25 / 41)


def test_numbers_that_are_no_objects_are_refused() -> None:
    truth, predicted = boxes(1, 3)
    predicted[2, 0, 0] = 2
    with pytest.raises(ValueError, match=r"got object 2, expected \[1, 3\]"):
        jf.evaluate_sequence(truth, predicted)
    with pytest.raises(ValueError, match="a truth without an object in its first frame"):
        jf.evaluate_sequence(np.zeros_like(truth), np.zeros_like(truth))


@pytest.mark.parametrize(
    ("truth", "predicted", "what"), [(4, 0, "truth"), (-1, 0, "truth"), (0, 4, "prediction"), (0, 255, "prediction")]
)
def test_classes_that_there_are_not_are_not_counted_as_others(truth: int, predicted: int, what: str) -> None:
    pixels = np.full((3, 3), truth), np.full((3, 3), predicted)
    for score in (miou.confusion, miou.mean_iou):
        with pytest.raises(ValueError, match=f"{what}: got classes .* expected 0 to 3"):
            score(*pixels, 4)
    pixels[0][:] = miou.IGNORED
    assert miou.confusion(*pixels, 4).sum() == 0


def test_annotations_may_count_from_0_and_leave_out_what_is_known() -> None:
    for kind in ("bbox", "segm"):
        expected = evaluate_coco(coco.truth(), coco.results(kind), kind)
        other = coco.truth()
        for number, annotation in enumerate(other["annotations"]):
            annotation["id"] = number
            if not annotation["iscrowd"]:
                del annotation["iscrowd"], annotation["area"]
        other["categories"].reverse()
        assert evaluate_coco(other, coco.results(kind), kind) == expected


@pytest.mark.parametrize(("key", "kind"), [("image_id", "images"), ("category_id", "categories")])
def test_results_of_something_else_are_refused(key: str, kind: str) -> None:
    results = [{**coco.results("bbox")[0], key: 99}]
    with pytest.raises(ValueError, match=f"got {key} 99, expected those of the truth's {kind}"):
        evaluate_coco(coco.truth(), results, "bbox")


@pytest.mark.parametrize("patch", [8, 16])
def test_an_object_that_has_every_patch_takes_the_picture(patch: int) -> None:
    """As DINO's script: it divides 0 by 0, and torch takes NaN for the largest."""
    soft = torch.tensor([0.0, 1.0, 0.0]).expand(12, 3)
    assert (propagation.full_size(soft, (3, 4), patch, (3 * patch, 4 * patch)) == 1).all()
    both = torch.tensor([0.0, 0.5, 0.5]).expand(12, 3)
    assert (propagation.full_size(both, (3, 4), patch, (48, 64)) == 1).all(), "the first of them"
    none = torch.tensor([1.0, 0.0, 0.0]).expand(12, 3)
    assert (propagation.full_size(none, (3, 4), patch, (48, 64)) == 0).all()
