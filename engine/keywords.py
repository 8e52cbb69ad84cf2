"""The keywords that are keys: those of the chosen method, backbone, data and evaluations, and engine/settings.py's of no class."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, get_type_hints

from longtake.backbones.vit import ViT
from longtake.datasets.sources.base import source_class
from longtake.downstream.base import DOWNSTREAM
from longtake.engine.config import NOT_ARGUMENTS
from longtake.engine.settings import GROUPS, OWN, Root
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

    place: str  # eval.knn_mini; "" for the configuration itself
    kind: str  # of its keys, in errors
    keywords: Mapping[str, Keyword]
    others: frozenset[str] = frozenset()  # its keys that are no keywords

    def of(self, config: Mapping[str, Any]) -> Any:
        for word in filter(None, self.place.split(".")):
            config = config[word]
        return config

    def key(self, name: str) -> str:
        """A keyword with its place, as the command line has it."""
        return f"{self.place}.{name}" if self.place else name


def keywords(cls: type) -> dict[str, Keyword]:
    """Return the keywords of a class: its own, then those of its bases as far as each class passes on what it does not know."""
    if dataclasses.is_dataclass(cls):
        hints = get_type_hints(cls, include_extras=True)
        return {
            field.name: Keyword(_default(field), hints[field.name]) for field in dataclasses.fields(cls) if field.init
        }
    found: dict[str, Keyword] = {}
    for base in (base for base in cls.__mro__ if "__init__" in vars(base)):
        init = vars(base)["__init__"]
        parameters, hints = inspect.signature(init).parameters, get_type_hints(init, include_extras=True)
        for name, parameter in list(parameters.items())[1:]:  # without self
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                found.setdefault(name, Keyword(parameter.default, hints.get(name, Any)))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return found


def _default(field: "dataclasses.Field[Any]") -> Any:
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return NO_DEFAULT if made is dataclasses.MISSING else made


def of_no_class() -> Iterator[Section]:
    """The parts whose types engine/settings.py has."""
    for place, types in {"": Root, **GROUPS}.items():
        others = frozenset() if place else OWN | GROUPS.keys()
        yield Section(place, f"key of {place}:" if place else "key", annotated(types), others)


def annotated(types: type) -> dict[str, Keyword]:
    return {key: Keyword(NO_DEFAULT, hint) for key, hint in get_type_hints(types, include_extras=True).items()}


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
        yield Section(f"eval.{name}", f"key of evaluation {task}:", _of_evaluation(task), frozenset({"task"}))


def _of_evaluation(task: str) -> dict[str, Keyword]:
    """The keywords of an evaluation; those that stand for the machine are of the types that the machine's own keys have."""
    found, machine = keywords(DOWNSTREAM[task]), get_type_hints(Root, include_extras=True)
    return found | {key: Keyword(found[key].default, machine[key] | None) for key in OF_MACHINE if key in found}


def _of_method(name: str) -> Section:
    if name == RANDOM_INIT:
        return Section("method", f"argument of method {name}:", {}, NOT_ARGUMENTS)
    arguments = {key: keyword for key, keyword in keywords(METHODS[name]).items() if key not in GIVEN}
    frames = {"num_frames": Keyword(NO_DEFAULT, int)}
    return Section("method", f"argument of method {name}:", arguments | frames, NOT_ARGUMENTS - frames.keys())


def plain_value(default: Any) -> Any:
    """A default as a yaml would have it."""
    return list(default) if isinstance(default, tuple) else deepcopy(default)
