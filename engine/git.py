"""This repository as git sees it: where it is, its commits, its files at one of them."""

import os
import subprocess
from functools import cache
from pathlib import Path

from longtake.console import notes

REPOSITORY = Path(__file__).resolve().parents[1]
UNKNOWN, DIRTY = "unknown", "+dirty"


def is_clean(commit: str) -> bool:
    """Whether `code_commit` names a commit that holds all of the code."""
    return commit != UNKNOWN and not commit.endswith(DIRTY)


def code_commit(repository: Path = REPOSITORY) -> str:
    """The short hash of the commit that `repository` has checked out, `+dirty` when files differ from it.

    It is `unknown` when `repository` is not the root of a repository. An installed package is not, even inside one.
    """
    say_if_refused(repository)
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


@cache
def say_if_refused(repository: Path) -> None:
    """Say it, once, where git does not trust a repository, which belongs to somebody else: no row then has its commit."""
    command = ["git", "-C", str(repository), "rev-parse", "--show-toplevel"]
    try:
        said = subprocess.run(command, capture_output=True, check=False).stderr
    except OSError:  # no git
        return
    if b"safe.directory" in said:
        notes.print(
            f"git does not trust {repository}, which is somebody else's: rows get the commit {UNKNOWN!r} and cannot be published. "
            f"To mend it: git config --global --add safe.directory {repository}",
            soft_wrap=True,
        )


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None when `folder` is in no repository (or has no commit) or git is not installed."""
    printed = git_bytes(folder, *arguments)
    return None if printed is None else os.fsdecode(printed).strip()


def git_bytes(folder: Path, *arguments: str) -> bytes | None:
    """Return what git prints, to the byte: the content of a file."""
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
