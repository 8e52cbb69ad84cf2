"""The command line of `task=compare`, whose lists are none of Hydra's: `method=[dora,dino]` becomes a key that can hold them."""

from collections.abc import Sequence

from longtake.engine.config import key_of
from longtake.engine.words import split

TASK = "task=compare"
LISTS = {"method": "compare.methods", "checkpoint": "compare.checkpoints", "label": "compare.labels"}
KEYS = {"match": "compare.match", "name": "compare.name"}
# What its runs are not given as it is, and what does not decide what is compared: when, where, how often.
OWN = ("task", "compare", "seeds", "seed", "dry_run", "resume", "output", "label")
ELSEWHERE = ("wait", "launcher", "hydra", "device", "num_workers", "trainer.devices", "trainer.num_nodes")


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
    """The names of `[dora,dino]`, `dora,dino` or `dora`."""
    return [name.strip() for name in split(value.strip().removeprefix("[").removesuffix("]")) if name.strip()]


def words_of_runs(words: Sequence[str]) -> list[str]:
    """What a comparison's runs share of its words."""
    return [word for word in words if not _is_of(word, (*OWN, "method")) or word.lstrip("+").startswith("method.")]


def deciding(words: Sequence[str]) -> list[str]:
    """What of the words decides what is compared: the same on every machine, for any seeds."""
    return [word for word in words if word.startswith(tuple(LISTS.values())) or not _is_of(word, (*OWN, *ELSEWHERE))]


def _is_of(word: str, keys: Sequence[str]) -> bool:
    key = key_of(word)
    return key in keys or key.partition(".")[0] in keys
