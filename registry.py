"""Subclass and register: one word on the command line, one yaml, one Python file, one class keyword.

    class SimCLR(Method, name="simclr"): ...        # in methods/simclr.py
    METHODS["simclr"]                               # imports methods/simclr.py when it is first asked for

A package outside the repository adds a method through the entry-point group `longtake.methods` (an evaluation through
`longtake.downstream`).
"""

import difflib
import importlib
import importlib.util
import pkgutil
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name nobody registered; the message lists the nearest ones and what exists."""


class Registry(Generic[T]):
    """Classes by name, imported when they are first asked for."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind  # the word in error messages: "method"
        self.package = package  # where <name>.py lies, and the entry-point group: "longtake.methods"
        self._classes: dict[str, type[T]] = {}

    def add(self, name: str, cls: type[T]) -> None:
        known = self._classes.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{self.kind} {name!r} is defined twice: {known.__module__} and {cls.__module__}")
        self._classes[name] = cls

    def __getitem__(self, name: str) -> type[T]:
        """The class called `name`. Raises `UnknownName` when there is none."""
        if name not in self._classes and name in self.modules():
            importlib.import_module(f"{self.package}.{name}")
        if name not in self._classes:
            for entry in entry_points(group=self.package, name=name):
                entry.load()
        if name not in self._classes:
            raise UnknownName(unknown(self.kind, name, sorted({*self._classes, *self.outside()})))
        return self._classes[name]

    def modules(self) -> list[str]:
        """Names of the modules in the package: the only ones that are ever imported for a name."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None, self.package
        assert spec.submodule_search_locations is not None, self.package
        return [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)]

    def outside(self) -> list[str]:
        """Names that installed packages offer through entry points."""
        return [entry.name for entry in entry_points(group=self.package)]


def unknown(kind: str, name: str, names: list[str]) -> str:
    """One line: what was asked for, the nearest names, all names."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} There are: {', '.join(names)}."
