"""The plan of a run for people."""

import re
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from longtake.datasets.content import Content
from longtake.engine.forecast import WORKER_GB, Forecast, check_disk, forecast, in_bytes
from longtake.engine.length import in_time, seconds_in
from longtake.engine.plan import Plan

REASON = re.compile(r" \(expected|\. |; ")  # what follows the first of these is advice


def description(plan: Plan, recipe: str, picked: Sequence[str] = (), where: str = "") -> Table:
    """The plan for people; `recipe` says what a recipe has set, `picked` are the words that a budget has added.

    `where` says on what it will run, if not here.

    Raises `ValueError` where a disk has no room for what the run writes.
    """
    config = plan.config
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if plan.duration is not None:
        table.add_row("train", f"{config['method']['name']} on {config['backbone']['name']}: {_length(plan)}")
        if recipe:
            table.add_row("recipe", recipe)
        assert plan.source is not None
        named = f", {plan.source.title} in rows" if plan.source.digest() else ""
        table.add_row("data", Text(f"{plan.data}{named}"))
        where = where or f"{config['device']}, {config['trainer']['precision']}, {data_workers(config['num_workers'])}"
        table.add_row("on", f"{where}, seed {config['seed']}")
        _add_cost(table, plan, picked)
    elif config["checkpoint"] is not None:
        table.add_row("encoder", Text(str(config["checkpoint"])))
    else:
        table.add_row("encoder", f"{config['backbone']['name']}, randomly initialised, seed {config['seed']}")
    table.add_row("evaluate", ", ".join(plan.runnable) or "nothing")
    for content, names in tested_on(plan.contents).items():
        table.add_row("tested on", Text(f"{content} ({', '.join(names)})"))
    for line in cannot(plan.missing):
        table.add_row("cannot", Text(line))
    return table


def tested_on(contents: Mapping[str, Content | None]) -> dict[str, list[str]]:
    """The evaluations by what is in their data, where that has been counted."""
    found: dict[str, list[str]] = {}
    for name, content in contents.items():
        if content is not None and content.counts:
            found.setdefault(str(content), []).append(name)
    return found


def data_workers(count: int) -> str:
    """The data workers and their memory."""
    return f"{count} data worker(s) of about {in_bytes(1e9 * WORKER_GB)} each" if count else "no data workers"


def _length(plan: Plan) -> str:
    """Epochs, steps and frames: `24 epochs of 33 steps of 16 clips, T = 2: 792 steps, 25,344 frames`."""
    duration, clip = plan.duration, plan.config["method"]["num_frames"]
    assert duration is not None
    frames = duration.num_steps * duration.batch_size * clip
    steps = f"{duration.epochs} epochs of {duration.steps_per_epoch} steps of {duration.batch_size} clips, T = {clip}"
    return f"{steps}: {duration.num_steps:,} steps, {frames:,} frames"


def _add_cost(table: Table, plan: Plan, picked: Sequence[str]) -> None:
    """What a budget has picked, and what the run is expected to take."""
    budget, (store, checkpoints) = plan.config["budget"], check_disk(plan)
    disk = [f"{in_bytes(store)} for the frame store"] * (store > 0) + [f"{in_bytes(checkpoints)} for checkpoints"]
    if budget in (None, "auto"):
        return
    found = forecast(plan)
    words = [word for word in picked if not word.startswith("budget=")]
    table.add_row(
        "budget", f"{budget}: picked {' '.join(words)}" if words else f"{budget}: nothing is picked, all was given"
    )
    table.add_row(
        "takes",
        f"{_time(found, seconds_in(budget))}; memory about {in_bytes(found.memory)}; disk about {', '.join(disk)}",
    )


def _time(found: Forecast, budget: float) -> str:
    """Training and evaluations, and whether they are more than was asked for."""
    parts = [f"about {in_time(found.train_seconds)} of training"]
    parts += [f"about {in_time(found.eval_seconds)} of evaluations"] if found.eval_seconds else []
    unknown = f", and {', '.join(found.unknown)}, whose cost is not known" if found.unknown else ""
    over = f": about {in_time(found.seconds)}, over the budget" if found.seconds > 1.2 * budget else ""
    return " + ".join(parts) + over + unknown


def cannot(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each reason why evaluations cannot run, and one that says where to read more; [] where all can."""
    reasons: dict[str, list[str]] = {}
    for name, lacks in missing.items():
        reasons.setdefault(REASON.split(lacks[0].split("\n")[0], maxsplit=1)[0], []).append(name)
    lines = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return [*lines, f"how to get them: run task=check_data eval=[{','.join(missing)}]"] if lines else []
