"""A table as people see it: in which state its cells are, and the paper's numbers with ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rich.table import Table as RichTable
from rich.text import Text

from longtake.leaderboards.overview import Column
from longtake.leaderboards.render import empty_table, escape_markdown, markdown_rows
from longtake.leaderboards.summary import Entry, Score
from longtake.tasks.table.cells import DONE, MISSING, Cell, Table, TableLine

Measured = Mapping[Column, Mapping[tuple, Entry]]  # by encoder
T = TypeVar("T")


def states(plan: Table, found: Sequence[Cell]) -> RichTable:
    """Return the state of every cell, with all its seeds."""
    statuses: dict[tuple[TableLine, str], list[str]] = {}
    for cell in found:
        statuses.setdefault((cell.encoder, cell.evaluation), []).append(cell.status)
    seeds = f"seed{'s' * (len(plan.seeds) > 1)} {', '.join(map(str, plan.seeds))}"
    rows = _laid_out(plan, {name: name for name in plan.evaluations}, lambda *where: _state(statuses[where]))
    return _drawn(f"table {plan.name}, {seeds}", rows)


def _state(statuses: Sequence[str]) -> str:
    """Return the state of one cell over its seeds: "done", "missing", "1/3 done"."""
    if len(set(statuses)) == 1:
        return statuses[0]
    others = dict.fromkeys(status for status in statuses if status not in (DONE, MISSING))
    return ", ".join([f"{statuses.count(DONE)}/{len(statuses)} done", *others])


def scores(plan: Table, measured: Measured) -> RichTable:
    """Both numbers, for the console."""

    def text(encoder: TableLine, column: Column) -> str:
        printed, score = _numbers(encoder, column, measured)
        half = f" ±{score.half}" if score is not None and score.half else ""
        return "\n".join(filter(None, (printed, "" if score is None else f"{score.value:.1f}{half}")))

    spread = "± half of the 95 % interval"
    title = f"above the paper's number, below ours {spread}" if of_paper(plan) else f"mean over seeds {spread}"
    return _drawn(title, _laid_out(plan, plan.columns, text), "right")


def markdown(plan: Table, measured: Measured) -> str:
    """Both numbers, as GitHub-flavoured Markdown."""

    def text(encoder: TableLine, column: Column) -> str:
        printed, score = _numbers(encoder, column, measured)
        ours = "" if score is None else f"{score.value:.1f} {score.ends}".rstrip()
        return "<br>".join(filter(None, (f"<i>{printed}</i>" if printed else "", ours)))

    head, *rows = _laid_out(plan, plan.columns, text)
    lines = [list(map(escape_markdown, head)), *([escape_markdown(name), *cells] for name, *cells in rows)]
    what = "The paper's number in italics, ours with its 95 % interval." if of_paper(plan) else ""
    return f"**Table {plan.name}**  {what}".rstrip() + f"\n\n{markdown_rows(lines)}"


def of_paper(plan: Table) -> bool:
    return any(encoder.printed for encoder in plan.encoders)


def _numbers(encoder: TableLine, column: Column, measured: Measured) -> tuple[str, Score | None]:
    """The paper's number ("" for none), and ours."""
    entry = measured[column].get(encoder.identity)
    printed = f"{encoder.printed[column]:.1f}" if column in encoder.printed else ""
    return printed, None if entry is None else entry.scores[column.metric]


def _laid_out(plan: Table, columns: Mapping[str, T], text: Callable[[TableLine, T], str]) -> list[list[str]]:
    """Head and rows: a row for each encoder, or for each column where those are more."""
    if len(columns) <= len(plan.encoders):
        rows = [[encoder.label, *(text(encoder, column) for column in columns.values())] for encoder in plan.encoders]
        return [["encoder", *columns], *rows]
    rows = [[name, *(text(encoder, column) for encoder in plan.encoders)] for name, column in columns.items()]
    return [["", *(encoder.label for encoder in plan.encoders)], *rows]


def _drawn(title: str, rows: Sequence[Sequence[str]], justify: str = "left") -> RichTable:
    head, *body = rows
    shown = empty_table(title)
    shown.add_column(head[0], overflow="fold")
    for name in head[1:]:
        shown.add_column(Text(name), overflow="fold", justify=justify)  # type: ignore[arg-type]
    for row in body:
        shown.add_row(*map(Text, row))
    return shown
