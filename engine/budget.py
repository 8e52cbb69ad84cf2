"""`budget=15min`: the words that fit a command line to this machine - backbone, recipe, batch size, frames.

    run pretrain=video pretrain.path=walk.mp4
    -> budget=15min backbone=vit_mini recipe=mini frames=118k

What is given stays: with `backbone=` neither that nor a recipe is picked; `epochs=`, `frames=` or `pretrain.clips_per_epoch=` are
the length, and the plan says how long that takes. All methods of a sweep get the frames of the slowest.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from longtake.engine.command_line import without_sweeps
from longtake.engine.config import key_of, plainly
from longtake.engine.devices import num_processes
from longtake.engine.folders import records
from longtake.engine.forecast import START_SECONDS, evaluating_seconds
from longtake.engine.identity import Config, config_hash
from longtake.engine.launch import goes_on, launched
from longtake.engine.length import in_time, length_of, seconds_in
from longtake.engine.machine import on_this_machine, resolve_machine
from longtake.engine.plan import build_evaluation
from longtake.engine.probe import probed, seconds_per_clip
from longtake.leaderboards.schema import RANDOM_INIT

AUTO = {"cpu": "15min", "cuda": "2h"}
SMALL = ("backbone=vit_mini", "recipe=mini")  # what learns in minutes without a GPU
LENGTHS = ("epochs", "frames", "pretrain.clips_per_epoch")
LEAST_SHARE = 0.5  # of the time is for training, even if the evaluations then end later
SMALLEST_BATCH = 4
FULL = 0.85  # of a GPU's memory


def picks(words: Sequence[str]) -> list[str]:
    """The words that a budget adds to a command line, [] where there is none. `words` may be a sweep's, `method=dora,dino`.

    Raises `ValueError` where nothing fits into the time.
    """
    jobs = [list(job) for job in without_sweeps([word for word in words if key_of(word) != "frames"])]
    first = plainly(jobs[0])
    if len(several := {str(plainly(job)["budget"]) for job in jobs}) > 1:
        raise ValueError(f"budget: got {', '.join(sorted(several))}, expected one for all runs of a sweep")
    if first["budget"] is None or first["task"] != "run" or first["checkpoint"] or _untrained(jobs):
        return []
    if "launcher=slurm" in words:
        if first["budget"] == "auto" or keys_of(words) & set(LENGTHS):
            return ["budget=null"]
        raise ValueError(f"budget={first['budget']}: a job's machine is not this one; give it frames=N, or budget=null")
    return fitted(words, jobs, first)


def fitted(words: Sequence[str], jobs: list[list[str]], first: Config) -> list[str]:
    """The words that are picked for these jobs, the whole command line's being `words`."""
    given = keys_of(words)
    resolve_machine(first)
    device = first["device"].partition(":")[0]
    time = AUTO["cpu" if device == "cpu" else "cuda"] if first["budget"] == "auto" else str(first["budget"])
    found = [f"budget={time}"] + [word for word in SMALL if device == "cpu" and _may_pick(word, given)]
    if given & set(LENGTHS):
        return found
    if launched() is not None:  # each process would measure for itself
        if first["budget"] == "auto":
            return ["budget=null"]
        raise ValueError(f"budget={time}: started as several processes; give them frames=N, or budget=null")
    if goes_on(first["resume"]) and (before := _picked_before(jobs[0], found, first)):
        return [*found, *before]
    trained = [on_this_machine([*job, *found]) for job in jobs if plainly(job)["method"]["name"] != RANDOM_INIT]
    if "batch_size" not in given:
        sizes = [_batch(config, _seconds(config, time)) for config in trained]
        if any(size < config["batch_size"] for size, config in zip(sizes, trained, strict=True)):
            found.append(f"batch_size={min(sizes)}")
            trained = [{**config, "batch_size": min(sizes)} for config in trained]
    return [*found, f"frames={rounded(min(_frames(config, time) for config in trained))}"]


def keys_of(words: Sequence[str]) -> set[str]:
    return {key_of(word) for word in words}


def _may_pick(word: str, given: set[str]) -> bool:
    key = key_of(word)
    chosen = {"backbone", "experiment"} | ({"recipe"} if key == "recipe" else set())
    return not any(name.split(".")[0] in chosen for name in given)


def _untrained(jobs: list[list[str]]) -> bool:
    return all(plainly(job)["method"]["name"] == RANDOM_INIT for job in jobs)


def _seconds(config: Config, time: str) -> float:
    """Seconds of a budget that training may take, its start left out."""
    names = [name for name, keys in config["eval"].items() if not build_evaluation(keys).check()]
    whole = seconds_in(time)
    return max(whole - evaluating_seconds(config, tuple(names))[0], LEAST_SHARE * whole) - START_SECONDS


def _batch(config: Config, seconds: float) -> int:
    """The recipe's batch, halved until each epoch has a step in this time and the GPU has room for it."""
    batch, devices = config["batch_size"], num_processes(config)
    clips, found = seconds / seconds_per_clip(config), probed(config)
    room = float("inf")
    if config["device"].startswith("cuda"):
        room = (
            FULL * torch.cuda.get_device_properties(config["device"]).total_memory - found.fixed_bytes
        ) / found.bytes
    while batch // 2 >= max(SMALLEST_BATCH, devices) and batch % (2 * devices) == 0:
        if clips >= batch * config["epochs"] and batch / devices <= room:
            break
        batch //= 2
    return int(batch)


def _frames(config: Config, time: str) -> int:
    """Frames that a training sees in the time that the evaluations leave it."""
    of_clip = seconds_per_clip(config)
    frames = int(_seconds(config, time) / of_clip) * config["method"]["num_frames"]
    try:
        length_of(max(frames, 0), config["epochs"], config["batch_size"], config["method"]["num_frames"])
    except ValueError:
        least = config["epochs"] / 2 * config["batch_size"] * of_clip
        advice = f"use a longer budget (above {in_time(2 * least + START_SECONDS)}), a smaller backbone, or epochs=N"
        raise ValueError(
            f"budget={time}: {config['method']['name']} on {config['backbone']['name']} makes {max(frames, 0):,} frames in it "
            f"here, fewer than half of {config['epochs']} epochs of one batch; {advice}"
        ) from None
    return frames


def rounded(frames: int) -> int:
    """Three digits are precise enough for a measured speed."""
    digits = max(len(str(frames)) - 3, 0)
    return frames // 10**digits * 10**digits


def _picked_before(words: list[str], found: list[str], config: Config) -> list[str]:
    """What was picked when the latest run that these words continue was begun: a second probe would pick another length."""
    for record in records(Path(config["output"])):
        if record.config.get("frames") is None or record.config["method"]["name"] != config["method"]["name"]:
            continue
        picked = [f"batch_size={record.config['batch_size']}", f"frames={record.config['frames']}"]
        try:
            if config_hash(on_this_machine([*words, *found, *picked])) == record.config_hash:
                return picked
        except ValueError:  # frames that do not suit these words: of another training
            continue
    return []
