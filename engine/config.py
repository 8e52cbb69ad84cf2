"""The command line, read once before anything heavy is imported: what is wrong with it is said in one line.

Hydra composes the configuration (https://hydra.cc); its errors are translated here, with the nearest right name.
"""

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
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


class Sources(NamedTuple):
    """Where yamls are, as Hydra's flags say it."""

    config_name: str = CONFIG_NAME  # --config-name
    config_path: str = f"pkg://{CONFIG_MODULE}"  # --config-path
    config_dir: str | None = None  # --config-dir: a folder that comes before ours


_of_command: list[Sources] = []  # the command line's, once it is read


def use(sources: Sources) -> None:
    """From now on, yamls are those of this command line. Raises `ValueError` for a folder that there is not."""
    if sources.config_dir is not None and not Path(sources.config_dir).is_dir():
        raise ValueError(f"--config-dir {sources.config_dir}: no such folder")
    _of_command[:] = [sources]


def _sources() -> Sources:
    """Where yamls are: said by this process's command line, or, in a job that was sent elsewhere, by the job."""
    if _of_command or not HydraConfig.initialized():
        return _of_command[0] if _of_command else Sources()
    job = HydraConfig.get()
    given = [source.path for source in job.runtime.config_sources if source.provider == "command-line"]
    return Sources(config_name=job.job.config_name or CONFIG_NAME, config_dir=given[0] if given else None)


def composed(overrides: Sequence[str], *, hydra: bool = False) -> DictConfig:
    """The configuration that these overrides give, Hydra's own too if asked for; also from within a Hydra job."""
    sources, outside = _sources(), tuple(outside_folders())
    searches = any(word.lstrip("+").startswith("hydra.searchpath=") for word in overrides)  # and so is not to be kept
    loader = (_loader.__wrapped__ if searches else _loader)(sources, outside)
    config = loader.load_configuration(
        sources.config_name, allow_keywords(overrides), run_mode=RunMode.RUN, from_shell=False
    )
    if not hydra:
        with open_dict(config):
            del config["hydra"]
    return config


@cache
def _loader(sources: Sources, outside: tuple[Path, ...]) -> ConfigLoaderImpl:
    """Hydra's, which reads each yaml once in the life of this program (that is half of a composition's time)."""
    version.setbase("1.3")
    Plugins.instance()
    path = create_automatic_config_search_path(None, "longtake.run", sources.config_path)
    if sources.config_dir is not None:
        folder = f"file://{Path(sources.config_dir).absolute()}"
        path.prepend(provider="command-line", path=folder, anchor=SearchPathQuery(provider="schema"))
    schema = path.get_path().pop()  # stays the last one
    for place in outside:
        path.append(provider="entry points", path=f"file://{place}")
    path.append(schema.provider, schema.path)
    loader = ConfigLoaderImpl(config_search_path=path)
    loader.repository = _ReadOnce(loader.repository)  # type: ignore[assignment]
    return loader


class _ReadOnce(CachingConfigRepository):
    """Hydra copies its repository for each composition: this one stays, and gives copies of what it has read."""

    def load_config(self, config_path: str) -> Any:
        return deepcopy(super().load_config(config_path))

    def __deepcopy__(self, _: dict[int, Any]) -> "_ReadOnce":
        return self


def allow_keywords(words: Sequence[str]) -> list[str]:
    """A command line whose keywords of classes Hydra takes although no yaml lists them. What is unknown is found by `plain`."""
    return [f"++{word}" if KEYWORD.match(word) else word for word in words]


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


def check_overrides(overrides: Sequence[str], sweep: bool = True) -> None:
    """Raise `ValueError`, in one line, when the overrides name what does not exist or cannot be read, in any job of a `sweep`."""
    combinations = list(without_sweeps(overrides))
    if len(combinations) > 1 and not sweep:
        several = next(word for word, other in zip(*combinations[:2], strict=True) if word != other).split("=")[0]
        given = next(word for word in overrides if word.lstrip("+").startswith(f"{several.lstrip('+')}="))
        raise ValueError(f"{given}: several values are several runs, run -m {given}; a list is in brackets: [a,b]")
    for combination in combinations:
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


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The words of every run that a command line sweeps over, those of an experiment's yaml included."""
    swept = _swept_by_experiment(overrides) if any(word.startswith("experiment=") for word in overrides) else []
    parsed = OverridesParser.create().parse_overrides([*swept, *overrides])  # what is said later counts
    return [list(words) for batch in BasicSweeper.split_arguments(parsed, max_batch_size=None) for words in batch]


def _missing(error: MissingConfigException) -> str:
    """A choice that no yaml has: which group, the nearest names, all names."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if group == "hydra/launcher":
        return f"launcher {name!r} is not installed: pip install 'longtake[slurm]'"
    return unknown(group or "config", name, choices(group))


def choices(group: str) -> list[str]:
    """Return the choices of a group: the names of its yamls, here, in `--config-dir` and in packages outside."""
    folders = [folder / group for folder in config_folders()]
    names = [file.name for folder in folders if folder.is_dir() for file in folder.iterdir()]
    return sorted({name.removesuffix(".yaml") for name in names if name.endswith(".yaml")})


def config_folders() -> list[Any]:
    """Folders of yamls, the ones that come first in the order in which Hydra looks."""
    own = _sources().config_dir
    return [*([Path(own)] if own else []), files(CONFIG_MODULE), *outside_folders()]


def _refused(error: Exception, overrides: Sequence[str]) -> str:
    """A key that the configuration does not have, or another thing Hydra refuses, in one line."""
    found = re.search(r"Could not (?:override|delete|append).*?'([^']+)'", str(error))
    if found is None:
        text = str(error) or str(error.__cause__)
        if preset := re.search(r"'method\.presets\.\w+\.(\w+)' not found", text):
            return unknown("method.fidelity", preset[1], ["official", "paper"])
        return " ".join(text.split("\n")[0].split())
    if "An item is already at" in str(error):
        return f"+{found[1]}: this key is there already; leave out the +"
    chosen = [override for override in overrides if override.split("=")[0] in GROUPS]
    return unknown_key(found[1], list(_keys(plain(composed(chosen)))))


def unknown_key(key: str, keys: Sequence[str]) -> str:
    """One line: the key that nothing reads, and the nearest of those that there are."""
    if whole := [each for each in keys if each.endswith(f".{key}")]:
        return f"unknown key {key!r}. Did you mean {' or '.join(whole)}?"
    return re.sub(r" There are: .*", " All keys: run --help", unknown("key", key, list(keys)))


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")
