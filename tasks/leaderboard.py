"""`run task=leaderboard`: the comparison on the console, in Markdown, LaTeX, pictures and as a page; README's block of it."""

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table
from rich.text import Text

from longtake.console import console
from longtake.engine.boards import TRACKED, metrics_for, primary_for, rows_of
from longtake.engine.command_line import asked_for
from longtake.engine.config import composed
from longtake.engine.folders import records
from longtake.engine.freshness import is_stale, reasons, verify, vouched_by
from longtake.engine.git import REPOSITORY, code_commit
from longtake.engine.history import diff
from longtake.engine.identity import Config
from longtake.engine.progress import curves
from longtake.files import whole
from longtake.leaderboards.overview import (
    Column,
    Line,
    comparable,
    latex_table,
    markdown_overview,
    overview,
    place,
    seeds_in,
)
from longtake.leaderboards.page import EvaluationEntries, page
from longtake.leaderboards.plots import Curve, draw_bars, draw_heat_map, draw_losses
from longtake.leaderboards.render import console_table, empty_table, markdown_table
from longtake.leaderboards.rows import board_files
from longtake.leaderboards.summary import Entry, as_row, summarize
from longtake.tasks import TASKS

MOST_SHOWN = 60  # entries of an evaluation on the console and in Markdown; the page has all
MOST_COMPARED = 24  # in tables of methods x tasks, and in pictures
README = REPOSITORY / "README.md"
BLOCK = re.compile(r"(<!-- leaderboard: (\w+) -->\n).*?(<!-- end of leaderboard -->)", re.DOTALL)


@TASKS.named("leaderboard")
def show(config: Config) -> None:
    """Show the leaderboards; with `diff` what changed in the published ones, with `verify` what is not as it should be."""
    boards = Path(config["output"]) / "leaderboards"
    if config["diff"]:
        changes = diff(TRACKED, str(config["diff"]))
        print("\n".join([*map(str, changes), f"{len(changes)} rows differ"]))
        return
    if config["verify"]:
        if not verify([folder for folder in (TRACKED, boards) if folder.is_dir()]):
            raise SystemExit(1)
        return
    if config["readme"]:
        write_readme()
    leaderboard(boards, asked_for(config))


@contextmanager
def without_collector() -> Iterator[None]:
    """Switch garbage collection off: rows form no cycles, and looking for some among 100 000 took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_collector()
def leaderboard(folder: Path, evaluations: Sequence[str] | None) -> None:
    """Show the rows of `folder` (a run's `output`/leaderboards) and the published ones, and write what can be taken along.

    Raises `ValueError` when there are none, or a file is no leaderboard.
    """
    folders = [place for place in dict.fromkeys([folder, TRACKED]) if place.is_dir()]
    boards = load(folders, evaluations)
    if not boards:
        raise ValueError(f"no leaderboards in {folder}; a run adds its rows there")
    columns, lines = compared(boards)
    for board in boards:
        if evaluations is None and all(entry.is_paper for entry in board.entries):
            continue  # the page has them; the console shows what is ours, or what was asked for
        rows = [as_row(entry) for entry in board.entries[:MOST_SHOWN]]
        console.print(console_table(board.title, rows, _shown(board)))
        if len(board.entries) > MOST_SHOWN:
            console.print(f"... and {len(board.entries) - MOST_SHOWN:,} more, on the page\n")
    if lines:
        console.print(_console_overview(lines, columns))
    if wrong := sum(len(stale) for stale in {board.name: board.stale for board in boards}.values()):
        console.print(
            f"{wrong:,} rows are stale, edited or of unknown code: `run task=leaderboard verify=true` says which"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, boards, columns, lines)


def load(folders: Sequence[Path], evaluations: Sequence[str] | None) -> list[EvaluationEntries]:
    """Every leaderboard that has rows, of these evaluations or of all, with what is stale in it."""
    names = evaluations or sorted({path.stem for folder in folders for path in board_files(folder)})
    boards = []
    for name in names:
        rows = rows_of(name, folders)
        metrics = metrics_for(name)
        paths = {place: place / f"{name}.csv" for place in folders}
        stale = {row.key: found for place, row in rows if (found := list(reasons(paths[place], row)))}
        vouched = {row.key: by for _, row in rows if row.key not in stale and (by := vouched_by(name, row))}
        if rows:
            entries = summarize(name, rows, metrics, [key for key, found in stale.items() if is_stale(found)])
            primary = primary_for(name)[0]
            by_data: dict[str, list[Entry]] = {}  # numbers of other data stand in a table of their own
            for entry in entries:
                by_data.setdefault(entry.key.data, []).append(entry)
            boards += [
                EvaluationEntries(name, metrics, primary, mine, stale, vouched, data)
                for data, mine in sorted(by_data.items())
            ]
    return sorted(boards, key=lambda board: all(entry.is_paper for entry in board.entries))  # what is ours first


def compared(boards: Sequence[EvaluationEntries]) -> tuple[list[Column], list[Line]]:
    """Our encoders, the best `MOST_COMPARED` of them, by primary metrics of the evaluations that have any, on their own data."""
    own = [board for board in boards if not board.data]
    counts = {
        Column(board.name, metric): sum(comparable(entry, metric) for entry in board.entries)
        for board in own
        for metric in primary_for(board.name)
    }
    fewest = 2 if max(counts.values(), default=0) > 1 else 1  # beside others, one encoder alone is compared with nobody
    entries = {board.name: board.entries for board in own}
    columns = [column for column, count in counts.items() if count >= fewest]
    lines = overview({column: entries[column.evaluation] for column in columns})[:MOST_COMPARED]
    return [column for column in columns if any(column in line.entries for line in lines)], lines


def write(folder: Path, boards: Sequence[EvaluationEntries], columns: Sequence[Column], lines: Sequence[Line]) -> None:
    """`leaderboard.md`, `.tex`, `.html` and the pictures."""
    figures: dict[str, Path] = {}
    texts = [markdown_table(b.title, [as_row(entry) for entry in b.entries[:MOST_SHOWN]], _shown(b)) for b in boards]
    if lines:
        texts.insert(0, markdown_overview(lines, columns))
        (folder / "leaderboard.tex").write_text(latex_table(lines, columns), encoding="utf-8")
        figures = {"Methods and tasks": folder / "heat_map.png", "Scores and their intervals": folder / "bars.png"}
        draw_heat_map(lines, columns, figures["Methods and tasks"])
        draw_bars(lines, columns, figures["Scores and their intervals"])
    if losses := loss_curves(folder.parent):
        figures["Losses"] = folder / "losses.png"
        draw_losses(losses, figures["Losses"])
    (folder / "leaderboard.md").write_text("\n".join(texts), encoding="utf-8")
    rows = sum(len(entry.rows) for board in boards for entry in board.entries)
    about = f"{rows:,} rows of {len({board.name for board in boards})} evaluations, by commit {code_commit()}"
    html = folder / "leaderboard.html"
    html.write_text(page(boards, lines, columns, figures, about), encoding="utf-8")
    console.print(f"page: {html}\nMarkdown, LaTeX, pictures: {folder}", soft_wrap=True)


def loss_curves(output: Path) -> dict[str, list[Curve]]:
    """Return, by method, the total loss of every run in a folder over the share of its training."""
    found: dict[str, list[Curve]] = {}
    for record in sorted(records(output), key=lambda record: record.folder.name):
        method = method_of(record.config)
        terms = curves(record.folder, "loss/")
        if terms:
            steps = next(iter(terms.values()))[0]
            total = [sum(values) for values in zip(*(values for _, values in terms.values()), strict=False)]
            found.setdefault(method, []).append(([step / max(steps[-1], 1) for step in steps], total))
    return found


def method_of(config: Config) -> str:
    """The method in a run's record, which may be another's."""
    method = config.get("method")
    return str(method.get("name")) if isinstance(method, dict) else "unknown"


def readme_block(evaluations: Sequence[str], published: Path = TRACKED) -> str:
    """The published comparison as README shows it; "" when nothing is published."""
    columns, lines = compared(load([published], evaluations))
    return markdown_overview(lines, columns)


def with_blocks(text: str, published: Path = TRACKED) -> str:
    """A document with the tables between its marks (`<!-- leaderboard: SUITE -->`) made anew from the published rows."""

    def anew(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{readme_block(list(composed([f'suite={mark[2]}']).eval), published)}\n{mark[3]}"

    return BLOCK.sub(anew, text)


def write_readme() -> None:
    """Make README's tables anew; an installed package has no README."""
    if README.is_file():
        text = with_blocks(README.read_text(encoding="utf-8"))
        with whole(README) as part:
            part.write_text(text, encoding="utf-8")


def _shown(board: EvaluationEntries) -> list[str]:
    """The metrics that any entry has."""
    return [metric for metric in board.metrics if any(metric in entry.scores for entry in board.entries)]


def _console_overview(lines: Sequence[Line], columns: Sequence[Column]) -> Table:
    table = empty_table("methods and tasks")
    table.add_column("task", overflow="fold")
    for line in lines:
        table.add_column(Text(line.label), justify="right")
    for column in columns:
        cells = [Text(f"{column.evaluation} {column.metric}, {seeds_in(column, lines)}")]
        for line in lines:
            score = line.score(column)
            best = "bold" if place(line, column, lines) == 0 else ""
            text = "" if score is None else f"{score.value:.1f}"
            mark = "" if score is None else " (stale)" if line.stale(column) else f" {score.letters}"
            cells.append(Text.assemble((text, best), mark))
        table.add_row(*cells)
    table.add_row("mean rank", *("" if line.mean_rank is None else f"{line.mean_rank:.1f}" for line in lines))
    return table
