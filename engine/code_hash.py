"""The hash of the code that makes a number: what trained an encoder, what measured it; and which hashes are the same numbers.

A row's code hash has two parts, `training-evaluation`. The first is that of the modules of the method and of its source, the
training loop and the recipe when the encoder was trained, of the backbone alone for random init, `foreign` for other codes'
encoders; the second that of the evaluation's modules and preset. What no hash knows of: the libraries, and what is in a picture
that keeps its name.
"""

import hashlib
import inspect
import json
import re
from functools import cache
from pathlib import Path

from longtake.datasets.mini.worlds import FORMATS_VERSION, WORLDS
from longtake.datasets.sources.base import SOURCES
from longtake.downstream.base import HARMLESS
from longtake.engine.boards import TRACKED, task_of
from longtake.engine.config import choices, composed, plainly
from longtake.engine.git import REPOSITORY
from longtake.engine.identity import IN_KEY, Config, flat, training
from longtake.engine.source_hash import source_hash
from longtake.leaderboards.same_numbers import NAME, Equivalence, chain, read_equivalences
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.methods.base import METHODS

# What decides what people see, not numbers; and the renderer, which is known by its version (`worlds_in`).
NOT_FOLLOWED = (
    "console",
    "engine.progress",
    "downstream.gallery",
    "datasets.mini.*",
    "datasets.fetch",
    "datasets.tours",
)
TRAINING_LOOP = REPOSITORY / "engine" / "fit.py"
UNKNOWN_TRAINING = "unknown"  # instead of the training's hash, of encoders that were trained before there was one


def training_hash(method: str, pretrain: str, backbone: str, variant: str = "") -> str:
    """Hash what trains an encoder; for random init (`none`) the backbone alone. The names are those of a row's key.

    Of the variant a recipe counts that it names: its values are in no other word.

    Raises `UnknownName` for a method that is not installed.
    """
    kind = re.split("[:@]", pretrain)[0]  # what follows is the user's own: video:walk@3f2a1c04
    known = kind if kind in choices("pretrain") else "video"
    named = [word.partition("=")[2] for word in variant.split() if word.startswith("recipe=")]
    return _training_hash(method, known, backbone, *(name for name in named if name in choices("recipe")))


@cache
def _training_hash(method: str, pretrain: str, backbone: str, *named: str) -> str:
    if method == RANDOM_INIT:
        settings = recipe(method, pretrain, backbone)
        code = source_hash([REPOSITORY / "backbones" / "vit.py"], REPOSITORY)
        return _with(code, {key: value for key, value in settings.items() if key.startswith("backbone")})
    learner, settings = METHODS[method], recipe(method, pretrain, backbone, *named)
    starts = [_file(learner), TRAINING_LOOP, _file(SOURCES[settings["pretrain.source"]])]
    return _with(source_hash(starts, REPOSITORY, NOT_FOLLOWED), settings)


@cache
def evaluation_hash(evaluation: str) -> str:
    """Hash what measures an encoder. Raises `ValueError` where there is no such evaluation."""
    preset = flat(plainly([f"eval=[{evaluation}]"])["eval"][evaluation])
    code = source_hash([_file(task_of(evaluation))], REPOSITORY, NOT_FOLLOWED)
    return _with(code, {key: value for key, value in preset.items() if key not in HARMLESS})


def worlds_in(settings: Config) -> dict[str, str]:
    """Each procedural world that settings name: the hash of its parameters and of the renderer's version, not of its source."""
    named = {value for value in settings.values() if isinstance(value, str) and value in WORLDS}
    return {name: f"{WORLDS[name].hash} v{FORMATS_VERSION}" for name in sorted(named)}


def recipe(method: str, pretrain: str, backbone: str, *named: str) -> Config:
    """Return a training's settings from yamls and the source's defaults, by dotted key, without those in a row's key."""
    yaml = backbones().get(backbone)
    words = [f"method={method}", f"pretrain={pretrain}", *([f"backbone={yaml}"] if yaml else [])]
    words += [f"recipe={name}" for name in named]
    config = plainly(words)
    return {key: value for key, value in flat(training(config)).items() if key not in IN_KEY}


@cache
def backbones() -> dict[str, str]:
    """The yaml of each backbone by the name that a row has."""
    return {composed([f"backbone={name}"]).backbone.name: name for name in choices("backbone")}


def _with(code: str, settings: Config) -> str:
    settings = {**settings, "worlds": worlds_in(settings)}
    return hashlib.sha256(f"{code} {json.dumps(settings, sort_keys=True, default=str)}".encode()).hexdigest()[:12]


def _file(cls: type) -> Path:
    return Path(inspect.getfile(cls)).resolve()


def split(code_hash: str) -> tuple[str, str]:
    """The training's and the evaluation's part of a row's hash; "" for a part that it lacks."""
    trained, _, evaluated = code_hash.partition("-")
    return trained, evaluated


def vouchers(old: str, new: str) -> list[Equivalence] | None:
    """The lines that say that code of the hash `old` gives the numbers of `new`; [] for the same hash, None where nobody knows."""
    return [] if old == new else chain(old, new, _equivalences())


@cache
def _equivalences() -> list[Equivalence]:
    return read_equivalences(TRACKED / NAME)


def same_code(code_hash: str, trained_by: str, evaluation: str) -> bool:
    """Whether a row of this hash is what today's evaluation says of an encoder of this training: it need not be measured again."""
    trained, evaluated = split(code_hash)
    return vouchers(trained, trained_by) is not None and vouchers(evaluated, evaluation_hash(evaluation)) is not None
