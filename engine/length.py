"""The length of a training said in frames, `frames=20M`, or in time, `budget=15min`: words and numbers.

A budget of frames means the same for every method. Epochs keep what they mean for it (a warm-up of 2 of 24 epochs): the clips of
an epoch are chosen so that epochs x clips x T is the number of frames, as nearly as whole batches allow.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
SECONDS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
NEAR = 0.01  # of the frames asked for: as long as epochs may stay what the recipe says


class Length(NamedTuple):
    """Epochs, clips of one of them (whole batches), and the frames that all of them show."""

    epochs: int
    clips_per_epoch: int
    frames: int


def frames_in(value: object) -> int:
    """The number of frames that `20M`, `1.5M`, `300k` or an integer names. Raises `ValueError` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgb]?)", str(value).strip().replace("_", ""), re.IGNORECASE)
    number = 0.0 if found is None or isinstance(value, bool) else float(found[1]) * THOUSANDS[found[2].lower()]
    if number < 1 or number != int(number):
        raise ValueError(f"frames: got {value!r}, expected a number of frames like 20M, 1.5M, 300k or 25344")
    return int(number)


def seconds_in(value: object) -> float:
    """The seconds that `15min`, `2h` or `90s` names. Raises `ValueError` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|d)", str(value).strip().lower())
    if found is None or float(found[1]) == 0:
        raise ValueError(
            f"budget: got {value!r}, expected a time like 15min, 2h or 90s, or null for the recipe's length"
        )
    return float(found[1]) * SECONDS[found[2]]


def length_of(frames: int, epochs: int, batch_size: int, num_frames: int) -> Length:
    """The `epochs` whose whole batches of clips of T frames show about `frames` of them.

    Fewer epochs, down to half, where that comes nearer by more than `NEAR`: an epoch has at least one step. Raises `ValueError`,
    with the least number that works, where not even half the epochs would have one.
    """
    of_step = batch_size * num_frames
    steps = frames / of_step
    fewest = -(-epochs // 2)
    if round(steps) < fewest:
        raise ValueError(
            f"frames={frames}: {round(steps)} step(s) of {batch_size} clips of {num_frames} frame(s), expected at least "
            f"{fewest * of_step}, a step for each of {fewest} epochs (half of the recipe's); or give epochs, batch_size"
        )
    options = [(max(1, round(steps / count)), count) for count in range(epochs, fewest - 1, -1)]
    errors = [abs(per_epoch * count - steps) for per_epoch, count in options]
    kept = 0 if errors[0] <= NEAR * steps else errors.index(min(errors))
    per_epoch, count = options[kept]
    return Length(count, per_epoch * batch_size, count * per_epoch * of_step)


def lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose `frames`, where they are given, are its epochs and its clips of an epoch."""
    if config.get("budget") is not None and config["budget"] != "auto":
        seconds_in(config["budget"])
    if config["frames"] is None or config["method"]["name"] == "none":
        return dict(config)
    frames = frames_in(config["frames"])
    if config["task"] == "compare":  # of whose trainings each has a recipe of its own
        return dict(config)
    try:
        length = length_of(frames, config["epochs"], config["batch_size"], config["method"]["num_frames"])
    except ZeroDivisionError:  # a batch or a clip of nothing is refused by the plan, in its own words
        return dict(config)
    source = {**config["pretrain"], "clips_per_epoch": length.clips_per_epoch}
    return {**config, "frames": frames, "epochs": length.epochs, "pretrain": source}


def check_words(words: Sequence[str]) -> None:
    """Raise `ValueError` for two lengths on one command line."""
    keys = {word.lstrip("+").partition("=")[0] for word in words}
    if {"frames", "pretrain.clips_per_epoch"} <= keys and "frames=null" not in words:
        raise ValueError(
            "frames and pretrain.clips_per_epoch: got both, expected one (frames / epochs / T are an epoch's clips)"
        )


def in_time(seconds: float) -> str:
    """`40 s`, `11 min`, `2.5 h`, `3 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:,.0f} days"
