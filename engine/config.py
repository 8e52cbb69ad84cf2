"""The configuration that words give: Hydra (https://hydra.cc) composes it from yamls: ours, `--config-dir`, plug-ins."""

import re
from collections.abc import Sequence
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
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from longtake.engine.length import lasting
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


def flag_words() -> list[str]:
    """The flags by which another process finds the same yamls."""
    sources = _sources()
    flags = {
        f"--{key.replace('_', '-')}": value
        for key, value in sources._asdict().items()
        if value != getattr(Sources(), key)
    }
    if sources.config_dir is not None:
        flags["--config-dir"] = str(Path(sources.config_dir).absolute())
    return [word for flag in flags.items() for word in flag]


def composed(overrides: Sequence[str], *, hydra: bool = False) -> DictConfig:
    """The configuration that these overrides give, Hydra's own too if asked for; also from within a Hydra job."""
    sources, outside = _sources(), tuple(outside_folders())
    searches = "hydra.searchpath" in map(key_of, overrides)  # and so is not to be kept
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


def key_of(word: str) -> str:
    """The key of a word, `+seed=1` as well as `seed=1`."""
    return word.lstrip("+").partition("=")[0]


def allow_keywords(words: Sequence[str]) -> list[str]:
    """A command line whose keywords of classes Hydra takes although no yaml lists them. What is unknown is found by `plain`."""
    return [f"++{word}" if KEYWORD.match(word) else word for word in words]


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as dictionaries and lists, whole (`effective`), its length in epochs (`lasting`).

    Raises `ValueError` for a key or a value that is wrong.
    """
    from longtake.engine.keys import effective  # which imports every class, and `run --help` needs none

    return lasting(effective(config))


def check_texts(config: Any, key: str = "") -> None:
    """Raise `ValueError` for a text in a configuration that nothing can have as its name, nor a sentence quote in one line."""
    if isinstance(config, str):
        if bad := re.search(r"[\0\r\n]", config):
            kind = "a NUL" if bad[0] == "\0" else "a line break"
            raise ValueError(
                f"{key}: got {config!r}, which has {kind} in it; rename the file or folder, or take it out"
            )
        if not config.isascii() and config.encode(errors="ignore").decode() != config:
            raise ValueError(
                f"{key}: got {config!r}, which is not UTF-8; rename the file, or give the folder that it is in"
            )
    elif isinstance(config, dict):
        for name, value in config.items():
            check_texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for value in config:
            check_texts(value, key)


def plainly(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that these overrides give, `plain`."""
    return deepcopy(_plainly(tuple(overrides)))


@cache
def _plainly(overrides: tuple[str, ...]) -> dict[str, Any]:
    return plain(composed(overrides))


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


def choices(group: str) -> list[str]:
    """Return the choices of a group: the names of its yamls, here, in `--config-dir` and in packages outside."""
    folders = [folder / group for folder in config_folders()]
    names = [file.name for folder in folders if folder.is_dir() for file in folder.iterdir()]
    return sorted({name.removesuffix(".yaml") for name in names if name.endswith(".yaml")})


def config_folders() -> list[Any]:
    """Folders of yamls, the ones that come first in the order in which Hydra looks."""
    own = _sources().config_dir
    return [*([Path(own)] if own else []), files(CONFIG_MODULE), *outside_folders()]


def unknown_key(key: str, keys: Sequence[str]) -> str:
    """One line: the key that nothing reads, and the nearest of those that there are."""
    if whole := [each for each in keys if each.endswith(f".{key}")]:
        return f"unknown key {key!r}. Did you mean {' or '.join(whole)}?"
    return re.sub(r" There are: .*", " All keys: run --help", unknown("key", key, list(keys)))
