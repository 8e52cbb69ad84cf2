"""What a person sees while an encoder trains: a bar on a terminal, a line every half minute in a log."""

import csv
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from longtake.console import console
from longtake.methods.base import Duration

LINE_SECONDS = 30.0
SMOOTHING = 0.95  # of the shown loss, per step


class TrainingProgress(Callback):
    """Step, epoch, smoothed loss, learning rate, clips per second, the share of time spent waiting for data, time left."""

    def __init__(self, duration: Duration) -> None:
        self.duration = duration
        self.loss: float | None = None
        self.waited = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.first = trainer.global_step
        self.start = self.ended = self.printed = time.monotonic()
        columns = (
            TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(elapsed_when_finished=False),
        )  # fmt: skip
        self.bar = Progress(*columns, console=console, disable=not (trainer.is_global_zero and console.is_terminal))
        self.task = self.bar.add_task("", total=self.duration.num_steps, completed=self.first, status="")
        self.bar.start()

    def on_train_batch_start(self, *_: Any) -> None:
        self.waited += time.monotonic() - self.ended

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.ended = time.monotonic()
        loss = float(trainer.callback_metrics["loss"])
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        self.bar.update(self.task, completed=trainer.global_step, status=self.status(trainer))
        if trainer.is_global_zero and not console.is_terminal and self.ended - self.printed > LINE_SECONDS:
            self.printed = self.ended
            left = (self.ended - self.start) / self.steps(trainer) * (self.duration.num_steps - trainer.global_step)
            console.print(
                f"step {trainer.global_step}/{self.duration.num_steps}  {self.status(trainer)}  ETA {left / 60:.1f} min"
            )

    def steps(self, trainer: lightning.Trainer) -> int:
        return max(trainer.global_step - self.first, 1)

    def status(self, trainer: lightning.Trainer) -> str:
        seconds = max(self.ended - self.start, 1e-9)
        epoch = (trainer.global_step - 1) // self.duration.steps_per_epoch + 1
        return (
            f"epoch {epoch}/{self.duration.epochs}  loss {self.loss:.3f}  lr {float(trainer.callback_metrics['lr']):.1e}  "
            f"{self.steps(trainer) * self.duration.batch_size / seconds:.1f} clips/s  data_wait {100 * self.waited / seconds:.0f} %"
        )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.bar.stop()
        if trainer.is_global_zero:
            console.print(f"pretrained: step {trainer.global_step}/{self.duration.num_steps}  {self.status(trainer)}")

    def on_exception(self, *_: Any) -> None:
        self.bar.stop()


def draw_loss(folder: Path) -> None:
    """`loss.png`: every loss term over the steps of a run, from all parts of its log."""
    rows = [row for path in folder.glob("logs/from_step_*/metrics.csv") for row in csv.DictReader(path.open())]
    rows = sorted((row for row in rows if row["loss"]), key=lambda row: int(row["step"]))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    for name in [name for name in rows[0] if name.startswith("loss/")]:
        axes.plot(
            [int(row["step"]) for row in rows],
            np.array([float(row[name]) for row in rows]),
            label=name.removeprefix("loss/"),
        )
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=120)
