"""Mean IoU from a confusion matrix, what each image adds to it, and the one-to-one matching of clusters with classes.

Letters: n images, c classes.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

IGNORED = 255
NO_LABEL = "masks have no labelled pixel"


def confusion(
    truth: Integer[np.ndarray, "*size"], predicted: Integer[np.ndarray, "*size"], num_classes: int
) -> Int[np.ndarray, "c c"]:
    """Count the pixels of each class by the class they were predicted as; pixels of 255 do not count.

    Raises `ValueError` for a class that there is not: its pixels would be counted as another's.
    """
    valid = truth != IGNORED
    check_classes(truth[valid], num_classes, "truth")
    check_classes(predicted[valid], num_classes, "prediction")
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid].astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def check_classes(numbers: Integer[np.ndarray, "n"], num_classes: int, what: object) -> None:
    """Raise `ValueError`, which begins with `what`, for class numbers out of 0 ... c - 1."""
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < num_classes:
        raise ValueError(f"{what}: got classes {numbers.min()} to {numbers.max()}, expected 0 to {num_classes - 1}")


def class_ious(matrix: Int[np.ndarray, "c c"]) -> Float[np.ndarray, "c"]:
    """IoU of each class; NaN for one that is neither there nor predicted (mmsegmentation's IoUMetric)."""
    overlap = matrix.diagonal().astype(float)
    union = matrix.sum(0) + matrix.sum(1) - overlap
    return np.where(union > 0, overlap / np.maximum(union, 1), np.nan)


def mean_iou(truth: Integer[np.ndarray, "*size"], predicted: Integer[np.ndarray, "*size"], num_classes: int) -> float:
    """Mean of `class_ious` over the classes that are there or predicted, a share; pixels of 255 in the truth do not count."""
    return float(np.nanmean(class_ious(confusion(truth, predicted, num_classes))))


def class_accuracies(matrix: Int[np.ndarray, "c c"]) -> Float[np.ndarray, "c"]:
    """Share of each class's pixels that were found; NaN for a class without pixels."""
    pixels = matrix.sum(1)
    return np.where(pixels > 0, matrix.diagonal() / np.maximum(pixels, 1), np.nan)


def image_ious(counts: Int[np.ndarray, "n c c"]) -> Float[np.ndarray, "n"]:
    """Return each image's share of the mean IoU of `class_ious`, from the image's confusion (`shares_of_mean`)."""
    overlap = np.diagonal(counts, axis1=1, axis2=2)
    return shares_of_mean(overlap, counts.sum(1) + counts.sum(2) - overlap)


def image_accuracies(counts: Int[np.ndarray, "n c c"]) -> Float[np.ndarray, "n"]:
    """Return each image's share of the mean of `class_accuracies`, from the image's confusion (`shares_of_mean`)."""
    return shares_of_mean(np.diagonal(counts, axis1=1, axis2=2), counts.sum(2))


def shares_of_mean(part: Int[np.ndarray, "n c"], whole: Int[np.ndarray, "n c"]) -> Float[np.ndarray, "n"]:
    """Split S, the mean over classes of sum(part) / sum(whole), into shares of the images whose mean is exactly S.

    Pixels are pooled over images, so that S is no mean over them; what moves it is linearised (the infinitesimal jackknife:
    B. Efron, "The jackknife, the bootstrap and other resampling plans", 1982, chapter 6): image i has
    S + n mean_c (part_ic - S_c whole_ic) / whole_c, which is below 0 or above 1 where it says much. Classes that no image has do
    not count. Resampling these agrees with resampling images (tested), but for classes that only a few images show.
    """
    there = whole.sum(0) > 0
    part, whole = part[:, there].astype(np.float64), whole[:, there].astype(np.float64)
    scores = part.sum(0) / whole.sum(0)
    return scores.mean() + len(part) * ((part - scores * whole) / whole.sum(0)).mean(1)


def of_labelled(
    labelled: Bool[np.ndarray, "n"], score: Callable[..., Float[np.ndarray, "_"]], *counts: Int[np.ndarray, "n *_"]
) -> Float[np.ndarray, "n"]:
    """What `score` makes of the counts of the images that have a labelled pixel; NaN for the others, which cannot be scored."""
    found = np.full(len(labelled), np.nan)
    if labelled.any():
        found[labelled] = score(*(count[labelled] for count in counts))
    return found


def matching(matrix: Int[np.ndarray, "c c"]) -> Int[np.ndarray, "c"]:
    """The class of each cluster, one each, for the largest sum of IoUs (Hungarian matching)."""
    from scipy.optimize import linear_sum_assignment

    union = matrix.sum(1, keepdims=True) + matrix.sum(0, keepdims=True) - matrix
    classes, clusters = linear_sum_assignment(-(matrix / np.maximum(union, 1)))
    return classes[np.argsort(clusters)]
