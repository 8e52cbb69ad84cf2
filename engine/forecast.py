"""The cost of a run before it starts: time by the probe, memory and disk by estimates that say what they leave out."""

import json
import shutil
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from longtake.datasets.frame_store import open_environment, read_info
from longtake.datasets.frames import store_folder
from longtake.datasets.roots import data_root
from longtake.datasets.sources.base import Source
from longtake.datasets.sources.video import Video
from longtake.datasets.store_size import bytes_needed
from longtake.engine.devices import num_processes
from longtake.engine.identity import Config
from longtake.engine.plan import Plan, build_backbone, build_method
from longtake.engine.probe import probed, seconds_per_clip
from longtake.methods.base import Duration

# Seconds that an evaluation of vit_mini_8 took on two cores without a GPU, and of one forward pass of `FORWARD` there.
ALLOWANCE = {
    "knn_mini": 7, "linear_mini": 10, "lost_mini": 8, "davis_mini": 30, "finetune_mini_quick": 30, "own_video": 10,
    "knn_fewshot_mini": 4, "video_kmeans_mini": 15, "dense_knn_mini": 25,
}  # fmt: skip
FORWARD, FORWARD_SECONDS = (32, 3, 64, 64), 0.04
START_SECONDS = 10  # of a training: Lightning, workers, the first batch
PROCESS_GB, WORKER_GB = 0.9, 0.45  # resident, of a training process with its libraries and of a worker that makes views
SPARE = 0.02  # of the free bytes of a disk, which nobody counts on


class Forecast(NamedTuple):
    """Seconds, bytes: what a run is expected to take. `unknown` are evaluations whose cost nobody has measured."""

    train_seconds: float
    eval_seconds: float
    unknown: tuple[str, ...]
    memory: float  # of the process that trains and its workers; on a GPU of the GPU

    @property
    def seconds(self) -> float:
        return self.train_seconds + self.eval_seconds


def forecast(plan: Plan) -> Forecast:
    """By a probe of a second or two, on this machine as it is now. Reading a video for the first time is not in it."""
    assert plan.duration is not None
    config = plan.config
    evaluating, unknown = evaluating_seconds(config, tuple(plan.runnable))
    return Forecast(training_seconds(config, plan.duration), evaluating, unknown, memory_bytes(config))


def training_seconds(config: Config, duration: Duration) -> float:
    """Seconds of all steps and of the start."""
    return START_SECONDS + seconds_per_clip(config) * duration.num_steps * duration.batch_size


def evaluating_seconds(config: Config, names: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """Seconds of the evaluations of an encoder, and of random init beside it; and those of unknown cost."""
    known = [name for name in names if name in ALLOWANCE]
    encoders = 2 if config["baseline"] else 1
    encoder = json.dumps({key: config[key] for key in ("backbone", "seed")})
    slower = forward_seconds(encoder, config["device"]) / FORWARD_SECONDS if known else 0.0
    return encoders * slower * sum(ALLOWANCE[name] for name in known), tuple(n for n in names if n not in ALLOWANCE)


@cache
def forward_seconds(encoder: str, device: str) -> float:
    """Seconds of a forward pass of `FORWARD`, the least of three; `encoder` is the part of a configuration, as JSON."""
    found = []
    with torch.random.fork_rng([]), torch.inference_mode():
        model = build_backbone(json.loads(encoder)).eval().to(device)
        images = torch.zeros(FORWARD, device=device)
        for _ in range(4):
            began = time.perf_counter()
            model(images).cls.sum().item()
            found.append(time.perf_counter() - began)
    return min(found[1:])


def memory_bytes(config: Config) -> float:
    """About: weights, gradients and moments, what the backward pass keeps; on a CPU the processes with their libraries, too."""
    found = probed(config)
    training = found.fixed_bytes + found.bytes * config["batch_size"] / num_processes(config)
    if config["device"].startswith("cuda"):
        return training
    return training + 1e9 * (PROCESS_GB + WORKER_GB * config["num_workers"])


def store_bytes(source: Source | None) -> float:
    """Bytes that the frame store of videos will add to the data root; 0 where it is there, and for what is not of videos."""
    if not isinstance(source, Video):
        return 0.0
    folder = store_folder(data_root() / "frames", source.paths, source.spec)
    if (folder / "data.mdb").exists() and (read_info(open_environment(folder)) or {}).get("complete"):
        return 0.0
    return max(0.0, bytes_needed(folder, [source.probe(path) for path in source.paths], source.spec))


def checkpoint_bytes(config: Config) -> float:
    """Bytes of `previous.ckpt`, of `last.ckpt`, of its successor while that is written, and of the encoder."""
    with torch.device("meta"):  # as the plan, on no device
        method = build_method(config, Duration(config["epochs"], 1, config["batch_size"]))
    weights = sum(p.numel() * p.element_size() for p in method.parameters())
    moments = sum(2 * p.numel() * p.element_size() for p in method.parameters() if p.requires_grad)
    return 3.0 * (weights + moments) + sum(p.numel() * p.element_size() for p in method.encoder.parameters())


def check_disk(plan: Plan) -> tuple[float, float]:
    """Bytes of the frame store and of the checkpoints. Raises `ValueError` where a disk has no room for them."""
    needs = (store_bytes(plan.source), checkpoint_bytes(plan.config))
    places = {"LONGTAKE_DATA": data_root(), "output": Path(plan.config["output"])}
    wanted: dict[int, float] = {}
    for (key, folder), size in zip(places.items(), needs, strict=True):
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        device = there.stat().st_dev
        wanted[device] = wanted.get(device, 0.0) + size
        free = shutil.disk_usage(there).free
        if size and wanted[device] > (1 - SPARE) * free:
            what = "frame store" if key == "LONGTAKE_DATA" else "checkpoints"
            raise ValueError(
                f"{key}: {folder} has {in_bytes(free)} free, but the {what} may take {in_bytes(size)} of "
                f"{in_bytes(wanted[device])}; make room, or choose another folder"
                f"{', or lower pretrain.short_side or pretrain.quality' if key == 'LONGTAKE_DATA' else ''}"
            )
    return needs


def in_bytes(size: float) -> str:
    """`40 MB`, `1.2 GB`."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
