"""This repository as git sees it: where it is, its commits, its files at one of them."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
UNKNOWN, DIRTY = "unknown", "+dirty"


def is_clean(commit: str) -> bool:
    """Whether `code_commit` names a commit that holds all of the code."""
    return commit != UNKNOWN and not commit.endswith(DIRTY)


def code_commit(repository: Path = REPOSITORY) -> str:
    """The short hash of the commit that `repository` has checked out, `+dirty` when files differ from it.

    It is `unknown` when `repository` is not the root of a repository. An installed package is not, even inside one.
    """
    root, commit = git(repository, "rev-parse", "--show-toplevel"), git(repository, "rev-parse", "--short=10", "HEAD")
    if root is None or commit is None or Path(root).resolve() != repository.resolve():
        return UNKNOWN
    # Rows are no code: publishing the first runs of a comparison must not make the next ones dirty.
    changes = git(
        repository,
        "status",
        "--porcelain",
        "--",
        ".",
        ":(exclude)leaderboards/*.csv",
        ":(exclude)leaderboards/outcomes",
    )
    return commit if changes == "" else commit + DIRTY


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None when `folder` is in no repository (or has no commit) or git is not installed."""
    printed = git_bytes(folder, *arguments)
    return None if printed is None else os.fsdecode(printed).strip()


def git_bytes(folder: Path, *arguments: str) -> bytes | None:
    """Return what git prints, to the byte: the content of a file."""
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
