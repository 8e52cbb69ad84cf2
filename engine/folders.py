"""Folders of runs: a new one for each, found again by what its record says."""

import datetime
import errno
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from filelock import Timeout

from longtake.console import console
from longtake.engine.identity import Config, config_hash
from longtake.engine.latest import point_to
from longtake.engine.launch import INHERITED
from longtake.files import acquired, holder_of, refuse_to_write, whole

ENCODER, RECORD = "encoder.safetensors", "run.json"
LEAVING = 600.0  # seconds that a run may take to end after a signal
# Where no cluster starts a run again by itself: it goes on by hand, and its first process may be well.
LEAVING_HERE = 15.0
STAMP = "%Y-%m-%d_%H-%M-%S"
UTC = "UTC"
STAMPED = len("2026-01-01_00-00-00")
LONGEST_WORD, LONGEST_VARIANT = 40, 80  # characters; a file's name has room for 255


class NoRun(ValueError):
    """There is no run of this configuration."""


class Record(NamedTuple):
    """What a run folder says of itself."""

    started: str  # to be compared
    original: bool  # not a copy of another folder
    folder: Path
    config_hash: str
    config: Config
    data: str  # the source's title; "" where nothing is trained, and in older runs


def run_folder(config: Config, what: str, resumed: Path | None, data: str = "") -> Path:
    """A new folder named by time and `what`, unless there is one to go on in; `data` is the source's title."""
    if inherited := os.environ.get(INHERITED):
        return Path(inherited)
    if resumed is not None:
        return resumed
    folder = new_folder_in(Path(config["output"]), what)
    when = {"started": folder.name[:STAMPED], "zone": UTC}
    about = {**when, "folder": folder.name, "config_hash": config_hash(config), "data": data, "config": config}
    with whole(folder / RECORD) as part:
        part.write_text(json.dumps(about, indent=1, default=str))
    point_to(folder)
    return folder


def new_folder_in(output: Path, what: str) -> Path:
    """A folder that nobody else has, named by the time (UTC: no hour comes twice in autumn) and `what`.

    Raises `Refused` where none can be made.
    """
    folder = output / f"{datetime.datetime.now(datetime.UTC).strftime(STAMP)}_{what}"
    while not _made(folder):  # another run of the same second
        folder = folder.with_name(f"{folder.name}+")
    return folder


def _made(folder: Path) -> bool:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if folder.parent.is_dir():
            return False
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder.parent)) from None
    except OSError as error:
        refuse_to_write(folder, error)
        raise
    return True


def run_name(parts: Sequence[str], variant: str) -> str:
    """Parts of a name and what a variant says, as a file may be called: `dora_mini_num_objects=2_seed0` of [dora, mini, seed0].

    The variant stands before the last part. Of a long one there is the beginning, and how much more.
    """
    words = [shortened(word) for word in variant.split()]
    kept = [word for i, word in enumerate(words) if len("_".join(words[: i + 1])) <= LONGEST_VARIANT]
    more = [f"and_{len(words) - len(kept)}_more"] if len(kept) < len(words) else []
    *first, last = (in_file_name(part, LONGEST_WORD) for part in parts if part)
    return "_".join([*first, *kept, *more, last])


def shortened(word: str) -> str:
    """A word of a variant, without a value that is long (views are lists of crops)."""
    name = in_file_name(word)
    return name if len(name) <= LONGEST_WORD else in_file_name(word.partition("=")[0], LONGEST_WORD)


def in_file_name(text: str, longest: int = LONGEST_VARIANT) -> str:
    """The beginning of a text, without what shells, file systems and sweeps read as more than a letter: never a path.

    `longest` is in characters, and in bytes for those of other alphabets, as file systems count.
    """
    name = re.sub(r"[^\w.=+-]+", "-", text).strip("-.")
    return name.encode()[:longest].decode(errors="ignore").strip("-.") or "-"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder inside the block; waits for one that is about to end, as a stopped job is.

    Raises `ValueError` when it does not.
    """
    path = folder / ".running.lock"
    try:
        lock = acquired(path, timeout=0)
    except Timeout:
        holder = holder_of(str(path))
        who = "" if holder is None else f" (process {holder})"
        console.print(f"another process is at this run{who}, waiting for it: {folder}", soft_wrap=True)
        try:
            lock = acquired(path, LEAVING if "SLURM_JOB_ID" in os.environ else min(LEAVING, LEAVING_HERE))
        except Timeout as error:
            raise ValueError(
                f"{folder}: another process is at this run{who}; start a new one without resume, or delete "
                f"{error.lock_file} if no process is left"
            ) from error
    try:
        yield
    finally:
        lock.release()


def interrupted_run(config: Config) -> Record:
    """The latest run of the same configuration. Raises `NoRun`, a `ValueError`, when there is none."""
    found = records(Path(config["output"]))
    for record in found:
        if (record.config_hash, record.config.get("checkpoint")) == (config_hash(config), config["checkpoint"]):
            return record
    there = ", ".join(record.folder.name for record in found) or "none"
    raise NoRun(
        f"resume=true: no run of this configuration in {config['output']} (runs there: {there}); start it without resume"
    )


def records(output: Path) -> list[Record]:
    """What the run folders say of themselves, the latest first; a record that cannot be read is named and passed over.

    Folders may have been renamed; of a copy and the original, which alone has the name that is written in it, the original
    comes first.
    """
    found = []
    for path in output.glob(f"*/{RECORD}"):
        if path.parent.is_symlink():  # `latest`, which is there by its own name
            continue
        try:
            found.append(_read(path))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _pass_over(path, " ".join(str(error).split()))
    return sorted(found, key=lambda record: (record.started, record.original, record.folder.name), reverse=True)


def _read(path: Path) -> Record:
    text = path.read_bytes()
    if not text.strip(b"\0 \n"):
        raise ValueError("it is empty")
    content, name = json.loads(text), path.parent.name
    started, original = str(content.get("started", name)), content.get("folder", name) == name
    started = started if content.get("zone") == UTC else in_utc(started)
    data = str(content.get("data", ""))
    return Record(started, original, path.parent, content["config_hash"], dict(content["config"]), data)


def in_utc(local: str) -> str:
    """A time as folders of older code have it, in the hour of the place; what is none stays as it is."""
    try:
        when = datetime.datetime.strptime(local[:STAMPED], STAMP).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return local
    return when.strftime(STAMP) + local[STAMPED:]


def can_go_on(folder: Path) -> None:
    """Raise `ValueError` unless files can be made in the folder of a run that is to go on."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"resume=true: {folder}: cannot write there ({error.strerror}); make it writable, or copy the folder into another "
            "and give that as output="
        ) from error


@cache
def _pass_over(path: Path, why: str) -> None:
    """Say it, once."""
    console.print(f"{path} cannot be read ({why}): its folder is passed over", soft_wrap=True)
