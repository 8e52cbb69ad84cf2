"""Rendering spread over processes, the results in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
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
    pool = ProcessPoolExecutor(number, context, cv2.setNumThreads, (1,)) if number > 1 else None
    try:
        yield pool
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def in_order(
    pool: ProcessPoolExecutor | None, work: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """`map` that runs at most a few tasks ahead, so that what waits to be used stays little."""
    if pool is None:
        yield from map(work, tasks)
        return
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
