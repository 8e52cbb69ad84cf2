"""Outcomes of every item: saved per row, compared only where the items are the same."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtake.leaderboards.outcomes import compare, keep_outcomes, load_outcomes, outcomes_path
from longtake.leaderboards.rows import Key
from longtake.leaderboards.statistics import paired_difference

DINO = Key("dino", "", "mini", "vit_mini", 10, "mini.v1", 0, "run")
NONE = Key("none", "", "", "vit_mini", 0, "mini.v1", 0, "run")


def make_outcomes(accuracy: float, n: int = 300) -> dict[str, np.ndarray]:
    hits = np.random.default_rng(n).random(n) < accuracy
    return {"items": np.array([f"street {i}.jpg" for i in range(n)]), "top1": hits, "iou": np.linspace(0, 1, n)}


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    saved = {key: make_outcomes(accuracy) for key, accuracy in ((DINO, 0.4), (NONE, 0.2))}
    paths = [keep_outcomes(tmp_path, "knn_mini", key, outcomes) for key, outcomes in saved.items()]
    assert len(set(paths)) == 2
    assert paths[0].parent == tmp_path / "outcomes" / "knn_mini"
    for key, outcomes in saved.items():
        loaded = load_outcomes(tmp_path, "knn_mini", key)
        assert loaded.keys() == outcomes.keys()
        for name, values in outcomes.items():
            assert loaded[name].dtype == values.dtype
            np.testing.assert_array_equal(loaded[name], values)


def test_outcomes_replace_older_ones(tmp_path: Path) -> None:
    keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.1))
    path = keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.9))
    np.testing.assert_array_equal(load_outcomes(tmp_path, "knn_mini", DINO)["top1"], make_outcomes(0.9)["top1"])
    assert [entry for entry in path.parent.iterdir() if not entry.name.startswith(".")] == [path]


def test_every_field_of_the_key_counts(tmp_path: Path) -> None:
    others = [DINO._replace(**{name: 7 if name in ("epochs", "seed") else "x"}) for name in Key._fields]
    assert len({outcomes_path(tmp_path, "knn_mini", key) for key in [DINO, *others]}) == 1 + len(Key._fields)


def test_outcomes_that_are_not_there_say_where_they_are_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"knn_mini: row 'dino pretrain=mini.*' has no outcomes, expected .*\.npz"):
        load_outcomes(tmp_path, "knn_mini", DINO)


def test_outcomes_of_another_row_are_refused(tmp_path: Path) -> None:
    path = keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.4))
    shutil.copy(path, outcomes_path(tmp_path, "knn_mini", NONE))
    with pytest.raises(ValueError, match=r'got the outcomes of .*"dino".*expected .*"none"'):
        load_outcomes(tmp_path, "knn_mini", NONE)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: b"",
        lambda content: content[:200],
        lambda content: content[:-1],
        lambda content: b"version https://git-lfs.github.com/spec/v1\n",
        lambda content: content[:100] + bytes(50) + content[150:],
        lambda content: made(np.save, np.ones(3)),
        lambda content: made(np.savez, top1=np.ones(3)),
    ],
    ids=["empty", "cut", "cut by a byte", "no archive", "zeros within", "an array alone", "no key"],
)
def test_a_damaged_file_is_named(tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    path = keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.4))
    path.write_bytes(damaged(path.read_bytes()))
    message = (
        rf"{path}: got a damaged file \(.+\), expected the outcomes of 'dino .*'; restore it or evaluate the row again"
    )
    with pytest.raises(ValueError, match=message):
        load_outcomes(tmp_path, "knn_mini", DINO)


def made(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    content = io.BytesIO()
    save(content, *arrays, **named)
    return content.getvalue()


def test_arrays_that_are_not_one_value_per_item_are_not_loaded(tmp_path: Path) -> None:
    path = keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.4))
    key = np.array(json.dumps(DINO))
    for changes, message in (
        ({}, r"got arrays \{\}, expected 'items' and one value per item"),
        ({"top1": np.ones(3)}, r"got arrays \{'top1': \(3,\)\}, expected 'items'"),
        ({"items": np.array("a")}, r"got arrays \{'items': \(\)\}"),
        ({"items": np.array(["a", "b"]), "top1": np.ones(3)}, r"got arrays \{'items': \(2,\), 'top1': \(3,\)\}"),
    ):
        path.write_bytes(made(np.savez, key=key, **changes))
        with pytest.raises(ValueError, match=f"{path}: {message}"):
            load_outcomes(tmp_path, "knn_mini", DINO)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": np.arange(300)}, "expected also 'items': distinct ids"),
        ({"items": np.array(["same.jpg"] * 300)}, "expected also 'items': distinct ids"),
        ({"top1": np.ones(299)}, r"got 'top1' with shape \(299,\) and type float64, expected 300 finite numbers"),
        ({"top1": np.ones((300, 2))}, r"got 'top1' with shape \(300, 2\)"),
        ({"top1": np.array(["hit"] * 300)}, "got 'top1' with .* type <U3"),
        ({"top1": np.full(300, np.inf)}, "got 'top1' .* expected 300 finite numbers"),
    ],
)
def test_outcomes_that_are_not_one_number_per_item_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=f"knn_mini: row 'dino .*{message}"):
        keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.4) | change)
    assert not outcomes_path(tmp_path, "knn_mini", DINO).exists()


def test_outcomes_without_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got outcomes of \['top1'\], expected also 'items'"):
        keep_outcomes(tmp_path, "knn_mini", DINO, {"top1": np.ones(3)})


def test_rows_are_compared_item_by_item_in_any_order(tmp_path: Path) -> None:
    dino, none = make_outcomes(0.5), make_outcomes(0.3)
    shuffle = np.random.default_rng(0).permutation(300)
    keep_outcomes(tmp_path, "knn_mini", DINO, dino)
    keep_outcomes(tmp_path, "knn_mini", NONE, {name: values[shuffle] for name, values in none.items()})
    difference = compare(tmp_path, "knn_mini", "top1", DINO, NONE)
    np.testing.assert_allclose(difference[:5], paired_difference(dino["top1"], none["top1"])[:5])
    assert difference.significant


def test_rows_of_other_items_are_not_compared(tmp_path: Path) -> None:
    keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.5, n=300))
    keep_outcomes(tmp_path, "knn_mini", NONE, make_outcomes(0.5, n=299))
    with pytest.raises(ValueError, match=r"'dino .*' has 300 items and 'none .*' has 299, of which 299 are the same"):
        compare(tmp_path, "knn_mini", "top1", DINO, NONE)


def test_a_metric_without_outcomes_is_named(tmp_path: Path) -> None:
    keep_outcomes(tmp_path, "knn_mini", DINO, make_outcomes(0.5))
    with pytest.raises(ValueError, match=r"row 'dino .*' has no outcomes of 'top5'; there are: iou, items, top1"):
        compare(tmp_path, "knn_mini", "top5", DINO, DINO)


def test_items_that_do_not_count_for_a_metric(tmp_path: Path) -> None:
    """Only those that count are compared, and they must be the same ones."""
    first, second = make_outcomes(0.4), make_outcomes(0.4)
    for outcomes in (first, second):
        outcomes["iou"] = np.where(np.arange(300) < 100, outcomes["iou"], np.nan)
    first["iou"] = first["iou"] / 2
    for key, outcomes in ((DINO, first), (NONE, second)):
        keep_outcomes(tmp_path, "knn_mini", key, outcomes)
    found = compare(tmp_path, "knn_mini", "iou", DINO, NONE)
    order = np.argsort(first["items"])
    kept = order[order < 100]  # items are taken in the order of their ids
    expected = paired_difference(first["iou"][kept], second["iou"][kept])
    assert found == expected
    second["iou"][0] = np.nan
    keep_outcomes(tmp_path, "knn_mini", NONE, second)
    with pytest.raises(ValueError, match=r"of 'iou' .* has 100 items and .* has 99; evaluate both on the same data"):
        compare(tmp_path, "knn_mini", "iou", DINO, NONE)
    second["iou"][:] = np.nan
    with pytest.raises(ValueError, match=r"'iou' .*expected 300 finite numbers, one per item, or NaN"):
        keep_outcomes(tmp_path, "knn_mini", NONE, second)


def test_items_of_a_group_are_drawn_together(tmp_path: Path) -> None:
    """Four objects of a video that do the same are one draw, not four: the interval is twice as wide."""
    outcomes = {key: make_outcomes(accuracy) for key, accuracy in ((DINO, 0.4), (NONE, 0.2))}
    for key, found in outcomes.items():
        four = {name: np.repeat(values, 4) for name, values in found.items()}
        four["groups"] = four["items"]
        four["items"] = np.array([f"{item}/{i % 4}" for i, item in enumerate(four["items"])])
        keep_outcomes(tmp_path, "knn_mini", key, found)
        keep_outcomes(tmp_path, "davis_mini", key, four)
    alone, grouped = (compare(tmp_path, name, "top1", DINO, NONE) for name in ("knn_mini", "davis_mini"))
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.05)
