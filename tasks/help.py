"""`run --help method=dora eval=[knn_mini]`, or `task=help`: every key of what is chosen, its value here and its class's default."""

from collections.abc import Iterator
from typing import Any

from hydra.core.hydra_config import HydraConfig
from rich.table import Table

from longtake.console import console
from longtake.engine.config import GROUPS
from longtake.engine.hints import in_words
from longtake.engine.identity import Config
from longtake.engine.keywords import NO_DEFAULT, Section, of_no_class, plain_value, sections
from longtake.engine.overview import head
from longtake.engine.settings import GROUPS as TYPED
from longtake.tasks import TASKS

CALLED = {"suite": "eval"}  # the part of the configuration that a group chooses, where it is called otherwise


@TASKS.named("help")
def show_keys(config: Config) -> None:
    """Print the keys of what the command line chooses; of everything where it chooses nothing."""
    words = {word.split("=")[0] for word in HydraConfig.get().overrides.task}
    asked = {CALLED.get(word, word) for word in words}
    parts = [*sections(config), *of_no_class()]
    shown = [part for part in parts if part.place.split(".")[0] in asked] or parts
    for line in _comments(config):
        console.print(line)
    for part in shown:
        console.print(_table(part, part.of(config)))
    console.print("* is other than the default of the class. All choices, and the other keys: run --help")


def _comments(config: Config) -> Iterator[str]:
    """What the yamls that the command line names say at their beginning."""
    chosen = HydraConfig.get().runtime.choices
    words = {word.split("=")[0] for word in HydraConfig.get().overrides.task}
    names = {group: [chosen[group]] for group in GROUPS if group in words and group in chosen}
    for group, yamls in {**names, **({"eval": list(config["eval"])} if "eval" in words else {})}.items():
        for name in yamls:
            yield from (f"{group}={name}: {line}" for line in [head(f"{group}/{name}.yaml")] if line)


def _table(part: Section, values: Config) -> Table:
    name = "" if part.place in ("", *TYPED) else values.get("name") or values.get("task")
    title = f"{part.place}: {name}" if name else part.place or "all others"
    table = Table("", "key", "value", "default", "expected", title=title, title_justify="left", box=None)
    for key in [*(key for key in values if key in part.keywords), *(key for key in values if key in part.others)]:
        if key in part.others:
            if part.place:  # the others of root are groups of keys
                table.add_row("", part.key(key), _text(values[key]), "", "")
            continue
        default, hint = part.keywords[key]
        given = default is not NO_DEFAULT and values[key] != plain_value(default)
        shown = "" if default is NO_DEFAULT else _text(plain_value(default))
        table.add_row("*" if given else "", part.key(key), _text(values[key]), shown, in_words(hint))
    return table


def _text(value: Any) -> str:
    """Write a value as a yaml has it; of a group of keys only their names."""
    if isinstance(value, dict):
        return f"{{{', '.join(map(str, value))}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
