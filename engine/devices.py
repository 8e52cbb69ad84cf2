"""`device` and `trainer.devices` of a configuration as what there is on a machine: which device, how many processes."""

from typing import Any

import torch

from longtake.engine.identity import Config

AUTO = ("auto", -1)


def num_processes(config: Config) -> int:
    """How many processes a run has, on all machines together."""
    return per_machine(config) * config["trainer"]["num_nodes"]


def per_machine(config: Config) -> int:
    """How many processes a run has on each machine."""
    devices = config["trainer"]["devices"]
    if devices in AUTO:
        return torch.cuda.device_count() if is_gpu(config["device"]) else 1
    return len(devices) if isinstance(devices, list) else devices


def resolve_devices(config: Config) -> None:
    """Fill in `device` where it is auto, and `trainer.devices`: a number, or GPUs. Raises `ValueError` for what is not there."""
    if config["device"] == "auto":
        config["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    device, trainer = config["device"], config["trainer"]
    if is_gpu(device) and not torch.cuda.is_available():
        raise ValueError(f"device={device}: this machine has no CUDA device; use device=cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device=mps: this machine has no Apple GPU that PyTorch can use; use device=cpu")
    if device == "cpu" and trainer["precision"] == "16-mixed":
        raise ValueError("trainer.precision=16-mixed: not on a CPU; use bf16-mixed or 32-true")
    trainer["devices"] = _devices(device, trainer["devices"])
    if isinstance(trainer["devices"], list) and len(trainer["devices"]) == 1:
        config["device"] = f"cuda:{trainer['devices'][0]}"  # evaluations are there, too


def _devices(device: str, devices: Any) -> int | list[int]:
    """What Lightning is to take. Raises `ValueError` for more than there is, and for what contradicts the device."""
    if device in ("cpu", "mps"):
        if isinstance(devices, list):
            raise ValueError(f"trainer.devices={devices}: a list names GPUs, and device={device}; give a number")
        if device == "mps" and devices not in (1, *AUTO):
            raise ValueError(f"trainer.devices={devices}: device=mps is one device")
        return 1 if devices in AUTO else devices
    there, index = torch.cuda.device_count(), device.partition(":")[2]
    if index:
        if devices not in (1, *AUTO, [int(index)]):
            raise ValueError(f"trainer.devices={devices}: device={device} is one; give device=cuda, or no devices")
        devices = [int(index)]
    wanted = devices if isinstance(devices, list) else range(there if devices in AUTO else devices)
    if not wanted or len({*wanted}) < len(wanted) or max(wanted) >= there:
        key = f"device={device}" if index else f"trainer.devices={devices}"
        raise ValueError(f"{key}: this machine has {there} GPU(s), from 0 to {there - 1}")
    return devices if isinstance(devices, list) else len(wanted)


def accelerator(device: str) -> str:
    """Lightning's name of a device's kind."""
    return "gpu" if is_gpu(device) else device


def is_gpu(device: str) -> bool:
    """Whether that is a CUDA device: by its name, or by what there is where that is left open."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
