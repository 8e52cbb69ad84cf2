"""What goes wrong on a machine, in a sentence: full disks, limits, memory, workers that died.

Any other error is a bug, to be shown whole.
"""

import errno
import os
import re
from collections.abc import Iterator

from longtake.engine.workers import death
from longtake.files import Refused, unwritten

ALLOCATION = re.compile(r"[Cc]annot allocate memory|can't allocate memory|Unable to allocate|\(os error 12\)")
OPEN_FILES = "lift the limit on open files (ulimit -n 65536), or use fewer num_workers"


def trouble(error: BaseException) -> str | None:
    """The sentence, without a full stop; None for an error that is none of these.

    A worker that dies may interrupt anything, the writing of a checkpoint, too, which then fails: its death is what to say.
    """
    for line in map(death, _and_those_before(error)):
        if line:
            return line
    if isinstance(error, Refused):
        return str(error)
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error, OSError) and error.filename else ""
    if line := unwritten(error):
        return f"{where or 'a file '}cannot be written: {line}"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{where}{os.strerror(error.errno)}: {OPEN_FILES}"
    return _memory(error, where)


def _and_those_before(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those in whose handling it came."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _memory(error: BaseException, where: str) -> str | None:
    text = " ".join(str(error).split())
    if type(error).__name__ == "OutOfMemoryError":  # a GPU's
        return f"{text.partition('. ')[0]}: use a smaller batch_size, a shorter clip (method.num_frames) or a smaller backbone"
    if isinstance(error, MemoryError) or ALLOCATION.search(text):
        return (
            f"{where or (text and f'{text}: ')}there is not enough memory, or of address space (ulimit -v unlimited); a smaller "
            "batch_size and fewer num_workers need less"
        )
    return None
