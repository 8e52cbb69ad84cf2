"""Folders of runs: a new one for each, found again by what its record says."""

import datetime
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from longtake.engine.identity import Config, config_hash
from longtake.engine.latest import point_to, record_files

ENCODER, RECORD = "encoder.safetensors", "run.json"
INHERITED = "LONGTAKE_RUN"  # the folder, for the processes that Lightning starts beside the first one
LONGEST_WORD, LONGEST_VARIANT = 40, 80  # characters; a file's name has room for 255


def run_folder(config: Config, what: str, resumed: Path | None) -> Path:
    """A new folder named by time and `what`, unless there is one to go on in."""
    if inherited := os.environ.get(INHERITED):
        return Path(inherited)
    if resumed is not None:
        return resumed
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(config["output"]) / f"{stamp}_{what}"
    while folder.exists():  # another run of the same second
        folder = folder.with_name(f"{folder.name}+")
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(
        json.dumps({"config_hash": config_hash(config), "config": config}, indent=1, default=str)
    )
    point_to(folder)
    return folder


def run_name(parts: Sequence[str], variant: str) -> str:
    """Parts of a name and what a variant says, as a file may be called: `dora_mini_num_objects=2_seed0` of [dora, mini, seed0].

    The variant stands before the last part. Of a long one there is the beginning, and how much more.
    """
    words = [shortened(word) for word in variant.split()]
    kept = [word for i, word in enumerate(words) if len("_".join(words[: i + 1])) <= LONGEST_VARIANT]
    more = [f"and_{len(words) - len(kept)}_more"] if len(kept) < len(words) else []
    *first, last = (in_file_name(part)[:LONGEST_WORD] for part in parts if part)
    return "_".join([*first, *kept, *more, last])


def shortened(word: str) -> str:
    """A word of a variant, without a value that is long (views are lists of crops)."""
    name = in_file_name(word)
    return name if len(name) <= LONGEST_WORD else in_file_name(word.partition("=")[0])[:LONGEST_WORD]


def in_file_name(text: str) -> str:
    """Text without what shells, file systems and sweeps read as more than a letter."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.") or "-"


def interrupted_run(config: Config) -> Path:
    """The latest run folder of the same configuration. Raises `ValueError` when there is none."""
    records = sorted(record_files(Path(config["output"]), RECORD), reverse=True)
    for record in records:
        found = json.loads(record.read_text())
        if (found["config_hash"], found["config"].get("checkpoint")) == (config_hash(config), config["checkpoint"]):
            return record.parent
    there = ", ".join(record.parent.name for record in records) or "none"
    raise ValueError(
        f"resume=true: no run of this configuration in {config['output']} (runs there: {there}); start it without resume"
    )
