"""What a run takes of the machine it is on: device, precision, number of workers, a folder to write to."""

import os
from pathlib import Path

import torch

from longtake.engine.devices import resolve_devices
from longtake.engine.identity import Config
from longtake.engine.keys import OF_MACHINE


def resolve_machine(config: Config) -> None:
    """Fill in what depends on the machine: device, precision, number of workers."""
    resolve_devices(config)
    device = config["device"]
    workers = config["num_workers"]
    workers = min(8, (os.cpu_count() or 1) // 2) if workers is None else workers
    if config["trainer"]["precision"] == "auto":
        bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
        config["trainer"]["precision"] = "bf16-mixed" if bf16 else "32-true"
    config["num_workers"] = workers
    for task in config["eval"].values():
        task.update({key: config[key] for key in OF_MACHINE if task.get(key, 0) in ("auto", None)})


def writable(folder: Path) -> None:
    """Raise `ValueError` unless files can be made in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"output={folder}: cannot write there ({error.strerror}); choose another with output=FOLDER"
        ) from error
