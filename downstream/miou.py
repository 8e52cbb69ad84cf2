"""Mean IoU from a confusion matrix, and the one-to-one matching of clusters with classes.

Letters: c classes.
"""

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.optimize import linear_sum_assignment

IGNORED = 255


def confusion(
    truth: Integer[np.ndarray, "*size"], predicted: Integer[np.ndarray, "*size"], num_classes: int
) -> Int[np.ndarray, "c c"]:
    """How many pixels of each class were given each number; pixels of 255 do not count."""
    valid = truth != IGNORED
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid].astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_ious(matrix: Int[np.ndarray, "c c"]) -> Float[np.ndarray, "c"]:
    """IoU of each class; NaN for one that is neither there nor predicted (mmsegmentation's IoUMetric)."""
    overlap = matrix.diagonal().astype(float)
    union = matrix.sum(0) + matrix.sum(1) - overlap
    return np.where(union > 0, overlap / np.maximum(union, 1), np.nan)


def matching(matrix: Int[np.ndarray, "c c"]) -> Int[np.ndarray, "c"]:
    """The class of each cluster, one each, for the largest sum of IoUs (Hungarian matching)."""
    union = matrix.sum(1, keepdims=True) + matrix.sum(0, keepdims=True) - matrix
    classes, clusters = linear_sum_assignment(-(matrix / np.maximum(union, 1)))
    return classes[np.argsort(clusters)]
