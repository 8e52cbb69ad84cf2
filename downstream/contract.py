"""The contract that every evaluation keeps, whoever wrote it: `run task=check eval=[NAME]`, and the tests over configs/eval.

Not here but in the tests: two processes give the same as one, and perfect predictions score 100.
"""

import copy
import random
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from longtake.downstream.base import HARMLESS, Downstream, Encoder

MakeEvaluation = Callable[..., Downstream]  # the evaluation, with some of its settings changed
Arrays = Mapping[str, np.ndarray]

DIFFERENCE = "_decay"  # ends the name of a metric whose outcomes are differences of two shares: from -1 to 1
# Metrics whose outcomes are no shares, although their mean is one, and why.
NOT_SHARES = dict.fromkeys(
    ("miou", "macc", "icl_miou", "icl_macc"), "what an image adds to a mean over classes (downstream/miou.py)"
)
# Settings that count as harmless and yet make another draw of the same training, and why: classes, with what is set.
MOVES = {
    ("Finetune", "batch_size"): "the gradients of more passes are added up, and each pass draws its own drop path",
    ("SeqTrack", "batch_size"): "the gradients of more passes are added up, and each pass draws its own dropout",
}


class Found(NamedTuple):
    """Result of an evaluation: metrics, outcomes of its items, the harm done to the encoder (None: none), the seconds it took."""

    metrics: dict[str, float]
    items: np.ndarray
    groups: np.ndarray | None
    outcomes: Arrays
    harm: str | None
    seconds: float


class Trial:
    """An evaluation and an encoder to try it with; every run has a folder of its own in `folder`.

    `relisted` makes the same evaluation on the same data, whose lists have another order; None leaves that out.
    """

    def __init__(
        self, make: MakeEvaluation, encoder: Encoder, folder: Path, relisted: MakeEvaluation | None = None
    ) -> None:
        self.make, self.encoder, self.folder, self.relisted = make, encoder, folder, relisted
        self.runs = 0

    @cached_property
    def plain(self) -> Found:
        return self.run(self.make())

    def run(self, task: Downstream, encoder: Encoder | None = None, seed: int = 0) -> Found:
        """`seed` is that of the global generators, which no evaluation may depend on."""
        encoder = encoder or self.encoder
        workdir, self.runs = self.folder / str(self.runs), self.runs + 1
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - who draws from it without a seed is to be found
        torch.manual_seed(seed)
        before, began = state_of(encoder), time.monotonic()
        metrics = task.evaluate(encoder, workdir)
        seconds = time.monotonic() - began
        with np.load(workdir / "outcomes.npz") as file:
            outcomes = dict(file)
        items, groups = outcomes.pop("items"), outcomes.pop("groups", None)
        return Found(metrics, items, groups, outcomes, changed(before, state_of(encoder)), seconds)


def outcomes_are_shares(trial: Trial) -> str | None:
    """NaN where an item does not count."""
    for metric, values in trial.plain.outcomes.items():
        low = -1 if metric.endswith(DIFFERENCE) else 0
        shares = values if metric not in NOT_SHARES else np.atleast_1d(np.nanmean(values))
        wrong = shares[~np.isnan(shares) & ~((low <= shares) & (shares <= 1))]
        if len(wrong):
            return f"{metric}: an outcome is {wrong[0]}, expected {low} to 1 (NOT_SHARES names metrics of another kind)"
    return None


def items_are_named_once_and_each_has_an_outcome(trial: Trial) -> str | None:
    items, groups, outcomes = trial.plain.items, trial.plain.groups, trial.plain.outcomes
    names, counts = np.unique(items, return_counts=True)
    if items.dtype.kind != "U" or (counts > 1).any():
        return f"{names[counts.argmax()]} names {counts.max()} items of type {items.dtype}, expected different texts"
    sizes = {metric: values.shape for metric, values in outcomes.items()}
    sizes |= {"groups": groups.shape} if groups is not None else {}
    return next(
        (f"{name} has {size}, expected {items.shape}" for name, size in sizes.items() if size != items.shape), None
    )


def metrics_are_the_means_of_their_outcomes(trial: Trial) -> str | None:
    """In per cent, exactly; declared by the class, and in its order."""
    metrics, outcomes, task = trial.plain.metrics, trial.plain.outcomes, trial.make()
    if list(metrics) != [name for name in task.metrics if name in metrics] or not metrics:
        return f"returns {list(metrics)}, declares {list(task.metrics)}"
    if metrics.keys() != outcomes.keys() or not set(task.primary) <= set(task.metrics):
        return f"returns {list(metrics)}, keeps outcomes of {list(outcomes)}; primary are {list(task.primary)}"
    for name, value in metrics.items():
        mean = 100 * float(np.nanmean(outcomes[name], dtype=np.float64))
        if not np.isfinite(value) or value != mean:
            return f"{name} is {value}, 100 times the mean of its outcomes {mean}"
    return None


def the_encoder_is_left_as_it_was(trial: Trial) -> str | None:
    """Weights, gradients, and the mode of every module."""
    return trial.plain.harm


def evaluation_is_deterministic(trial: Trial) -> str | None:
    """Whatever the global generators would draw and whether the encoder was in training."""
    again = copy.deepcopy(trial.encoder)
    assert isinstance(again, nn.Module)
    again.train(not again.training)
    list(again.modules())[-1].train(not again.training)  # modes are mixed, and left so
    found = trial.run(trial.make(), again, seed=1)
    return found.harm or difference(trial.plain, found)


def items_are_the_same_for_every_encoder(trial: Trial) -> str | None:
    """So that two encoders can be compared item by item."""
    other = copy.deepcopy(trial.encoder)
    assert isinstance(other, nn.Module)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())).to(p.device))
    found = trial.run(trial.make(), other)
    same = np.array_equal(found.items, trial.plain.items) and list(found.metrics) == list(trial.plain.metrics)
    return None if same else "another encoder has other items or metrics"


def harmless_settings_change_nothing(trial: Trial) -> str | None:
    """All of them together; where that changes something, one after another."""
    changes = harmless(trial.make)[0]
    if difference(trial.plain, trial.run(trial.make(**changes))) is None:
        return None
    alone = {key: difference(trial.plain, trial.run(trial.make(**{key: value}))) for key, value in changes.items()}
    guilty = "; ".join(f"{key}={changes[key]}: {reason}" for key, reason in alone.items() if reason)
    return guilty or f"together {changes} change something"


def order_of_the_lists_does_not_matter(trial: Trial) -> str | None:
    if trial.relisted is None:
        return None
    return difference(by_name(trial.plain), by_name(trial.run(trial.relisted())))


OF_ONE_RUN = (
    outcomes_are_shares,
    items_are_named_once_and_each_has_an_outcome,
    metrics_are_the_means_of_their_outcomes,
    the_encoder_is_left_as_it_was,
)
OF_SEVERAL = (
    evaluation_is_deterministic,
    items_are_the_same_for_every_encoder,
    harmless_settings_change_nothing,
    order_of_the_lists_does_not_matter,
)
CONTRACT = (*OF_ONE_RUN, *OF_SEVERAL)


def harmless(make: MakeEvaluation) -> tuple[dict[str, Any], dict[str, str]]:
    """Other values of the evaluation's `HARMLESS` settings, and why some of these settings cannot be tried."""
    task, changes, left_out = make(), {}, {}
    for key in (key for key in HARMLESS if hasattr(task, key)):
        value = another(key, getattr(task, key))
        if key == "device" or value == getattr(task, key):
            left_out[key] = "there is no other value to try" if key != "device" else "takes another device"
        elif reason := MOVES.get((type(task).__name__, key)):
            left_out[key] = f"another draw of the same training: {reason}"
        elif (protocol := make(**{key: value}).protocol) != task.protocol:
            left_out[key] = f"{value} is another protocol, {protocol}, and the row says so"
        elif make(**{key: value}).check():
            left_out[key] = f"{value} needs data that are not there"
        else:
            changes[key] = value
    return changes, left_out


def another(key: str, value: Any) -> Any:
    """Half the batch, a worker or none, a save at every step, the other way round."""
    if key == "batch_size":
        return value // 2 if value and value % 2 == 0 else 1
    if key == "num_workers":
        return int(not value)
    return 1 + (value == 1) if key == "save_every" else not value


def difference(a: Found, b: Found) -> str | None:
    """The first thing that is not bit-equal."""
    if not np.array_equal(a.items, b.items):
        return "other items, or in another order"
    for metric, values in a.outcomes.items():
        if metric not in b.outcomes or not np.array_equal(values, b.outcomes[metric], equal_nan=True):
            return f"{metric} is {b.metrics.get(metric)} instead of {a.metrics[metric]}, or of other items"
    return None if a.metrics == b.metrics else f"{b.metrics} instead of {a.metrics}"


def by_name(found: Found) -> Found:
    """With its items in the order of their names, and metrics that do not depend on the order in which they are added up."""
    order = np.argsort(found.items)
    outcomes = {metric: values[order] for metric, values in found.outcomes.items()}
    metrics = {metric: 100 * float(np.nanmean(values, dtype=np.float64)) for metric, values in outcomes.items()}
    return found._replace(items=found.items[order], outcomes=outcomes, metrics=metrics)


def state_of(encoder: Encoder) -> dict[str, Any]:
    """Return the state of an encoder, which an evaluation has to leave as it was."""
    assert isinstance(encoder, nn.Module)
    return {
        "weights": {name: value.clone() for name, value in encoder.state_dict().items()},
        "modes": [module.training for module in encoder.modules()],
        "trained": [(p.requires_grad, p.grad is None) for p in encoder.parameters()],
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    a, b = before["weights"], after["weights"]
    moved = [name for name in a if name not in b or not torch.equal(a[name], b[name].to(a[name].device))]
    if moved or a.keys() != b.keys():
        return f"the encoder's {moved[0] if moved else 'keys'} changed"
    if before["modes"] != after["modes"]:
        return "modules of the encoder are in another mode than before"
    return None if before["trained"] == after["trained"] else "parameters of the encoder have gradients, or lost them"
