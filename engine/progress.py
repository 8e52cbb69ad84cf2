"""Show how an encoder trains: a bar on a terminal or in a notebook, a line every half minute in a log."""

import csv
import math
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from longtake.console import Bars, console
from longtake.methods.base import Duration

LINE_SECONDS = 30.0
SMOOTHING = 0.95  # of the shown loss, per step
FLOORS = {
    "feature_std": 0.05,
    "rankme": 2.0,
    "target_kl": 0.05,
}  # below: collapsed. Untrained ViTs have 0.6, 16 (of 64 images), 1 to 4


class TrainingProgress(Callback):
    """Step, epoch, smoothed loss, learning rate, clips per second, the share of time spent waiting for data, time left."""

    def __init__(self, duration: Duration) -> None:
        self.duration = duration
        self.loss = math.nan
        self.waited = 0.0
        self.bar: Bars | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.first = trainer.global_step
        self.start = self.ended = self.printed = time.monotonic()
        columns = (
            TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(elapsed_when_finished=False),
        )  # fmt: skip
        self.live = console.is_terminal or console.is_jupyter
        self.bar = Bars(*columns, console=console, disable=not (trainer.is_global_zero and self.live))
        self.task = self.bar.add_task("", total=self.duration.num_steps, completed=self.first, status="")
        self.bar.start()

    def on_train_batch_start(self, *_: Any) -> None:
        self.waited += time.monotonic() - self.ended

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.ended = time.monotonic()
        loss = float(trainer.callback_metrics.get("loss", math.nan))  # none yet when the first step was skipped
        self.loss = loss if math.isnan(self.loss) else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        assert self.bar is not None
        self.bar.update(self.task, completed=trainer.global_step, status=self.status(trainer))
        if trainer.is_global_zero and not self.live and self.ended - self.printed > LINE_SECONDS:
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
        rate = float(trainer.callback_metrics.get("lr", math.nan))
        return (
            f"epoch {epoch}/{self.duration.epochs}  loss {self.loss:.3f}  lr {rate:.1e}  "
            f"{self.steps(trainer) * self.duration.batch_size / seconds:.1f} clips/s  data_wait {100 * self.waited / seconds:.0f} %"
        )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert self.bar is not None
        self.bar.stop()
        if trainer.is_global_zero:
            console.print(f"pretrained: step {trainer.global_step}/{self.duration.num_steps}  {self.status(trainer)}")

    def on_exception(self, *_: Any) -> None:
        if self.bar is not None:  # else it went wrong before the first step
            self.bar.stop()


def draw_curves(folder: Path) -> None:
    """`loss.png`: every term over the steps of a run, from all parts of its log; `health.png`: what tells collapse, one by one."""
    from matplotlib.figure import Figure

    losses, signs = (curves(folder, prefix) for prefix in ("loss/", "health/"))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    for name, (steps, values) in losses.items():
        axes.plot(steps, values, label=name)
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=120)
    if signs:
        figure = Figure(figsize=(7, 1.4 * len(signs) + 0.4), layout="constrained")
        for axis, (name, (steps, values)) in zip(
            figure.subplots(len(signs), sharex=True, squeeze=False)[:, 0], signs.items(), strict=True
        ):
            axis.plot(steps, values)
            axis.set_title(name, fontsize=8, loc="left", parse_math=False)
        axis.set_xlabel("step")
        figure.savefig(folder / "health.png", dpi=100)


def curves(folder: Path, prefix: str) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of every logged number whose name begins with `prefix`, from all parts of a run's log.

    A step that was taken again counts once, and a line that a power cut has left unfinished not at all.
    """
    rows = [row for path in folder.glob("logs/from_step_*/metrics.csv") for row in csv.DictReader(_lines(path))]
    rows = sorted((row for row in rows if _number(row.get("step"))), key=lambda row: int(row["step"]))
    names = sorted({name for row in rows for name in row if name and name.startswith(prefix)})
    found = {}
    for name in names:
        seen = {int(row["step"]): value for row in rows for value in _number(row.get(name))}
        found[name.removeprefix(prefix)] = (list(seen), list(seen.values()))
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").replace("\0", "").splitlines()


def _number(text: str | None) -> list[float]:
    """The number, if it is one."""
    try:
        return [float(text or "")]
    except ValueError:
        return []


def health_line(folder: Path) -> str:
    """The last look at the run's health, and a word of warning when its features or its targets are all the same."""
    last = {name: values[-1] for name, (_, values) in curves(folder, "health/").items() if values}
    shown = "  ".join(f"{name} {value:.3g}" for name, value in last.items())
    collapsed = [name for name, floor in FLOORS.items() if last.get(name, floor) < floor]
    if collapsed:
        shown += f"\nlooks collapsed: {', '.join(collapsed)} close to the value of features that are all the same (health.png)"
    if skipped := int(last.get("skipped_steps", 0)):
        shown += (
            f"\n{skipped} step(s) were not finite and changed nothing: a lower method.lr, a longer method.warmup_epochs or "
            "trainer.precision=32-true keep them finite"
        )
    return f"health: {shown}"
