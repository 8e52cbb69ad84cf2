"""The numbers of a comparison: outcomes by contender, pooled over seeds, all pairs tested, letters for who is tied."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from longtake.engine.boards import metrics_for, primary_for, task_of
from longtake.leaderboards.outcomes import GROUPS, ITEMS, load_outcomes, sorted_by_item
from longtake.leaderboards.ranking import Pair, RankedMethod, standings
from longtake.leaderboards.render import empty_table, method_name
from longtake.leaderboards.schema import RANDOM_INIT, Row, lower_is_better


def is_label_free(evaluation: str) -> bool:
    """Whether its metrics are not better when they are higher; a comparison shows all of them."""
    return task_of(evaluation).label_free


def is_init(label: str) -> bool:
    """Whether that is a random initialisation: of the one backbone, or of one of several."""
    return label == RANDOM_INIT or label.startswith(f"{method_name(RANDOM_INIT)} ")


class Found(NamedTuple):
    """A row, and the folder of its CSV."""

    folder: Path
    row: Row


class Tested(NamedTuple):
    """Outcomes (seeds, items) of a contender, and which items they are of."""

    values: np.ndarray
    items: tuple[str, ...]
    groups: np.ndarray | None


class Comparison(NamedTuple):
    """The contenders by one metric, from best to worst, and all pairs of them."""

    evaluation: str
    metric: str
    ranked: list[RankedMethod]
    pairs: list[Pair]
    left_out: tuple[str, ...]  # tested on other items than the others

    def of(self, label: str) -> RankedMethod | None:
        return next((ranked for ranked in self.ranked if ranked.name == label), None)


Measured = Mapping[tuple[str, str], Mapping[str, Tested]]  # evaluation and metric -> contender


def measured(labels: Sequence[str], evaluations: Sequence[str], rows: Mapping[tuple, Found]) -> Measured:
    """The outcomes of the rows that are there, seeds stacked."""
    found: dict[tuple[str, str], dict[str, Tested]] = {}
    for name in evaluations:
        for label in labels:
            mine = [pair for key, pair in sorted(rows.items(), key=str) if key[:2] == (label, name)]
            kept = [sorted_by_item(load_outcomes(pair.folder, name, pair.row.key)) for pair in mine]
            for metric in metrics_for(name) if is_label_free(name) else primary_for(name):
                if kept and all(metric in outcomes for outcomes in kept) and (tested := _stacked(kept, metric)):
                    found.setdefault((name, metric), {})[label] = tested
    return found


def _stacked(kept: Sequence[Mapping[str, np.ndarray]], metric: str) -> Tested | None:
    """One array over seeds; None where they were tested on different items."""
    counts = [np.isfinite(outcomes[metric].astype(float)) for outcomes in kept]
    items = [tuple(outcomes[ITEMS][c].tolist()) for outcomes, c in zip(kept, counts, strict=True)]
    if len(set(items)) > 1:
        return None
    values = np.stack([outcomes[metric][c].astype(float) for outcomes, c in zip(kept, counts, strict=True)])
    return Tested(values, items[0], kept[0][GROUPS][counts[0]] if GROUPS in kept[0] else None)


def compared_by(found: Measured) -> list[Comparison]:
    """A comparison for each metric that two contenders have of the same items."""
    results = []
    for (name, metric), tested in found.items():
        items = [one.items for one in tested.values()]
        usual = max(items, key=items.count)
        same = {label: one for label, one in tested.items() if one.items == usual}
        if len(same) < 2:
            continue
        groups = next(iter(same.values())).groups
        values = {label: one.values for label, one in same.items()}
        ranked, pairs = standings(values, groups, lower_is_better=lower_is_better(metric))
        results.append(Comparison(name, metric, ranked, pairs, tuple(label for label in tested if label not in same)))
    return results


def cells_of(result: Comparison, labels: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Score with letters, interval, and whether it is the best number, for each label; empty where it has none."""
    cells, free = [], is_label_free(result.evaluation)
    for label in labels:
        one = result.of(label)
        if one is None:
            cells.append(("", "", False))
            continue
        interval = f"[{one.score.low:.1f}, {one.score.high:.1f}]"
        cells.append((f"{one.score.value:.1f} {one.letters}", interval, not free and one is result.ranked[0]))
    return cells


def table_of(results: Sequence[Comparison], labels: Sequence[str]) -> Table:
    """Evaluations x contenders."""
    shown = empty_table(
        "scores over seeds with 95 % intervals; who shares a letter is statistically tied; bold: the best number"
    )
    shown.add_column("")
    for label in labels:
        shown.add_column(Text(method_name(label)), justify="right")
    for result in results:
        cells = [
            Text.assemble((value, "bold" if best else ""), f" {interval}")
            for value, interval, best in cells_of(result, labels)
        ]
        shown.add_row(Text(f"{result.evaluation} {result.metric}{' *' * (is_label_free(result.evaluation))}"), *cells)
    return shown
