"""The leaderboards as one HTML page that needs nothing else: no server, no network (`page.html` says so to the browser)."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.leaderboards.overview import Column, Line, place, seeds_in
from longtake.leaderboards.render import method_name
from longtake.leaderboards.schema import Key, lower_is_better
from longtake.leaderboards.summary import Entry, Score, budgets, papers

TEMPLATE = Path(__file__).with_name("page.html")
FACTS = {"source": "source", "protocol": "protocol"}  # of the key
PROOFS = {
    "code_commit": "commit", "date": "date", "device": "device", "config_hash": "configuration", "checkpoint_hash": "encoder",
    "code_hash": "code", "data_hash": "items", "tested_on": "tested on", "note": "note",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationEntries:
    """An evaluation's entries on the same data, what is wrong with some rows, and which commits vouch for those of older code."""

    name: str
    metrics: tuple[str, ...]
    primary: str
    entries: Sequence[Entry]
    stale: Mapping[Key, Sequence[str]] = field(default_factory=dict)  # by the row's key
    vouched: Mapping[Key, Sequence[str]] = field(default_factory=dict)  # OLD..NEW, by the row's key
    data: str = ""  # where they are not the evaluation's own

    @property
    def title(self) -> str:
        return f"{self.name} on {self.data}" if self.data else self.name


def page(
    boards: Sequence[EvaluationEntries],
    lines: Sequence[Line],
    columns: Sequence[Column],
    figures: Mapping[str, Path],
    about: str,
) -> str:
    """The page; `figures` are PNG files by their captions."""
    data = {
        "about": about,
        "boards": [_board(board) for board in boards],
        "overview": {
            "columns": [[c.evaluation, c.metric, seeds_in(c, lines)] for c in columns],
            "lines": [_line(line, columns, lines) for line in lines],
        },
        "figures": [[title, _data_uri(path)] for title, path in figures.items()],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return TEMPLATE.read_text(encoding="utf-8").replace(
        "@DATA@", text.replace("<", "\\u003c")
    )  # a name may be </script>


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _line(line: Line, columns: Sequence[Column], lines: Sequence[Line]) -> dict[str, Any]:
    scores = []
    for column in columns:
        score = line.score(column)
        shown = None if score is None else _score(score, place(line, column, lines) == 0)
        scores.append(shown and {**shown, "stale": line.stale(column)})
    return {"label": line.label, "scores": scores, "rank": line.mean_rank}


def _board(board: EvaluationEntries) -> dict[str, Any]:
    entries, printed = board.entries, papers(board.entries)
    metrics = [metric for metric in board.metrics if any(metric in entry.scores for entry in entries)]
    same = list(budgets(entries))
    at: dict[Key, list[int]] = {}
    for number, there in enumerate(same):
        for entry in there:
            at.setdefault(entry.key, []).append(number)
    best = {metric: _best(entries, metric) for metric in metrics}
    return {
        "name": board.title,
        "metrics": metrics,
        "lower": [metric for metric in metrics if lower_is_better(metric)],
        "primary": board.primary if board.primary in metrics else (metrics or [""])[0],
        "range": {metric: _range(entries, metric) for metric in metrics},
        "budgets": [_budget(there) for there in same],
        "rows": [_entry(entry, at.get(entry.key, []), printed.get(entry.key, {}), board, best) for entry in entries],
    }


def _best(entries: Sequence[Entry], metric: str) -> float:
    """The best of what is not stale; of a paper's numbers, too."""
    fresh = [entry for entry in entries if not entry.stale] or entries
    values = [entry.scores[metric].value for entry in fresh if metric in entry.scores]
    return min(values, default=math.nan) if lower_is_better(metric) else max(values, default=math.nan)


def _range(entries: Sequence[Entry], metric: str) -> tuple[float, float]:
    """Return the range of all numbers of a column, intervals included."""
    scores = [entry.scores[metric] for entry in entries if metric in entry.scores]
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    return min(ends), max(ends)


def _budget(entries: Sequence[Entry]) -> str:
    frames = sorted({entry.provenance.frames_seen or 0 for entry in entries} - {0})
    span = f"{frames[0]:,}" if frames[0] == frames[-1] else f"{frames[0]:,} to {frames[-1]:,}"
    return f"{span} frames, {entries[0].key.backbone}, {entries[0].key.protocol}"


def _entry(
    entry: Entry,
    at: list[int],
    printed: Mapping[str, float],
    board: EvaluationEntries,
    best: Mapping[str, float],
) -> dict[str, Any]:
    key, proof = entry.key, entry.provenance
    reasons = dict.fromkeys(reason for row in entry.rows for reason in board.stale.get(row.key, ()))
    vouchers = dict.fromkeys(commits for row in entry.rows for commits in board.vouched.get(row.key, ()))
    facts = [f"{word}: {value}" for name, word in FACTS.items() if (value := getattr(key, name))]
    facts += [f"{word}: {value}" for name, word in PROOFS.items() if (value := getattr(proof, name))]
    facts += [f"same numbers: {commits}" for commits in vouchers]
    return {
        "method": key.method,
        "label": method_name(key.method),
        "variant": key.variant,
        "pretrain": key.pretrain,
        "backbone": key.backbone,
        "epochs": key.epochs,
        "seeds": ", ".join(map(str, entry.seeds)),
        "source": key.source,
        "protocol": key.protocol,
        "paper": entry.is_paper,
        "scores": {
            metric: _score(score, score.value == best[metric] and not entry.stale)
            for metric, score in entry.scores.items()
        },
        "beside": {metric: value for metric, value in printed.items() if metric in entry.scores},
        "budgets": at,
        "frames": proof.frames_seen,
        "hours": proof.hours,
        "memory": proof.peak_memory_gb,
        "command": proof.command,
        "stale": list(reasons),
        "facts": facts,
    }


def _score(score: Score, best: bool) -> dict[str, Any]:
    return {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "std": score.seeds_std,
        "places": {
            budget: {"letters": place.letters, "ranks": place.ranks, "of": place.num_ranked}
            for budget, place in score.places.items()
        },
        "best": best,
    }
