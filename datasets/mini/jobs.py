"""Rendering spread over processes, the results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

import cv2
from joblib import cpu_count

MAX_WORKERS = 16
AHEAD = 8  # tasks that are computed before they are asked for

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def workers(number: int | None = None) -> Iterator[ProcessPoolExecutor | None]:
    """That many processes, by default one per core; None stands for this process."""
    number = number or min(cpu_count(), MAX_WORKERS)
    context = multiprocessing.get_context("spawn")  # forking a process that runs threads may deadlock
    pool = ProcessPoolExecutor(number, context, _begin) if number > 1 else None
    try:
        yield pool
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, and of the beginning of processes that are started in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """In each of them: one thread, Ctrl-C is for the run alone, and none outlives the run, however that ends."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def in_order(
    pool: ProcessPoolExecutor | None, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """`map` that runs at most a few tasks ahead, so that what waits to be used stays little."""
    if pool is None:
        yield from map(work, tasks)
        return
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        with _undisturbed():
            waiting.append(pool.submit(work, task))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
