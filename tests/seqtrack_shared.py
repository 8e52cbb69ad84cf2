"""What two processes do with SeqTrack in its test of sharing (a module that a spawned process can import)."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from seqtrack_runs import RECIPE
from torch import Tensor, nn

from longtake.backbones.vit import ViT
from longtake.datasets.got10k import Track
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.drawing import Budget, batches
from longtake.downstream.seqtrack_tracker import SequenceTracker
from longtake.downstream.seqtrack_train import Network
from longtake.downstream.tuning import Passes, Tuning, polynomial

STEPS = 4


def seqtrack(root: str, **changes: object):
    """Four steps of two passes, of one process or of two; dropout is on."""
    keys = ("bins", "search_size", "template_size", "train_batch_size", "batch_size", "lr", "drop_epoch")
    settings = {key: getattr(RECIPE, key) for key in keys} | {"epochs": 2, "samples_per_epoch": 16, "save_every": 3}
    return DOWNSTREAM["seqtrack"](**{"preset": "shared", "root": root, "progress": False, **settings, **changes})


def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 32)


def losses(workdir: Path) -> Tensor:
    lines = (workdir / "seqtrack_loss.csv").read_text().splitlines()[1:]
    return torch.tensor([float(line.split(",")[1]) for line in lines], dtype=torch.float64)


def together(rank: int) -> dict[str, Tensor | list[str]]:
    """Metrics of a frozen encoder, of a trained one, and of one whose training was stopped; what this process followed."""
    root, folder = os.environ["SHARED_ROOT"], Path(os.environ["SHARED_OUT"])
    followed, follow = list[str](), SequenceTracker.follow

    def noted(self: SequenceTracker, tracks: list[Track], *rest: object):
        followed.extend(track.name for track in tracks)
        return follow(self, tracks, *rest)  # type: ignore[arg-type]

    SequenceTracker.follow = noted  # type: ignore[method-assign, assignment]
    found: dict[str, Tensor | list[str]] = {}
    for freeze in (True, False):  # each process in a folder of its own, to see who writes
        metrics = seqtrack(root, freeze=freeze).evaluate(encoder(), folder / f"{rank}_{freeze}")
        found[f"metrics {freeze}"] = torch.tensor(list(metrics.values()), dtype=torch.float64)
    found["followed"] = followed[: len(followed) // 2]
    stopped_in_both(seqtrack(root), folder / "stopped")
    metrics = seqtrack(root).evaluate(encoder(), folder / "stopped")
    found["metrics stopped"] = torch.tensor(list(metrics.values()), dtype=torch.float64)
    return {**found, "said": [not_finite_in_one(rank, folder / "nan.ckpt")]}


def stopped_in_both(task, workdir: Path) -> None:
    """Stopped in the last step, one after the checkpoint."""
    forward, passes = Network.forward, 0

    def counted(self: Network, sample: object) -> Tensor:
        nonlocal passes
        passes += 1
        if passes == STEPS:
            raise KeyboardInterrupt
        return forward(self, sample)  # type: ignore[arg-type]

    Network.forward = counted  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            task.evaluate(encoder(), workdir)
    finally:
        Network.forward = forward  # type: ignore[method-assign]
    dist.barrier()  # the first process may still be writing


def not_finite_in_one(rank: int, checkpoint: Path) -> str:
    """What each process says when the loss is not finite in the second one alone."""
    network, budget = nn.Linear(1, 1), Budget(2, 4, 2)
    tuning = Tuning(network, torch.optim.SGD(network.parameters()), polynomial(2, 0), checkpoint, "same")
    loss_of = lambda model, batch: {"odd": model(batch).mean() * (float("nan") if rank else 1.0)}  # noqa: E731
    try:
        tuning.run(Passes(network, loss_of, batches(torch.ones(8, 1), budget, 0, 0), budget), 2, budget.save_due)
    except FloatingPointError as error:
        return str(error)
    return "nothing"
