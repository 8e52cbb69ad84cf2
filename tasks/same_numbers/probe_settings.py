"""What a tree says of a row: the hash of its code, its settings, the files that the hash starts from. For `probe.py` alone."""

import contextlib
import dataclasses
import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def module(*names: str) -> Any:
    """The first module of these names that the tree has: it may be older than the last move of files."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            return import_module(name)
    raise ModuleNotFoundError(f"none of {', '.join(names)}")


def about_if_there(what: str) -> dict[str, Any] | None:
    """None for what this tree does not have."""
    try:
        return about(what)
    except ValueError:
        return None


def about(what: str) -> dict[str, Any]:
    """Hash, settings with the class's defaults filled in, and the files that the hash starts from."""
    freshness = module("longtake.engine.code_hash", "longtake.freshness")
    kind, *names = what.split()
    if kind == "training":
        method, *_ = names
        pretrain = "mini" if names[1] == "none" else names[1]
        settings = freshness.recipe(method, pretrain, names[2])
        if method == "none":
            settings = {key: value for key, value in settings.items() if key.startswith("backbone")}
            starts = [find_spec("longtake.backbones.vit").origin]  # type: ignore[union-attr]
        else:
            cls = import_module("longtake.methods.base").METHODS[method]
            settings = {**{f"method.{key}": value for key, value in defaults(cls).items()}, **settings}
            fit = str(
                getattr(freshness, "TRAINING_LOOP", None) or module("longtake.engine.fit", "longtake.fit").__file__
            )
            starts = [inspect.getfile(cls), fit, *source_files(settings)]
        return {"hash": freshness.training_hash(*names), "settings": with_worlds(settings), "starts": starts}
    (name,) = names
    cls = module("longtake.engine.boards", "longtake.boards").task_of(name)
    config = module("longtake.engine.config", "longtake.command").plainly([f"eval=[{name}]"])
    settings = {**defaults(cls), **config["eval"][name], "version": cls.version}
    return {
        "hash": freshness.evaluation_hash(name),
        "settings": with_worlds(settings),
        "starts": [inspect.getfile(cls)],
    }


def with_worlds(settings: dict[str, Any]) -> dict[str, Any]:
    """Add what the mini world is that they name: other versions are other data, which no fixture has."""
    worlds = module("longtake.datasets.mini.worlds", "longtake.datasets.mini").WORLDS
    version = module("longtake.datasets.mini.worlds", "longtake.datasets.mini_formats").FORMATS_VERSION
    named = sorted({value for value in settings.values() if isinstance(value, str) and value in worlds})
    return {**settings, "worlds": [f"{name} {worlds[name].hash} v{version}" for name in named]}


def source_files(settings: dict[str, Any]) -> list[str]:
    """Return the file of the source's class; in a tree without a registry of sources, trainings did not depend on it."""
    if "pretrain.source" not in settings:
        return []
    return [inspect.getfile(import_module("longtake.datasets.sources.base").SOURCES[settings["pretrain.source"]])]


def defaults(cls: type) -> dict[str, Any]:
    """Return the default of every keyword of a class and of the classes it extends."""
    if dataclasses.is_dataclass(cls):
        return {
            field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            for field in dataclasses.fields(cls)
            if (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        }
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and (base.__module__.startswith("longtake.") or base is cls):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            found |= {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    return found
