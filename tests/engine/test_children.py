"""Runs in processes of their own: what stops this process stops them in order, and they find the same yamls."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from started import wait_until

from longtake.engine import config
from longtake.engine.children import STOPPED, command, exit_codes, run_all
from longtake.engine.submission import Job

SAVING = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    open(sys.argv[1], "w").write(str(number))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, save)
open(sys.argv[1] + ".ready", "w")
time.sleep(60)
"""


def stop_when(ready: Path, number: int) -> None:
    wait_until(ready.exists)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_passed_on_and_what_saves_is_waited_for(tmp_path, number):
    lines = {name: [sys.executable, "-c", SAVING, str(tmp_path / name)] for name in ("a", "b")}
    threading.Thread(target=stop_when, args=(tmp_path / "a.ready", number), daemon=True).start()
    before = signal.getsignal(number)
    with pytest.raises(SystemExit, match="to go on, give the same command again"):
        run_all(lines)
    assert (tmp_path / "a").read_text() == str(int(number))
    assert not (tmp_path / "b.ready").exists()  # the next one does not begin
    assert signal.getsignal(number) is before


def test_processes_side_by_side_give_their_exit_codes_in_order():
    assert exit_codes([[sys.executable, "-c", f"raise SystemExit({code})"] for code in (3, 0, 143)]) == [3, 0, 143]
    assert 143 in STOPPED


def test_another_process_finds_the_same_yamls(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "_of_command", [config.Sources()])
    assert command(["seed=1"])[3:] == ["seed=1"]
    config.use(config.Sources(config_dir="mine"))
    flags = ["--config-dir", str(tmp_path / "mine")]
    assert command(["seed=1"])[3:] == [*flags, "seed=1"]
    assert Job(["seed=1"]).words == [*flags, "seed=1"]


def test_a_job_s_log_has_the_sentence_that_ends_it(monkeypatch, capsys):
    def ends() -> None:
        raise SystemExit("error: the disk is full")

    monkeypatch.setattr("longtake.run.main", ends)
    monkeypatch.setattr(sys, "argv", [])
    assert Job([])() == 1
    assert capsys.readouterr().err == "error: the disk is full\n"
