"""A table of the paper, or the comparison on the mini world, as a plan: its cells, what exists of them, what a run has to add."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from longtake.datasets.sources.base import build_source
from longtake.downstream.base import Downstream
from longtake.downstream.got10k import GOT10K_BOARD, GOT10K_SOURCE
from longtake.engine.boards import TRACKED, primary_for, rows_of
from longtake.engine.code_hash import backbones
from longtake.engine.config import choices, composed, plainly
from longtake.engine.freshness import reasons
from longtake.engine.identity import Config, protocol_suffix
from longtake.engine.machine import on_this_machine
from longtake.engine.plan import build_evaluation
from longtake.engine.words import word_of
from longtake.leaderboards import paper
from longtake.leaderboards.overview import Column
from longtake.leaderboards.render import method_name
from longtake.leaderboards.schema import RANDOM_INIT, Row
from longtake.leaderboards.summary import Entry, summarize

MINI = "mini"
MINI_SEEDS = (0, 1, 2)
# Seen by every method in 3 minutes or so on two cores: 6 epochs of 2112 clips, or DoRA's 12 of 528 pairs.
MINI_FRAMES = 12_672
DONE, STALE, MISSING, NO_DATA, SERVER, NOT_OURS = "done", "stale", "missing", "no data", "server", "not ours"
SUBMIT = "run eval=[seqtrack_got10k] eval.seqtrack_got10k.submission=true, then task=submit_result"
RUNNABLE = (STALE, MISSING)


@dataclass(frozen=True, eq=False)
class TableLine:
    """A line of a table."""

    label: str
    identity: tuple  # method, variant, pretrain, backbone, epochs: as a row has them
    overrides: tuple[str, ...]  # of the command that trains it; () for one that is not ours
    printed: dict[Column, float] = field(default_factory=dict)  # the paper's numbers


class Cell(NamedTuple):
    """An encoder and a seed by an evaluation, with its row."""

    encoder: TableLine
    evaluation: str
    seed: int
    status: str
    why: str = ""
    row: Row | None = None  # where it is DONE


@dataclass(frozen=True)
class Table:
    """Lines, columns and seeds; what of it exists, `cells` says."""

    name: str
    encoders: list[TableLine]
    columns: dict[str, Column]  # by their label
    seeds: tuple[int, ...]

    @property
    def evaluations(self) -> list[str]:
        return list(dict.fromkeys(column.evaluation for column in self.columns.values()))


def table(name: str, seeds: object) -> Table:
    """One of `paper.TABLES`, or `mini`; `seeds` are a list of integers, or one alone; None: the table's own.

    Raises `ValueError` for another name, and for seeds that are none.
    """
    chosen = chosen_seeds(seeds)
    if name == MINI:
        return _mini(chosen or MINI_SEEDS)
    if name not in paper.TABLES:
        raise ValueError(f"table: got {name!r}, expected {MINI} or one of the paper's: {', '.join(paper.TABLES)}")
    lines = paper.lines(name)
    labels = dict.fromkeys(label for line in lines for label in line.scores)
    columns = {label: Column(*paper.PLACES[label]) for label in labels}
    return Table(name, [_of_paper(line, columns) for line in lines], columns, chosen or (0,))


def chosen_seeds(seeds: object) -> tuple[int, ...]:
    """The seeds that the configuration names; () where it leaves them to the table."""
    if seeds is None:
        return ()
    found = tuple(seeds) if isinstance(seeds, Sequence) else (seeds,)
    integers = [seed for seed in found if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0]
    if not found or len(set(integers)) < len(found):
        raise ValueError(f"seeds: got {seeds!r}, expected distinct integers from 0 on, for example seeds=[0,1,2]")
    return tuple(integers)


def _mini(seeds: tuple[int, ...]) -> Table:
    """Every method, as many epochs as make the frames equal, random init first."""
    names = sorted(composed([f"suite={MINI}"]).eval)
    columns = {f"{name} {metric}": Column(name, metric) for name in names for metric in primary_for(name)}
    methods = sorted(choices("method"), key=lambda method: (method != RANDOM_INIT, method))
    return Table(MINI, [_of_mini(method) for method in methods], columns, seeds)


def _of_mini(method: str) -> TableLine:
    overrides = [f"method={method}", f"pretrain={MINI}"]
    config = plainly(overrides)
    backbone = config["backbone"]["name"]
    if method == RANDOM_INIT:
        return TableLine(method_name(method), (method, "", "none", backbone, 0), tuple(overrides))
    batch, source = config["batch_size"], build_source(config["pretrain"])
    clips = source.clips_per_epoch or source.stored_frames()
    frames = clips // batch * batch * config["method"]["num_frames"]  # of an epoch
    epochs = max(1, round(MINI_FRAMES / frames))
    return TableLine(method, (method, "", MINI, backbone, epochs), (*overrides, f"epochs={epochs}"))


def _of_paper(line: paper.PrintedLine, columns: dict[str, Column]) -> TableLine:
    key = line.key
    printed = {columns[label]: value for label, value in line.scores.items()}
    words = [method_name(key.method), key.variant, "" if key.method == RANDOM_INIT else key.pretrain, key.backbone]
    label = " ".join([*filter(None, words), *([f"{key.epochs} epochs"] if key.epochs else [])])
    trained_on = [] if key.method == RANDOM_INIT else [f"pretrain={key.pretrain}"]
    ours = key.method in choices("method") and (not trained_on or key.pretrain in choices("pretrain"))
    if not ours:
        return TableLine(label, key.identity, (), printed)
    variant = [word if "." in word.split("=")[0] else f"method.{word}" for word in key.variant.split()]
    epochs = [f"epochs={key.epochs}"] if key.epochs else []
    overrides = (f"method={key.method}", *trained_on, f"backbone={backbones()[key.backbone]}", *epochs, *variant)
    trained = plainly(overrides)["epochs"] if key.epochs is None else key.epochs
    return TableLine(label, (*key[:4], trained), overrides, printed)


def cells(plan: Table, folder: Path) -> list[Cell]:
    """Return every cell with its status. `folder` has the rows of runs; they count before published ones."""
    known: dict[tuple, tuple[Path, Row]] = {}
    folders = [place for place in (folder, TRACKED) if place.is_dir()]
    for name in plan.evaluations:
        protocol, digest = (None, "") if name == GOT10K_BOARD else (_built(name).protocol, _digest(name))
        for place, row in rows_of(name, folders):
            of_these = digest in ("", row.provenance.digest)  # data that are not here cannot be told from others
            if (
                (row.key.source, row.key.protocol) == ("run", protocol) and of_these
            ) or row.key.source == GOT10K_SOURCE:
                known.setdefault((name, row.key.identity, row.key.seed), (place, row))
    return [
        _cell(encoder, name, seed, known.get((name, encoder.identity, seed)))
        for encoder in plan.encoders
        for seed in plan.seeds
        for name in plan.evaluations
    ]


@cache
def _built(evaluation: str) -> Downstream:
    """The preset, unchanged."""
    return build_evaluation(on_this_machine([f"eval=[{evaluation}]"])["eval"][evaluation])


def _cell(encoder: TableLine, evaluation: str, seed: int, found: tuple[Path, Row] | None) -> Cell:
    status, why, row = MISSING, "", None
    if found is not None:
        place, row = found
        why = "; ".join(reasons(place / f"{evaluation}.csv", row))
        status = STALE if why else DONE
    elif not encoder.overrides:
        status, why = NOT_OURS, "the suite has no such method or data"
    elif evaluation == GOT10K_BOARD:
        status, why = SERVER, SUBMIT
    if status in RUNNABLE and (lacks := _absent(evaluation) or no_data(encoder.overrides)):
        status, why = NO_DATA, lacks
    return Cell(encoder, evaluation, seed, status, why, row if status == DONE else None)


@cache
def _digest(evaluation: str) -> str:
    """Hex digits of what is in an evaluation's data; "" of a world, and where they are not here."""
    content = None if _absent(evaluation) else _built(evaluation).data()
    return content.digest if content else ""


@cache
def _absent(evaluation: str) -> str:
    """Say in a line what an evaluation lacks here, or that the data in its place are others: a table has numbers of the same."""
    task, keys = _built(evaluation), on_this_machine([f"eval=[{evaluation}]"])["eval"][evaluation]
    if lacks := task.check():
        return lacks[0].split("\n")[0]
    content = task.data()
    return f"other data in its place: {content}" if content and protocol_suffix(keys, keys, content) else ""


@cache
def no_data(overrides: tuple[str, ...]) -> str:
    """Say in a line what is missing to train it; "" where it can be trained."""
    config = plainly(overrides)
    if config["method"]["name"] == RANDOM_INIT:
        return ""
    source = build_source(config["pretrain"])
    try:
        source.check(config["method"]["num_frames"])
    except ValueError as error:
        return str(error).split("\n")[0]
    return f"other data in its place: {source.title}" if source.digest() else ""


def entries(plan: Table, found: Sequence[Cell], folder: Path) -> dict[Column, dict[tuple, Entry]]:
    """Return our entries, seeds pooled, by column and encoder."""
    folders = [place for place in (folder, TRACKED) if place.is_dir()]
    shown: dict[Column, dict[tuple, Entry]] = {}
    for column in plan.columns.values():
        mine = {cell.row.key for cell in found if cell.row is not None and cell.evaluation == column.evaluation}
        rows = [(place, row) for place, row in rows_of(column.evaluation, folders) if row.key in mine]
        summary = summarize(column.evaluation, rows, [column.metric])
        shown[column] = {entry.identity: entry for entry in summary if column.metric in entry.scores}
    return shown


def training_words(encoder: TableLine, seed: int, config: Config) -> Iterator[str]:
    """The words of the command that trains an encoder, with what `config` says of places and of the machine."""
    yield from encoder.overrides
    yield f"seed={seed}"
    for key in ("output", "device", "num_workers"):
        if config[key] is not None:
            yield word_of(key, config[key])
    defaults = plainly([])["trainer"]
    for key, value in config["trainer"].items():
        if value != defaults[key]:
            yield word_of(f"trainer.{key}", value)
