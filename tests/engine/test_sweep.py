"""Sweeps: what fails is named at the end, and keeps no other run from being done."""

import os
import signal
import sys
from contextlib import nullcontext

import pytest
from omegaconf import OmegaConf
from small_runs import small_run
from started import Started

from longtake.engine import pretraining, sweep


@pytest.fixture
def words(tiny_video, tmp_path):
    return ["-m", *small_run(tiny_video, tmp_path / "out")[:-2], f"output={tmp_path / 'out'}"]


def test_the_rest_of_a_sweep_runs_and_the_failures_are_named(said, words, tiny_video, tmp_path):
    """A video that is missing is noticed by the plan of its run: the runs before and after it are done."""
    paths = f"pretrain.path='{tmp_path / 'no.mp4'}','{tiny_video}'"
    code, _, error = said(*words, "seed=0,1", paths)
    assert code == 1, error
    assert len(list((tmp_path / "out").glob("*_dino_*/encoder.safetensors"))) == 2
    *_, head, first, second = error.splitlines()
    assert head == "2 of 4 runs failed:"
    for seed, line in enumerate((first, second)):
        assert line.startswith(f"  seed={seed} pretrain.path='{tmp_path / 'no.mp4'}': "), line
        assert "no such file" in line
    assert "Traceback" not in error


def test_a_bug_in_one_run_is_shown_whole_and_the_others_go_on(said, words, tiny_video, monkeypatch):
    pretrain = pretraining.pretrain

    def broken(plan, *rest):
        if plan.config["seed"] == 0:
            raise RuntimeError("a bug\nof two lines")
        if plan.config["seed"] == 1:
            raise FloatingPointError("The loss is not finite.")
        pretrain(plan, *rest)

    monkeypatch.setattr(pretraining, "pretrain", broken)
    code, shown, error = said(*words, f"pretrain.path='{tiny_video}'", "seed=0,1,2")
    assert code == 1
    assert shown.count("this run: ") == 1
    assert "Traceback" in error
    assert "error: The loss is not finite; nothing had been saved yet in " in error
    *_, head, first, second = error.splitlines()
    assert (head, first) == ("2 of 3 runs failed:", "  seed=0: RuntimeError: a bug")
    assert second == "  seed=1: The loss is not finite."


def test_a_sweep_that_does_well_says_nothing_more(said, words, tiny_video):
    code, _, error = said(*words, f"pretrain.path='{tiny_video}'", "seed=0,1", "dry_run=true")
    assert code == 0
    assert "failed" not in error


def test_what_is_wrong_with_the_command_line_starts_nothing(said, words, tmp_path):
    code, _, error = said(*words, "seed=0,1", "method=dino,dinno")
    assert code == 2
    assert len(error.splitlines()) == 1
    assert not list((tmp_path / "out").glob("*_dino_*"))


def test_a_signal_ends_the_whole_sweep(words, tiny_video, tmp_path):
    command = [sys.executable, "-m", "longtake.run", *words, f"pretrain.path='{tiny_video}'", "seed=0,1", "epochs=4000"]
    process = Started(command, tmp_path / "printed.txt")
    process.until(lambda: list((tmp_path / "out").glob("*/logs/from_step_0/metrics.csv")))
    os.kill(process.pid, signal.SIGTERM)
    code, shown = process.ended()
    assert code == 143, shown
    assert len(list((tmp_path / "out").glob("*_dino_*"))) == 1
    assert "runs failed" not in shown


def test_one_run_alone_fails_as_ever(said, words, tmp_path):
    code, _, error = said(*words[1:], f"pretrain.path='{tmp_path / 'no.mp4'}'")
    assert code == 2
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(("failure", "goes_on"), [(SystemExit("error: a full disk"), False), (SystemExit(2), True)])
def test_one_of_several_processes_does_not_go_on_alone(monkeypatch, failure, goes_on):
    """What fails in the midst is waited for by the others, and ends the sweep; a refused plan is refused by them all."""
    monkeypatch.setattr(sweep, "_here", lambda: True)
    monkeypatch.setattr(sweep, "_jobs", [])
    monkeypatch.setattr("longtake.parallel.world_size", lambda: 2)
    monkeypatch.setattr(
        sweep.HydraConfig, "get", lambda: OmegaConf.create({"overrides": {"task": ["seed=1"]}, "job": {"num": 0}})
    )
    with nullcontext() if goes_on else pytest.raises(SystemExit, match="a full disk"), sweep.one_of_many():
        raise failure
    assert [job.failure != "" for job in sweep._jobs] == [True] * goes_on
