"""The command `run`, also called `longtake`: read the command line, compose the configuration, do the task that it names."""

import linecache
import sys
import traceback
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from longtake.console import console
from longtake.engine.config import (
    CONFIG_MODULE,
    CONFIG_NAME,
    allow_keywords,
    check_overrides,
    outside_overrides,
    plain,
    quoted,
)
from longtake.engine.launch import adopt
from longtake.engine.sweep import end_of_sweep, one_of_many
from longtake.registry import unknown
from longtake.tasks import TASKS


def main() -> None:
    """Entry point. Bad input ends with one line and exit code 2, before any compute."""
    sys.argv = quoted(sys.argv)
    overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
    if {"--help", "-h"} & set(sys.argv) and overrides:  # of these choices; alone it is Hydra's
        overrides += ["task=help"]
        sys.argv = [sys.argv[0], *overrides]
    alone = not {"task=table", "task=help"} & set(overrides)  # a table's runs are jobs, the table is none
    try:
        adopt()
        if "launcher=slurm" in overrides and alone:
            from longtake.engine.submission import submit  # and with it PyTorch

            raise SystemExit(submit(overrides))
        if overrides:
            check_overrides(overrides)
    except (ValueError, ImportError) as error:
        if not is_stated(error):
            raise
        fail(error)
    sys.argv = allow_keywords(sys.argv) + outside_overrides()
    hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME, version_base="1.3")(job)()
    end_of_sweep()


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
        TASKS[cfg.task](plain(cfg))
    except (ValueError, ImportError, FloatingPointError) as error:
        if not is_stated(error):
            raise
        fail(error)
    except Exception as error:
        from longtake.engine.trouble import trouble  # PyTorch, which `run --help` does not wait for

        if (line := trouble(error)) is None:
            raise
        raise SystemExit(f"error: {line}") from error


def fail(error: Exception) -> NoReturn:
    if not console.quiet:  # of several processes one speaks
        print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2) from error


def is_stated(error: Exception) -> bool:
    """Whether a `raise` of this package made the error: its words are for the user. Any other is a bug, to be shown whole."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    ours = frame.f_globals.get("__name__", "").split(".")[0] == "longtake"
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


if __name__ == "__main__":
    main()
