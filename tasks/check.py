"""`run task=check method=NAME`: the contract of methods/contract.py on one method, on real clips of the chosen `pretrain`.

`run task=check eval=[NAME]`: the contract of downstream/contract.py on evaluations, on their data, with the encoder of
`checkpoint=FILE` or a randomly initialised one. Where the command line names both, both are checked.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from rich.table import Table

from longtake.backbones.vit import ViT
from longtake.console import console
from longtake.datasets.clips import Clips
from longtake.datasets.views import Views, collate
from longtake.downstream.base import Downstream
from longtake.downstream.contract import CONTRACT as OF_EVALUATIONS
from longtake.downstream.contract import NOT_SHARES, OF_ONE_RUN, Trial, harmless, order_of_the_lists_does_not_matter
from longtake.engine.command_line import asked_for
from longtake.engine.encoders import open_checkpoint
from longtake.engine.identity import Config
from longtake.engine.machine import resolve_machine
from longtake.engine.plan import build_backbone, build_evaluation, build_method, check_tasks, make_plan
from longtake.engine.pretraining import open_clips
from longtake.methods.base import Duration, Method
from longtake.methods.contract import CONTRACT
from longtake.tasks import TASKS

CLIPS, STEPS = 8, 4  # two epochs of two steps
# Of trainings, instead of what is longer; the contract does not ask how well they end.
SHORT = {"epochs": 1, "warmup_epochs": 0, "iterations": 4, "samples_per_epoch": 256}
SHORT_COSTS = (1e-2, 1e2, 3)  # of logistic regression, which has no such number
IN_TESTS = "tests/downstream/test_contract.py"
PATIENCE = 900.0  # seconds of one evaluation, beyond which it is not repeated


@TASKS.named("check")
def check(config: Config) -> None:
    """Print one line per clause; raise `ValueError` when one is broken."""
    evaluations = asked_for(config)
    if evaluations:
        check_evaluations(config)
    if not evaluations or any(word.startswith("method=") for word in HydraConfig.get().overrides.task):
        check_method(config)


def check_method(config: Config) -> None:
    """Raise `ValueError` when the chosen method breaks a clause."""
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

    return printed((clause.__name__, clause(make, batches)) for clause in CONTRACT)


def printed(reasons: Iterable[tuple[str, str | None]]) -> list[str]:
    """A line for each clause, with the reason why it does not hold; the names of those that do not."""
    table, broken = Table("", "clause", "", box=None), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, about loaders of four batches; k-NN's, about few images
        for name, reason in reasons:
            words = name.replace("_", " ")
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


def check_evaluations(config: Config) -> None:
    """Raise `ValueError` when an evaluation that was asked for breaks a clause, or none of them has data."""
    resolve_machine(config)
    tasks = {name: build_evaluation(keys) for name, keys in config["eval"].items()}
    missing = {name: f"{name}: {' '.join(lacks)}" for name, task in tasks.items() if (lacks := task.check())}
    if len(missing) == len(tasks):
        raise ValueError(f"nothing to check: {'; '.join(missing.values())}")
    encoder = encoder_of(config)
    check_tasks({name: task for name, task in tasks.items() if name not in missing}, encoder, config)
    for line in missing.values():
        console.print(f"cannot check {line}", soft_wrap=True)
    broken = {name: check_evaluation(name, config, encoder) for name in tasks if name not in missing}
    said = [f"eval.{name} breaks {len(names)} clause(s): {', '.join(names)}" for name, names in broken.items() if names]
    if said:
        raise ValueError("; ".join(said))


def encoder_of(config: Config) -> ViT:
    if config["checkpoint"] is None:
        return build_backbone(config).eval()
    return open_checkpoint(config)[0]


def check_evaluation(name: str, config: Config, encoder: ViT) -> list[str]:
    """The clauses that one evaluation breaks; also prints what of the contract was not looked at."""
    console.rule(name, align="left")
    keys = config["eval"][name]
    short = shortened(keys)
    if short:
        console.print(f"shortened: {', '.join(f'{key}={value}' for key, value in short.items())}", soft_wrap=True)

    def make(**changes: Any) -> Downstream:
        return build_evaluation({**keys, **short, **changes})

    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(make, encoder, Path(folder))
        patient = trial.plain.seconds <= PATIENCE
        clauses = OF_EVALUATIONS if patient else OF_ONE_RUN
        left_out = harmless(make)[1] if patient else {}
        left_out |= {f"each outcome of {m}": NOT_SHARES[m] for m in trial.plain.metrics if m in NOT_SHARES}
        left_out |= {words_of(c): f"took {trial.plain.seconds:.0f} s" for c in OF_EVALUATIONS if c not in clauses}
        left_out |= dict.fromkeys(["order of the lists", "perfect predictions"], IN_TESTS)
        left_out |= {"two processes": IN_TESTS} if make().shared else {}
        broken = broken_clauses_of(trial, [c for c in clauses if c is not order_of_the_lists_does_not_matter])
    for what, why in left_out.items():
        console.print(f"left out: {what} ({why})", soft_wrap=True)
    return broken


def broken_clauses_of(trial: Trial, clauses: Sequence[Callable[[Trial], str | None]]) -> list[str]:
    """The names of the clauses that an evaluation does not keep, printed with the reason."""
    return printed((clause.__name__, clause(trial)) for clause in clauses)


def words_of(clause: Callable) -> str:
    return clause.__name__.replace("_", " ")


def shortened(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Other lengths for a training whose settings these are."""
    short: dict[str, Any] = {key: value for key, value in SHORT.items() if keys.get(key, value) > value}
    return short | ({"costs": list(SHORT_COSTS)} if "costs" in keys else {})
