"""The command line, read once before anything heavy is imported: what is wrong with it is said in one line.

Hydra composes the configuration (https://hydra.cc); its errors are translated here, with the nearest right name.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from longtake.engine.length import check_words, lasting
from longtake.registry import unknown

CONFIG_MODULE, CONFIG_NAME = "longtake.configs", "run"
ENTRY_POINTS = ("longtake.methods", "longtake.downstream", "longtake.sources")
GROUPS = ("method", "pretrain", "backbone", "eval", "suite", "recipe", "experiment", "trainer", "launcher")
# Of a method's yaml, what is not an argument of its class: its data, and where its arguments' values come from.
NOT_ARGUMENTS = frozenset({"name", "num_frames", "views", "fidelity", "presets"})
# A word for a keyword of a chosen class, which is a key whether or not a yaml lists it.
KEYWORD = re.compile(rf"(method\.(?!(?:{'|'.join(NOT_ARGUMENTS)})\b)|pretrain\.|backbone\.|eval\.[^.=@]+\.)[^=@]+=")


def composed(overrides: Sequence[str], *, hydra: bool = False) -> DictConfig:
    """The configuration that these overrides give, Hydra's own too if asked for; also from within a Hydra job."""
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        return compose(CONFIG_NAME, [*allow_keywords(overrides), *outside_overrides()], return_hydra_config=hydra)


def allow_keywords(words: Sequence[str]) -> list[str]:
    """A command line whose keywords of classes Hydra takes although no yaml lists them. What is unknown is found by `plain`."""
    return [f"++{word}" if KEYWORD.match(word) else word for word in words]


def typed(words: Sequence[str]) -> list[str]:
    """Return what a user typed, given the words that `allow_keywords` made of it."""
    return [word[2:] if word.startswith("++") and KEYWORD.match(word[2:]) else word for word in words]


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as dictionaries and lists, whole (`effective`), its length in epochs (`lasting`).

    Raises `ValueError` for a key or a value that is wrong.
    """
    from longtake.engine.keys import effective  # which imports every class, and `run --help` needs none

    return lasting(effective(config))


def plainly(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that these overrides give, `plain`."""
    return deepcopy(_plainly(tuple(overrides)))


@cache
def _plainly(overrides: tuple[str, ...]) -> dict[str, Any]:
    return plain(composed(overrides))


def asked_for(config: dict[str, Any]) -> list[str] | None:
    """The evaluations that the command line names; None where it names none and all are meant."""
    words = HydraConfig.get().overrides.task
    return list(config["eval"]) if any(word.startswith(("suite=", "eval=")) for word in words) else None


def launcher_words() -> list[str]:
    """Return the words of the command line that say how runs are started."""
    words = HydraConfig.get().overrides
    return [word for word in [*words.task, *words.hydra] if word.startswith(("launcher=", "hydra.launcher."))]


def quoted(words: Sequence[str]) -> list[str]:
    """A command line whose `diff=` Hydra can read: `HEAD~1` is no word of its grammar."""
    return [f'diff="{word[5:]}"' if word.startswith("diff=") and '"' not in word else word for word in words]


def outside_folders() -> list[Path]:
    """`configs` folders of the installed packages that add methods, evaluations or sources through entry points."""
    packages = {
        entry.value.split(".")[0].split(":")[0] for group in ENTRY_POINTS for entry in entry_points(group=group)
    }
    specs = [find_spec(package) for package in sorted(packages)]
    folders = [Path(place) / "configs" for spec in specs if spec for place in spec.submodule_search_locations or ()]
    return [folder for folder in folders if folder.is_dir()]


def outside_overrides() -> list[str]:
    """Return the overrides that make Hydra look for yamls in other packages too."""
    folders = ",".join(f"'file://{folder}'" for folder in outside_folders())
    return [f"hydra.searchpath=[{folders}]"] if folders else []


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise `ValueError`, in one line, when the overrides name what does not exist or cannot be read, in any job of a sweep."""
    for combination in without_sweeps(overrides):
        _check(combination)
    if any(word.startswith("experiment=") for word in overrides):
        for combination in without_sweeps([*overrides, *_swept_by_experiment(overrides)]):
            _check(combination)


def _check(overrides: Sequence[str]) -> None:
    check_words(overrides)
    try:
        plain(composed(overrides))
    except MissingConfigException as error:
        raise ValueError(_missing(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_refused(error, overrides)) from error


def _swept_by_experiment(overrides: Sequence[str]) -> list[str]:
    """Return what the yaml of an experiment sweeps over, as words."""
    sweeper = composed(next(without_sweeps(overrides)), hydra=True).hydra.sweeper
    return [f"{key}={values}" for key, values in (sweeper.get("params") or {}).items()]


def without_sweeps(overrides: Sequence[str]) -> Iterator[list[str]]:
    """One list of overrides for each value of each sweep (method=dino,none), the others at their first value."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        reason = " ".join(str(error).split()).partition(" See https")[0]
        raise ValueError(f"cannot read the command line: {reason}") from error
    values = [
        [f"{p.get_key_element()}={value}" for value in p.sweep_string_iterator()] if p.is_sweep_override() else [line]
        for p, line in zip(parsed, overrides, strict=True)
    ]
    first = [options[0] for options in values]
    yield first
    for i, options in enumerate(values):
        for option in options[1:]:
            yield [*first[:i], option, *first[i + 1 :]]


def _missing(error: MissingConfigException) -> str:
    """A choice that no yaml has: which group, the nearest names, all names."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if group == "hydra/launcher":
        return f"launcher {name!r} is not installed: pip install 'longtake[slurm]'"
    return unknown(group or "config", name, choices(group))


def choices(group: str) -> list[str]:
    """Return the choices of a group: the names of its yamls, here and in packages outside."""
    folders = [files(CONFIG_MODULE) / group, *(folder / group for folder in outside_folders())]
    names = [file.name for folder in folders if folder.is_dir() for file in folder.iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def _refused(error: Exception, overrides: Sequence[str]) -> str:
    """A key that the configuration does not have, or another thing Hydra refuses, in one line."""
    found = re.search(r"Could not (?:override|delete|append).*?'([^']+)'", str(error))
    if found is None:
        text = str(error) or str(error.__cause__)
        if preset := re.search(r"'method\.presets\.\w+\.(\w+)' not found", text):
            return unknown("method.fidelity", preset[1], ["official", "paper"])
        return " ".join(text.split("\n")[0].split())
    chosen = [override for override in overrides if override.split("=")[0] in GROUPS]
    keys = list(_keys(plain(composed(chosen))))
    if whole := [key for key in keys if key.endswith(f".{found[1]}")]:
        return f"unknown key {found[1]!r}. Did you mean {' or '.join(whole)}?"
    return re.sub(r" There are: .*", " All keys: run --help", unknown("key", found[1], keys))


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")
