"""MATLAB files, read by a process of their own: a damaged one can end the process that scipy reads it in, or take its memory."""

import pickle
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds; the largest of these files, that of Stanford Cars, takes one
READER = """
import pickle, sys
from scipy.io import loadmat
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
except (ImportError, ValueError, OSError):
    pass  # a system without, or with a lower limit
try:
    found = loadmat(sys.argv[1], squeeze_me=True)
    answer = pickle.dumps({name: value for name, value in found.items() if not name.startswith("__")})
except BaseException as error:
    answer = pickle.dumps(" ".join(f"{type(error).__name__}: {error}".split()))
sys.stdout.buffer.write(answer)
"""


def load_matlab(path: Path) -> dict[str, Any]:
    """The variables of a file, dimensions of one left out. Raises `ValueError` with what is wrong, `OSError` without a file."""
    status = path.stat()
    found = _read_apart(path, status.st_mtime_ns, status.st_size)
    if isinstance(found, str):
        raise ValueError(found)
    return dict(found)


@lru_cache(maxsize=8)  # a set's files are opened for each of its splits
def _read_apart(path: Path, modified: int, size: int) -> dict[str, Any] | str:
    """The variables, or why there are none."""
    try:  # -P: modules of the folder that we are in are not scipy's
        done = subprocess.run(
            [sys.executable, "-P", "-c", READER, path], capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"reading it takes more than {PATIENCE:.0f} s"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"reading it ends the reader with {done.returncode}" + (f": {said[-1]}" if said else "")
    return pickle.loads(done.stdout)  # our own
