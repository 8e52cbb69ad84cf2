"""`launcher=slurm` on a fake Slurm: checked, shown, submitted, stopped and requeued; in the end the rows and weights of one run."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from launches import FAKE, RUN, Small, in_slurm, same, small
from started import PATIENCE, wait_until

pytest.importorskip("submitit")
STEPS = 80  # epochs of two steps


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submission")


def slurm(run: Small) -> dict[str, str]:
    """Variables of a login node."""
    (run.folder / "queue").mkdir(exist_ok=True)
    return {"PATH": f"{FAKE}:{os.environ['PATH']}", "FAKE_SLURM": str(run.folder / "queue")}


def in_its_steps(run: Small, attempt: int) -> bool:
    """Whether every process of the newest attempt is past its start."""
    logs = [path.read_text().count("\n") for path in run.output.glob("20*/logs/from_step_*/metrics.csv")]
    return len(logs) == attempt and min(logs) > 5


def processes_of(run: Small) -> list[int]:
    """Those of the job, workers that read data among them."""
    wanted = str(run.folder / "out" / "sweeps")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "cmdline").read_text() and "python" in os.readlink(entry / "exe"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_stopped_and_requeued_twice_is_one_run(place, tiny_video, tiny_folder, nodes):
    whole, run = (
        small(place / f"{name}_{nodes}", tiny_video, tiny_folder, f"epochs={STEPS}", "num_workers=1")
        for name in ("whole", "requeued")
    )
    size, queue = 2 * nodes, run.folder / "queue"
    whole.run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), *RUN)
    shown = run.run(
        more=["launcher=slurm", "wait=false", "trainer.devices=2", f"trainer.num_nodes={nodes}"], variables=slurm(run)
    )
    assert "submitted job 4001" in shown
    for attempt in (1, 2):
        wait_until(lambda attempt=attempt: in_its_steps(run, attempt))
        for process in processes_of(run):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGUSR2)
        wait_until((queue / "4001.0.rc").is_file)
        assert (queue / "scontrol.log").read_text().count("requeue 4001") == attempt
        (folder,) = run.output.glob("20*_dino_video*")
        assert (folder / "last.ckpt").is_file()
        (queue / "4001.0.rc").unlink()
        variables = {name: str(value) for name, value in in_slurm(queue, size, nodes).items()}
        again = subprocess.Popen(
            f"bash {queue / '4001.sh'}; echo $? > {queue / '4001.0.rc'}", shell=True, cwd=run.folder,
            env={**run.environment, **variables, "SLURM_RESTART_COUNT": str(attempt)},
        )  # fmt: skip
    assert again.wait(PATIENCE) == 0
    assert (queue / "4001.0.rc").read_text().strip() == "0"
    assert same(run, whole)
    if nodes > 1:
        return
    shown = run.run(
        more=["launcher=slurm", "trainer.devices=2", f"trainer.num_nodes={nodes}"], variables=slurm(run)
    )  # again: nothing is left to do
    assert "ended" in shown
    assert len(list(run.output.glob("20*_dino_video*"))) == 1


def test_jobs_of_a_sweep_are_an_array_and_one_that_fails_is_named(place, tiny_video, tiny_folder):
    run = small(place / "sweep", tiny_video, tiny_folder, "epochs=1", "seed=0,1", "launcher=slurm")
    shown = run.run(variables=slurm(run))
    for number in (0, 1):
        assert f"submitted job 4001_{number}  seed={number}" in shown
        assert f"job 4001_{number}  seed={number}  ended" in shown
    assert len(list(run.output.glob("20*_dino_video*"))) == 2
    assert "gpus" not in (run.folder / "queue" / "4001.sh").read_text()  # device=cpu

    broken = small(
        place / "broken", tiny_video, tiny_folder, "epochs=1", "method.max_skipped_steps=0", "method.student_temp=1e-38"
    )
    code, shown = broken.start(more=["launcher=slurm"], variables=slurm(broken)).ended()
    assert code == 1, shown
    assert "failed" in shown


def test_what_is_wrong_is_said_before_anything_is_submitted(place, tiny_video, tiny_folder):
    run = small(place / "wrong", tiny_video, tiny_folder, "seed=0,1", "pretrain.path=/nowhere/a.mp4", "launcher=slurm")
    code, shown = run.start(variables=slurm(run)).ended()
    assert code == 2
    assert shown.strip().splitlines() == ["error: /nowhere/a.mp4: no such file"]
    assert not list((run.folder / "queue").iterdir())


def test_a_dry_run_prints_the_script_and_submits_nothing(place, tiny_video, tiny_folder):
    more = [
        "epochs=1",
        "launcher=slurm",
        "++dry_run=true",
        "hydra.launcher.partition=gpu",
        "hydra.launcher.timeout_min=90",
    ]
    run = small(place / "dry", tiny_video, tiny_folder, *more, "trainer.devices=2")
    shown = run.run(variables=slurm(run))
    for line in ("--partition=gpu", "--time=90", "--ntasks-per-node=2", "--signal=USR2@120", "srun --unbuffered"):
        assert line in shown, shown
    assert "train dino on vit_mini_8: 1 epochs" in " ".join(shown.split())
    assert not list((run.folder / "queue").iterdir())


def test_slurm_s_refusal_is_one_line(place, tiny_video, tiny_folder, tmp_path):
    run = small(place / "refused", tiny_video, tiny_folder, "epochs=1", "launcher=slurm")
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/bash\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    variables = slurm(run)
    code, shown = run.start(variables={**variables, "PATH": f"{tmp_path}:{variables['PATH']}"}).ended()
    assert code == 2
    assert "error: launcher=slurm: " in shown
    assert "invalid partition" in shown
    assert "Traceback" not in shown
