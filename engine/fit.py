"""Pretraining: from a frame store and a method to an encoder file. Lightning runs it; what people see and what survives is here."""

import logging
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from longtake.backbones.finite import NotFinite, check_weights
from longtake.backbones.weights import save_encoder
from longtake.datasets.clips import Clips
from longtake.datasets.sampler import StepSampler
from longtake.datasets.views import Views, collate
from longtake.engine.cost import device_name, peak_memory_gb
from longtake.engine.progress import TrainingProgress
from longtake.files import refuse_to_write, succeed
from longtake.methods.base import Method
from longtake.methods.training import Training

ADVICE = "; lower method.lr, raise method.warmup_epochs, or set trainer.precision=32-true"
# our plan and bar say what its notes say
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


class Interrupted(Exception):
    """A run was asked to stop and has stopped in order; the number is the signal's."""


class ClipData(lightning.LightningDataModule):
    """Batches of views. Which clips a step sees depends on the step alone, so a continued run needs no state of the loader."""

    def __init__(self, clips: Clips, batch_size: int, num_steps: int, num_workers: int) -> None:
        super().__init__()
        self.clips, self.batch_size, self.num_steps, self.num_workers = clips, batch_size, num_steps, num_workers

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        self.clips.set_epoch(0)  # the sampler gives ids
        sampler = StepSampler(
            self.clips.clips_per_epoch,
            self.batch_size // self.trainer.world_size,
            self.num_steps,
            first_step=self.trainer.global_step,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return DataLoader(
            self.clips,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=list if self.clips.late_views else collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=one_thread if self.num_workers else None,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Views:
        """Late views are made here, on the device."""
        if isinstance(batch, Views):
            return batch
        return collate([(self.clips.views_of(frames, index), index) for frames, index in batch])


def one_thread(_: int) -> None:
    """Workers share the cores with the training: each takes one, and leaves Ctrl-C to the parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Straight(TorchCheckpointIO):
    """Checkpoints go where they are told to: Lightning's own are made in memory, then in /tmp, which may be small, then moved."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with Path(path).open("wb") as stream:
            torch.save(checkpoint, stream)


class Safekeeping(Callback):
    """Writes `last.ckpt` every so many minutes, at the end, and when one of `signals` asks the run to stop; counts its seconds."""

    def __init__(self, path: Path, minutes: float, signals: Sequence[int]) -> None:
        self.path, self.interval, self.signals = path, 60 * minutes, signals
        self.seconds = 0.0  # of training, this run and the ones it continues
        self.signal: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._tick = self._saved = time.monotonic()
        self._listen()  # again: Lightning put its own handler of SIGTERM around ours

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals inside the block; what took them before does so again after it."""
        previous = self._listen()
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _listen(self) -> dict[int, Any]:
        return {number: signal.signal(number, self._on_signal) for number in self.signals}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: now
        self.signal = number

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        now = time.monotonic()
        self.seconds, self._tick = self.seconds + now - self._tick, now
        stop = trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)
        if stop or trainer.strategy.reduce_boolean_decision(now - self._saved > self.interval, all=False):
            self.save(trainer)
        trainer.should_stop = trainer.should_stop or stop

    def save(self, trainer: lightning.Trainer) -> None:
        """The file is replaced when the new one is on the disk, and the one before is kept: a power cut leaves one of them.

        Raises `NotFinite` for weights that are not finite, which are never saved.
        """
        part = self.path.with_suffix(".part")
        assert trainer.lightning_module is not None
        check_weights(trainer.lightning_module.state_dict(), f"step {trainer.global_step}", ADVICE)
        try:
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                succeed(part, self.path, self.path.with_name("previous.ckpt"))
        except Exception as error:
            part.unlink(missing_ok=True)
            refuse_to_write(self.path, error)
            raise
        self._saved = time.monotonic()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.signal is None:
            check_learnt(int(pl_module.state_dict()["num_skipped"]), trainer.global_step)
            self.save(trainer)


def fit(
    method: Method,
    clips: Clips,
    folder: Path,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    **options: Any,
) -> None:
    """Train to the end, continuing from `folder/last.ckpt` where there is one; write `folder/encoder.safetensors`.

    `callbacks` and `loggers` are beside ours; `options` are Lightning's: accelerator, devices, strategy, profiler.

    The encoder's header holds `identity` and what the training cost: steps, frames seen, hours, peak memory (GB), device. Raises
    `Interrupted` when a signal stopped it; the checkpoint and the encoder so far are written then too.
    """
    settings, device, checkpoint = config["trainer"], config["device"], folder / "last.ckpt"
    first_step = (
        torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"] if checkpoint.is_file() else 0
    )
    stopping = ("INT", *settings["stop_signals"])  # Windows lacks some
    numbers = [getattr(signal, f"SIG{name}") for name in stopping if hasattr(signal, f"SIG{name}")]
    safe = Safekeeping(checkpoint, settings["checkpoint_minutes"], numbers)
    trainer = lightning.Trainer(
        **options,
        num_nodes=settings["num_nodes"],
        precision=settings["precision"],
        max_steps=method.duration.num_steps,
        max_epochs=-1,
        callbacks=[TrainingProgress(method.duration), safe, *callbacks],
        plugins=[Straight()],
        # the CSV logger deletes what an earlier part of the run wrote, unless each part has its own folder
        logger=[
            CSVLogger(folder, "logs", f"from_step_{first_step}", flush_logs_every_n_steps=10),
            *loggers,
        ],
        log_every_n_steps=settings["log_every_n_steps"],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    data = ClipData(clips, method.duration.batch_size, method.duration.num_steps, config["num_workers"])
    with warnings.catch_warnings(), safe.listening():
        # the teacher is meant to be in eval mode, the number of workers is chosen by configs/run.yaml
        warnings.filterwarnings(
            "ignore",
            message=r"Found \d+ module\(s\) in eval mode|.*does not have many workers|.*treespec|.*dataloader is not resumable",
        )
        trainer.fit(Training(method), datamodule=data, ckpt_path=checkpoint if first_step else None, weights_only=True)
    steps = trainer.global_step
    cost = {
        "frames_seen": steps * method.duration.batch_size * clips.num_frames,
        "hours": safe.seconds / 3600,
        "peak_memory_gb": peak_memory_gb(device),
        "device": device_name(device),
    }
    if trainer.is_global_zero:
        # stopped early, the encoder has seen fewer epochs than it was meant to: its row must not claim more
        save_encoder(
            method.encoder,
            folder / "encoder.safetensors",
            {**identity, **cost, "steps": steps, "epochs": steps // method.duration.steps_per_epoch},
        )
    if safe.signal is not None:
        raise Interrupted(safe.signal)


def check_learnt(skipped: int, steps: int) -> None:
    """Raise `NotFinite` for a training most of whose steps changed nothing: its encoder is no result of the method."""
    if 2 * skipped > steps:
        raise NotFinite(f"{skipped} of {steps} steps were not finite and changed nothing: there is no encoder{ADVICE}")
