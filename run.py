"""The command `run`, also called `longtake`: read the command line, compose the configuration, do the task that it names."""

import linecache
import sys
import traceback
from argparse import Namespace
from typing import NoReturn

import hydra
from omegaconf import DictConfig

import longtake.engine.flags as flags
from longtake.engine.config import allow_keywords, check_overrides, outside_overrides, plain, use
from longtake.engine.overview import overview
from longtake.engine.words import as_hydra_reads
from longtake.registry import unknown
from longtake.tasks import TASKS


def main() -> None:
    """Entry point. Bad input ends with one line and exit code 2, before any compute."""
    given, words = flags.read(sys.argv[1:])
    try:
        if given.shell_completion:
            flags.for_completion(given)
        use(flags.sources(given))
        if given.help and not words:
            print(overview())
            return
        words = words if given.shell_completion else checked(given, words)
    except (ValueError, ImportError) as error:
        if not is_stated(error):
            raise
        fail(error)
    sources = flags.sources(given)
    sys.argv = [sys.argv[0], *flags.written(given), *allow_keywords(words), *outside_overrides()]
    hydra.main(config_path=sources.config_path, config_name=sources.config_name, version_base="1.3")(job)()


def checked(given: Namespace, words: list[str]) -> list[str]:
    """The words as Hydra is to read them. Raises `ValueError` for what is wrong with them."""
    if given.help:  # of these choices; alone it is about all of them
        given.help, words = False, [*words, "task=help"]
    alone = not {"task=table", "task=help"} & set(words)  # a table's runs are jobs, the table is none
    if "launcher=slurm" in words and alone and not (given.cfg or given.info):
        given.multirun = True  # Hydra's launchers belong to its sweeps
    words = as_hydra_reads(words, given.multirun)
    if words:
        check_overrides(words, given.multirun)
    return words


def job(cfg: DictConfig) -> None:
    """One configuration: the task it names."""
    try:
        words = sorted({*TASKS.modules(), *TASKS.outside()})
        if cfg.task not in words:
            raise ValueError(unknown("task", str(cfg.task), words))
        TASKS[cfg.task](plain(cfg))
    except (ValueError, ImportError, FloatingPointError) as error:
        if not is_stated(error):
            raise
        fail(error)


def fail(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)


def is_stated(error: Exception) -> bool:
    """Whether a `raise` of this package made the error: its words are for the user. Any other is a bug, to be shown whole."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    ours = frame.f_globals.get("__name__", "").split(".")[0] == "longtake"
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


if __name__ == "__main__":
    main()
