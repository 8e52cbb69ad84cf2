"""Runs as jobs of Slurm (`launcher=slurm`): checked here, submitted through submitit, followed to their end.

A job is the command itself, in as many processes as Slurm starts for it. Stopped by its time limit or by a preemption, it saves,
is requeued and goes on; submitted again, it goes on or has nothing left to do (`resume=auto`).
"""

import importlib
import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.utils import setup_globals
from omegaconf import OmegaConf
from rich.text import Text

from longtake.console import console
from longtake.engine.command_line import sweep
from longtake.engine.config import composed, flag_words, key_of, plainly
from longtake.engine.description import data_workers, description
from longtake.engine.forecast import WORKER_GB
from longtake.engine.identity import Config
from longtake.engine.machine import default_workers, to_be_checked
from longtake.engine.plan import build_views, make_plan
from longtake.engine.words import as_typed
from longtake.engine.workers import AHEAD, batch_bytes
from longtake.leaderboards.schema import RANDOM_INIT

HOST_GB = 4.0  # of memory of the machine that a training process on a GPU holds, CUDA's libraries included
MARGIN, LEAST_GB = 1.5, 8
# What says how jobs are started, or is said once for all of them: not for the jobs themselves.
OURS = ("launcher", "hydra", "wait", "dry_run")


class Job:
    """`run` with these words and this command's flags, in a process of a job. Its result is the exit code."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*flag_words(), *words]

    def __call__(self) -> int:
        sys.argv = ["run", *self.words]
        try:
            importlib.import_module("longtake.run").main()
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return 0

    def checkpoint(self, *_: Any) -> Any:
        """What submitit does with a job that was stopped: the same command again, which goes on where it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitted(NamedTuple):
    """A job of the queue, and the words in which it differs from the others."""

    job: Any
    own: str


def submit(overrides: Sequence[str]) -> int:
    """Submit the runs that a command line names. Returns 1 when one of them failed, else 0.

    Raises `ValueError` for whatever is wrong with any of them, before the first is submitted.
    """
    swept = sweep(overrides)
    jobs = [[word for word in words if _group_of(word) not in OURS] for words in swept]
    asked = plainly(swept[0])
    launchers = [word for word in overrides if _group_of(word) in ("launcher", "hydra")]
    for words in jobs:
        _check(words, quiet=len(jobs) > 1)
    asked_of_slurm = [_parameters(words, launchers) for words in jobs]
    folder = {"submitit_folder": asked_of_slurm[0]["submitit_folder"]}  # has the time in its name
    queue = [(parameters | folder, words) for parameters, words in zip(asked_of_slurm, jobs, strict=True)]
    shared = set.intersection(*map(set, jobs))
    submitted: list[Submitted] = []
    for parameters, group in groupby(queue, key=lambda each: each[0]):
        alike = [words for _, words in group]
        if asked["dry_run"]:
            _show(_executor(parameters), alike)
        else:
            submitted += _submitted(_executor(parameters), alike, shared)
    if not submitted:
        return 0
    console.print(Text(f"runs and leaderboards: {Path(plainly(jobs[0])['output']).resolve()}"), soft_wrap=True)
    return _follow(submitted) if asked["wait"] else 0


def _group_of(word: str) -> str:
    return key_of(word).partition(".")[0]


def _parameters(words: Sequence[str], launchers: Sequence[str]) -> dict[str, Any]:
    """What Slurm is asked for a job of these words: the keys of hydra.launcher."""
    setup_globals()  # Hydra's resolvers: the folder's name has the time in it
    config = composed([*words, *launchers], hydra=True)
    if not isinstance(config.trainer.devices, int) or config.trainer.devices < 1:
        raise ValueError(
            f"trainer.devices={config.trainer.devices}: a job of Slurm needs a number, that of GPUs on a machine"
        )
    found: dict[str, Any] = OmegaConf.to_container(config.hydra.launcher, resolve=True)  # type: ignore[assignment]
    if config.device == "cpu":
        found["gpus_per_node"] = None
    if found["mem_gb"] is None and config.task == "run":
        found["mem_gb"] = _memory(plainly(words), found["cpus_per_task"])
    return {key: value for key, value in found.items() if value is not None and key != "_target_"}


def _memory(config: Config, cores: int) -> int:
    """GB to ask for on each machine: the processes, their data workers, and the batches that these have ready."""
    workers = config["num_workers"]
    workers = default_workers(cores) if workers is None else workers
    processes = config["trainer"]["devices"]
    size = processes * (HOST_GB + WORKER_GB * workers)
    if config["checkpoint"] is None and config["method"]["name"] != RANDOM_INIT:
        size += batch_bytes(config, build_views(config)) * (AHEAD * workers + 1) / 1e9
    return max(LEAST_GB, math.ceil(MARGIN * size))


def _check(words: Sequence[str], quiet: bool) -> None:
    """Say what a job will do. Raises `ValueError` for what would end it at once, but for what depends on the job's machine."""
    asked = plainly(words)
    if asked["task"] != "run":
        return
    plan, trainer, workers = (
        make_plan({**to_be_checked(words), "resume": False}),
        asked["trainer"],
        asked["num_workers"],
    )
    where = f"Slurm: {trainer['devices']} process(es) on {trainer['num_nodes']} machine(s), precision {trainer['precision']}"
    if not quiet:
        console.print(description(plan, "", where=where if workers is None else f"{where}, {data_workers(workers)}"))


def _executor(parameters: dict[str, Any]) -> Any:
    """Raises `ValueError` where there is no Slurm."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    given = dict(parameters)
    folder, timeouts = given.pop("submitit_folder"), given.pop("max_num_timeout")
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=timeouts)
    except RuntimeError as error:
        raise ValueError(f"launcher=slurm: there is no srun on this machine ({error})") from error
    common = {field.name for field in fields(BaseQueueConf)}
    executor.update_parameters(**{name if name in common else f"slurm_{name}": value for name, value in given.items()})
    return executor


def _show(executor: Any, jobs: Sequence[list[str]]) -> None:
    """Print the script that sbatch would get, and the commands."""
    slurm = executor._executor
    if len(jobs) > 1:
        slurm.parameters["map_count"] = len(jobs)
    console.print(Text(slurm._make_submission_file_text(slurm._submitit_command_str, "dry_run")), soft_wrap=True)
    for number, words in enumerate(jobs):
        console.print(Text(f"job {number}: run {' '.join(words)}"), soft_wrap=True)


def _submitted(executor: Any, jobs: Sequence[list[str]], shared: Collection[str]) -> list[Submitted]:
    """Submit jobs that ask Slurm for the same, several as an array; say where each one writes.

    Raises `ValueError` with Slurm's words when it refuses them.
    """
    from submitit.core.utils import FailedJobError

    try:
        with executor.batch():
            handles = [executor.submit(Job(words)) for words in jobs]
    except FailedJobError as error:
        raise ValueError(f"launcher=slurm: {' '.join(str(error).split())}") from error
    found = [
        Submitted(job, " ".join(as_typed([word for word in words if word not in shared])))
        for job, words in zip(handles, jobs, strict=True)
    ]
    for job, own in found:
        console.print(Text(f"submitted job {job.job_id}  {own}\n  log: {job.paths.stdout}"), soft_wrap=True)
    return found


def _follow(submitted: Sequence[Submitted]) -> int:
    """Wait for the jobs; 1 where one failed. Ctrl-C leaves them to Slurm."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    console.print("waiting for the jobs; Ctrl-C leaves them running")
    failed = 0
    try:
        for job, own in submitted:
            try:
                code = max(job.results())
            except (FailedJobError, UncompletedJobError) as error:
                code = str(error).strip().splitlines()[0]
            failed += code != 0
            how = "ended" if code == 0 else f"failed: {code}; log: {job.paths.stderr}"
            console.print(Text(f"job {job.job_id}  {own}  {how}"), soft_wrap=True)
    except KeyboardInterrupt:
        console.print(f"the jobs go on; to end them: scancel {' '.join(job.job_id for job, _ in submitted)}")
        raise SystemExit(130) from None
    return int(failed > 0)
