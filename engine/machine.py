"""What a run takes of the machine it is on: device, precision, number of workers, a folder to write to."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from longtake.engine.config import plainly
from longtake.engine.devices import num_processes, resolve_devices
from longtake.engine.identity import Config
from longtake.engine.keywords import OF_MACHINE
from longtake.engine.launch import launched

AUTO_PRECISIONS = ("32-true", "bf16-mixed")  # what `auto` becomes, by the device
MOST_WORKERS = 8


def on_this_machine(words: Sequence[str]) -> Config:
    """The configuration that these words give to a run here."""
    config = plainly(words)
    resolve_machine(config)
    return config


def to_be_checked(words: Sequence[str]) -> Config:
    """The configuration of a job, whose machine is not this one: as on a CPU, with nothing that only that machine can refuse."""
    config = plainly(words)
    config.update(device="cpu", num_workers=0)
    config["trainer"]["precision"] = "auto"
    resolve_machine(config)
    return config


def of_process(words: Sequence[str]) -> Config:
    """The configuration of a run that is to be a process of its own, here or as a job."""
    return to_be_checked(words) if "launcher=slurm" in words else on_this_machine(words)


def resolve_machine(config: Config) -> None:
    """Fill in what depends on the machine: device, precision, number of workers."""
    size = launched_size(config)
    if size is not None:
        config["trainer"]["devices"] = 1  # of each process
    resolve_devices(config)
    if size is not None:  # on which machines they are is known when they have met
        config["trainer"].update(devices=size, num_nodes=1)
    device = config["device"]
    workers = config["num_workers"]
    workers = default_workers(cores()) if workers is None else workers
    if config["trainer"]["precision"] == "auto":
        bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
        config["trainer"]["precision"] = AUTO_PRECISIONS[bf16]
    config["num_workers"] = workers
    for task in config["eval"].values():
        task.update({key: config[key] for key in OF_MACHINE if task.get(key, 0) in ("auto", None)})


def launched_size(config: Config) -> int | None:
    """Return how many processes there are, None where this one is alone. Raises `ValueError` where others were asked for."""
    found, trainer = launched(), config["trainer"]
    if found is None:
        return None
    if num_processes(config) not in (1, found.size):
        raise ValueError(
            f"trainer.devices={trainer['devices']} trainer.num_nodes={trainer['num_nodes']}: "
            f"{found.by} started {found.size} processes; leave both keys out, or start {num_processes(config)}"
        )
    if ":" in config["device"]:
        raise ValueError(
            f"device={config['device']}: each of {found.size} processes has a GPU of its own; use device=cuda"
        )
    return found.size


def default_workers(cores: int) -> int:
    """Data workers of a process that has so many cores."""
    return min(MOST_WORKERS, cores // 2)


def cores() -> int:
    """Return the number of cores that this process may use: by affinity, by its cgroup, by Slurm's word for its task."""
    from joblib import cpu_count

    found, counted = launched(), cpu_count()
    if own := os.environ.get("SLURM_CPUS_PER_TASK"):
        return min(counted, int(own))
    return max(1, counted // (1 if found is None or found.by == "srun" else found.local_size))


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
