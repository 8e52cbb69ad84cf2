"""Keep what every test item contributed to a row's metrics, so that two rows can be compared item by item."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from longtake.files import replace, sole_writer
from longtake.leaderboards.schema import Key, Value
from longtake.leaderboards.statistics import Difference, Outcomes, paired_difference

ITEMS, KEY, GROUPS = "items", "key", "groups"  # the arrays of a file that are not a metric


def outcomes_path(folder: Path, evaluation: str, key: tuple[Value, ...]) -> Path:
    """Return the file of a row's outcomes; `folder` is the one with the CSVs.

    All columns of the key count: when one is added, files have to be renamed (leaderboards/migrate.py).
    """
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return folder / "outcomes" / evaluation / f"{name}.npz"


def has_outcomes(folder: Path, evaluation: str, key: tuple[Value, ...]) -> bool:
    """Whether the outcomes of a row were kept."""
    return os.path.isdir(f"{folder}/outcomes/{evaluation}") and outcomes_path(folder, evaluation, key).exists()


def keep_outcomes(folder: Path, evaluation: str, key: Key, outcomes: Mapping[str, np.ndarray]) -> Path:
    """Saves the outcomes of a row, in the place of older ones.

    Args:
        outcomes: `items`, the n distinct ids (str) of what was tested, and for each metric an array (n,) of what the
            items contribute to it, from 0 to 1: whether an image was classified correctly, the overlap in a clip; NaN
            for an item that does not count for this metric. `groups`, where items come in groups, names each item's (str).

    Raises:
        ValueError: no ids, an id twice, or an array that is not one number per id, or has none that counts.
    """
    assert KEY not in outcomes, f"a metric cannot be called {KEY!r}"
    _check(f"{evaluation}: row '{key}'", outcomes)
    content = io.BytesIO()
    arrays: dict[str, Any] = {KEY: np.array(json.dumps(key)), **outcomes}
    np.savez_compressed(content, **arrays)
    path = outcomes_path(folder, evaluation, key)
    with sole_writer(path):
        replace(path, content.getvalue())
    return path


def load_outcomes(folder: Path, evaluation: str, key: tuple[Value, ...]) -> dict[str, np.ndarray]:
    """The outcomes saved for a row, with `items`.

    Raises:
        ValueError: none were saved, or the file is damaged, holds another row's, or other than one value per item.
    """
    path = outcomes_path(folder, evaluation, key)
    if not path.exists():
        raise ValueError(f"{evaluation}: row '{key}' has no outcomes, expected {path}; evaluate it again")
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content) as arrays:
            outcomes = dict(arrays)
        found = outcomes.pop(KEY).item()
        shapes = {name: values.shape for name, values in outcomes.items()}
    except Exception as error:  # a dozen kinds, by which byte is wrong
        raise ValueError(
            f"{path}: got a damaged file ({type(error).__name__}), expected the outcomes of '{key}'; "
            "restore it or evaluate the row again"
        ) from error
    if found != json.dumps(key):
        raise ValueError(f"{path}: got the outcomes of {found}, expected {json.dumps(key)}; evaluate the row again")
    if ITEMS not in shapes or len(shapes[ITEMS]) != 1 or len(set(shapes.values())) > 1:
        raise ValueError(
            f"{path}: got arrays {shapes}, expected {ITEMS!r} and one value per item; evaluate the row again"
        )
    return outcomes


def odd_numbers(outcomes: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the numbers of a row's outcomes, by the first metric; None where nothing is."""
    for name, values in outcomes.items():
        if name in (ITEMS, GROUPS):
            continue
        if values.dtype.kind not in "biuf":
            return f"its outcomes of {name} are of type {values.dtype}, no numbers"
        if np.isinf(values).any() or np.isnan(values).all():
            return f"its outcomes of {name} are not finite"
    return None


def sorted_by_item(outcomes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All arrays in the order of the items' ids."""
    order = np.argsort(outcomes[ITEMS])
    return {name: values[order] for name, values in outcomes.items()}


def items_hash(outcomes: Mapping[str, np.ndarray]) -> str:
    """Twelve hex digits of which items were tested, and of their groups; what is in a file of that name is not looked at."""
    ordered = sorted_by_item(outcomes)
    named = [ordered[name].tolist() for name in (ITEMS, GROUPS) if name in ordered]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]


def compare(folder: Path, evaluation: str, metric: str, first: Key, second: Key, *, level: float = 0.95) -> Difference:
    """First minus second row on the same items, by the paired bootstrap.

    Raises:
        ValueError: the outcomes of a row or this metric are not there, or the rows were measured on different items.
    """
    items, values, groups = _by_item(folder, evaluation, metric, first)
    other_items, other_values, _ = _by_item(folder, evaluation, metric, second)
    if not np.array_equal(items, other_items):
        raise ValueError(
            f"{evaluation}: '{first}' has {len(items)} items and '{second}' has {len(other_items)}, of which "
            f"{len(np.intersect1d(items, other_items))} are the same; evaluate both on the same data"
        )
    counts, other_counts = np.isfinite(values), np.isfinite(other_values)
    if not np.array_equal(counts, other_counts):
        raise ValueError(
            f"{evaluation}: of {metric!r} '{first}' has {counts.sum()} items and '{second}' has {other_counts.sum()}; evaluate "
            "both on the same data"
        )
    return paired_difference(
        values[counts], other_values[counts], None if groups is None else groups[counts], level=level
    )


def _by_item(
    folder: Path, evaluation: str, metric: str, key: Key
) -> tuple[Shaped[np.ndarray, "n"], Outcomes, Shaped[np.ndarray, "n"] | None]:
    """The items of a row in the order of their ids, their outcomes, and their groups where they have some."""
    outcomes = load_outcomes(folder, evaluation, key)
    if metric not in outcomes:
        there = ", ".join(sorted(outcomes))
        raise ValueError(f"{evaluation}: row '{key}' has no outcomes of {metric!r}; there are: {there}")
    ordered = sorted_by_item(outcomes)
    return ordered[ITEMS], ordered[metric], ordered.get(GROUPS)


def _check(place: str, outcomes: Mapping[str, np.ndarray]) -> None:
    items = outcomes.get(ITEMS)
    if items is None or items.ndim != 1 or items.dtype.kind != "U" or len(np.unique(items)) < len(items):
        raise ValueError(f"{place}: got outcomes of {sorted(outcomes)}, expected also {ITEMS!r}: distinct ids (str)")
    for name, values in outcomes.items():
        if name == ITEMS or (name == GROUPS and values.shape == items.shape):
            continue
        numbers = values.shape == items.shape and values.dtype.kind in "biuf"
        if not numbers or np.isinf(values).any() or np.isnan(values).all():
            raise ValueError(
                f"{place}: got {name!r} with shape {values.shape} and type {values.dtype}, "
                f"expected {len(items)} finite numbers, one per item, or NaN where an item does not count"
            )
