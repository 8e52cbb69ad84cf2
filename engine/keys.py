"""Every keyword of a chosen class is a key: what nobody gives has the class's default, what somebody gives is checked.

The classes are those of the method, the backbone, the data and the evaluations. Whether a yaml lists a default or leaves it out
makes no difference: hashes, variants and protocols are of the configuration that is filled in here.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, get_type_hints

from omegaconf import DictConfig, OmegaConf

from longtake.backbones.vit import ViT
from longtake.datasets.sources.base import source_class
from longtake.downstream.base import DOWNSTREAM
from longtake.engine.config import NOT_ARGUMENTS
from longtake.engine.hints import fits, in_words
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.methods.base import METHODS
from longtake.registry import unknown

GIVEN = frozenset({"backbone", "duration", "seed"})  # arguments of a method that no key of it stands for
OF_MACHINE = ("device", "num_workers")  # an evaluation's are filled in by `resolve_machine` where they are null or auto
NO_DEFAULT = inspect.Parameter.empty  # in place of a default


class Keyword(NamedTuple):
    """A keyword of a class: its default, or REQUIRED, and its type."""

    default: Any
    hint: Any


class Section(NamedTuple):
    """A part of the configuration that is the keywords of a class."""

    place: str  # eval.knn_mini
    kind: str  # of its keys, in errors
    keywords: Mapping[str, Keyword]
    others: frozenset[str] = frozenset()  # its keys that are no keywords

    def of(self, config: Mapping[str, Any]) -> Any:
        for word in self.place.split("."):
            config = config[word]
        return config


def keywords(cls: type) -> dict[str, Keyword]:
    """Return the keywords of a class: its own, then those of its bases as far as each class passes on what it does not know."""
    if dataclasses.is_dataclass(cls):
        hints = get_type_hints(cls)
        return {
            field.name: Keyword(_default(field), hints[field.name]) for field in dataclasses.fields(cls) if field.init
        }
    found: dict[str, Keyword] = {}
    for base in (base for base in cls.__mro__ if "__init__" in vars(base)):
        parameters, hints = inspect.signature(base.__init__).parameters, get_type_hints(base.__init__)  # type: ignore[misc]
        for name, parameter in list(parameters.items())[1:]:  # without self
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                found.setdefault(name, Keyword(parameter.default, hints.get(name, Any)))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return found


def _default(field: "dataclasses.Field[Any]") -> Any:
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return NO_DEFAULT if made is dataclasses.MISSING else made


def sections(config: Mapping[str, Any]) -> Iterator[Section]:
    """The parts that are keywords of a class. Raises `ValueError` for keys of an evaluation that is not chosen."""
    yield _of_method(config["method"]["name"])
    yield Section("backbone", "key of backbone:", keywords(ViT), frozenset({"name"}))
    source = config["pretrain"]
    yield Section(
        "pretrain", f"key of source {source.get('source')}:", keywords(source_class(source)), frozenset({"source"})
    )
    chosen = [name for name, keys in config["eval"].items() if "task" in keys]
    for name in config["eval"]:
        if name not in chosen:  # only the command line has a key of it
            raise ValueError(unknown("evaluation among those chosen:", name, chosen))
        task = config["eval"][name]["task"]
        yield Section(f"eval.{name}", f"key of evaluation {task}:", keywords(DOWNSTREAM[task]), frozenset({"task"}))


def _of_method(name: str) -> Section:
    if name == RANDOM_INIT:
        return Section("method", f"argument of method {name}:", {}, NOT_ARGUMENTS)
    arguments = {key: keyword for key, keyword in keywords(METHODS[name]).items() if key not in GIVEN}
    frames = {"num_frames": Keyword(NO_DEFAULT, int)}
    return Section("method", f"argument of method {name}:", arguments | frames, NOT_ARGUMENTS - frames.keys())


def effective(config: DictConfig) -> dict[str, Any]:
    """The configuration as dictionaries and lists: defaults filled in, references resolved, keys and types checked.

    Raises `ValueError` for a key that its class does not have, for a value of another type, and for one that is missing.
    """
    filled = config.copy()
    OmegaConf.set_struct(filled, False)
    listed: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    parts = list(sections(listed))
    for part in parts:
        for key, keyword in part.keywords.items():
            if key not in part.of(listed) and keyword.default is not NO_DEFAULT:
                part.of(filled)[key] = plain_value(keyword.default)
    found: dict[str, Any] = OmegaConf.to_container(filled, resolve=True)  # type: ignore[assignment]
    for part in parts:
        _check(part, part.of(found))
    return found


def plain_value(default: Any) -> Any:
    """A default as a yaml would have it."""
    return list(default) if isinstance(default, tuple) else deepcopy(default)


def _check(part: Section, values: dict[str, Any]) -> None:
    """Raise `ValueError` for what is wrong; a value that equals the default becomes it (0 and 0.0 are one setting)."""
    for key, value in values.items():
        if key in part.others:
            continue
        if not part.keywords:
            raise ValueError(f"{part.place}.{key}: got {value!r}, but nothing is trained")
        if key not in part.keywords:
            raise ValueError(unknown(part.kind, key, sorted(part.keywords)))
        default, hint = part.keywords[key]
        if not fits(value, hint) and not (value is None and key in OF_MACHINE):
            got = "null" if value is None else repr(value)
            raise ValueError(f"{part.place}.{key}: got {got}, expected {in_words(hint)}")
        if value == plain_value(default):
            values[key] = plain_value(default)
    for key, keyword in part.keywords.items():
        if key not in values:
            raise ValueError(f"{part.place}.{key}: expected {in_words(keyword.hint)}, got nothing")
