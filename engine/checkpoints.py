"""The checkpoints of a run that goes on: `last.ckpt`, and `previous.ckpt` for when a power cut has spoilt the last one."""

from pathlib import Path

import torch

from longtake.console import notes
from longtake.files import check_archive, locked

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MISSING = "is missing"


def restore(folder: Path) -> None:
    """See to it that `last.ckpt` can be read, or that there is none and the training begins anew; say what was not in order.

    Processes of one training may all call it. A damaged file is kept under another name.
    """
    if fault(folder / LAST) is None:
        return
    with locked(folder / ".restore.lock"):
        last = fault(folder / LAST)
        if last is None:  # another process was faster
            return
        previous = fault(folder / PREVIOUS)
        _set_aside(folder / LAST)
        if previous is None:
            step = step_of(folder / PREVIOUS)
            (folder / PREVIOUS).replace(folder / LAST)
            line = f"{LAST} of {folder} {last}: going on from {PREVIOUS}, step {step}"
        elif (last, previous) == (MISSING, MISSING):
            line = f"{folder} has no checkpoint yet: starting at step 0"
        else:
            _set_aside(folder / PREVIOUS)
            line = f"{LAST} of {folder} {last} and {PREVIOUS} {previous}: starting at step 0 in the same folder"
        notes.print(line, soft_wrap=True)


def fault(path: Path) -> str | None:
    """What is wrong with a checkpoint; None where a training can go on from it. Every byte is looked at.

    Raises `OSError` where the file cannot be opened: it may be as good as ever.
    """
    if not path.is_file():
        return MISSING
    if path.stat().st_size == 0:
        return "is damaged (empty)"
    try:
        check_archive(path)
        step_of(path)
    except OSError:
        raise
    except RuntimeError as error:
        return f"is damaged ({' '.join(str(error).split())[:80]})"
    except Exception as error:  # pickle's, ...: it depends on the bit
        return f"is damaged ({type(error).__name__}: {' '.join(str(error).split())[:80]})"
    return None


def step_of(path: Path) -> int:
    """The step at which a checkpoint was written; its tensors are not read."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def saved_in(folder: Path) -> str:
    """What a training that has failed leaves to go on from."""
    for name in (LAST, PREVIOUS):
        if fault(folder / name) is None:
            return (
                f"saved is step {step_of(folder / name)} in {folder}; to go on, give the same command with resume=true"
            )
    return f"nothing had been saved yet in {folder}"


def _set_aside(path: Path) -> None:
    if path.exists():
        path.replace(path.with_name(f"{path.name}.damaged"))
