"""Kill -9 at a chosen system call: a copy of this process does some work and ends, as by a power cut, before one of its calls.

Calls are those that change files, as Python's audit events name them, on paths below a folder; and the beginnings of steps that a
test asks for by `sys.audit("chaos")`.
"""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from started import PATIENCE

CHANGES = (
    "open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink", "os.link", "shutil.copyfile",
    "shutil.rmtree", "shutil.move", "chaos",
)  # fmt: skip

Hook = Callable[[str, tuple], None]
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(
    ["longtake.engine.fit", "longtake.tasks.run", "longtake.tasks.visualize.found", "longtake.run", "hydra"]
)


def killed_at(call: int, work: Callable[[], object], folder: Path) -> int:
    """The signal that ended the copy before its `call`-th change below `folder` (from 1); 0 where it came to its end before."""
    status = _in_a_copy(work, folder, call)[0]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def calls_of(work: Callable[[], object], folder: Path) -> int:
    """The changes below `folder` that the whole work makes; it is done."""
    status, calls = _in_a_copy(work, folder, 0)
    assert status == 0, f"the work failed: {status}"
    return calls


def _in_a_copy(work: Callable[[], object], folder: Path, last: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        at_most()
        try:
            counted = _count(folder, last)
            work()
            os.write(writing, str(counted()).encode())
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return status, int(pipe.read() or 0)


def at_most(seconds: float = PATIENCE / 2) -> None:
    """The kernel ends this process after so long, whatever it waits for: a copy of one with threads may wait for ever."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds))


def _count(folder: Path, last: int) -> Callable[[], int]:
    calls, where, me = 0, str(folder), os.getpid()

    def hook(event: str, arguments: tuple) -> None:
        nonlocal calls
        if event not in CHANGES or os.getpid() != me or not (event == "chaos" or where in str(arguments)):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        calls += 1
        if calls == last:
            os.kill(me, signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: calls


def run_in_a_copy(words: Sequence[str], folder: Path, on: Hook | None = None) -> tuple[int, str]:
    """`run` with these words in a fresh process; its exit code (negative: the signal) and what it printed.

    `on` hears of every audit event, and may raise or send a signal. A run that hangs is ended (`at_most`). The process is a
    fork of one that has imported all and computed nothing: this one has threads, which a fork would lack.
    """
    printed = folder / "printed.txt"
    process = FRESH.Process(target=_run, args=([*words], printed, on, dict(os.environ), os.getcwd()))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, printed.read_text()


def _run(words: list[str], printed: Path, on: Hook | None, environment: dict[str, str], where: str) -> None:
    code = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(where)
        at_most()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.stdout = sys.stderr = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
        sys.argv = ["run", *words]
        if isinstance(on, AtStep):
            on.prepare()
        elif on is not None:
            sys.addaudithook(on)
        code = _main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _main() -> int:
    """As the interpreter ends."""
    import torch

    from longtake.run import main

    torch.set_num_threads(1)
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return 1 if isinstance(stop.code, str) else int(stop.code or 0)
    return 0


@dataclass
class AtOpening:
    """A signal to the process itself at the `number`-th opening of a file whose path has `what` in it."""

    number: int
    what: str
    signal: int

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike) and self.what in str(arguments[0]):
            self.number -= 1
            if self.number == 0:
                os.kill(os.getpid(), self.signal)


@dataclass
class Refusing:
    """Files below `folder` whose paths have `what` in them cannot be made, changed or deleted: an error of this number."""

    folder: Path
    number: int
    what: str = ""

    def __call__(self, event: str, arguments: tuple) -> None:
        if not arguments or not str(arguments[0]).startswith(str(self.folder)) or self.what not in str(arguments[0]):
            return
        opened = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if opened or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink"):
            raise OSError(self.number, os.strerror(self.number), str(arguments[0]))


@dataclass
class KillAtChange:
    """kill -9 before the `number`-th change of files below `folder`; with 0 they are counted into the file `counted`."""

    folder: Path
    number: int
    counted: Path | None = None
    calls: int = 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in CHANGES or not arguments or str(self.folder) not in str(arguments):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        self.calls += 1
        if self.calls == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.counted is not None and event != "chaos":
            descriptor = os.open(self.counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(descriptor, str(self.calls).encode())
            os.close(descriptor)


@dataclass
class AtStep:
    """kill -9 at the `number`-th call of a method of ours, `Class.name`."""

    number: int
    where: str = "Safekeeping.on_train_batch_end"

    def __call__(self, event: str, arguments: tuple) -> None:
        """Hears nothing of such calls: `prepare` puts the kill in their place."""

    def prepare(self) -> None:
        from longtake.datasets import frame_writer
        from longtake.engine import fit

        frame_writer.BLOCK = int(os.environ.get("LONGTAKE_CHAOS_BLOCK", frame_writer.BLOCK))
        owner = getattr(fit if self.where.startswith("Safekeeping") else frame_writer, self.where.split(".")[0])
        name = self.where.split(".")[1]
        plain = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.number -= 1
            if self.number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*arguments, **named)

        setattr(owner, name, counted)
