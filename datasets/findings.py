"""What a look at every file of a data set finds (`run task=check_data`): what a run would refuse, and what is only odd."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from longtake.console import progress_bar

Item = TypeVar("Item")


class Wrong(str):
    """A line about something that a run refuses; lines that are no more than strings are about what is odd."""


def looked_at(
    look: Callable[[Item], Iterable[str]], items: Sequence[Item], description: str, progress: bool = False
) -> list[str]:
    """The lines of `look` about every item, behind a progress bar; a `ValueError` of it is a `Wrong` line."""
    found: list[str] = []
    with progress_bar(progress) as bar:
        for item in bar.track(items, description=description):
            try:
                found += look(item)
            except ValueError as error:
                found.append(Wrong(error))
    return found


def undecodable(
    read: Callable[[Item], object], items: Sequence[Item], description: str, progress: bool = False
) -> list[str]:
    """`Wrong` lines about the pictures that `read` refuses."""

    def look(item: Item) -> tuple[str, ...]:
        read(item)
        return ()

    return looked_at(look, items, description, progress)
