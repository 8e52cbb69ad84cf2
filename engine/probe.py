"""Measure the cost of a pretraining from a step or two of it, so that a plan can state it beforehand."""

import json
import time
from typing import NamedTuple

import torch

from longtake.console import console
from longtake.datasets.sources.base import build_source
from longtake.datasets.views import MultiCrop, Views
from longtake.engine.devices import num_processes
from longtake.engine.identity import Config
from longtake.engine.plan import build_method, build_views, duration_of

PROBED_CLIPS, PROBED_FRAMES = 2, 2  # of a step; its time is taken to grow with both
SLOW = 5.0  # seconds, beside which what the first step alone has to do is nothing

TIMED: dict[str, float] = {}  # seconds per clip, by model and device


class Cost(NamedTuple):
    """Expected hours of one training on this machine, without what reading the data adds."""

    hours: float
    steps: int
    seconds_per_clip: float
    device: str


def measure_cost(config: Config) -> Cost:
    """Time a step of two clips of noise, forward and backward, on the device that a run would take; once for each model.

    What does not grow with the clips, as the weights of a wide projector, counts with them: too much for VICReg, say.
    """
    model = json.dumps([config["method"], config["backbone"], config["device"]], sort_keys=True, default=str)
    if model not in TIMED:
        with console.status(f"probing {config['method']['name']} on {config['device']}"):
            TIMED[model] = _seconds_per_clip(config)
    duration = duration_of(config, clips_of(config))
    hours = TIMED[model] * duration.num_steps * config["batch_size"] / num_processes(config) / 3600
    return Cost(hours, duration.num_steps, TIMED[model], config["device"])


def clips_of(config: Config) -> int:
    """Return the clips of an epoch; for data that are not there, as many as are expected."""
    source = build_source(config["pretrain"])
    if source.clips_per_epoch is not None:
        return source.clips_per_epoch
    try:
        source.check(config["method"]["num_frames"])
    except ValueError:
        return source.expected_frames()
    return source.stored_frames()


def _seconds_per_clip(config: Config) -> float:
    """Return the time of the faster of two steps; of the first alone where that is slow."""
    device = config["device"]
    frames = min(config["method"]["num_frames"], PROBED_FRAMES)
    method = build_method(config, duration_of(config, config["batch_size"])).to(device)
    views = _noise(build_views(config), frames, device)
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        sum(method.losses(views).values()).backward()  # type: ignore[union-attr]
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
        if best > SLOW:
            break
    return best / PROBED_CLIPS * config["method"]["num_frames"] / frames


def _noise(crops: MultiCrop, frames: int, device: str) -> Views:
    def drawn(size: int, count: int) -> list[torch.Tensor]:
        return [torch.randn(PROBED_CLIPS, frames, 3, size, size, device=device) for _ in range(count)]

    global_views = [view for crop in crops.globals for view in drawn(crop.size, crop.num)]
    local_views = [view for crop in crops.locals for view in drawn(crop.size, crop.num)]
    return Views(tuple(global_views), tuple(local_views), torch.arange(PROBED_CLIPS, device=device))
