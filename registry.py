"""Subclass and register: one word on the command line, one yaml, one Python file, one class keyword.

    class SimCLR(Method, name="simclr"): ...        # in methods/simclr.py
    METHODS["simclr"]                               # imports methods/simclr.py when it is first asked for

A package outside the repository adds a method through the entry-point group `longtake.methods` (an evaluation through
`longtake.downstream`, a source of frames through `longtake.sources`).
"""

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name nobody registered; the message lists the nearest ones and what exists."""


class Registry(Generic[T]):
    """Classes or functions by name, imported when they are first asked for."""

    def __init__(self, kind: str, package: str, group: str | None = None) -> None:
        self.kind = kind  # the word in error messages: "method"
        self.package = package  # where <name>.py lies: "longtake.methods"
        self.group = group or package  # of the entry points
        self._known: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        """Register a class or a function. Raises `ValueError` for a name that another one has."""
        known = self._known.get(name)
        if known is not None and _origin(known) != _origin(value):
            raise ValueError(f"{self.kind} {name!r} is defined twice: {_origin(known)[0]} and {_origin(value)[0]}")
        self._known[name] = value

    def named(self, name: str) -> Callable[[T], T]:
        """A decorator that registers what it decorates."""

        def register(value: T) -> T:
            self.add(name, value)
            return value

        return register

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`. Raises `UnknownName` when there is nothing."""
        if name not in self._known and name in self.modules():
            importlib.import_module(f"{self.package}.{name}")
        if name not in self._known:
            for entry in entry_points(group=self.group, name=name):
                entry.load()
        if name not in self._known:
            raise UnknownName(unknown(self.kind, name, sorted({*self._known, *self.outside()})))
        return self._known[name]

    def all_names(self) -> list[str]:
        """All names there are; every module of the package is imported for it, so for small packages."""
        for module in self.modules():
            importlib.import_module(f"{self.package}.{module}")
        return sorted({*self._known, *self.outside()})

    def modules(self) -> list[str]:
        """Names of the modules in the package: the only ones that are ever imported for a name."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None, self.package
        assert spec.submodule_search_locations is not None, self.package
        return [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)]

    def outside(self) -> list[str]:
        """Names that installed packages offer through entry points."""
        return [entry.name for entry in entry_points(group=self.group)]


def _origin(value: object) -> tuple[str, str]:
    return getattr(value, "__module__", ""), getattr(value, "__qualname__", "")


def unknown(kind: str, name: str, names: list[str]) -> str:
    """One line: what was asked for, the nearest names, all names."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} There are: {', '.join(names)}."
