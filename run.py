"""The command `run`, also called `longtake`: read the command line, compose the configuration, do the task that it names."""

import linecache
import sys
import traceback
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from longtake.engine.compared import compared
from longtake.engine.config import (
    CONFIG_MODULE,
    CONFIG_NAME,
    allow_keywords,
    check_overrides,
    outside_overrides,
    plain,
    quoted,
)
from longtake.registry import unknown
from longtake.tasks import TASKS


def main() -> None:
    """Entry point. Bad input ends with one line and exit code 2, before any compute."""
    sys.argv = compared(quoted(sys.argv))
    overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
    if {"--help", "-h"} & set(sys.argv) and overrides:  # of these choices; alone it is Hydra's
        overrides += ["task=help"]
        sys.argv = [sys.argv[0], *overrides]
    alone = not {"task=table", "task=compare", "task=help"} & set(
        overrides
    )  # a table's runs are jobs, the table is none
    if "launcher=slurm" in overrides and alone and not {"-m", "--multirun"} & set(sys.argv):
        sys.argv.append("--multirun")  # Hydra's launchers belong to its sweeps
    try:
        if overrides:
            sys.argv += _checked(overrides)
    except (ValueError, ImportError) as error:
        if not is_stated(error):
            raise
        fail(error)
    sys.argv = allow_keywords(sys.argv) + outside_overrides()
    hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME, version_base="1.3")(job)()


def _checked(overrides: list[str]) -> list[str]:
    """The words that a budget adds to these, all of them checked. Only data of one's own have a budget by default."""
    if not any(word.lstrip("+").startswith(("budget=", "pretrain=")) for word in overrides):
        check_overrides(overrides)
        return []
    check_overrides(
        [word for word in overrides if not word.startswith("frames=")]
    )  # which are of the recipe that is picked
    from longtake.engine.budget import picks  # PyTorch, which `run --help` does not need

    words = picks(overrides)
    check_overrides([*overrides, *words])
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
