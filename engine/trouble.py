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
TOO_LITTLE_MEMORY = "most often there is too little memory; close other programs, or give the machine more"
OPEN_FILES = "lift the limit on open files (ulimit -n 65536), or use fewer num_workers"


def trouble(error: BaseException) -> str | None:
    """The sentence, without a full stop; None for an error that is none of these.

    A worker that dies may interrupt anything, the writing of a checkpoint, too, which then fails: its death is what to say.
    """
    for line in map(death, _and_those_before(error)):
        if line:
            return line
    for each in _causes(error):
        if line := _of_files(each) or _memory(each, _where(each)):
            return " ".join(line.split())
    return None


def is_misnamed(error: BaseException) -> bool:
    """Whether an error says that no file could have such a name."""
    kinds = (errno.ENAMETOOLONG, errno.ELOOP)
    return any(isinstance(each, OSError) and each.errno in kinds for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else _same_work(error))


def _same_work(error: BaseException) -> BaseException | None:
    """The error in whose handling one of an `__exit__` came: of a file that is closed half-written, say."""
    context = error.__context__
    return (
        context if isinstance(context, OSError) and isinstance(error, OSError | RuntimeError | AssertionError) else None
    )


def _where(error: BaseException) -> str:
    name = error.filename if isinstance(error, OSError) else None
    return f"{os.fsdecode(name)}: " if isinstance(name, str | bytes | os.PathLike) else ""


def _of_files(error: BaseException) -> str | None:
    """What is said of files and processes that the system refused."""
    where = _where(error)
    if isinstance(error, Refused):
        return str(error)
    if type(error).__name__ == "BrokenProcessPool":
        return f"a process that renders has ended: {TOO_LITTLE_MEMORY}"
    if "No usable temporary directory" in str(error):
        return (
            f"no folder for temporary files can be written ({error}); make room, or name another one by TMPDIR=FOLDER"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{where}{os.strerror(error.errno)}: {OPEN_FILES}"
    if line := unwritten(error):
        both = isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
        return f"{where or 'a file '}cannot be {'read or ' * both}written: {line}"
    if isinstance(error, OSError) and where and error.errno not in (None, errno.ENOENT, errno.EEXIST):
        return f"{where}{error.strerror}"
    return None


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
