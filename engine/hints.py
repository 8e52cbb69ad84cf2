"""Annotations of keywords as what a value of a configuration has to be: a check, and words for it.

`Annotated[int, AtLeast(1)]` narrows a type, `Annotated[str, "a path"]` says what a string is: text that the command line takes as
it is typed.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

NAMES = {  # one, several
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    NoneType: ("null", "null"),
}


class AtLeast(NamedTuple):
    """A number that is not smaller, nor larger than `most`."""

    low: float
    most: float = float("inf")

    def allows(self, value: float) -> bool:
        return self.low <= value <= self.most

    def __str__(self) -> str:
        return f" of at least {self.low}" if self.most == float("inf") else f" from {self.low} to {self.most}"


class Above(NamedTuple):
    """A number that is larger."""

    low: float

    def allows(self, value: float) -> bool:
        return value > self.low

    def __str__(self) -> str:
        return f" above {self.low}"


class Matching(NamedTuple):
    """A string of a form, which `words` describe."""

    pattern: str
    words: str

    def allows(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a configuration is of an annotation's type; an integer is a number; True of what is no plain type.

    NaN and infinity are no numbers.
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        limits = [limit for limit in inner[1:] if isinstance(limit, AtLeast | Above | Matching)]
        return fits(value, inner[0]) and all(limit.allows(value) for limit in limits) and value != ""
    if kind is Literal:
        return any(value == each and isinstance(value, type(each)) for each in inner)
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if kind in (int, float):
        number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        return number and not_finite(value) is None
    if kind in NAMES:
        return isinstance(value, kind)
    if kind is tuple and inner and inner[-1] is not ...:
        return isinstance(value, list) and len(value) == len(inner) and all(map(fits, value, inner))
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return isinstance(value, list) and all(fits(item, each) for item in value for each in inner[:1])
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, dict) and all(fits(item, each) for item in value.values() for each in inner[1:])
    return True


def not_finite(value: Any) -> float | None:
    """The first number that is NaN or infinite, alone or in a list or a mapping: no key wants one."""
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return next((found for each in inner if (found := not_finite(each)) is not None), None)
    return value if isinstance(value, float) and not math.isfinite(value) else None


def in_words(hint: Any) -> str:
    """Say in words what an annotation asks for: `an integer or null`."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return _narrowed(hint, 0)
    if kind in NAMES:
        return NAMES[kind][0]
    if kind is Literal:
        return " or ".join(map(str, inner))
    if kind in (Union, UnionType):
        return " or ".join(map(in_words, inner))
    if kind is tuple and inner and inner[-1] is not ...:
        return f"a list of {len(inner)}: {', '.join(map(in_words, inner))}"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return f"a list of {_several(inner[0])}" if inner and _several(inner[0]) else "a list"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return f"keys with {NAMES[inner[1]][1]}" if inner and inner[1] in NAMES else "keys with values"
    return str(getattr(hint, "__name__", hint))


def _narrowed(hint: Any, several: int) -> str:
    """An `Annotated` type in words, of one value or of several (1)."""
    kind, *limits = get_args(hint)
    for limit in limits:
        if isinstance(limit, str | Matching):
            words = limit if isinstance(limit, str) else limit.words
            return re.sub(r"^an? (.*)", r"\1s", words) if several else words
    return NAMES[kind][several] + "".join(map(str, limits))


def _several(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _narrowed(hint, 1)
    return NAMES[hint][1] if hint in NAMES else ""


def text_of(hint: Any) -> str | None:
    """What a value is called that the command line takes as it is typed, `a path`; None where Hydra's grammar reads it."""
    if get_origin(hint) is Annotated:
        return next((words for words in get_args(hint)[1:] if isinstance(words, str)), None)
    if get_origin(hint) in (Union, UnionType, list):
        return next((words for each in get_args(hint) if (words := text_of(each))), None)
    return None


def takes_list(hint: Any) -> bool:
    """Whether a list can be a value."""
    if get_origin(hint) in (Union, UnionType):
        return any(map(takes_list, get_args(hint)))
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, Sequence) and kind is not str


def nearest(value: Any, hint: Any) -> list[str]:
    """The nearest of the words that an annotation allows."""
    if get_origin(hint) in (Union, UnionType):
        return [word for each in get_args(hint) for word in nearest(value, each)]
    words = [word for word in get_args(hint) if isinstance(word, str)] if get_origin(hint) is Literal else []
    return difflib.get_close_matches(str(value), words, n=2, cutoff=0.4)
