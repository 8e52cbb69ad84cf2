"""Processes that tests start and wait for: each wait has an end, what is printed goes into a file, and none outlives its test."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE = (
    600.0  # seconds: a machine with ten times the load is no failure; below the clock of a test in pyproject.toml
)
_started: list["Started"] = []


def wait_until(found: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns when `found` says so. Raises `TimeoutError` when the seconds are over."""
    until = time.monotonic() + seconds
    while not found():
        if time.monotonic() > until:
            raise TimeoutError(f"waited for {seconds:.0f} s")
        time.sleep(0.05)


class Started:
    """A process in a session of its own, all that it prints in a file.

    A pipe that nobody reads is full some time, and then the process waits for ever.
    """

    def __init__(self, command: Sequence[str], printed: Path, **options: Any) -> None:
        self.printed = printed
        with printed.open("wb") as stream:
            ends = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen([*command], start_new_session=True, **ends, **options)
        _started.append(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, found: Callable[[], object]) -> None:
        """Waits for it as long as the process lives."""
        wait_until(lambda: self.process.poll() is not None or found())
        assert self.process.poll() is None, self.printed.read_text()

    def ended(self) -> tuple[int, str]:
        """Waits for its end: the exit code, and what it has printed."""
        code = self.process.wait(PATIENCE)
        return code, self.printed.read_text()


def end_all() -> None:
    """kill -9 for those that still run, with what they have started."""
    for started in _started:
        if started.process.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.process.wait()
    _started.clear()
