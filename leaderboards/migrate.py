"""Give a folder of leaderboards today's columns, and the outcomes of its rows the names of today's keys:

    python -m longtake.leaderboards.migrate leaderboards outputs/leaderboards

Columns and what old rows have there are in leaderboards/migrations.py.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from longtake.leaderboards.migrations import former_keys
from longtake.leaderboards.outcomes import has_outcomes, keep_outcomes, load_outcomes, outcomes_path
from longtake.leaderboards.rows import board_files, metrics_of, read, upsert


class Migrated(NamedTuple):
    """Counts of the files that the migration has changed."""

    boards: int
    outcomes: int

    def __str__(self) -> str:
        return f"{self.boards} leaderboards and {self.outcomes} files of outcomes written anew"


def migrate(folder: Path) -> Migrated:
    """Write every CSV of `folder` with today's columns and seals, and outcomes under today's keys.

    A row that somebody edited keeps its broken seal. Outcomes are copied first and their old files removed last: a kill loses
    nothing, and another run finishes the work. Where all is as today nothing changes.

    Raises:
        ValueError: there is no CSV, one is no leaderboard, or outcomes cannot be read; then no CSV was changed, and no outcomes
            are gone.
    """
    boards = {path: (metrics := metrics_of(path), read(path, metrics)) for path in board_files(folder)}
    if not boards:
        raise ValueError(f"no leaderboards in {folder}, expected a folder with CSVs")
    former = {
        (path.stem, key): row.key for path, (_, rows) in boards.items() for row in rows for key in former_keys(row)
    }
    moved = {place: key for place, key in former.items() if has_outcomes(folder, *place)}
    for (evaluation, old), key in moved.items():
        if not has_outcomes(folder, evaluation, key):
            keep_outcomes(folder, evaluation, key, load_outcomes(folder, evaluation, old))
    contents = {path: path.read_bytes() for path in boards}
    for path, (metrics, _) in boards.items():
        upsert(path, [], metrics)
    for evaluation, old in moved:
        outcomes_path(folder, evaluation, old).unlink()
    return Migrated(sum(path.read_bytes() != content for path, content in contents.items()), len(moved))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {migrate(Path(name))}")
