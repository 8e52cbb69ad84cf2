"""What frame stores give back, said by a process of its own: a broken page may end it."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from started import PATIENCE

from longtake.datasets.frame_store import FrameStore


def digest(store: FrameStore) -> str:
    """Of every frame, its time, and what was measured in it."""
    arrays = (store.seconds, store.video, store.shot, store.lightness, store.contrast, store.blank)
    values = [store.read(range(len(store))).numpy(), *arrays]
    content = b"".join(value.tobytes() for value in values) + repr((store.lost, store.cuts)).encode()
    return hashlib.sha256(content).hexdigest()


def outcome(path: Path, known: str) -> str:
    """`same`, `said` (a sentence that names the store), `SILENT` (it is another one), or an error that is no sentence."""
    try:
        return "same" if digest(FrameStore(path)) == known else "SILENT"
    except ValueError as error:
        return "said" if str(path) in str(error) else f"unnamed: {error!r}"
    except Exception as error:
        return f"traceback: {error!r}"


def outcomes(paths: Sequence[Path], known: str) -> list[str]:
    """Of each store; `crash` of one that has ended the process, which another one goes on behind."""
    found: list[str] = []
    while len(found) < len(paths):
        command = [sys.executable, __file__, known, *map(str, paths[len(found) :])]
        found += subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout.splitlines()
        found += ["crash"] if len(found) < len(paths) else []
    return found


if __name__ == "__main__":
    for word in sys.argv[2:]:
        print(outcome(Path(word), sys.argv[1]), flush=True)
