"""The rows of one evaluation as people compare them: seeds pooled, encoders of one budget ranked, the paper's numbers beside.

An *entry* is an encoder over all its seeds. Entries are ranked among those of the same backbone, protocol and budget - frames that
the encoder saw in pretraining, within `SAME_BUDGET` - because more training alone makes a score better. Random init, which costs
nothing, is ranked with each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longtake.leaderboards.aggregate import pooled
from longtake.leaderboards.outcomes import GROUPS, ITEMS, has_outcomes, in_order, load_outcomes
from longtake.leaderboards.ranking import standings
from longtake.leaderboards.schema import RANDOM_INIT, Key, Provenance, Row, lower_is_better
from longtake.leaderboards.statistics import Estimate

SAME_BUDGET = 1.05  # the largest over the smallest: whole epochs and batches never fit exactly
MOST_RANKED = 40  # entries of a budget; beyond that all pairs are a poor question


class Score(NamedTuple):
    """A metric of an entry in per cent. No interval where none is known; no letters where it was not ranked."""

    value: float
    low: float | None = None
    high: float | None = None
    seeds_std: float | None = None  # standard deviation of the seeds' scores
    letters: str = ""  # shared with whom it is statistically tied
    ranks: tuple[int, int] | None = None  # the best and the worst that its rank may be
    num_ranked: int = 0

    @property
    def leads(self) -> bool:
        """Whether nobody is significantly better."""
        return self.ranks is not None and self.ranks[0] == 1

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

    @property
    def identity(self) -> tuple:
        """What tells the encoder from others, whatever it is evaluated by."""
        return self.key.identity

    @property
    def is_paper(self) -> bool:
        return self.key.source != "run"

    @property
    def provenance(self) -> Provenance:
        """Of its first seed."""
        return self.rows[0].provenance

    @property
    def seeds(self) -> list[int]:
        return [row.key.seed for row in self.rows if row.key.seed is not None]


def summarize(evaluation: str, rows: Sequence[tuple[Path, Row]], metrics: Sequence[str]) -> list[Entry]:
    """The entries of an evaluation in the order of their first rows; `rows` come with the folders of their CSVs."""
    found: dict[Key, list[tuple[Path, Row]]] = {}
    for folder, row in rows:
        found.setdefault(row.key._replace(seed=None), []).append((folder, row))
    entries = [
        Entry(key, tuple(row for _, row in there), tuple(folder for folder, _ in there)) for key, there in found.items()
    ]
    outcomes = {entry.key: by_metric for entry in entries if (by_metric := _outcomes(evaluation, entry, metrics))}
    scores = {entry.key: _unranked(entry, outcomes.get(entry.key, {}), metrics) for entry in entries}
    for same in budgets([entry for entry in entries if entry.key in outcomes]):
        for metric in metrics:
            _rank(metric, [entry.key for entry in same], outcomes, scores)
    return [Entry(entry.key, entry.rows, entry.folders, scores[entry.key]) for entry in entries]


class _Tested(NamedTuple):
    """Outcomes (seeds, items) of a metric, and which items they are of."""

    values: np.ndarray
    items: tuple[str, ...]
    groups: np.ndarray | None


def _outcomes(evaluation: str, entry: Entry, metrics: Sequence[str]) -> dict[str, _Tested]:
    """By metric, where all seeds have kept theirs and were tested on the same items."""
    if entry.is_paper:
        return {}
    loaded = []
    for folder, row in zip(entry.folders, entry.rows, strict=True):
        if not has_outcomes(folder, evaluation, row.key):
            return {}
        loaded.append(in_order(load_outcomes(folder, evaluation, row.key)))
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
    """Entries of the same backbone, protocol and frames seen, each with the random inits of that backbone and protocol."""
    places: dict[tuple, list[Entry]] = {}
    for entry in entries:
        places.setdefault((entry.key.backbone, entry.key.protocol), []).append(entry)
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
    metric: str,
    keys: Sequence[Key],
    outcomes: Mapping[Key, Mapping[str, _Tested]],
    scores: Mapping[Key, dict[str, Score]],
) -> None:
    """Put letters and ranks into the scores of those that were tested on the same items as most."""
    tested = {key: outcomes[key][metric] for key in keys if metric in outcomes[key]}
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
        key, ranks = names[standing.name], (standing.best_rank, standing.worst_rank)
        known = scores[key][metric]
        if not known.letters:  # random init stands in several budgets: the first one counts
            scores[key][metric] = known._replace(letters=standing.letters, ranks=ranks, num_ranked=len(tested))


def papers(entries: Sequence[Entry]) -> dict[tuple[tuple, str], float]:
    """The paper's number for each encoder (`Entry.identity`) and metric; of several tables the first."""
    found: dict[tuple[tuple, str], float] = {}
    for entry in entries:
        if entry.is_paper:
            for metric, score in entry.scores.items():
                found.setdefault((entry.identity, metric), score.value)
    return found


def as_row(entry: Entry) -> Row:
    """An entry in the form of a row, for tables of rows."""
    estimates = {metric: Estimate(score.value, score.low, score.high) for metric, score in entry.scores.items()}
    return Row(entry.key, estimates, entry.provenance)
