"""Two commits side by side: check one out beside the repository, and ask a tree by running the probe in it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from longtake.engine.git import git

PROBE = Path(__file__).with_name("probe.py")
TAIL = 2000  # characters of what a failed probe printed


class Tree(NamedTuple):
    """A commit and the folder that has it."""

    commit: str
    root: Path


@contextmanager
def checked_out(repository: Path, revision: str, scratch: Path) -> Iterator[Tree]:
    """The commit in a folder of its own below `scratch`, gone after the block. Raises `ValueError` for what is no commit."""
    commit = git(
        repository, "rev-parse", "--verify", "--quiet", "--short=10", "--end-of-options", f"{revision}^{{commit}}"
    )
    if commit is None:
        raise ValueError(
            f"since: got {revision!r}, expected a commit of this repository (of a whole clone, not a shallow one)"
        )
    root = scratch / commit / "longtake"
    if git(repository, "worktree", "add", "--detach", "--force", str(root), commit) is None:
        raise ValueError(f"since={revision}: git could not check it out beside this tree")
    try:
        yield Tree(commit, root)
    finally:
        git(repository, "worktree", "remove", "--force", str(root))


def ask(trees: Sequence[Tree], job: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    """Run the probe in each tree, all at the same time, and return its answers. Raises `ValueError` where it does not end."""
    asked = [
        (tree, scratch / f"{number}", _started(tree, job, scratch / f"{number}")) for number, tree in enumerate(trees)
    ]
    answers = []
    for tree, folder, process in asked:
        if process.wait() != 0:
            for _, _, other in asked:
                other.kill()
            printed = (folder / "printed.txt").read_text(errors="replace")[-TAIL:]
            raise ValueError(f"the fixtures could not be run on {tree.commit}:\n{printed}")
        answers.append(json.loads((folder / "answer.json").read_text()))
    return answers


def _started(tree: Tree, job: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    """The probe on a tree, its output in a file; PYTHONPATH makes `longtake` that tree."""
    (folder / "path").mkdir(parents=True)
    (folder / "path" / "longtake").symlink_to(tree.root)
    own = {"out": str(folder / "out"), "data": str(folder / "data"), "answer": str(folder / "answer.json")}
    (folder / "job.json").write_text(json.dumps({**job, **own}))
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "path"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (folder / "printed.txt").open("wb") as printed:
        command = [sys.executable, "-W", "ignore", str(PROBE), str(folder / "job.json")]
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=printed, stderr=subprocess.STDOUT)
