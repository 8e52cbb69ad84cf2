"""J and F of DAVIS: region overlap and contour accuracy of object masks in videos, as the official evaluation counts them.

Definitions: https://arxiv.org/abs/1704.00675 and davis2017-evaluation (metrics.py, evaluation.py). Everything here takes arrays, so
that it scores masks made by any code. Letters: t frames, o objects.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import ceil, hypot
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from longtake.datasets.davis_masks import counted, objects_in

BOUND = 0.008  # of the image's diagonal: how far apart two contours may be, rounded up to pixels (metrics.py)

Mask = Bool[np.ndarray, "h w"]
Labels = UInt8[
    np.ndarray, "frames rows columns"
]  # of the truth, and of a prediction whose shape is still to be checked


class Statistics(NamedTuple):
    """One object's J or F over the frames: mean, share of frames above one half, first quarter's mean minus the last's."""

    mean: float
    recall: float
    decay: float


class ObjectScore(NamedTuple):
    J: Statistics
    F: Statistics


def evaluate_sequence(truth: UInt8[np.ndarray, "t h w"], predicted: Labels) -> dict[int, ObjectScore]:
    """Scores of the objects in the first frame of the truth, by their numbers, which may skip some; the first and the last frame
    do not count.

    255 in the truth is void and counts as background, as does an object that appears later. An object nobody predicted scores 0.
    Raises `ValueError` when shapes differ, when there are fewer than three frames, for a truth without an object in its first
    frame, and for a prediction with a number that is no object's.
    """
    if truth.shape != predicted.shape or len(truth) < 3:
        raise ValueError(
            f"masks: got {predicted.shape} for a truth of {truth.shape}, expected the same, 3 frames or more"
        )
    objects = objects_in(truth[0])
    if not objects:
        raise ValueError("masks: got a truth without an object in its first frame, expected one or more")
    if others := sorted({*objects_in(predicted[1:-1]), int(predicted[1:-1].max())} - {0, *objects}):
        expected = f"{objects[0]} to {objects[-1]}" if objects == list(range(1, len(objects) + 1)) else str(objects)
        raise ValueError(f"masks: got object {others[-1]}, expected {expected}, the objects of the first frame")
    num_objects = len(objects)
    truth, predicted = counted(truth, objects), counted(predicted, objects)
    J, F = (np.empty((num_objects, len(truth) - 2)) for _ in range(2))
    for t in range(len(truth) - 2):
        J[:, t] = region_overlap(truth[t + 1], predicted[t + 1], num_objects)
        for o in range(num_objects):
            F[o, t] = contour_accuracy(truth[t + 1] == o + 1, predicted[t + 1] == o + 1)
    return {number: ObjectScore(statistics(J[o]), statistics(F[o])) for o, number in enumerate(objects)}


def j_and_f(sequences: Mapping[str, tuple[Labels, Labels]]) -> dict[str, float]:
    """The official table, as shares (`J&F-Mean`, `J-Mean`, ...), of sequences by name: truth and prediction.

    Raises `ValueError` as `evaluate_sequence` does.
    """
    scores = {name: evaluate_sequence(truth, predicted) for name, (truth, predicted) in sequences.items()}
    return summary({(name, o): score for name, objects in scores.items() for o, score in objects.items()})


def summary(objects: Mapping[object, ObjectScore]) -> dict[str, float]:
    """Means over all objects of all sequences, as in the official table; J&F is the mean of the two means."""
    scores = {
        f"{kind}-{name.capitalize()}": float(
            np.mean([getattr(getattr(score, kind), name) for score in objects.values()])
        )
        for kind in ("J", "F")
        for name in Statistics._fields
    }
    return {"J&F-Mean": (scores["J-Mean"] + scores["F-Mean"]) / 2, **scores}


def region_overlap(
    truth: UInt8[np.ndarray, "h w"], predicted: UInt8[np.ndarray, "h w"], num_objects: int
) -> Float[np.ndarray, "o"]:
    """IoU of the objects 1 ... o, all counted in one pass; 1 where an object is in neither picture.

    Larger numbers are background. Counts are exact up to 2^24 pixels (OpenCV's histograms are float32).
    """
    size = num_objects + 1
    truth, predicted = (counted(mask, list(range(1, size))) for mask in (truth, predicted))
    numbers = truth.astype(np.uint16) * np.uint16(size) + predicted  # of a pair of objects
    pairs = cv2.calcHist([numbers], [0], None, [size * size], [0, size * size]).reshape(size, size).astype(float)
    both = pairs.diagonal()[1:]
    either = pairs.sum(0)[1:] + pairs.sum(1)[1:] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def contour_accuracy(truth: Mask, predicted: Mask, void: Mask | None = None, bound: float = BOUND) -> float:
    """F of two masks' contours: precision and recall of their pixels, met within `bound` (a share of the diagonal, or pixels
    from 1 up).

    Only the part of the picture around the two objects is looked at. `void` pixels belong to neither.
    """
    if void is not None:
        truth, predicted = truth & ~void, predicted & ~void
    radius = int(bound if bound >= 1 else ceil(bound * hypot(*truth.shape)))
    window = _window(truth | predicted)
    if window is None:
        return 1.0
    ours, theirs = (contour(mask, window) for mask in (predicted, truth))
    found, wanted = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not found or not wanted:
        return float(found == wanted)
    disk = _disk(radius)
    precision = np.count_nonzero(ours & cv2.dilate(theirs, disk)) / found
    recall = np.count_nonzero(theirs & cv2.dilate(ours, disk)) / wanted
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: Mask, window: tuple[slice, slice] = (slice(None), slice(None))) -> UInt8[np.ndarray, "rows columns"]:
    """1 where a pixel differs from its right, lower or lower right neighbour; beyond the border lies what lies on it."""
    part = np.ascontiguousarray(mask[window]).view(np.uint8)
    rows, columns = (slice(w.start, None if w.stop is None else w.stop + 1) for w in window)
    wider = np.ascontiguousarray(mask[rows, columns]).view(np.uint8)  # one more row and column, where there is one
    padded = np.pad(wider, [(0, part.shape[i] + 1 - wider.shape[i]) for i in (0, 1)], mode="edge")
    here, right, below, diagonal = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (here ^ right) | (here ^ below) | (here ^ diagonal)


def statistics(values: Float[np.ndarray, "t"]) -> Statistics:
    """Mean, recall, decay. The quarters share their border frames, and borders are rounded as the official code does.

    The official code keeps borders in one byte and hence has no decay for clips of 256 frames or more; this one has.
    """
    borders = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    quarters = [values[first : last + 1] for first, last in pairwise(borders)]
    return Statistics(
        float(values.mean()), float((values > 0.5).mean()), float(quarters[0].mean() - quarters[3].mean())
    )


def _window(mask: Mask) -> tuple[slice, slice] | None:
    """Rows and columns of the mask, and one before them, whose pixels differ from it; None where there is nothing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    first, last = (rows[0], columns[0]), (rows[-1], columns[-1])
    return tuple(slice(max(int(a) - 1, 0), int(b) + 1) for a, b in zip(first, last, strict=True))  # type: ignore[return-value]


def _disk(radius: int) -> UInt8[np.ndarray, "d d"]:
    """Pixels at most `radius` away from the middle one."""
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius**2).astype(np.uint8)
