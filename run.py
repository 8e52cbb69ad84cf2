"""The command `run`, also called `longtake`: read the command line, compose the configuration, do the task that it names."""

import linecache
import os
import signal
import sys
import traceback
from argparse import Namespace
from typing import NoReturn

import hydra
from omegaconf import DictConfig

import longtake.engine.flags as flags
from longtake.console import console
from longtake.engine.command_line import check_overrides, without_sweeps
from longtake.engine.compared import compared
from longtake.engine.config import allow_keywords, check_texts, key_of, outside_overrides, plain, plainly, use
from longtake.engine.launch import adopt
from longtake.engine.overview import overview
from longtake.engine.sweep import end_of_sweep, one_of_many
from longtake.engine.words import as_hydra_reads
from longtake.registry import unknown
from longtake.tasks import TASKS

STOPPED = "stopped; what is finished is kept: give the same command again (a training goes on with resume=true)"


def main() -> None:
    """Entry point. Bad input ends with one line and exit code 2, before any compute.

    What the machine lacks ends with one line and 1, Ctrl-C with 130.
    """
    try:
        begin()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except BrokenPipeError as error:
        unread(error)


def begin() -> None:
    """Read the command line and do what it says."""
    given, words = flags.read(sys.argv[1:])
    try:
        adopt()
        if given.shell_completion:
            flags.for_completion(given)
        sources = flags.sources(given)
        use(sources)
        if given.help and not words:
            print(overview())
            return
        jobs = submits(given, words)
        given.multirun = given.multirun or jobs  # a job for each run of a sweep
        words = words if given.shell_completion else checked(given, words)
        if jobs:
            from longtake.engine.submission import submit  # and with it PyTorch

            raise SystemExit(submit(words))
    except Exception as error:
        end(error)
    sys.argv = [sys.argv[0], *flags.written(given), *allow_keywords(words), *outside_overrides()]
    hydra.main(config_path=sources.config_path, config_name=sources.config_name, version_base="1.3")(job)()
    end_of_sweep()


def submits(given: Namespace, words: list[str]) -> bool:
    """Whether these are jobs for a cluster: the runs of a table and of a comparison are, they themselves are none."""
    if given.help or given.cfg or given.info or given.shell_completion:
        return False
    return "launcher=slurm" in words and {"task=table", "task=compare", "task=help"}.isdisjoint(words)


def checked(given: Namespace, words: list[str]) -> list[str]:
    """The words as Hydra is to read them, with those that a budget picks. Raises `ValueError` for what is wrong with them."""
    if given.help:  # of these choices; alone it is about all of them
        given.help, words = False, [*words, "task=help"]
    words = as_hydra_reads(compared(words), given.multirun)
    if not words:
        return words
    recipe = [word for word in words if key_of(word) != "frames"]  # which are of the recipe that a budget picks
    check_overrides(recipe, given.multirun)
    if not (given.cfg or given.info) and plainly(next(without_sweeps(recipe)))["budget"] is not None:
        from longtake.engine.budget import picks  # PyTorch, which `run --help` does not need

        words = [*words, *picks(words)]
    check_overrides(words, given.multirun)
    return words


def job(cfg: DictConfig) -> None:
    """One configuration, alone or of a sweep."""
    with one_of_many():
        do(cfg)


def do(cfg: DictConfig) -> None:
    """The task that a configuration names."""
    try:
        words = sorted({*TASKS.modules(), *TASKS.outside()})
        if cfg.task not in words:
            raise ValueError(unknown("task", str(cfg.task), words))
        config = plain(cfg)
        check_texts(config)
        TASKS[cfg.task](config)
    except Exception as error:
        end(error)


def end(error: Exception) -> NoReturn:
    """Say what the user gave wrong, or what the machine lacks, in one line; any other error is a bug, to be shown whole."""
    if isinstance(error, ValueError | ImportError | FloatingPointError) and is_stated(error):
        if not console.quiet:  # of several processes one speaks
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1 if getattr(error, "computed", False) else 2) from error
    if isinstance(error, BrokenPipeError) and not error.filename:
        unread(error)
    from longtake.engine.trouble import is_misnamed, trouble  # PyTorch, which `run --help` does not wait for

    if (line := trouble(error)) is None:
        raise error
    if is_misnamed(error):  # which the command line did
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from error
    raise SystemExit(f"error: {line}") from error


def unread(error: BrokenPipeError) -> NoReturn:
    """Whoever read what is printed (`| head -1`) has gone: say so, once, and print nothing more."""
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(silent, stream.fileno())
    print("error: nobody reads any more what is printed (a closed pipe); it may go into a file", file=sys.stderr)
    raise SystemExit(1) from error


def is_stated(error: Exception) -> bool:
    """Whether a `raise` of this package made the error: its words are for the user. Any other is a bug, to be shown whole."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    ours = frame.f_globals.get("__name__", "").split(".")[0] == "longtake"
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


if __name__ == "__main__":
    main()
