"""Methods x tasks: one number each with its interval, and who is tied with whom; in Markdown, LaTeX and for plots."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from longtake.leaderboards.render import escape_markdown, markdown_rows, method_name
from longtake.leaderboards.schema import IDENTITY, RANDOM_INIT, lower_is_better
from longtake.leaderboards.summary import Entry, Score

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}",  # the last ones: after a line's \\
}  # fmt: skip


class Column(NamedTuple):
    """A task in a comparison."""

    evaluation: str
    metric: str


@dataclass(frozen=True)
class Line:
    """An encoder in all columns that have it."""

    label: str
    entries: Mapping[Column, Entry]
    scores: Mapping[Column, Score]  # with letters only where all lines of a column are of one budget
    mean_rank: (
        float | None
    )  # over the columns in which all lines are and none is stale; None where there is no such column

    @property
    def untrained(self) -> bool:
        return next(iter(self.entries.values())).key.method == RANDOM_INIT

    def score(self, column: Column) -> Score | None:
        return self.scores.get(column)

    def stale(self, column: Column) -> bool:
        """Whether the number is of other code than today's: it is shown, and compared with none."""
        return column in self.entries and self.entries[column].stale


def overview(boards: Mapping[Column, Sequence[Entry]]) -> list[Line]:
    """The encoders that we measured, from the best mean rank to the worst. The paper's own stay in their columns' boards."""
    found: dict[tuple, dict[Column, Entry]] = {}
    for column, entries in boards.items():
        for entry in sorted(entries, key=lambda entry: _version(entry.key.protocol)):  # of two versions the newer
            if comparable(entry, column.metric):
                found.setdefault(entry.identity, {})[column] = entry
    labels = _labels(list(found))
    full = [column for column in boards if all(column in there and not there[column].stale for there in found.values())]
    ranks = {column: _ranks(column, found) for column in full}
    scores = {column: _of_one_budget(column, found) for column in boards}
    lines = []
    for identity, there in found.items():
        mean = sum(ranks[column][identity] for column in full) / len(full) if full else None
        lines.append(Line(labels[identity], there, {column: scores[column][identity] for column in there}, mean))
    return sorted(lines, key=lambda line: (line.mean_rank is None, line.mean_rank, line.label))


def comparable(entry: Entry, metric: str) -> bool:
    """Whether an entry can stand in a column: measured by us, by the preset's own protocol, and as it was measured."""
    return metric in entry.scores and not entry.is_paper and not entry.edited and " " not in entry.key.protocol


def _version(protocol: str) -> int:
    found = re.search(r"-v(\d+)$", protocol)
    return int(found[1]) if found else 0


def _of_one_budget(column: Column, found: Mapping[tuple, Mapping[Column, Entry]]) -> dict[tuple, Score]:
    """The scores of a column: with their places in the budget that all of them stand in, or with none."""
    scores = {identity: there[column].scores[column.metric] for identity, there in found.items() if column in there}
    ranked = [set(score.places) for score in scores.values() if score.places]
    common = set.intersection(*ranked) if ranked else set()
    return {
        identity: score._replace(places={budget: score.places[budget] for budget in common if score.places})
        for identity, score in scores.items()
    }


def _ranks(column: Column, found: Mapping[tuple, Mapping[Column, Entry]]) -> dict[tuple, float]:
    """1 is the best; equal scores share the mean of their ranks."""
    sign = 1 if lower_is_better(column.metric) else -1
    values = {identity: sign * there[column].scores[column.metric].value for identity, there in found.items()}
    ordered = sorted(values.values())
    return {
        identity: (bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2
        for identity, value in values.items()
    }


def _labels(identities: Sequence[tuple]) -> dict[tuple, str]:
    """The method, with whatever tells it from the others (of random init, epochs and data tell nothing)."""
    trained = [identity for identity in identities if identity[0] != RANDOM_INIT]
    varying = [i for i in range(1, len(IDENTITY)) if len({identity[i] for identity in trained}) > 1]
    epochs, count = IDENTITY.index("epochs"), Counter(identity[0] for identity in identities)
    labels = {}
    for identity in identities:
        # Methods of equal budget have different epochs; they are named only where one method has several.
        named = [i for i in varying if i != epochs or count[identity[0]] > 1]
        words = [] if identity[0] == RANDOM_INIT else [_word(IDENTITY[i], identity[i]) for i in named]
        labels[identity] = " ".join([method_name(identity[0]), *filter(None, words)])
    return labels


def _word(name: str, value: object) -> str:
    if value in ("", None):
        return ""
    return f"({value} epochs)" if name == "epochs" else str(value)


def markdown_overview(lines: Sequence[Line], columns: Sequence[Column]) -> str:
    """GitHub-flavoured Markdown, a row for each task: score, letters of the tied, interval; the best number of a task is bold.

    "" without encoders.
    """
    if not lines:
        return ""
    rows = [["", *(escape_markdown(line.label) for line in lines)]]
    for column in columns:
        metric = f"{escape_markdown(column.metric)}, {seeds_in(column, lines)}"
        name = f"{escape_markdown(column.evaluation)}<br><sub>{metric}</sub>"
        rows.append([name, *(_markdown_cell(line, column, place(line, column, lines) == 0) for line in lines)])
    ranks = ["" if line.mean_rank is None else f"{line.mean_rank:.1f}" for line in lines]
    return markdown_rows([*rows, ["mean rank", *ranks]])


def _markdown_cell(line: Line, column: Column, best: bool) -> str:
    score = line.score(column)
    if score is None:
        return ""
    value = f"**{score.value:.1f}**" if best else f"{score.value:.1f}"
    text = f"{value} {'(stale)' if line.stale(column) else score.letters}".rstrip()
    return f"{text}<br><sub>{score.ends}</sub>" if score.ends else text


def seeds_in(column: Column, lines: Sequence[Line]) -> str:
    """Say how many seeds an encoder has: "3 seeds". The intervals of one seed cover other test items, not other seeds."""
    counts = {len(line.entries[column].rows) for line in lines if column in line.entries}
    fewest, most = min(counts), max(counts)
    several = f"{fewest} to {most}" if fewest < most else f"{most}"
    return f"{several} seed{'s' * (most > 1)}"


def latex_table(lines: Sequence[Line], columns: Sequence[Column]) -> str:
    r"""A `tabular` for `booktabs`: the best of a column bold, the second best underlined, half the interval behind +-."""
    rows = [[r"\textbf{method}", *(escape_latex(f"{c.evaluation} {c.metric}") for c in columns)]]
    for line in lines:
        cells = [_latex_cell(line.score(column), place(line, column, lines), line.stale(column)) for column in columns]
        rows.append([escape_latex(line.label), *cells])
    head, *body = [" & ".join(cells) + r" \\" for cells in rows]
    above = [r"% \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*above, *body, r"\bottomrule", r"\end{tabular}", ""])


def place(line: Line, column: Column, lines: Sequence[Line]) -> int:
    """0 for the best number of a column, 1 for the second best; numbers that print the same share a place; -1 for a stale one."""
    sign = 1 if lower_is_better(column.metric) else -1
    fresh = [score for other in lines if not other.stale(column) and (score := other.score(column)) is not None]
    printed = sorted({sign * round(score.value, 1) for score in fresh})
    own = line.score(column)
    return -1 if own is None or line.stale(column) else printed.index(sign * round(own.value, 1))


def _latex_cell(score: Score | None, number: int, stale: bool) -> str:
    if score is None:
        return "--"
    value = f"{score.value:.1f}"
    value = rf"\textbf{{{value}}}" if number == 0 else rf"\underline{{{value}}}" if number == 1 else value
    mark = " (stale)" if stale else ""
    return value + (rf" {{\scriptsize $\pm$ {score.half}}}" if score.half else "") + mark


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(LATEX.get(character, character) for character in text if character.isprintable())
