"""Whether a row's numbers are still those of this code: hashes of what trained and of what measured it, and seals.

A row's code hash has two parts, `training-evaluation`. The first is that of the method's modules, the training loop and the yamls
of its recipe when the encoder was trained, of the backbone alone for random init, `foreign` for other codes' encoders; the second
that of the evaluation's modules and preset. A change in how data are read or in what a module merely imports makes a row stale,
too: better once too often. What no hash knows of: the libraries, and what is in a picture that keeps its name.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from longtake.backbones.checkpoints import FOREIGN
from longtake.console import console
from longtake.downstream.base import HARMLESS
from longtake.downstream.got10k import GOT10K_BOARD, GOT10K_LOCAL
from longtake.engine.boards import task_of
from longtake.engine.config import choices, composed, plainly
from longtake.engine.git import REPOSITORY, git
from longtake.engine.history import committed
from longtake.engine.identity import IN_KEY, TRAINING, Config, flat
from longtake.engine.source_hash import source_hash
from longtake.leaderboards.outcomes import has_outcomes, items_hash, load_outcomes
from longtake.leaderboards.rows import metrics_of, read
from longtake.leaderboards.schema import PAPER, RANDOM_INIT, SEAL, Key, Row, cells_of, columns
from longtake.methods.base import METHODS
from longtake.registry import UnknownName

FOR_PEOPLE = frozenset({"console", "engine.progress", "downstream.gallery"})  # what is printed and drawn
UNKNOWN = "unknown"  # instead of the training's hash, of encoders that were trained before there was one


class Finding(NamedTuple):
    """What is wrong with a row."""

    board: Path
    key: Key
    reasons: tuple[str, ...]


def training_hash(method: str, pretrain: str, backbone: str) -> str:
    """Of what trains an encoder; of the backbone alone for random init (`none`). The names are those of a row's key.

    Raises `UnknownName` for a method that is not installed.
    """
    known = pretrain if pretrain in choices("pretrain") else "video"  # a file of the user's has its own name
    return _training_hash(method, known, backbone)


@cache
def _training_hash(method: str, pretrain: str, backbone: str) -> str:
    if method == RANDOM_INIT:
        code = source_hash([REPOSITORY / "backbones" / "vit.py"], REPOSITORY)
        return _with(
            code, {key: v for key, v in recipe(method, pretrain, backbone).items() if key.startswith("backbone")}
        )
    code = source_hash([_file(METHODS[method]), REPOSITORY / "engine" / "fit.py"], REPOSITORY, FOR_PEOPLE)
    return _with(code, recipe(method, pretrain, backbone))


@cache
def evaluation_hash(evaluation: str) -> str:
    """Of what measures. Raises `ValueError` where there is no such evaluation."""
    preset = flat(plainly([f"eval=[{evaluation}]"])["eval"][evaluation])
    code = source_hash([_file(task_of(evaluation))], REPOSITORY, FOR_PEOPLE)
    return _with(code, {key: value for key, value in preset.items() if key not in HARMLESS})


def recipe(method: str, pretrain: str, backbone: str) -> Config:
    """What the yamls say of a training, by dotted key; what a row's key says itself is left out."""
    yaml = backbones().get(backbone)
    words = [f"method={method}", f"pretrain={pretrain}", *([f"backbone={yaml}"] if yaml else [])]
    config = plainly(words)
    chosen = flat({key: config[key] for key in TRAINING})
    return {key: value for key, value in chosen.items() if key not in IN_KEY}


@cache
def backbones() -> dict[str, str]:
    """The yaml of each backbone by the name that a row has."""
    return {composed([f"backbone={name}"]).backbone.name: name for name in choices("backbone")}


def _with(code: str, settings: Config) -> str:
    return hashlib.sha256(f"{code} {json.dumps(settings, sort_keys=True, default=str)}".encode()).hexdigest()[:12]


def _file(cls: type) -> Path:
    return Path(inspect.getfile(cls)).resolve()


def verify(folders: list[Path]) -> bool:
    """Print which rows of the folders' CSVs are edited, stale or of unknown code; whether there is none.

    Raises `ValueError` for a file that is no leaderboard.
    """
    boards = [path for folder in folders for path in sorted(folder.glob("*.csv"))]
    checked = [(path, row) for path in boards for row in read(path, metrics_of(path))]
    findings = [Finding(path, row.key, found) for path, row in checked if (found := tuple(reasons(path, row)))]
    for path, key, found in findings:
        console.print(f"{path}: {key}: {'; '.join(found)}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{len(checked)} rows in {len(boards)} leaderboards: {len(findings)} not as they should be")
    return not findings


def reasons(path: Path, row: Row) -> Iterator[str]:
    """Why a row of the leaderboard `path` cannot be trusted, if anything."""
    if row.broken_seal:
        yield f"edited{_where(path, row)}"
    if row.key.source.startswith(PAPER):
        return
    evaluation = GOT10K_LOCAL if path.stem == GOT10K_BOARD else path.stem  # which made the archive for the server
    yield from _of_code(evaluation, row.key._replace(seed=None, epochs=None, variant=""), row.provenance.code_hash)
    if has_outcomes(path.parent, path.stem, row.key):
        yield from _of_outcomes(path, row)


@cache
def _of_code(evaluation: str, key: Key, code_hash: str) -> tuple[str, ...]:
    """What of the code is not, or is not known to be, that of today."""
    trained, _, evaluated = code_hash.partition("-")
    if not evaluated or trained == UNKNOWN:
        return ("unknown: no hash of its code",)
    found = []
    try:
        if trained != FOREIGN and trained != training_hash(key.method, key.pretrain, key.backbone):
            found.append(f"stale: the code or recipe of {key.method} has changed")
    except UnknownName:
        found.append(f"unknown: no method is called {key.method!r}")
    try:
        task = task_of(evaluation)
    except ValueError as error:
        return (*found, f"unknown: {error}")
    if evaluated != evaluation_hash(evaluation):
        found.append(f"stale: the code or preset of {evaluation} has changed")
    if not key.protocol.strip():
        found.append("unknown: no protocol")
    elif not key.protocol.split()[0].endswith(f"-v{task.version}"):
        found.append(f"stale: the protocol is version {task.version} now")
    return tuple(found)


def _of_outcomes(path: Path, row: Row) -> Iterator[str]:
    """What is wrong with what was kept of its items."""
    try:
        outcomes = load_outcomes(path.parent, path.stem, row.key)
    except ValueError as error:
        yield f"its outcomes cannot be read: {error}"
        return
    if row.provenance.data_hash != items_hash(outcomes):
        yield "its outcomes are of other items"


def _where(path: Path, row: Row) -> str:
    """Which columns are other than in the last commit, where that has the row."""
    head = git(path.parent, "rev-parse", "HEAD")
    before = None if head is None else _committed(path.parent, head, path.name).get(row.key)
    if before is None:
        return ""
    metrics = metrics_of(path)
    cells = zip(columns(metrics), cells_of(before, metrics), cells_of(row, metrics), strict=True)
    changed = [cell for cell in cells if cell[1] != cell[2]]
    others = [cell for cell in changed if cell[0] != SEAL]  # a commit with an older header has other seals
    texts = ", ".join(f"{name} {old} -> {new}" for name, old, new in others or changed)
    return f": {texts} since the last commit" if texts else ""


_committed = cache(committed)  # of one commit a file is always the same, and may have many edited rows
