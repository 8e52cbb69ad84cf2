"""What is watched of a command (calls of the encoder, steps of optimisers, files left behind), and how it is disturbed.

For `probe.py` alone.
"""

import contextlib
import csv
import inspect
import json
import os
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

# Files whose calls are no part of a number: a plan's trial of the machine, the picture at the end of a training.
BESIDE = (("engine", "probe.py"), ("engine", "forecast.py"), ("visualize", "found.py"))


@contextlib.contextmanager
def watched(found: Any) -> Iterator[None]:
    """Add what the encoder sees and answers, and what each step of an optimiser makes of the weights: accuracies are coarse."""
    vit, names = import_module("longtake.backbones.vit").ViT, ("forward", "intermediate")
    plain = {name: getattr(vit, name) for name in names}

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, list | tuple):
            for part in value:
                add(part)

    def wrapped(name: str) -> Any:
        def call(self: Any, x: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
            answer = plain[name](self, x, *arguments, **keywords)
            if not beside():
                add((x, answer))
            return answer

        return call

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        add([parameter for group in optimizer.param_groups for parameter in group["params"]])

    handle = register_optimizer_step_post_hook(stepped)
    for name in names:
        setattr(vit, name, wrapped(name))
    try:
        yield
    finally:
        handle.remove()
        for name in names:
            setattr(vit, name, plain[name])


def beside() -> bool:
    """Whether what runs is no part of a number: a plan's trial of the machine, the picture at the end of a training."""
    frame = inspect.currentframe()
    while frame is not None:
        if Path(frame.f_code.co_filename).parts[-2:] in BESIDE:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def stopping_after(steps: int) -> Iterator[None]:
    """SIGTERM comes in the middle of a training, as from a cluster, and Ctrl-C in the middle of an evaluation that trains."""
    method = import_module("longtake.methods.base").Method
    step, pretraining = method.training_step, iter(range(1, 10**9))
    tuning = iter(range(1, 10**9))

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if next(pretraining) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments, **keywords)

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if next(tuning) == steps and next(pretraining) == 1:  # nothing is pretrained
            raise KeyboardInterrupt

    method.training_step = counted
    handle = register_optimizer_step_post_hook(stepped)
    try:
        yield
    finally:
        method.training_step = step
        handle.remove()


@contextlib.contextmanager
def poisoning(wanted: bool) -> Iterator[None]:
    """The loss of the third step is not a number, nor is a gradient of the fifth."""
    method = import_module("longtake.methods.base").Method
    step, count = method.training_step, iter(range(1, 10**9))

    def poisoned(self: Any, *arguments: Any, **keywords: Any) -> Any:
        number = next(count)
        if number == 3:
            losses = self.losses
            self.losses = lambda views: {name: value * float("nan") for name, value in losses(views).items()}
            try:
                return step(self, *arguments, **keywords)
            finally:
                del self.losses
        loss = step(self, *arguments, **keywords)
        if number == 5:
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    if wanted:
        method.training_step = poisoned
    try:
        yield
    finally:
        method.training_step = step


def left_behind(folder: Path, found: Any) -> None:
    """Add the encoder and the losses of a training, the outcomes of an evaluation: bytes, not names of files."""
    for path in sorted(p for p in folder.glob("*/encoder.safetensors") if not p.parent.is_symlink()):  # not `latest`
        for name, tensor in sorted(load_file(path).items()):
            found.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
        for log in sorted(path.parent.glob("logs/*/metrics.csv")):
            found.update(logged_losses(log))
    for path in sorted(p for p in folder.glob("*/eval/*/outcomes.npz") if not p.parents[2].is_symlink()):
        with np.load(path) as arrays:
            for name in sorted(arrays.files):
                found.update(name.encode() + str(arrays[name].shape).encode() + arrays[name].tobytes())


def logged_losses(log: Path) -> bytes:
    """Step and loss terms of a log, in the order of their names."""
    with log.open() as file:
        rows = [{k: v for k, v in row.items() if k == "step" or k.startswith("loss")} for row in csv.DictReader(file)]
    return json.dumps([sorted(row.items()) for row in rows if any(v for k, v in row.items() if k != "step")]).encode()
