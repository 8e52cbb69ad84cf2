"""The columns that a file of rows has, and its records by their names: older files lack columns that rows have today.

A provenance column that is not there is empty: it has its default. A key column that is not there has the value that its migration
gives (leaderboards/migrations.py). A seal is checked with the header that it was written with, and the next `upsert` writes today's
columns and seals rows anew, but for those whose seal was broken.
"""

from collections.abc import Sequence
from functools import cached_property

from longtake.leaderboards.migrations import added, filled
from longtake.leaderboards.schema import (
    OLD_KEY,
    OLD_PROVENANCE_1,
    SEAL,
    TEXTS,
    Key,
    Provenance,
    Value,
    broken_seal,
    columns,
    explained,
    marked,
    score_columns,
    sealed,
    text_of,
)


class Header:
    """The columns of a file that messages call `name`; its metrics are `metrics`, or those that the header has.

    Raises:
        ValueError: it has columns that rows do not have, lacks some that they need, or has the metrics in another order.
    """

    def __init__(self, name: str, line: str, found: Sequence[str], metrics: Sequence[str] | None = None) -> None:
        self.names = tuple(found)
        self.metrics = metrics_in(found) if metrics is None else tuple(metrics)
        self.today = columns(self.metrics)
        if flaw := self._flaw(line):
            raise ValueError(
                f"{name}: line 1: got columns {','.join(found)!r}, expected {','.join(self.today)!r} ({flaw}); "
                "move the file away or restore it"
            )
        self.is_todays = list(found) == self.today
        self._sealed = sealed(self.names) if SEAL in found else None

    def _flaw(self, line: str) -> str:
        """Say what is wrong with the header, if anything."""
        if not line.endswith("\n"):
            return "cut short"
        names, scores = self.names, score_columns(self.metrics)
        unsealed = names == (*OLD_KEY, *scores, *OLD_PROVENANCE_1)  # version 1, the only one
        may_lack = Provenance._field_defaults.keys() | added() | ({SEAL} if unsealed else set())
        if unknown := [name if name.isprintable() else repr(name) for name in names if name not in self.today]:
            return f"unknown: {', '.join(unknown)}"
        if missing := set(self.today) - set(names) - may_lack:
            return f"missing: {', '.join(sorted(missing, key=self.today.index))}"
        if len(set(names)) < len(names):
            return f"twice: {', '.join(sorted({name for name in names if names.count(name) > 1}))}"
        if [name for name in names if name in scores] != scores or not (unsealed or names[-1] == SEAL):
            return "in another order"
        return ""

    def broken_seal(self, cells: Sequence[str]) -> str:
        """Return what stands in the place of the seal where that does not fit a record of this file; else ""."""
        return "" if self._sealed is None else broken_seal(cells, self._sealed)

    def todays(self, place: str, cells: Sequence[str]) -> Sequence[str]:
        """A record of this file as today's columns have it.

        Raises `ValueError` for a cell that a migration needs and that cannot be read; `place` is where the record is.
        """
        if self.is_todays:
            return cells
        if self._sealed is None:  # version 1 did not mark names either
            cells = [marked(cell) if name in TEXTS else cell for name, cell in zip(self.names, cells, strict=True)]
        there = dict(zip(self.names, cells, strict=True))
        if self._migrated:
            facts = {name: explained(place, name, there[name]) for name in self._facts}
            row = filled({**self._defaults, **facts})
            there |= {name: text_of(row[name]) for name in self._migrated}
        return [there[name] if name in there else self._empty[name] for name in self.today]

    @cached_property
    def _facts(self) -> list[str]:
        """The columns that migrations may look at."""
        return [name for name in self.names if name in Key._fields or name in Provenance._fields]

    @cached_property
    def _migrated(self) -> set[str]:
        """The columns that the file lacks and that have another value than their default."""
        return added() - set(self.names)

    @cached_property
    def _defaults(self) -> dict[str, Value]:
        """The values of all other columns that the file lacks."""
        others = Provenance._field_defaults.keys() - added() - set(self.names)
        return {name: Provenance._field_defaults[name] for name in others}

    @cached_property
    def _empty(self) -> dict[str, str]:
        """Return empty cells, as texts; the seal of a file of version 1 is not looked at."""
        return {SEAL: "", **{name: text_of(value) for name, value in self._defaults.items()}}


def metrics_in(header: Sequence[str]) -> tuple[str, ...]:
    """The metrics that a header has: those with an interval. Whether it is a leaderboard's, its caller finds out."""
    there = set(header)
    return tuple(name for name in header if {f"{name}_low", f"{name}_high"} <= there)
