"""Signals that stop a run: which ones, that worker processes leave them to the run, and who hears of them afterwards."""

import atexit
import mmap
import os
import signal
from collections.abc import Sequence
from functools import cache
from types import FrameType

from torch.utils.data._utils import signal_handling

NAMES = ("TERM", "HUP", "USR1", "USR2")  # besides INT, which is Ctrl-C


def numbers(names: Sequence[str]) -> list[signal.Signals]:
    """The signals of these names that this system has (Windows lacks some), and Ctrl-C's."""
    return [getattr(signal, f"SIG{name}") for name in ("INT", *names) if hasattr(signal, f"SIG{name}")]


@cache
def spare_workers() -> None:
    """Let processes that are forked from now on ignore what stops a run: a signal to the process group is for the run alone.

    SIGTERM they obey once the run has ended, which is how Python ends workers that are left over.
    """
    ended = mmap.mmap(-1, 1)  # shared with them
    atexit.register(ended.__setitem__, 0, 1)

    def on_terminate(number: int, frame: FrameType | None) -> None:
        if ended[0]:
            os._exit(128 + number)

    def in_worker() -> None:
        for number in numbers(NAMES):
            signal.signal(number, on_terminate if number == signal.SIGTERM else signal.SIG_IGN)

    def after_pytorchs() -> None:
        plain()
        in_worker()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_worker)
    # PyTorch's loader then gives its workers a handler of SIGTERM that obeys everybody but its own parent
    plain, signal_handling._set_worker_signal_handlers = signal_handling._set_worker_signal_handlers, after_pytorchs


def hand_on(number: int) -> None:
    """Tell whoever took a signal before the run did (in a job of submitit it has the job requeued); may not return."""
    handler = signal.getsignal(number)
    if callable(handler) and handler is not signal.default_int_handler:
        handler(number, None)
