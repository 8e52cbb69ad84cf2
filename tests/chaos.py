"""Kill -9 at a chosen system call: a copy of this process does some work and ends, as by a power cut, before one of its calls.

Calls are those that change files, as Python's audit events name them, on paths below a folder; and the beginnings of steps that a
test asks for by `sys.audit("chaos")`.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

CHANGES = (
    "open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink", "os.link", "shutil.copyfile",
    "shutil.rmtree", "shutil.move", "chaos",
)  # fmt: skip


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


def run_in_a_copy(
    words: Sequence[str],
    folder: Path,
    on: Callable[[str, tuple], None] | None = None,
    before: Callable[[], object] | None = None,
) -> tuple[int, str]:
    """`run` with these words in a copy of this process; its exit code (negative: the signal) and what it printed.

    `on` hears of every audit event, and may raise or send a signal. A copy that hangs is ended after two minutes.
    """
    printed = folder / "printed.txt"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(120)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(descriptor, number)
            sys.stdout = sys.stderr = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
            sys.argv = ["run", *words]
            (before or (lambda: None))()
            if on is not None:
                sys.addaudithook(on)
            code = _main()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), printed.read_text()


def _main() -> int:
    """As the interpreter ends."""
    from longtake.run import main

    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return 1 if isinstance(stop.code, str) else int(stop.code or 0)
    return 0


def at_call(number: int, what: str, act: Callable[[], object]) -> Callable[[str, tuple], None]:
    """Does something at the `number`-th opening of a file whose path has `what` in it."""
    calls, me = 0, os.getpid()

    def hook(event: str, arguments: tuple) -> None:
        nonlocal calls
        if event == "open" and isinstance(arguments[0], str | os.PathLike) and what in str(arguments[0]):
            calls += 1
            if calls == number and os.getpid() != me:
                act()

    return hook
