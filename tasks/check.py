"""`run task=check method=NAME`: the contract of methods/contract.py on one method, on real clips of the chosen `pretrain`."""

import warnings

import torch
from rich.table import Table

from longtake.console import console
from longtake.datasets.clips import Clips
from longtake.datasets.views import Views, collate
from longtake.engine.identity import Config
from longtake.engine.plan import build_method, make_plan
from longtake.engine.session import open_clips
from longtake.methods.base import Duration, Method
from longtake.methods.contract import CONTRACT
from longtake.tasks import TASKS

CLIPS, STEPS = 8, 4  # two epochs of two steps


@TASKS.named("check")
def check(config: Config) -> None:
    """Print one line per clause; raise `ValueError` when one is broken."""
    plan = make_plan(config)
    if plan.source is None:
        raise ValueError("task=check needs a method that trains: method=dino")
    clips = open_clips(plan)
    assert clips is not None
    broken = broken_clauses(plan.config, clips)
    if broken:
        raise ValueError(
            f"method {plan.config['method']['name']} breaks {len(broken)} of {len(CONTRACT)} clauses: {', '.join(broken)}"
        )


def broken_clauses(config: Config, clips: Clips) -> list[str]:
    """The names of the clauses that do not hold, printed with the reason."""
    batches = first_batches(clips)
    duration = Duration(config["epochs"], STEPS // 2, CLIPS)

    def make() -> Method:
        return build_method(config, duration)

    table, broken = Table("", "clause", "", box=None), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, about loaders of four batches
        for clause in CONTRACT:
            reason = clause(make, batches)
            words = clause.__name__.replace("_", " ")
            table.add_row("[red]broken[/]" if reason else "[green]holds[/]", words, reason or "")
            broken += [words] if reason else []
    console.print(table)
    return broken


def first_batches(clips: Clips) -> list[Views]:
    """Batches as training makes them."""
    count = CLIPS * STEPS
    ids = torch.arange(count) % len(clips)
    samples = [clips[int(i)] for i in ids]
    return [collate(samples[first : first + CLIPS]) for first in range(0, count, CLIPS)]
