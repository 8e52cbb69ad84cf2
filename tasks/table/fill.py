"""`run task=table table=5`: which cells of a table there are and what the others cost; run what can be run; show the table."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from longtake.console import console
from longtake.engine.children import command, run_all, well
from longtake.engine.config import CONFIG_MODULE
from longtake.engine.identity import Config
from longtake.engine.launch import alone
from longtake.engine.length import in_time
from longtake.engine.machine import of_process
from longtake.engine.probe import measure_cost
from longtake.engine.resuming import has_begun
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.tasks.table.cells import NO_DATA, RUNNABLE, Cell, TableLine, cells, entries, table, training_words
from longtake.tasks.table.show import markdown, scores, states


def fill_table(config: Config, launcher: Sequence[str]) -> bool:
    """Do what `config` says; whether every run ended well. `launcher` is what the command line says of how runs are started.

    Raises `ValueError` for a table or a seed that does not exist.
    """
    if config["table"] is None:
        raise ValueError("task=table: which? table=5, or table=mini for the comparison on the mini world")
    alone("task=table")
    folder = Path(config["output"]) / "leaderboards"
    plan = table(str(config["table"]), config["seeds"])
    found = cells(plan, folder)
    console.print(states(plan, found))
    _say_why(found)
    wanted = [cell for cell in found if cell.status in (*RUNNABLE, NO_DATA)]
    _say_cost(wanted, config, launcher)
    failed: dict[str, int] = {}
    if not config["dry_run"]:
        failed = _run([cell for cell in found if cell.status in RUNNABLE], config, launcher)
        found = cells(plan, folder)
    measured = entries(plan, found, folder)
    if any(measured.values()):
        console.print(scores(plan, measured))
    target = Path(config["output"]) / "tables" / f"table_{plan.name}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(markdown(plan, measured), encoding="utf-8")
    console.print(f"as Markdown: {target}", soft_wrap=True)
    return well(failed)


def _say_why(found: Sequence[Cell]) -> None:
    """Each reason once."""
    for (status, why), count in Counter((cell.status, cell.why) for cell in found if cell.why).items():
        console.print(f"{status} ({count} cell{'s' * (count > 1)}): {why}", soft_wrap=True)


def _say_cost(wanted: Sequence[Cell], config: Config, launcher: Sequence[str]) -> None:
    """Print the cost of every training and evaluation that is wanted, whether or not its data are here."""
    total = 0.0
    trainings = dict.fromkeys((cell.encoder, cell.seed) for cell in wanted)
    for encoder in dict.fromkeys(encoder for encoder, _ in trainings):
        found = {seed: _machine(encoder, seed, config, launcher) for other, seed in trainings if other is encoder}
        seeds = [seed for seed, machine in found.items() if not has_begun(machine)]
        if encoder.identity[0] == RANDOM_INIT or not seeds:
            continue
        cost = measure_cost(found[seeds[0]])
        total += cost.hours * len(seeds)
        times = f" x {len(seeds)} seeds" if len(seeds) > 1 else ""
        console.print(
            f"train {encoder.label}: {in_time(3600 * cost.hours)}{times} on {cost.device} ({cost.steps:,} steps)",
        )
    for name in dict.fromkeys(cell.evaluation for cell in wanted):
        count = sum(cell.evaluation == name for cell in wanted)
        console.print(f"evaluate {name} x {count}: {cost_of(name)}", soft_wrap=True)
    if trainings:
        console.print(
            f"training in all: {in_time(3600 * total)}, by a step or two of noise; reading the data is not in it",
        )


def cost_of(evaluation: str) -> str:
    """Return what the preset's first comment says of its cost."""
    text = (files(CONFIG_MODULE) / "eval" / f"{evaluation}.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    _, found, rest = comment.partition("Cost: ")
    return rest.split(". ")[0].rstrip(".") if found else "not known"


def _machine(encoder: TableLine, seed: int, config: Config, launcher: Sequence[str]) -> Config:
    """The configuration of a training, as its process will see it."""
    return of_process([*training_words(encoder, seed, config), "eval=[]", *launcher])


def _run(wanted: Sequence[Cell], config: Config, launcher: Sequence[str]) -> dict[str, int]:
    """A process for each encoder and seed, one after the other; with a launcher of jobs all at once. Exit codes of failures."""
    commands = {}
    for encoder, seed in dict.fromkeys((cell.encoder, cell.seed) for cell in wanted):
        evaluations = [cell.evaluation for cell in wanted if cell.encoder is encoder and cell.seed == seed]
        asked = [f"eval=[{','.join(evaluations)}]", "baseline=false", "resume=auto"]
        words = [*training_words(encoder, seed, config), *asked, *launcher]
        commands[f"{encoder.label}, seed {seed}"] = command(words)
    return run_all(commands)
