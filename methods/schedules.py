"""Schedules as arrays: one value per step (or per epoch), computed before the first one."""

import numpy as np
from jaxtyping import Float64


def cosine_schedule(
    base: float, final: float, num_steps: int, warmup_steps: int = 0, start: float = 0.0, endpoint: bool = True
) -> Float64[np.ndarray, "num_steps"]:
    """Linear warm-up from `start` to `base`, then half a cosine towards `final`, which is approached but never reached.

    With `endpoint` the warm-up includes `base`, which then comes twice: DINO's `cosine_scheduler`, and SwAV's. Without, it
    stops one step short of it: VICReg's `adjust_learning_rate`, and SimCLR's.
    Raises `ValueError` when the warm-up is longer than the run.
    """
    if not 0 <= warmup_steps <= num_steps:
        raise ValueError(
            f"warm-up of {warmup_steps} steps in a run of {num_steps}: shorten warmup_epochs or raise epochs"
        )
    warmup = np.linspace(start, base, warmup_steps, endpoint=endpoint)
    phase = np.arange(num_steps - warmup_steps) / max(num_steps - warmup_steps, 1)
    return np.concatenate([warmup, final + 0.5 * (base - final) * (1 + np.cos(np.pi * phase))])


def warmup_then_constant(start: float, final: float, warmup_epochs: int, epochs: int) -> Float64[np.ndarray, "epochs"]:
    """Linear from `start` to `final` over the warm-up epochs (both ends included), then `final`: DINO's teacher temperature."""
    if not 0 <= warmup_epochs <= epochs:
        raise ValueError(f"warm-up of {warmup_epochs} epochs in a run of {epochs}: shorten it or raise epochs")
    return np.concatenate([np.linspace(start, final, warmup_epochs), np.full(epochs - warmup_epochs, final)])
