"""The command line of `task=compare`, whose lists are none of Hydra's: `method=[dora,dino]` becomes a key that can hold them."""

from collections.abc import Sequence

TASK = "task=compare"
LISTS = {"method": "compare.methods", "checkpoint": "compare.checkpoints", "label": "compare.labels"}
KEYS = {"match": "compare.match", "name": "compare.name"}
OWN = (
    "task",
    "compare",
    "seeds",
    "seed",
    "dry_run",
    "resume",
    "output",
    "label",
)  # what its runs are not given as it is


def compared(words: Sequence[str]) -> list[str]:
    """A command line that Hydra can read; as it was where it compares nothing.

    The first method stays the choice of the group, so that keys of it (`method.num_objects=2`) are checked.
    """
    if TASK not in words:
        return list(words)
    found: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if key in LISTS and equals:
            names = names_in(value)
            found += [f"method={names[0]}"] if key == "method" and names else []
            found.append(f"{LISTS[key]}=[{','.join(names)}]")
        else:
            found.append(f"{KEYS[key]}={value}" if key in KEYS and equals else word)
    return found


def names_in(value: str) -> list[str]:
    """The names of `[dora,dino]`, `dora,dino` or `dora`; a comma within quotes parts nothing."""
    names, quote = [""], ""
    for letter in value.strip().removeprefix("[").removesuffix("]"):
        if letter == "," and not quote:
            names.append("")
            continue
        if letter in "'\"":
            quote = "" if letter == quote else quote or letter
        names[-1] += letter
    return [name.strip() for name in names if name.strip()]


def words_of_runs(words: Sequence[str]) -> list[str]:
    """What a comparison's runs share of its words."""
    return [word for word in words if word.lstrip("+").partition("=")[0].partition(".")[0] not in (*OWN, "method")] + [
        word for word in words if word.lstrip("+").startswith("method.")
    ]
