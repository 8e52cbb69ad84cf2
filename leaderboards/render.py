"""A leaderboard for people: a table for the console, the same in Markdown, and the sentence that compares two rows.

What all rows share is said once above the table, so that its columns are what differs. The best of a column is bold: the highest
number, of a decay the lowest.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from longtake.leaderboards.schema import RANDOM_INIT, Key, Row, lower_is_better
from longtake.leaderboards.statistics import Difference

COLUMNS = ("variant", "pretrain", "backbone", "epochs", "seed", "source", "protocol")  # after the method
OF_PRETRAINING = {"variant", "pretrain", "epochs"}  # what means nothing for random init
UNBOUNDED = 100_000  # characters: a console so wide that it wraps nothing
MARKDOWN = re.compile(r"[\\`*<>\[\]|~&$#!]|(?<![^\W_])_|_(?![^\W_])")  # not wt_venice


def console_table(evaluation: str, rows: Sequence[Row], metrics: Sequence[str]) -> RenderableType:
    """The rows in their order, for `Console.print`; metrics for which it is too narrow follow in tables below."""
    return _FittedTable(evaluation, rows, metrics)


def markdown_table(evaluation: str, rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """The rows in their order, as a title line and a table of GitHub-flavoured Markdown."""
    columns, best = _differing(rows), _best(rows, metrics)
    lines = [["method", *columns, *map(escape_markdown, metrics)]]
    for row in rows:
        cells = [escape_markdown(cell) for cell in _first_cells(row, columns)]
        for metric in metrics:
            value, interval = _score(row, metric)
            cells.append(f"**{value}**{interval}" if _is_best(row, metric, best) else value + interval)
        lines.append(cells)
    title = f"**{escape_markdown(evaluation)}**  {escape_markdown(_shared(rows))}".rstrip()
    return f"{title}\n\n{markdown_rows(lines, 1 + len(columns))}"


def markdown_rows(rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table of GitHub-flavoured Markdown; the first row is its head, the first columns `names`, the others numbers."""
    head, *body = rows
    rule = ["---"] * names + ["---:"] * (len(head) - names)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *body))


def comparison(evaluation: str, metric: str, first: Row, second: Row, difference: Difference) -> str:
    """The sentence that says which of two rows is better, by how much, and whether that is significant.

    `difference` is first minus second on the same items (`outcomes.compare`).
    """
    numbers = [f"{row.metrics[metric].value:.1f}" for row in (first, second)]
    subject, reference = (
        f"{_label(row.key, other.key)} {number}"
        for row, other, number in ((first, second, numbers[0]), (second, first, numbers[1]))
    )
    value, low, high = difference.value, difference.low, difference.high
    said = f"{subject} is above {reference} by {value:.1f}"
    if f"{abs(value):.1f}" == "0.0":  # nobody is above or below by 0.0
        equal = numbers[0] == numbers[1]
        said = (
            f"{subject} equals {reference} at this precision"
            if equal
            else f"{subject} differs from {reference} by less than 0.1"
        )
    elif value < 0:
        said, low, high = f"{subject} is below {reference} by {-value:.1f}", -high, -low
    verdict = "significant" if difference.significant else "not significant"
    if difference.too_few:
        verdict = "too few items to tell"
    items = f"{difference.num_items} items" + (f" in {difference.num_groups} groups" if difference.num_groups else "")
    return (
        f"{evaluation} {metric}: {said} [{low:.1f}, {high:.1f}]: {verdict} "
        f"(paired bootstrap, {100 * difference.level:g} %, {items})"
    )


@dataclass(frozen=True)
class _FittedTable:
    """A table that knows its width only when it is printed."""

    evaluation: str
    rows: Sequence[Row]
    metrics: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield Text.assemble((_printable(self.evaluation), "bold"), "  ", (_shared(self.rows), "dim"))
        rest = list(self.metrics)
        while rest:
            count = len(rest)
            while count > 1 and self._width(rest[:count], console, options) > options.max_width:
                count -= 1
            yield self._table(rest[:count])
            yield ""
            rest = rest[count:]

    def _width(self, metrics: Sequence[str], console: Console, options: ConsoleOptions) -> int:
        return console.measure(self._table(metrics), options=options.update_width(UNBOUNDED)).maximum

    def _table(self, metrics: Sequence[str]) -> Table:
        columns, best = _differing(self.rows), _best(self.rows, metrics)
        table = empty_table()
        for name in ("method", *columns):
            number = name in ("epochs", "seed")
            table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
        for metric in metrics:
            table.add_column(Text(_printable(metric)), justify="right", no_wrap=True)
        for row in self.rows:
            cells = [Text(cell) for cell in _first_cells(row, columns)]  # Text: brackets in a name are no markup
            if "variant" in columns:  # one switch a line
                cells[1] = Text("\n".join(cells[1].plain.split()))
            for metric in metrics:
                value, interval = _score(row, metric)
                cells.append(Text.assemble((value, "bold" if _is_best(row, metric, best) else ""), interval))
            table.add_row(*cells)
        return table


def empty_table(title: str | None = None) -> Table:
    """A table for the console, as all of them look."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")


def _differing(rows: Sequence[Row]) -> list[str]:
    """The columns in which rows differ, in order."""
    return [name for name in COLUMNS if len({getattr(row.key, name) for row in rows}) > 1]


def _shared(rows: Sequence[Row]) -> str:
    """Say in words what all rows have in common."""
    if not rows:
        return "no rows yet"
    names = [name for name in COLUMNS if name not in _differing(rows)]
    return _words(rows[0].key, names)


def _first_cells(row: Row, columns: Sequence[str]) -> list[str]:
    """Say what the row is about, and whether a number was edited: nobody shall take it for a measured one."""
    method, *others = _identity(row.key, columns)
    return [f"{method} (edited)" if row.broken_seal else method, *others]


def _identity(key: Key, columns: Sequence[str]) -> list[str]:
    values = [getattr(key, name) for name in columns]
    return [method_name(key.method), *("" if value is None else _printable(str(value)) for value in values)]


def _words(key: Key, columns: Sequence[str]) -> str:
    """Say in words what `key` has in these columns: "pretrain mini, epochs 10"."""
    return ", ".join(f"{name} {cell}" for name, cell in zip(columns, _identity(key, columns)[1:], strict=True) if cell)


def method_name(method: str) -> str:
    return "random init" if method == RANDOM_INIT else _printable(method)


def _label(key: Key, other: Key) -> str:
    """The method, with whatever else tells `key` from `other`."""
    ignored = OF_PRETRAINING if RANDOM_INIT in (key.method, other.method) else set()
    names = [name for name in COLUMNS if name not in ignored and getattr(key, name) != getattr(other, name)]
    details = _words(key, names)
    return f"{method_name(key.method)} ({details})" if details else method_name(key.method)


def _score(row: Row, metric: str) -> tuple[str, str]:
    """A metric's value and its interval, rounded to one decimal; empty where there is none."""
    if metric not in row.metrics:
        return "", ""
    value, low, high = row.metrics[metric]
    return f"{value:.1f}", "" if low is None else f" [{low:.1f}, {high:.1f}]"


def _best(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, float]:
    """The best value of every metric that at least two rows have, edited ones left out."""
    intact = [row for row in rows if not row.broken_seal]
    values = {metric: [row.metrics[metric].value for row in intact if metric in row.metrics] for metric in metrics}
    return {
        metric: (min if lower_is_better(metric) else max)(found) for metric, found in values.items() if len(found) > 1
    }


def _is_best(row: Row, metric: str, best: dict[str, float]) -> bool:
    return (
        metric in best and metric in row.metrics and not row.broken_seal and row.metrics[metric].value == best[metric]
    )


def _printable(text: str) -> str:
    """One line without control characters: a name in a file must not steer the terminal or end a table's line."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return MARKDOWN.sub(r"\\\g<0>", _printable(text))
