"""`run task=prepare pretrain=NAME`: fetch what is missing, look at what is there, build the frame store, sum it up."""

from longtake.console import console, notes
from longtake.datasets.sources.base import Source
from longtake.datasets.store import Store


def prepare(source: Source) -> Store:
    """The finished store. Raises `ValueError` for what cannot be fetched, read or built, with the remedy."""
    source.fetch()
    for doubt in source.doubts():
        notes.print(f"[yellow]warning[/] {doubt}", soft_wrap=True)
    return source.open()


def print_store(store: Store) -> None:
    """Print what a store says of itself."""
    console.print(store.summary())
