"""What a training has cost: memory, and on which device."""

import sys

import torch


def peak_memory_gb(device: str) -> float | None:
    """Most memory held so far: of the device, or of this process on a CPU; None where the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e9
    return in_gb(peak_bytes())


def in_gb(size: int | None) -> float | None:
    return None if size is None else size / 1e9


def peak_bytes() -> int | None:
    """Most memory that this process has held."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_name(device: str) -> str:
    """The GPU's name, as far as PyTorch knows it, or the number of threads that computed."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return "Apple GPU" if device == "mps" else f"CPU, {torch.get_num_threads()} threads"
