"""The rows of one evaluation as people compare them: seeds pooled, encoders of one budget ranked, the paper's numbers beside.

An *entry* is an encoder over all its seeds. Entries are ranked among those of the same backbone, protocol and budget - frames that
the encoder saw in pretraining, within `SAME_BUDGET` - because more training alone makes a score better. Random init, which costs
nothing, is ranked with each of them. Rows that somebody edited, and stale ones, are shown and ranked with nobody.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from longtake.leaderboards.aggregate import pooled
from longtake.leaderboards.outcomes import GROUPS, ITEMS, has_outcomes, load_outcomes, sorted_by_item
from longtake.leaderboards.ranking import standings
from longtake.leaderboards.schema import PAPER, RANDOM_INIT, Key, Provenance, Row, lower_is_better
from longtake.leaderboards.statistics import Estimate

SAME_BUDGET = 1.05  # the largest over the smallest: whole epochs and batches never fit exactly
MOST_RANKED = 40  # entries of a budget; beyond that all pairs are a poor question


class Placing(NamedTuple):
    """The place of a score among those of one budget."""

    letters: str  # shared with whom it is statistically tied
    ranks: tuple[int, int]  # the best and the worst that its rank may be
    num_ranked: int


class Score(NamedTuple):
    """A metric of an entry in per cent. No interval where none is known."""

    value: float
    low: float | None = None
    high: float | None = None
    seeds_std: float | None = None  # standard deviation of the seeds' scores
    places: Mapping[int, Placing] = MappingProxyType({})  # by the number of the budget; random init stands in several

    @property
    def place(self) -> Placing | None:
        """The score's place, if that is in one budget alone."""
        return next(iter(self.places.values())) if len(self.places) == 1 else None

    @property
    def letters(self) -> str:
        """Those of its one place; "" where it has none."""
        return "" if self.place is None else self.place.letters

    @property
    def leads(self) -> bool:
        """Whether nobody of its budget is significantly better."""
        return self.place is not None and self.place.ranks[0] == 1

    @property
    def half(self) -> str:
        """Half the interval; "" where there is none."""
        return "" if self.low is None or self.high is None else f"{(self.high - self.low) / 2:.1f}"

    @property
    def ends(self) -> str:
        """The interval, "[16.3, 20.8]"; "" where there is none."""
        return "" if self.low is None else f"[{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Entry:
    """An encoder over its seeds, by one evaluation."""

    key: Key  # its seed is None
    rows: tuple[Row, ...]  # one for each seed
    folders: tuple[Path, ...]  # where each row's CSV and outcomes are
    scores: Mapping[str, Score] = field(default_factory=dict)
    stale: bool = False  # whether today's code may give one of its rows another number

    @property
    def identity(self) -> tuple:
        """The part of the key that tells the encoder from others, whatever evaluates it."""
        return self.key.identity

    @property
    def is_paper(self) -> bool:
        return self.key.source.startswith(PAPER)

    @property
    def edited(self) -> bool:
        """Whether somebody changed one of its rows by hand."""
        return any(row.broken_seal for row in self.rows)

    @property
    def provenance(self) -> Provenance:
        """The provenance of the first seed."""
        return self.rows[0].provenance

    @property
    def seeds(self) -> list[int]:
        return [row.key.seed for row in self.rows if row.key.seed is not None]


def summarize(
    evaluation: str, rows: Sequence[tuple[Path, Row]], metrics: Sequence[str], stale: Collection[Key] = ()
) -> list[Entry]:
    """The entries of an evaluation in the order of their first rows; `rows` come with the folders of their CSVs.

    `stale` are the keys of rows that are of other code than today's.
    """
    found: dict[Key, list[tuple[Path, Row]]] = {}
    for folder, row in rows:
        found.setdefault(row.key._replace(seed=None), []).append((folder, row))
    entries = [
        Entry(key, tuple(row for _, row in there), tuple(folder for folder, _ in there)) for key, there in found.items()
    ]
    old = {entry.key: any(row.key in stale for row in entry.rows) for entry in entries}
    outcomes = {entry.key: by_metric for entry in entries if (by_metric := _outcomes(evaluation, entry, metrics))}
    scores = {entry.key: _unranked(entry, outcomes.get(entry.key, {}), metrics) for entry in entries}
    for number, same in enumerate(budgets(entries)):
        for metric in metrics:
            fresh = [entry.key for entry in same if entry.key in outcomes and not old[entry.key]]
            _rank(number, metric, fresh, outcomes, scores)
    return [replace(entry, scores=scores[entry.key], stale=old[entry.key]) for entry in entries]


class _Tested(NamedTuple):
    """Outcomes (seeds, items) of a metric, and which items they are of."""

    values: np.ndarray
    items: tuple[str, ...]
    groups: np.ndarray | None


def _outcomes(evaluation: str, entry: Entry, metrics: Sequence[str]) -> dict[str, _Tested]:
    """Return the outcomes by metric, where all seeds have kept theirs and were tested on the same items."""
    if entry.is_paper or entry.edited:
        return {}
    places = list(zip(entry.folders, entry.rows, strict=True))
    if not all(has_outcomes(folder, evaluation, row.key) for folder, row in places):
        return {}
    try:
        loaded = [sorted_by_item(load_outcomes(folder, evaluation, row.key)) for folder, row in places]
    except ValueError:  # a file that is broken: the row's reasons (freshness.py) say so
        return {}
    found = {}
    for metric in metrics:
        if all(metric in kept for kept in loaded):
            counts = [np.isfinite(kept[metric].astype(float)) for kept in loaded]
            items = [tuple(kept[ITEMS][c].tolist()) for kept, c in zip(loaded, counts, strict=True)]
            if len(set(items)) == 1:
                values = np.stack([kept[metric][c] for kept, c in zip(loaded, counts, strict=True)])
                groups = loaded[0][GROUPS][counts[0]] if GROUPS in loaded[0] else None
                found[metric] = _Tested(values, items[0], groups)
    return found


def _unranked(entry: Entry, outcomes: Mapping[str, _Tested], metrics: Sequence[str]) -> dict[str, Score]:
    """Over items and seeds from the outcomes; else a single row's own interval, or the plain mean of the seeds."""
    scores = {}
    for metric in metrics:
        there = [row.metrics[metric] for row in entry.rows if metric in row.metrics]
        if metric in outcomes and len(there) > 1:
            found = pooled(outcomes[metric].values, outcomes[metric].groups)
            scores[metric] = Score(found.value, found.low, found.high, found.seeds_std)
        elif len(there) == 1:
            scores[metric] = Score(*there[0])
        elif there:
            values = np.array([estimate.value for estimate in there])
            scores[metric] = Score(float(values.mean()), seeds_std=float(values.std(ddof=1)))
    return scores


def budgets(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Ours of the same backbone, protocol, data and frames seen, each with the random inits of that backbone, protocol and data."""
    places: dict[tuple, list[Entry]] = {}
    for entry in (entry for entry in entries if not entry.is_paper):
        places.setdefault((entry.key.backbone, entry.key.protocol, entry.provenance.digest), []).append(entry)
    for there in places.values():
        untrained = [entry for entry in there if entry.key.method == RANDOM_INIT]
        trained = [entry for entry in there if entry not in untrained and entry.provenance.frames_seen]
        trained.sort(key=lambda entry: entry.provenance.frames_seen or 0)
        while trained:
            least = trained[0].provenance.frames_seen or 0
            same = [entry for entry in trained if (entry.provenance.frames_seen or 0) <= SAME_BUDGET * least]
            trained = trained[len(same) :]
            yield same + untrained


def _rank(
    budget: int,
    metric: str,
    keys: Sequence[Key],
    outcomes: Mapping[Key, Mapping[str, _Tested]],
    scores: Mapping[Key, dict[str, Score]],
) -> None:
    """Put their places into the scores of those that were tested on the same items as most."""
    tested = {key: outcomes[key][metric] for key in keys if metric in outcomes[key] and metric in scores[key]}
    items = [found.items for found in tested.values()]
    if not items:
        return
    usual = max(items, key=items.count)
    tested = {key: found for key, found in tested.items() if found.items == usual}
    if not 1 < len(tested) <= MOST_RANKED:
        return
    names = {str(key): key for key in tested}
    groups = next(iter(tested.values())).groups
    values = {name: tested[key].values for name, key in names.items()}
    for standing in standings(values, groups, lower_is_better=lower_is_better(metric))[0]:
        known = scores[names[standing.name]]
        place = Placing(standing.letters, (standing.best_rank, standing.worst_rank), len(tested))
        known[metric] = known[metric]._replace(places={**known[metric].places, budget: place})


def papers(entries: Sequence[Entry]) -> dict[Key, dict[str, float]]:
    """Return, by metric, the paper's numbers for each encoder of ours that it has; of several tables the first.

    A table that does not say how many epochs stands beside any.
    """
    printed: dict[tuple, dict[str, float]] = {}
    for entry in (entry for entry in entries if entry.is_paper):
        for metric, score in entry.scores.items():
            printed.setdefault(entry.identity, {}).setdefault(metric, score.value)
    return {
        key: {**printed.get(key._replace(epochs=None).identity, {}), **printed.get(key.identity, {})}
        for key in (entry.key for entry in entries if not entry.is_paper)
    }


def as_row(entry: Entry) -> Row:
    """An entry in the form of a row, for tables of rows."""
    estimates = {metric: Estimate(score.value, score.low, score.high) for metric, score in entry.scores.items()}
    broken = next((row.broken_seal for row in entry.rows if row.broken_seal), "")
    return Row(entry.key, estimates, entry.provenance, broken)
