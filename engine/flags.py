"""Hydra's flags, as its own parser knows them, apart from the words of a command line, in whatever order they are given."""

import os
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser

import longtake
from longtake.datasets.roots import expanded
from longtake.engine.config import Sources, outside_overrides

COMP_LINE = "COMP_LINE"  # what is typed when Tab is pressed: bash's, and Hydra's for zsh


def read(argv: Sequence[str]) -> tuple[Namespace, list[str]]:
    """The flags and the words after the program's name; ends the program, as argparse does, for a flag that there is not."""
    parser = get_args_parser()
    for action in _flags(parser):
        if "--version" in action.option_strings:
            action.version = f"longtake {longtake.__version__}\nHydra {hydra.__version__}"  # type: ignore[attr-defined]
    found = parser.parse_intermixed_args(list(argv))
    return found, found.overrides


def written(flags: Namespace) -> list[str]:
    """The flags as Hydra's parser reads them again, before all words."""
    found: list[str] = []
    for action in _flags(get_args_parser()):
        value = getattr(flags, action.dest, None)
        if value is True:
            found.append(action.option_strings[0])
        elif isinstance(value, str):
            found += [action.option_strings[0], value]
    return found


def sources(flags: Namespace) -> Sources:
    """Where the flags say that yamls are."""
    given = {key: getattr(flags, key) for key in Sources._fields if getattr(flags, key) is not None}
    return Sources(**given)


def for_completion(flags: Namespace) -> None:
    """Lets Hydra complete what it cannot know of: flags after words, `--config-dir`, yamls of other packages."""
    line = os.environ.get(COMP_LINE)
    if line is None:
        return
    program, *typed = line.split()
    last = [] if line[-1:].isspace() or not typed else [typed.pop()]
    if any(word.startswith("-") for word in last):
        raise SystemExit(0)  # half a flag: the shell has nothing to offer
    given, words = read(typed)
    flags.config_dir = given.config_dir or flags.config_dir
    if flags.config_dir is not None:
        flags.config_dir = str(expanded(flags.config_dir))
    multirun = ["--multirun"] if given.multirun else []
    more = [word for word in outside_overrides() if " " not in word]  # Hydra divides the line at spaces
    os.environ[COMP_LINE] = " ".join([Path(program).name, *multirun, *more, *words, *last]) + ("" if last else " ")


def _flags(parser: ArgumentParser) -> list[Action]:
    return [action for action in parser._actions if action.option_strings]
