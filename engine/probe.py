"""Measure the cost of a pretraining from a few steps of it, so that a plan can state it beforehand: time, FLOP, memory."""

import json
import time
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from longtake.console import console
from longtake.datasets.sources.base import build_source
from longtake.datasets.views import MultiCrop, Views
from longtake.engine.devices import num_processes
from longtake.engine.identity import Config
from longtake.engine.machine import cores
from longtake.engine.plan import build_method, build_views, duration_of
from longtake.methods.base import Method

PROBED_CLIPS, PROBED_FRAMES = 2, 2  # of the first steps; their time is taken to grow with both
ENOUGH = 1.5  # seconds of steps, after which no larger one is tried
GROWTH = 4  # of the clips from one step to the next larger
BESIDES = 1.3  # the time of a whole step over that of forward and backward: optimiser, teacher, log, waiting
PICTURE = (360, 640)  # of a stored frame, whose views are timed

PROBED: dict[str, "Probe"] = {}  # by model and device


class Probe(NamedTuple):
    """The cost of one clip in a training, on one device; `fixed_bytes` are those of weights, gradients and moments."""

    seconds: float  # forward and backward
    augment_seconds: float  # of one worker, to make its views
    flop: float  # forward and backward, the teacher's included
    bytes: float  # kept for the backward pass
    fixed_bytes: float


class Cost(NamedTuple):
    """Expected hours of one training on this machine, without what reading the data adds."""

    hours: float
    steps: int
    device: str


def measure_cost(config: Config) -> Cost:
    """Time steps of noise, forward and backward, on the device that a run would take; once for each model.

    What does not grow with the clips, as the weights of a wide projector, counts with them where the steps stay small.
    """
    duration = duration_of(config, clips_of(config))
    hours = seconds_per_clip(config) * duration.num_steps * config["batch_size"] / 3600
    return Cost(hours, duration.num_steps, config["device"])


def probed(config: Config) -> Probe:
    """The cost of a clip, measured once for each model, batch and device: a second or two."""
    kept = [config[key] for key in ("method", "backbone", "device", "batch_size")] + [config["trainer"]["precision"]]
    model = json.dumps(kept, sort_keys=True, default=str)
    if model not in PROBED:
        with console.status(f"probing {config['method']['name']} on {config['device']}"):
            PROBED[model] = _probe(config)
    return PROBED[model]


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


def _probe(config: Config) -> Probe:
    """Steps of few clips, then of more, until the batch or `ENOUGH` is reached; the global generators stay as they are."""
    device = torch.device(config["device"])
    cuda = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    frames = min(config["method"]["num_frames"], PROBED_FRAMES)
    scale = config["method"]["num_frames"] / frames
    with torch.random.fork_rng(cuda):
        method = build_method(config, duration_of(config, config["batch_size"])).to(device)
        flop, kept = _counted(config, method, frames)
        best, clips, began = float("inf"), PROBED_CLIPS, time.perf_counter()
        while clips <= max(PROBED_CLIPS, config["batch_size"]) and time.perf_counter() - began < ENOUGH:
            try:
                best = min(best, _step(config, method, clips, frames))
                if time.perf_counter() - began < ENOUGH:
                    best = min(best, _step(config, method, clips, frames))
            except torch.cuda.OutOfMemoryError:
                break
            clips *= GROWTH
        weights = sum(p.numel() * p.element_size() * (4 if p.requires_grad else 1) for p in method.parameters())
        return Probe(best * scale, _augment_seconds(config), flop * scale, kept * scale, weights)


def _step(config: Config, method: Method, clips: int, frames: int) -> float:
    """Seconds per clip of one step of noise."""
    views = _noise(build_views(config), clips, frames, config["device"])
    synchronize = torch.cuda.synchronize if config["device"].startswith("cuda") else lambda: None
    synchronize()
    began = time.perf_counter()
    with _autocast(config):
        loss = sum(method.losses(views).values())
    loss.backward()  # type: ignore[union-attr]
    synchronize()
    return (time.perf_counter() - began) / clips


def _counted(config: Config, method: Method, frames: int) -> tuple[float, float]:
    """FLOP of a clip, and the bytes that its backward pass needs, from the first step, which is not timed."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(grad, query, key, value))

    ops = torch.ops.aten
    on_cpu: dict[Any, Any] = {
        ops._scaled_dot_product_flash_attention_for_cpu: attention,
        ops._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
    }
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in method.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    views = _noise(build_views(config), PROBED_CLIPS, frames, config["device"])
    counter = FlopCounterMode(display=False, custom_mapping=on_cpu)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with _autocast(config):
            loss = sum(method.losses(views).values())
        loss.backward()  # type: ignore[union-attr]
    return counter.get_total_flops() / PROBED_CLIPS, sum(kept.values()) / PROBED_CLIPS


def _autocast(config: Config) -> Any:
    precision = config["trainer"]["precision"]
    if not precision.endswith("-mixed"):
        return nullcontext()
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16
    return torch.autocast(torch.device(config["device"]).type, dtype=dtype)


def _augment_seconds(config: Config) -> float:
    """Seconds in which one worker makes the views of a clip; the better of two."""
    views, threads = build_views(config), torch.get_num_threads()
    clip = torch.randint(0, 256, (config["method"]["num_frames"], *PICTURE, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    found = []
    torch.set_num_threads(1)
    try:
        for seed in range(2):
            began = time.perf_counter()
            views(clip, torch.Generator().manual_seed(seed))
            found.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return min(found)


def _noise(crops: MultiCrop, clips: int, frames: int, device: str) -> Views:
    def drawn(size: int, count: int) -> list[torch.Tensor]:
        return [torch.randn(clips, frames, 3, size, size, device=device) for _ in range(count)]

    global_views = [view for crop in crops.globals for view in drawn(crop.size, crop.num)]
    local_views = [view for crop in crops.locals for view in drawn(crop.size, crop.num)]
    return Views(tuple(global_views), tuple(local_views), torch.arange(clips, device=device))


def seconds_per_clip(config: Config) -> float:
    """Seconds of a clip in a training whose workers make its views meanwhile: on a GPU those of the slower, on a CPU of both."""
    found = probed(config)
    found = found._replace(seconds=BESIDES * found.seconds)
    devices = num_processes(config)
    if config["device"].startswith("cuda"):
        return max(found.seconds / devices, found.augment_seconds / max(config["num_workers"], 1) / devices)
    return found.seconds / devices + found.augment_seconds / cores()
