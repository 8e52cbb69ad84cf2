"""`run --help method=dora eval=[knn_mini]`, or `task=help`: every key of what is chosen, its value here and its class's default."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from rich.table import Table

from longtake.console import console
from longtake.engine.hints import in_words
from longtake.engine.identity import Config
from longtake.engine.keys import NO_DEFAULT, Section, plain_value, sections
from longtake.tasks import TASKS

GROUPS = {"suite": "eval"}  # the part of the configuration that a group chooses, where it is called otherwise


@TASKS.named("help")
def show_keys(config: Config) -> None:
    """Print the keys of what the command line chooses; of everything where it chooses nothing."""
    words = {word.split("=")[0] for word in HydraConfig.get().overrides.task}
    asked = {GROUPS.get(word, word) for word in words}
    parts = list(sections(config))
    shown = [part for part in parts if part.place.split(".")[0] in asked] or parts
    for part in shown:
        console.print(_table(part, part.of(config)))
    console.print(
        "* is other than the default of the class. All choices, and the other keys: run --help", highlight=False
    )


def _table(part: Section, values: Config) -> Table:
    name = values.get("name") or values.get("task")
    table = Table(
        "", "key", "value", "default", "expected", title=f"{part.place}: {name}", title_justify="left", box=None
    )
    for key in [*(key for key in values if key in part.keywords), *(key for key in values if key in part.others)]:
        if key in part.others:
            table.add_row("", f"{part.place}.{key}", _text(values[key]), "", "")
            continue
        default, hint = part.keywords[key]
        given = values[key] != plain_value(default)
        shown = "" if default is NO_DEFAULT else _text(plain_value(default))
        table.add_row("*" if given else "", f"{part.place}.{key}", _text(values[key]), shown, in_words(hint))
    return table


def _text(value: Any) -> str:
    """Write a value as a yaml has it; of a group of keys only their names."""
    if isinstance(value, dict):
        return f"{{{', '.join(map(str, value))}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
