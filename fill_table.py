"""`run task=table table=5`: which cells of a table there are and what the others cost; run what can be run; show the table."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from longtake.backbones.weights import read_header
from longtake.command import CONFIG_MODULE
from longtake.console import console
from longtake.freshness import training_hash
from longtake.identity import Config
from longtake.leaderboards.overview import Column
from longtake.leaderboards.render import escape_markdown
from longtake.leaderboards.summary import RANDOM_INIT, Entry, Score
from longtake.plan import interrupted_run, resolve_machine
from longtake.probe import probe
from longtake.runs import ENCODER
from longtake.tables import (
    DONE,
    MISSING,
    NO_DATA,
    RUNNABLE,
    Cell,
    Encoder,
    Table,
    cells,
    configured,
    entries,
    plain,
    table,
)


def fill_table(config: Config, launcher: Sequence[str]) -> bool:
    """Do what `config` says; whether every run ended well. `launcher` is what the command line says of how runs are started.

    Raises `ValueError` for a table or a seed that is none.
    """
    if config["table"] is None:
        raise ValueError("task=table: which? table=5, or table=mini for the comparison on the mini world")
    folder = Path(config["output"]) / "leaderboards"
    plan = table(str(config["table"]), config["seeds"])
    found = cells(plan, folder)
    console.print(_grid(plan, found))
    _say_why(found)
    wanted = [cell for cell in found if cell.status in (*RUNNABLE, NO_DATA)]
    _say_cost(wanted, config)
    well = True
    if not config["dry_run"]:
        well = _run([cell for cell in found if cell.status in RUNNABLE], config, launcher)
        found = cells(plan, folder)
    measured = entries(plan, found, folder)
    if any(measured.values()):
        console.print(_console(plan, measured))
    target = Path(config["output"]) / "tables" / f"table_{plan.name}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(markdown(plan, measured), encoding="utf-8")
    console.print(f"as Markdown: {target}", soft_wrap=True, highlight=False)
    return well


def _grid(plan: Table, found: Sequence[Cell]) -> RichTable:
    """Encoders by evaluations, or evaluations by encoders where those are many: in which state a cell is, with all its seeds."""
    seeds = f"seed{'s' * (len(plan.seeds) > 1)} {', '.join(map(str, plan.seeds))}"
    states = {
        (encoder, name): _state([c.status for c in found if c.encoder is encoder and c.evaluation == name])
        for encoder in plan.encoders
        for name in plan.evaluations
    }
    shown, labels = _empty(f"table {plan.name}, {seeds}"), [encoder.label for encoder in plan.encoders]
    turned = len(plan.evaluations) > len(labels)
    shown.add_column("evaluation" if turned else "encoder", overflow="fold")
    for name in labels if turned else plan.evaluations:
        shown.add_column(name, overflow="fold", max_width=16)
    if turned:
        for name in plan.evaluations:
            shown.add_row(name, *(states[encoder, name] for encoder in plan.encoders))
    else:
        for encoder in plan.encoders:
            shown.add_row(Text(encoder.label), *(states[encoder, name] for name in plan.evaluations))
    return shown


def _state(statuses: Sequence[str]) -> str:
    """Of one cell over its seeds: "done", "missing", "1/3 done"."""
    if len(set(statuses)) == 1:
        return statuses[0]
    others = [status for status in statuses if status not in (DONE, MISSING)]
    return f"{statuses.count(DONE)}/{len(statuses)} done" + (f", {', '.join(dict.fromkeys(others))}" if others else "")


def _empty(title: str) -> RichTable:
    return RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")


def _say_why(found: Sequence[Cell]) -> None:
    """Each reason once."""
    for (status, why), count in Counter((cell.status, cell.why) for cell in found if cell.why).items():
        console.print(
            f"{status} ({count} cell{'s' * (count > 1)}): {why}", soft_wrap=True, markup=False, highlight=False
        )


def _say_cost(wanted: Sequence[Cell], config: Config) -> None:
    """Of every training and evaluation that is wanted, whether or not its data are here."""
    total = 0.0
    trainings = dict.fromkeys((cell.encoder, cell.seed) for cell in wanted)
    for encoder in dict.fromkeys(encoder for encoder, _ in trainings):
        seeds = [seed for other, seed in trainings if other is encoder and not _begun(encoder, seed, config)]
        if encoder.identity[0] == RANDOM_INIT or not seeds:
            continue
        cost = probe(_machine(encoder, seeds[0], config))
        total += cost.hours * len(seeds)
        times = f" x {len(seeds)} seeds" if len(seeds) > 1 else ""
        console.print(
            f"train {encoder.label}: {_time(cost.hours)}{times} on {cost.device} ({cost.steps:,} steps)",
            highlight=False,
        )
    for name in dict.fromkeys(cell.evaluation for cell in wanted):
        count = sum(cell.evaluation == name for cell in wanted)
        console.print(f"evaluate {name} x {count}: {cost_of(name)}", soft_wrap=True, highlight=False)
    if trainings:
        console.print(
            f"training in all: {_time(total)}, by a step or two of noise; reading the data is not in it",
            highlight=False,
        )


def cost_of(evaluation: str) -> str:
    """What the preset's first comment says of its cost."""
    text = (files(CONFIG_MODULE) / "eval" / f"{evaluation}.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    _, found, rest = comment.partition("Cost: ")
    return rest.split(". ")[0].rstrip(".") if found else "not known"


def _time(hours: float) -> str:
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 72 else f"{hours / 24:,.0f} days"


def _machine(encoder: Encoder, seed: int, config: Config) -> Config:
    """The configuration of a training, as its process will see it."""
    words = [word for word in configured(encoder, seed, [], config) if not word.startswith("eval=")]
    found = plain([*words, "eval=[]", "suite=quick"])
    resolve_machine(found)
    return found


def _begun(encoder: Encoder, seed: int, config: Config) -> bool:
    """Whether there is a run of this training to go on from: interrupted, or ended with the code of today."""
    try:
        folder = interrupted_run(_machine(encoder, seed, config))
    except ValueError:
        return False
    trained = folder / ENCODER
    return not trained.is_file() or read_header(trained)[1].get("code_hash") == training_hash(encoder.identity[0])


def _run(wanted: Sequence[Cell], config: Config, launcher: Sequence[str]) -> bool:
    """A process for each encoder and seed, one after the other; with a launcher of jobs all at once."""
    commands = {}
    for encoder, seed in dict.fromkeys((cell.encoder, cell.seed) for cell in wanted):
        evaluations = [cell.evaluation for cell in wanted if cell.encoder is encoder and cell.seed == seed]
        words = [*configured(encoder, seed, evaluations, config), *launcher]
        if _begun(encoder, seed, config):
            words.append("resume=true")
        commands[f"{encoder.label}, seed {seed}"] = [sys.executable, "-m", "longtake.run", *words]
    codes = _at_once(commands) if "launcher=slurm" in launcher else _in_turn(commands)
    failed = [name for name, code in codes.items() if code]
    for name in failed:
        console.print(f"[bold]failed[/]: {name} (exit code {codes[name]})")
    if failed:
        console.print("the same command goes on with what is missing")
    return not failed


def _at_once(commands: dict[str, list[str]]) -> dict[str, int]:
    processes = {name: subprocess.Popen(command) for name, command in commands.items()}
    return {name: process.wait() for name, process in processes.items()}


def _in_turn(commands: dict[str, list[str]]) -> dict[str, int]:
    codes = {}
    for number, (name, command) in enumerate(commands.items(), 1):
        console.rule(f"{number} of {len(commands)}: {name}", align="left")
        try:
            codes[name] = subprocess.run(command).returncode
        except KeyboardInterrupt:
            raise SystemExit("stopped; to go on, give the same command again") from None
        if codes[name] in (128 + 2, 128 + 15):  # the run was asked to stop, and so are we
            raise SystemExit("stopped; to go on, give the same command again")
    return codes


def _scores(encoder: Encoder, column: Column, measured: dict[tuple, Entry]) -> tuple[str, Score | None]:
    """The paper's number ("" for none), and ours."""
    entry = measured.get(encoder.identity)
    printed = f"{encoder.printed[column]:.1f}" if column in encoder.printed else ""
    return printed, None if entry is None else entry.scores[column.metric]


def _console(plan: Table, measured: dict[Column, dict[tuple, Entry]]) -> RichTable:
    def text(encoder: Encoder, column: Column) -> str:
        printed, score = _scores(encoder, column, measured[column])
        ours = "" if score is None else f"{score.value:.1f}"
        if score is not None and score.low is not None and score.high is not None:
            ours += f" ±{(score.high - score.low) / 2:.1f}"
        return "\n".join(filter(None, (printed, ours)))

    of_paper = any(encoder.printed for encoder in plan.encoders)
    spread = "± half of the 95 % interval"
    shown = _empty(f"above the paper's number, below ours {spread}" if of_paper else f"mean over seeds {spread}")
    head, *rows = _laid_out(plan, text)
    shown.add_column(head[0], overflow="fold")
    for name in head[1:]:
        shown.add_column(Text(name), justify="right")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _laid_out(plan: Table, text: Callable[[Encoder, Column], str]) -> list[list[str]]:
    """Head and rows: a row for each encoder, or for each column where those are more."""
    if len(plan.columns) <= len(plan.encoders):
        return [
            ["encoder", *plan.columns],
            *([e.label, *(text(e, column) for column in plan.columns.values())] for e in plan.encoders),
        ]
    return [
        ["", *(encoder.label for encoder in plan.encoders)],
        *([label, *(text(e, column) for e in plan.encoders)] for label, column in plan.columns.items()),
    ]


def markdown(plan: Table, measured: dict[Column, dict[tuple, Entry]]) -> str:
    """The table with both numbers, as GitHub-flavoured Markdown."""

    def text(encoder: Encoder, column: Column) -> str:
        printed, score = _scores(encoder, column, measured[column])
        ours = "" if score is None else f"{score.value:.1f}"
        if score is not None and score.low is not None:
            ours += f" [{score.low:.1f}, {score.high:.1f}]"
        return "<br>".join(filter(None, (f"<i>{printed}</i>" if printed else "", ours)))

    head, *rows = _laid_out(plan, text)
    lines = [list(map(escape_markdown, head)), ["---", *["---:"] * (len(head) - 1)]]
    lines += [[escape_markdown(first), *rest] for first, *rest in rows]
    what = (
        "The paper's number in italics, ours with its 95 % interval." if any(e.printed for e in plan.encoders) else ""
    )
    return f"**Table {plan.name}**  {what}".rstrip() + "\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
