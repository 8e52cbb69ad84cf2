"""Annotations of keywords as what a value of a configuration has to be: a check, and words for it."""

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

NAMES = {  # one, several
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    NoneType: ("null", "null"),
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a configuration is of an annotation's type; an integer is a number; True of what is no plain type."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return value in inner
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if kind in NAMES:
        return isinstance(value, kind)
    if kind is tuple and inner and inner[-1] is not ...:
        return isinstance(value, list) and len(value) == len(inner) and all(map(fits, value, inner))
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return isinstance(value, list) and all(fits(item, each) for item in value for each in inner[:1])
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, dict) and all(fits(item, each) for item in value.values() for each in inner[1:])
    return True


def in_words(hint: Any) -> str:
    """Say in words what an annotation asks for: `an integer or null`."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in NAMES:
        return NAMES[kind][0]
    if kind is Literal:
        return " or ".join(map(str, inner))
    if kind in (Union, UnionType):
        return " or ".join(map(in_words, inner))
    if kind is tuple and inner and inner[-1] is not ...:
        return f"a list of {len(inner)}: {', '.join(map(in_words, inner))}"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return f"a list of {NAMES[inner[0]][1]}" if inner and inner[0] in NAMES else "a list"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return f"keys with {NAMES[inner[1]][1]}" if inner and inner[1] in NAMES else "keys with values"
    return str(getattr(hint, "__name__", hint))
