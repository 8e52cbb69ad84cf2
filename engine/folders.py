"""Folders of runs: a new one for each, found again by what its record says."""

import datetime
import json
import os
from pathlib import Path

from longtake.engine.identity import Config, config_hash
from longtake.engine.launch import INHERITED

ENCODER, RECORD = "encoder.safetensors", "run.json"


class NoRun(ValueError):
    """There is no run of this configuration."""


def run_folder(config: Config, what: str, resumed: Path | None) -> Path:
    """A new folder named by time, method, data (`what`) and seed, unless there is one to go on in."""
    if inherited := os.environ.get(INHERITED):
        return Path(inherited)
    if resumed is not None:
        return resumed
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(config["output"]) / f"{stamp}_{config['method']['name']}_{what}_seed{config['seed']}"
    while folder.exists():  # another run of the same second
        folder = folder.with_name(f"{folder.name}+")
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(
        json.dumps({"config_hash": config_hash(config), "config": config}, indent=1, default=str)
    )
    return folder


def interrupted_run(config: Config) -> Path:
    """The latest run folder of the same configuration. Raises `NoRun`, a `ValueError`, when there is none."""
    records = sorted(Path(config["output"]).glob("*/run.json"), reverse=True)
    for record in records:
        found = json.loads(record.read_text())
        if (found["config_hash"], found["config"].get("checkpoint")) == (config_hash(config), config["checkpoint"]):
            return record.parent
    there = ", ".join(record.parent.name for record in records) or "none"
    raise NoRun(
        f"resume=true: no run of this configuration in {config['output']} (runs there: {there}); start it without resume"
    )
