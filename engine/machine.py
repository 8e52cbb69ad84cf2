"""What a run takes of the machine it is on: device, precision, number of workers, a folder to write to."""

import os
from pathlib import Path

import torch

from longtake.engine.identity import Config
from longtake.engine.keys import OF_MACHINE
from longtake.engine.launch import launched


def resolve_machine(config: Config) -> None:
    """Fill in what depends on the machine: device, precision, number of workers."""
    auto = config["device"] == "auto"
    device = ("cuda" if torch.cuda.is_available() else "cpu") if auto else config["device"]
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device}: this machine has no CUDA device; use device=cpu")
    resolve_processes(config["trainer"])
    workers = config["num_workers"]
    workers = min(8, cores() // 2) if workers is None else workers
    if config["trainer"]["precision"] == "auto":
        bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
        config["trainer"]["precision"] = "bf16-mixed" if bf16 else "32-true"
    config.update(device=device, num_workers=workers)
    for task in config["eval"].values():
        task.update({key: config[key] for key in OF_MACHINE if task.get(key, 0) in ("auto", None)})


def resolve_processes(trainer: Config) -> None:
    """Fill in how many processes there are, where they are there already. Raises `ValueError` where other ones were asked for."""
    found, asked = launched(), trainer["devices"] * trainer["num_nodes"]
    if found is None:
        return
    if asked not in (1, found.size):
        raise ValueError(
            f"trainer.devices={trainer['devices']} trainer.num_nodes={trainer['num_nodes']}: "
            f"{found.by} started {found.size} processes; leave both keys out, or start {asked}"
        )
    trainer.update(devices=found.size, num_nodes=1)  # on which machines they are is known when they have met


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
