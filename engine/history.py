"""Compare the committed leaderboards of two commits, and say what each change comes from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from longtake.engine.git import git, git_bytes
from longtake.leaderboards.rows import board_files, rows_in
from longtake.leaderboards.same_numbers import NAME as SAME_NUMBERS
from longtake.leaderboards.schema import PAPER, Key, Row, cells_of, columns

WORKING_TREE = ""
# A reason for other numbers, the likeliest first, by the cell of the provenance that tells it.
REASONS = {
    "code_hash": "other code",
    "data_hash": "other test items",
    "config_hash": "another configuration",
    "checkpoint_hash": "another encoder",
}


class Change(NamedTuple):
    """A row that one of two commits has and the other has not, or that differs in some cells."""

    evaluation: str
    key: Key
    kind: str  # "added", "removed" or "changed"
    cells: Mapping[str, tuple[str, str]]  # old and new text, by column
    why: str

    def __str__(self) -> str:
        head = f"{self.evaluation}: {self.key}: {self.kind}" + (f", {self.why}" if self.why else "")
        return "\n".join(
            [head, *(f"    {name}: {_cell(old)} -> {_cell(new)}" for name, (old, new) in self.cells.items())]
        )


def diff(folder: Path, revisions: str) -> list[Change]:
    """`revisions` is `REV`, for what changed from there to the files as they are, or `OLD..NEW`; `folder` has the CSVs.

    Raises:
        ValueError: not in a repository, no revision or one that it does not have, or a file that is no leaderboard.
    """
    old, _, new = revisions.partition("..")
    if not old:
        raise ValueError(f"diff: got {revisions!r}, expected REV or OLD..NEW, for example main or HEAD~1..HEAD")
    before, after = _boards(folder, old), _boards(folder, new or WORKING_TREE)
    changes: list[Change] = []
    for name in sorted({*before, *after}):
        changes += _changes(name, before.get(name, {}), after.get(name, {}))
    return changes


def _boards(folder: Path, revision: str) -> dict[str, dict[Key, Row]]:
    """The rows of every CSV by key, as a commit has them."""
    if revision == WORKING_TREE:
        return {path.stem: _by_key(path.read_bytes(), str(path)) for path in board_files(folder)}
    commit = _commit(folder, revision)
    listed = (git(folder, "ls-tree", "--name-only", commit, "./") or "").splitlines()
    names = [Path(name).name for name in listed if name.endswith(".csv") and Path(name).name != SAME_NUMBERS]
    return {Path(name).stem: committed(folder, commit, name, revision) for name in names}


def _commit(folder: Path, revision: str) -> str:
    found = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        raise ValueError(f"diff: got {revision!r}, expected a commit of the repository that {folder} is in")
    return found


def committed(folder: Path, commit: str, name: str, revision: str | None = None) -> dict[Key, Row]:
    """The rows of a CSV in `folder` by key, as a commit has them; none where it does not have the file.

    Raises `ValueError` for one that is no leaderboard; `revision` is what the user calls the commit.
    """
    content = git_bytes(folder, "show", f"{commit}:./{name}")
    return {} if content is None else _by_key(content, f"{revision or commit}:{name}")


def _by_key(content: bytes, name: str) -> dict[Key, Row]:
    return {row.key: row for row in rows_in(content, name)}


def _changes(evaluation: str, before: Mapping[Key, Row], after: Mapping[Key, Row]) -> Iterator[Change]:
    metrics = list(dict.fromkeys(metric for rows in (before, after) for row in rows.values() for metric in row.metrics))
    names = columns(metrics)
    for key in sorted({*before, *after}, key=str):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            assert old or new
            yield Change(
                evaluation, key, "removed" if new is None else "added", _scores(old or new, metrics, new is None), ""
            )
            continue
        texts = zip(names, cells_of(old, metrics), cells_of(new, metrics), strict=True)
        cells = {name: (a, b) for name, a, b in texts if a != b and name != "seal"}
        if cells or old.broken_seal != new.broken_seal:
            yield Change(evaluation, key, "changed", cells, _why(new, set(cells), metrics))


def _scores(row: Row | None, metrics: list[str], gone: bool) -> dict[str, tuple[str, str]]:
    assert row is not None
    values = {metric: f"{row.metrics[metric].value:.4g}" for metric in metrics if metric in row.metrics}
    return {metric: (value, "") if gone else ("", value) for metric, value in values.items()}


def _why(new: Row, changed: set[str], metrics: list[str]) -> str:
    if new.broken_seal:
        return "edited by hand: its seal is broken"
    reasons = [reason for name, reason in REASONS.items() if name in changed]
    scores = changed & (set(columns(metrics)) - set(columns([])))
    if reasons:
        return "of " + " and ".join(reasons)
    if scores and new.key.source != "run":
        read_from_it = new.key.source.startswith(PAPER)
        return "another number read from the paper" if read_from_it else "another answer of the test server"
    if scores:
        return "with the same code, items, configuration and encoder: another machine or chance"
    return "the same numbers, made again" if "date" in changed else "the same numbers"


def _cell(text: str) -> str:
    return text or "nothing"
