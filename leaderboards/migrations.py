"""Fill rows of older files with the columns that the key has today.

To add `data` and `frames` to the key, say, take three steps:

1. the fields in `Key` (leaderboards/schema.py), behind the others, with the defaults that the paper's numbers have
   (leaderboards/paper.py), and in engine/session.py what new rows have there;
2. an entry of `MIGRATIONS`: what a row that lacks them has there, a constant or a function of what else is known of the row;

       Migration("what was learnt from", "2026-12-24", {"data": "unknown", "frames": lambda row: row["frames_seen"]}),

3. `python -m longtake.leaderboards.migrate FOLDER` for `leaderboards`, and commit what has changed; and for the `leaderboards` of
   every output folder whose comparisons shall be kept: outcomes are called after the key, and found again when they are renamed.

Files of all earlier headers are read as before, with these values, and `upsert` seals them anew. A provenance column that is empty
where nothing is known of it needs no entry: its field in `Provenance` is all. Entries are never changed or removed: files of any
age may come.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from longtake.leaderboards.schema import Key, Row, Value

Facts = Mapping[str, Value]  # key and provenance of a row, by column


@dataclass(frozen=True)
class Migration:
    """Columns that were added, and what rows without them have there.

    A function of `values` gets the key and the provenance as they were before this migration, with the types of their fields.
    """

    name: str  # for people
    date: str  # ISO 8601
    values: Mapping[str, Value | Callable[[Facts], Value]]

    def of(self, before: Facts) -> dict[str, Value]:
        """The values of the columns that this migration adds."""
        return {column: value(before) if callable(value) else value for column, value in self.values.items()}


MIGRATIONS: tuple[Migration, ...] = ()  # the oldest first


def added() -> set[str]:
    """The columns that a file may lack because a migration has their values."""
    return {column for migration in MIGRATIONS for column in migration.values}


def filled(known: Facts) -> dict[str, Value]:
    """Return what is known of a row, and the values of all columns that migrations have added since it was written."""
    row = dict(known)
    for migration in MIGRATIONS:
        row |= {column: value for column, value in migration.of(row).items() if column not in row}
    return row


def former_keys(row: Row) -> Iterator[tuple[Value, ...]]:
    """The keys that a row had before each migration of the key, the latest first; none of a row that was born after it.

    Such a row has other values than the migration gives, or an older one with the same values would have the same key.
    """
    facts: dict[str, Value] = {**row.key._asdict(), **row.provenance._asdict()}
    latest: tuple[Value, ...] = row.key
    for migration in reversed(MIGRATIONS):
        before = {column: value for column, value in facts.items() if column not in migration.values}
        given = migration.of(before)
        if any(given[column] != facts[column] for column in migration.values if column in Key._fields):
            return
        facts, key = before, tuple(before[column] for column in Key._fields if column in before)
        if key != latest:
            latest = key
            yield key
