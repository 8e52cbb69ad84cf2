"""Two and four processes of one run, by every way of starting them: one folder, the same weights, the same rows."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launches import FAKE, RUN, Small, in_slurm, same, small
from started import PATIENCE, Started

from longtake.engine.launch import alone, launched, starting_others

STEPS_SEEN = 5  # before the signal: every process is then in its steps
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def two(place: Path, tiny_video: Path, tiny_folder: Path) -> Small:
    """Lightning starts the second one, here in a job of Slurm that has one task."""
    run = small(place / "lightning", tiny_video, tiny_folder, "epochs=2")
    run.run(more=["trainer.devices=2"], variables=in_slurm(run.folder / "queue", 1, 1))
    return run


def by_torchrun(run: Small, size: int) -> None:
    run.run(*TORCHRUN, str(size), *RUN)


def by_srun(run: Small, size: int, nodes: int = 1) -> None:
    variables = in_slurm(run.folder / "queue", size, nodes)
    logs = ["--output", str(run.folder / "%t.out"), "--error", str(run.folder / "%t.err")]
    environment = {**run.environment, **{name: str(value) for name, value in variables.items()}}
    command = [str(FAKE / "srun"), *logs, sys.executable, *RUN, *run.words]
    done = subprocess.run(command, env=environment, cwd=run.folder, timeout=PATIENCE)
    assert done.returncode == 0, (run.folder / "0.err").read_text() + (run.folder / "1.err").read_text()


def by_mpirun(run: Small, size: int) -> None:
    started = [
        run.start(
            variables={
                "OMPI_COMM_WORLD_SIZE": size, "OMPI_COMM_WORLD_RANK": rank,
                "OMPI_COMM_WORLD_LOCAL_RANK": rank, "OMPI_COMM_WORLD_LOCAL_SIZE": size,
            }
        )
        for rank in range(size)
    ]  # fmt: skip
    codes, shown = zip(*(process.ended() for process in started), strict=True)
    assert codes == (0,) * size, shown
    assert "evaluate" in shown[0]
    assert "evaluate" not in shown[1]  # one speaks


def wait_for_steps(run: Small, process: Started) -> None:
    logs = "20*/logs/from_step_0/metrics.csv"
    process.until(lambda: any(path.read_text().count("\n") > STEPS_SEEN for path in run.output.glob(logs)))


WAYS = {"torchrun": by_torchrun, "srun": by_srun, "mpirun": by_mpirun}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_are_one_run_whatever_started_them(place, two, tiny_video, tiny_folder, way):
    run = small(place / way, tiny_video, tiny_folder, "epochs=2")
    WAYS[way](run, 2)
    assert same(run, two)


def test_four_processes_by_torchrun_and_on_two_machines_of_slurm(place, tiny_video, tiny_folder):
    one, other = (small(place / f"four {way}", tiny_video, tiny_folder, "epochs=2") for way in ("torchrun", "srun"))
    by_torchrun(one, 4)
    by_srun(other, 4, nodes=2)
    assert same(one, other)


def test_evaluations_alone_start_nobody_where_others_are_there(place, two, tiny_video, tiny_folder):
    (folder,) = two.output.glob("20*")
    run = small(place / "evaluation", tiny_video, tiny_folder, f"checkpoint={folder / 'encoder.safetensors'}")
    words = [word for word in run.words if not word.startswith("pretrain")]
    run._replace(words=[*words, "trainer.devices=2"]).run(*TORCHRUN, "2", *RUN)
    assert run.rows() == two.rows()


def test_a_sweep_over_two_processes_trains_each_run_once(place, two, tiny_video, tiny_folder):
    run = small(place / "sweep", tiny_video, tiny_folder, "epochs=2", "seed=0,1", "trainer.devices=2", "-m")
    run.run()
    assert len(list(run.output.glob("20*_dino_video*_seed*"))) == 2
    assert run.rows(seed=0) == two.rows(seed=0)
    assert run.rows(seed=1)["dino"] != run.rows(seed=0)["dino"]


def test_a_mistake_is_one_line_in_one_process(place, tiny_video, tiny_folder):
    run = small(place / "mistake", tiny_video, tiny_folder, "batch_size=3")
    code, shown = run.start(*TORCHRUN, "2", "--no-python", sys.executable, *RUN).ended()
    assert code
    assert shown.count("error: ") == 1, shown
    assert "the batch divisible by 2" in shown
    assert not list(run.output.glob("20*"))


@pytest.mark.parametrize(
    ("group", "number"),
    [(False, signal.SIGUSR1), (True, signal.SIGTERM), (True, signal.SIGUSR2)],
    ids=["main process", "process group", "process group, USR2"],
)
def test_a_signal_ends_all_processes_in_order(place, two, tiny_video, tiny_folder, group, number):
    """The workers that read data get it, too, with the group: a signal that would kill."""
    more = ["epochs=2", "num_workers=1", "trainer.devices=2"]
    run = small(place / f"signal {group} {number}", tiny_video, tiny_folder, *more)
    process = run.start(more=["epochs=50"])
    wait_for_steps(run, process)
    (os.killpg if group else os.kill)(process.pid, number)
    code, shown = process.ended()
    assert code == 128 + number, shown
    assert "stopped in order" in shown
    assert "DataLoader worker" not in shown
    (folder,) = run.output.glob("20*")
    assert (folder / "last.ckpt").is_file()


def test_a_job_of_one_task_goes_on_with_the_processes_it_starts(place, tiny_video, tiny_folder):
    """resume=auto: those that Lightning starts learn from the first one that there is a run to go on with."""
    run = small(place / "goes on", tiny_video, tiny_folder, "epochs=60", "trainer.devices=2")
    process = run.start()
    wait_for_steps(run, process)
    os.kill(process.pid, signal.SIGTERM)
    assert process.ended()[0] == 143
    shown = run.run(variables=in_slurm(run.folder / "queue", 1, 1))
    (folder,) = run.output.glob("20*")
    assert len(list(folder.glob("logs/from_step_*"))) == 2, shown
    assert {row["epochs"] for row in run.rows().values()} == {"60", "0"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"WORLD_SIZE": "2"}, None),  # what Lightning leaves behind
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, ("torchrun", 4, 3, 1, 2)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_NTASKS_PER_NODE": "2(x2)"}, ("srun", 4, 2, 0, 2)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, None),  # a person's shell
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "bash", "SLURM_STEP_NUM_TASKS": "2"}, ("srun", 2, 1, 1, 2)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),  # srun --ntasks 1
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        ({"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}, ("mpirun", 2, 1, 1, 2)),
    ],
)  # fmt: skip
def test_who_started_us(monkeypatch, variables, expected):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "PMI_", "OMPI_"))] + ["WORLD_SIZE", "RANK"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected


def test_what_starts_its_runs_itself_is_started_once(monkeypatch):
    alone("task=compare")
    for name, value in zip(("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"), "2121", strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="task=compare: it starts its runs itself; start it once, without torchrun"):
        alone("task=compare")


def test_the_processes_of_one_training_are_not_those_of_the_next(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "4001")
    monkeypatch.setenv("SLURM_JOB_NAME", "walk")
    with starting_others(tmp_path):
        assert (os.environ["LONGTAKE_RUN"], os.environ["SLURM_JOB_NAME"]) == (str(tmp_path), "interactive")
    assert os.environ["SLURM_JOB_NAME"] == "walk"
    assert "LONGTAKE_RUN" not in os.environ
