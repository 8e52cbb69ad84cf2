"""The command line, read once before anything heavy is imported: what is wrong with it is said in one line.

Hydra's errors are translated here, with the nearest right name.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from longtake.engine.config import GROUPS, choices, composed, key_of, plain, plainly, unknown_key
from longtake.engine.length import check_words
from longtake.registry import unknown


def check_overrides(overrides: Sequence[str], sweep: bool = True) -> None:
    """Raise `ValueError`, in one line, when the overrides name what does not exist or cannot be read, in any job of a `sweep`."""
    combinations = list(without_sweeps(overrides))
    if len(combinations) > 1 and not sweep:
        several = next(word for word, other in zip(*combinations[:2], strict=True) if word != other)
        given = next(word for word in overrides if key_of(word) == key_of(several))
        raise ValueError(f"{given}: several values are several runs, run -m {given}; a list is in brackets: [a,b]")
    for combination in combinations:
        _check(combination)
    if swept := _swept_by_experiment(overrides):
        for combination in without_sweeps([*overrides, *swept]):
            _check(combination)


def _check(overrides: Sequence[str]) -> None:
    check_words(overrides)
    try:
        plainly(overrides)
    except MissingConfigException as error:
        raise ValueError(_missing(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_refused(error, overrides)) from error
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        raise ValueError(_illegible(error)) from error
    except ValueError as error:
        if "invalid literal for int()" not in str(error):  # OmegaConf's, of what stands behind the point of a list
            raise
        raise ValueError(
            f"{' '.join(overrides)}: one of these keys goes into a list, which has numbers: 0, 1, ..."
        ) from error


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
    words = [*_swept_by_experiment(overrides), *overrides]  # what is said later counts
    parsed = OverridesParser.create().parse_overrides(words)
    return [list(words) for batch in BasicSweeper.split_arguments(parsed, max_batch_size=None) for words in batch]


def _swept_by_experiment(overrides: Sequence[str]) -> list[str]:
    """Return what the yaml of an experiment sweeps over, as words; [] where none is chosen."""
    if "experiment" not in map(key_of, overrides):
        return []
    sweeper = composed(next(without_sweeps(overrides)), hydra=True).hydra.sweeper
    return [f"{key}={values}" for key, values in (sweeper.get("params") or {}).items()]


def _missing(error: MissingConfigException) -> str:
    """A choice that no yaml has: which group, the nearest names, all names."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if group == "hydra/launcher":
        return f"launcher {name!r} is not installed: pip install 'longtake[slurm]'"
    return unknown(group or "config", name, choices(group))


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
    keys = list(_keys(plain(composed(chosen))))
    if found[1] in keys and f"~{found[1]}" in map(key_of, overrides):
        return f"~{found[1]}: it has another value; ~{found[1]} alone takes the key out, {found[1]}=VALUE changes it"
    return unknown_key(found[1], keys)


def _illegible(error: MarkedYAMLError | UnicodeDecodeError) -> str:
    """What is wrong with a yaml of `--config-dir`, and where; of a text that is no UTF-8 nobody says the file."""
    if isinstance(error, UnicodeDecodeError):
        line = bytes(error.object[: error.end]).splitlines()[-1].decode(errors="backslashreplace")
        return f"a yaml of --config-dir is no UTF-8 where it says '{line}'"
    mark = error.problem_mark
    return f"{mark.name}, line {mark.line + 1}: {error.problem}" if mark else f"a yaml of --config-dir: {error.problem}"


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.")


def asked_for(config: dict[str, Any]) -> list[str] | None:
    """The evaluations that the command line names; None where it names none and all are meant."""
    words = HydraConfig.get().overrides.task
    return list(config["eval"]) if any(word.startswith(("suite=", "eval=")) for word in words) else None


def launcher_words() -> list[str]:
    """Return the words of the command line that say how runs are started."""
    words = HydraConfig.get().overrides
    return [word for word in [*words.task, *words.hydra] if word.startswith(("launcher=", "hydra.launcher."))]
