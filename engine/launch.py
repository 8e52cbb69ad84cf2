"""Who started this process, and with how many others: torchrun, srun, mpirun, or nobody.

Each says so in variables of its own; here they become those of torchrun, which PyTorch and Lightning read. From then on nothing
has to know how the processes were started.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from longtake.console import console

INHERITED = "LONGTAKE_RUN"  # the run's folder, for the processes that Lightning starts beside the first one
STARTED_BY = "LONGTAKE_STARTED_BY"
# Variables of each: number of processes, number of this one, its number on its machine, processes on a machine.
TORCHRUN = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
STEP = "SLURM_STEP_NUM_TASKS"  # of the srun that started this process; in a shell that salloc gives there may be none
SLURM = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
MPICH = ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")  # and Intel MPI
# In this order: torchrun and mpirun within a Slurm job leave its variables as they were, and srun may set those of MPICH.
STARTERS = {"torchrun": TORCHRUN, "mpirun of Open MPI": OPEN_MPI, "srun": SLURM, "mpirun": MPICH}
SHELLS = ("bash", "interactive")  # names of Slurm jobs that are a person's shell
FIRST_PORT, PORTS = 15000, 10000  # below those that Linux hands out by itself


class Launch(NamedTuple):
    """Processes that were started together, and this one among them."""

    by: str
    size: int
    rank: int
    local_rank: int
    local_size: int  # processes on this machine, as far as the variables say


def launched() -> Launch | None:
    """Return what started this process together with others; None for a process alone, or one that Lightning started."""
    if INHERITED in os.environ:
        return None
    for by, names in STARTERS.items():
        if not all(os.environ.get(name, "").isdigit() for name in names[:2]):
            continue
        if by == "srun" and os.environ.get("SLURM_JOB_NAME") in SHELLS and os.environ.get(STEP, "1") == "1":
            continue
        size, rank = (int(os.environ[name]) for name in names[:2])
        size = int(os.environ.get(STEP, size)) if by == "srun" else size
        local_rank = int(os.environ.get(names[2], rank))
        local_size = os.environ.get(names[3], "").partition("(")[0]  # Slurm also writes 2(x3): three machines alike
        by = os.environ.get(STARTED_BY, by) if by == "torchrun" else by
        return Launch(by, size, rank, local_rank, int(local_size or size)) if size > 1 else None
    return None


def alone(what: str) -> None:
    """Raise `ValueError` where several processes were started for what starts its runs itself."""
    if found := launched():
        raise ValueError(f"{what}: it starts its runs itself; start it once, without {found.by}")


def in_slurm_job() -> bool:
    """Whether this is a batch job of Slurm, which may be stopped and started again, and not a person's shell."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in SHELLS


def restarted() -> bool:
    """Whether this is a batch job, or torchrun has started its processes again: a run that was begun is to be continued."""
    return in_slurm_job() or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def goes_on(resume: bool | str | None) -> bool:
    """Whether a run of the same configuration is to be continued, where there is one: what the key `resume` means here."""
    return restarted() if resume is None else bool(resume)


def adopt() -> None:
    """Give this process torchrun's variables where others were started with it; the first one alone speaks.

    Raises `ValueError` where the processes cannot know where to meet.
    """
    found = launched()
    if found is None:
        console.quiet = os.environ.get("LOCAL_RANK", "0") != "0"  # one that Lightning started
        return
    console.quiet = found.rank > 0
    if found.by == "torchrun" or STARTED_BY in os.environ:
        return
    address, port = _meeting(found)
    values = zip(TORCHRUN, (found.size, found.rank, found.local_rank, found.local_size), strict=True)
    os.environ.update({name: str(value) for name, value in values})
    # by the second of them Lightning knows that it has to start none
    os.environ.update({STARTED_BY: found.by, "TORCHELASTIC_RUN_ID": "longtake"})
    os.environ.setdefault("MASTER_ADDR", address)
    os.environ.setdefault("MASTER_PORT", port)


@contextmanager
def starting_others(folder: Path) -> Iterator[None]:
    """Inside the block Lightning may start processes beside this one, which go on in the run's `folder`; in a job of Slurm, too.

    Lightning takes the one task of such a job for one of as many as there are devices, unless the job is called a shell's.
    """
    values = {INHERITED: str(folder)} | ({"SLURM_JOB_NAME": SHELLS[1]} if "SLURM_JOB_ID" in os.environ else {})
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def _meeting(found: Launch) -> tuple[str, str]:
    """An address and a port that all processes work out alike; MASTER_ADDR and MASTER_PORT come before them."""
    if found.by == "srun":
        from lightning.fabric.plugins.environments import SLURMEnvironment

        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST") or "127.0.0.1"
        step = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
        # the same in all processes, another one in the next step
        number = crc32("\0".join([*step, *sys.argv]).encode())
        return SLURMEnvironment.resolve_root_node_address(nodes), str(FIRST_PORT + number % PORTS)
    if found.local_size < found.size and "MASTER_ADDR" not in os.environ:
        raise ValueError(
            f"{found.by} started {found.size} processes on several machines: expected MASTER_ADDR, the name of the first machine"
        )
    return "127.0.0.1", str(FIRST_PORT + os.getppid() % PORTS)  # mpirun is the parent of all processes of a machine
