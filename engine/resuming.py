"""Which run a command goes on with: `resume=true`, `auto`, and what tables and comparisons have begun before."""

from pathlib import Path

from longtake.backbones.weights import read_header
from longtake.console import console
from longtake.engine.code_hash import UNKNOWN_TRAINING, training_hash, vouchers
from longtake.engine.config import choices
from longtake.engine.folders import ENCODER, NoRun, can_go_on, interrupted_run
from longtake.engine.identity import Config
from longtake.engine.launch import goes_on


def resumed_run(config: Config, data: str = "") -> Path | None:
    """The folder to go on in, None for a new one; `data` is the title of the source.

    Raises `ValueError` when resume=true and there is none, it is closed to us, or it has learnt from other data.
    """
    if not goes_on(config["resume"]):
        return None
    try:
        record = interrupted_run(config)
    except NoRun:
        if config["resume"] is True:
            raise
        return None
    folder = record.folder
    if record.data and data != record.data:
        changed = f"it has learnt from {record.data}, and the files hold {data} now"
        if config["resume"] is True:
            raise ValueError(f"resume=true: {folder}: {changed}; give it the former files, or start without resume")
        console.print(f"{changed}; a new run begins: {folder}", soft_wrap=True)
        return None
    if config["resume"] is not True and is_outdated(folder, config):
        console.print(f"it has ended, but today's code trains otherwise; a new run begins: {folder}", soft_wrap=True)
        return None
    can_go_on(folder)
    return folder


def has_begun(config: Config) -> bool:
    """Whether there is a run of this configuration to go on from: interrupted, or ended with the code of today."""
    try:
        return not is_outdated(interrupted_run(config).folder, config)
    except NoRun:
        return False


def is_outdated(folder: Path, config: Config) -> bool:
    """Whether the training in a folder has ended, with code of which nobody has shown that today's gives the same weights."""
    if not (folder / ENCODER).is_file():
        return False
    try:
        header = read_header(folder / ENCODER)[1]
    except ValueError:  # damaged: the run writes it anew, and says so
        return False
    if header.get("epochs") != config["epochs"] or header["method"] not in choices("method"):
        return False
    today = training_hash(header["method"], header["pretrain"], header["backbone"], header["variant"])
    return vouchers(header.get("code_hash", UNKNOWN_TRAINING), today) is None
