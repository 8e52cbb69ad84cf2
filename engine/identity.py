"""Names of a run: the hash of its configuration, its variant, its evaluations' protocols. Output paths have no part in them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtake.datasets.content import Content
from longtake.downstream.base import DOWNSTREAM, HARMLESS

Config = dict[str, Any]  # run.yaml, resolved

# What decides the weights: runs that agree in these are the same run, wherever their files lie.
TRAINING = ("method", "backbone", "pretrain", "epochs", "batch_size", "seed")
# Keys of trainer that may decide them, too, and what they are by default.
OPENED: Config = {"strategy": "auto", "callbacks": []}
IN_KEY = ("epochs", "seed", "pretrain.path", "pretrain.name")  # of a row already
DEFAULT_FIDELITY = "paper"
IMAGENET = "imagenet1k"  # of evaluations whose preset names no folder


def config_hash(config: Config) -> str:
    """Twelve hex digits of what decides the weights."""
    kept = training(config) | {"precision": config["trainer"]["precision"]}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def training(config: Config) -> Config:
    """Return the part of a configuration that decides the weights; of Lightning's parts, those that somebody has set."""
    opened = {key: value for key, value in config["trainer"].items() if key in OPENED and value != OPENED[key]}
    return {key: config[key] for key in TRAINING} | ({"trainer": opened} if opened else {})


def variant(config: Config, recipe: Config) -> str:
    """Return what differs from the recipe of the chosen method, data and backbone, sorted: `fidelity=official num_objects=4`.

    `recipe` has the fidelity of `config`, whose many switches are one word, and so are the values of a recipe that is named.
    """
    changed = changes(training(config), training(recipe))
    if config["method"].get("fidelity", DEFAULT_FIDELITY) != DEFAULT_FIDELITY:
        changed["method.fidelity"] = config["method"]["fidelity"]
    if recipe.get("recipe"):
        changed["recipe"] = recipe["recipe"]
    return _words({key.removeprefix("method."): value for key, value in changed.items() if key not in IN_KEY})


def protocol_suffix(keys: Mapping[str, Any], recipe: Mapping[str, Any], content: Content | None = None) -> str:
    """Return what differs from an evaluation's preset, so that rows with other settings are never taken for one another.

    `content` is what is in the data; it is told where it is not that of the preset's own.
    """
    said = ("root", "kind") if DOWNSTREAM[keys["task"]].names_its_data else ("root",) if content else ()
    changed = {key: value for key, value in changes(keys, recipe).items() if key not in (*HARMLESS, *said)}
    if content and not (content.original and content.name == Path(recipe.get("root") or IMAGENET).name):
        changed["data"] = content.title
    if changed.get("root"):
        changed["root"] = Path(changed["root"]).name
    return f" {_words(changed)}" if changed else ""


def changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of `ours`, by dotted key, that are other than in `theirs`."""
    a, b = flat(ours), flat(theirs)
    return {key: a.get(key) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key; lists are leaves."""
    if not isinstance(tree, Mapping):
        return {prefix.removesuffix("."): tree}
    return {key: value for name, branch in tree.items() for key, value in flat(branch, f"{prefix}{name}.").items()}


def _words(changed: Mapping[str, Any]) -> str:
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in changed.items()
    }
    return " ".join(f"{key}={text}" for key, text in sorted(texts.items()))
