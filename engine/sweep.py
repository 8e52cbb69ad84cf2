"""A sweep in one process: a run that fails is noted, and the others are done all the same.

Hydra's own launcher ends with the first `SystemExit`, and of several errors it tells the first. Sweeps by other launchers have
processes of their own, whose exit codes say what became of them.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from longtake.engine.words import as_typed

REFUSED = 2  # exit code of a plan that is refused, by all processes
SIGNALLED = 128  # exit codes from here on: a signal has asked the program to stop


class Job(NamedTuple):
    """One of the runs: its words, and the first line of why it failed ("" if it did not)."""

    words: list[str]
    failure: str = ""


_jobs: list[Job] = []


@contextmanager
def one_of_many() -> Iterator[None]:
    """A job: where it is one of a sweep, its failure does not go on to the others. A signal ends them all.

    So does what goes wrong in one of several processes, after they have agreed on the plan: the others wait for it.
    """
    if not _here():
        yield
        return
    hydra, failure = HydraConfig.get(), ""
    if hydra.job.num == 0:
        _jobs.clear()
    try:
        yield
    except SystemExit as stop:
        if (isinstance(stop.code, int) and stop.code >= SIGNALLED) or (_one_of_several() and stop.code != REFUSED):
            raise
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        failure = str(stop.__cause__ or stop.code).partition("\n")[0] if stop.code else ""
    except Exception as error:
        if _one_of_several():
            raise
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
    _jobs.append(Job(as_typed(hydra.overrides.task), failure))


def end_of_sweep() -> None:
    """After the last job: name those that failed, one a line, by the words in which they differ; exit code 1 if there are any."""
    jobs = [*_jobs]
    _jobs.clear()
    failed = [job for job in jobs if job.failure]
    if not failed:
        return
    common = set.intersection(*(set(job.words) for job in jobs))
    print(f"\n{len(failed)} of {len(jobs)} runs failed:", file=sys.stderr)
    for job in failed:
        own = [word for word in job.words if word not in common] or job.words
        print(f"  {' '.join(own)}: {job.failure}", file=sys.stderr)
    raise SystemExit(1)


def _one_of_several() -> bool:
    from longtake.parallel import world_size  # PyTorch, which `run --help` does not wait for

    return world_size() > 1


def in_sweep() -> bool:
    """Whether this run is one of several that one command does."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _here() -> bool:
    """Whether this is a job of a sweep whose jobs run in this process, one after the other."""
    return in_sweep() and HydraConfig.get().launcher._target_.endswith(".BasicLauncher")
