"""A comparison from its words to its files: plan and costs, the runs that are missing, the result."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from longtake.console import console
from longtake.datasets.sources.base import build_source
from longtake.engine.boards import rows_of
from longtake.engine.children import command, run_all, well
from longtake.engine.compared import deciding
from longtake.engine.config import plainly
from longtake.engine.forecast import evaluating_seconds
from longtake.engine.freshness import reasons
from longtake.engine.identity import Config, protocol_suffix
from longtake.engine.launch import alone
from longtake.engine.length import in_time
from longtake.engine.machine import writable
from longtake.engine.plan import build_evaluation
from longtake.files import whole
from longtake.leaderboards.render import empty_table, method_name
from longtake.leaderboards.schema import RANDOM_INIT, Row
from longtake.tasks.compare.contenders import Contender, Cost, cost_of, encoders, is_row_of, trainings
from longtake.tasks.compare.picture import draw
from longtake.tasks.compare.result import Comparison, Found, Measured, compared_by, measured, table_of
from longtake.tasks.compare.words import markdown, sentences

Rows = dict[tuple[str, str, int | None], Found]  # contender, evaluation, seed


class Compared(NamedTuple):
    """What a comparison found: rows by contender and evaluation, its files, and whether every run ended well.

    After a dry run, and where nothing could be compared, there are no files.
    """

    rows: dict[str, dict[str, list[Row]]]
    sentences: list[str]
    report: Path | None
    picture: Path | None
    folder: Path
    well: bool


def compare_all(config: Config, words: Sequence[str], launcher: Sequence[str] = ()) -> Compared:
    """Do what `words` say. Raises `ValueError` for what cannot be compared, before anything is computed."""
    alone("task=compare")
    writable(Path(config["output"]))
    folder = Path(config["output"]) / "compare" / name_of(config, words)
    if config["compare"]["checkpoints"]:
        contenders, costs = encoders(config, words, folder), dict[str, Cost]()
    else:
        contenders = trainings(config, words, folder)
        _check_data(contenders)
        costs = {contender.label: cost_of(contender) for contender in contenders}
    protocols = protocols_of(contenders[0])
    rows = rows_at_hand(contenders, protocols)
    _say_plan(contenders, costs, protocols, rows)
    all_well = True
    if not config["dry_run"]:
        all_well = _run_missing(contenders, protocols, rows, launcher)
        rows = rows_at_hand(contenders, protocols)
    return _tell(contenders, costs, protocols, rows, folder, all_well, config["dry_run"])


def name_of(config: Config, words: Sequence[str]) -> str:
    """The comparison's name: the one given, or its methods or labels, and a hash of the words that decide it."""
    if config["compare"]["name"] is not None:
        return str(config["compare"]["name"])
    names = config["compare"]["labels"] or [Path(str(path)).stem for path in config["compare"]["checkpoints"] or []]
    text = "_".join(map(str, names or config["compare"]["methods"] or ["nobody"]))
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', text)[:60]}_{hashlib.sha256(json.dumps(deciding(words)).encode()).hexdigest()[:6]}"


def _check_data(contenders: Sequence[Contender]) -> None:
    """Raise `ValueError` where a method's clips do not fit into the data."""
    for contender in contenders:
        config = contender.config(contender.seeds[0])
        build_source(config["pretrain"]).check(config["method"]["num_frames"])


def protocols_of(contender: Contender) -> dict[str, str]:
    """The evaluations whose data are here, each with its protocol. Raises `ValueError` where there is none."""
    config = contender.config(contender.seeds[0])
    chosen = [word for word in contender.words if word.startswith("pretrain=")]
    recipe = plainly([*chosen, f"eval=[{','.join(config['eval'])}]"])["eval"]
    tasks = {name: build_evaluation(keys) for name, keys in config["eval"].items()}
    found = {
        name: task.protocol + protocol_suffix(config["eval"][name], recipe[name])
        for name, task in tasks.items()
        if not task.check()
    }
    if not found:
        raise ValueError("task=compare: the data of no evaluation are here; suite=quick needs none")
    return found


def rows_at_hand(contenders: Sequence[Contender], protocols: dict[str, str]) -> Rows:
    """The fresh rows of the contenders, and of the random initialisations of their backbones (`inits_of`)."""
    found: Rows = {}
    inits: dict[tuple[str, str, int | None], Found] = {}  # by backbone
    for name, protocol in protocols.items():
        for contender in contenders:
            there = [
                (folder, row)
                for folder, row in rows_of(name, [contender.leaderboards])
                if (row.key.protocol, row.key.source) == (protocol, "run")
                and not list(reasons(folder / f"{name}.csv", row))
            ]
            for seed in contender.seeds:
                mine = [Found(*pair) for pair in there if is_row_of(contender, seed, pair[1])]
                for pair in mine:
                    found[contender.label, name, seed] = pair
                backbones = {pair.row.key.backbone for pair in mine}
                for folder, row in there:
                    if row.key.method == RANDOM_INIT and row.key.backbone in backbones and seed in (None, row.key.seed):
                        inits.setdefault((row.key.backbone, name, row.key.seed), Found(folder, row))
    several = len({backbone for backbone, *_ in inits}) > 1
    for (backbone, name, seed), pair in inits.items():
        found[f"{method_name(RANDOM_INIT)} {backbone}" if several else RANDOM_INIT, name, seed] = pair
    return found


def inits_of(contenders: Sequence[Contender], rows: Rows) -> list[str]:
    """The labels of random initialisations: `RANDOM_INIT`, or one with its name for each of several backbones."""
    return sorted({label for label, *_ in rows} - {contender.label for contender in contenders}) or [RANDOM_INIT]


def _missing(contender: Contender, seed: int | None, protocols: dict[str, str], rows: Rows) -> list[str]:
    """The evaluations that a contender lacks, or whose random init is not there."""
    beside = contender.config(seed)["baseline"]

    def has_init(name: str, backbone: str) -> bool:
        inits = [key for key, (_, row) in rows.items() if (row.key.method, row.key.backbone) == (RANDOM_INIT, backbone)]
        return any(key[1] == name and seed in (None, key[2]) for key in inits)

    there = {name: rows.get((contender.label, name, seed)) for name in protocols}
    return [
        name for name, pair in there.items() if pair is None or (beside and not has_init(name, pair.row.key.backbone))
    ]


def _say_plan(contenders: Sequence[Contender], costs: dict[str, Cost], protocols: dict[str, str], rows: Rows) -> None:
    """Print what each training costs, what is evaluated, and what of it is there."""
    if costs:
        console.print(cost_table(costs))
        console.print(why_flop(contenders))
    lacking = {
        (c.label, seed): found for c in contenders for seed in c.seeds if (found := _missing(c, seed, protocols, rows))
    }
    runs = sum(len(contender.seeds) for contender in contenders)
    hours = sum(costs[label].hours for label, _ in lacking if label in costs)
    config = contenders[0].config(contenders[0].seeds[0])
    seconds = evaluating_seconds(config, tuple(protocols))[0] * len(lacking) if costs else 0.0
    console.print(f"evaluate  {', '.join(protocols)}", soft_wrap=True)
    left = (
        f"about {in_time(3600 * hours)} of training + about {in_time(seconds)} of evaluations left"
        if costs and lacking
        else ""
    )
    console.print(
        f"runs      {runs}, of which {runs - len(lacking)} are done{'; ' + left if left else ''}", soft_wrap=True
    )


def cost_table(costs: dict[str, Cost]) -> Table:
    """Frames and FLOP of each training, and how many times the cheapest that is."""
    shown = empty_table("what the trainings cost")
    for name in ("", "frames", "steps", "FLOP per frame", "FLOP in all", "relative", "time"):
        shown.add_column(name, justify="left" if not name else "right")
    for cells in cost_cells(costs):
        shown.add_row(*cells)
    return shown


def cost_cells(costs: dict[str, Cost]) -> list[list[str]]:
    """The cells of `cost_table`, a line for each training."""
    least = min(cost.flop for cost in costs.values())
    return [
        [
            label, f"{cost.frames:,}", f"{cost.steps:,}", f"{cost.flop_per_frame:.2e}", f"{cost.flop:.2e}",
            f"{cost.flop / least:.2f}", in_time(3600 * cost.hours),
        ]
        for label, cost in costs.items()
    ]  # fmt: skip


def why_flop(contenders: Sequence[Contender]) -> str:
    """Say what FLOP count, and why a frame of DoRA costs more."""
    text = (
        "FLOP are those of forward and backward passes, the teacher's and the heads' included, as PyTorch counts them."
    )
    for contender in contenders:
        if (objects := contender.config(contender.seeds[0])["method"].get("num_objects")) is not None:
            return f"{text} DoRA shows the student each global view once for each of its {objects} object(s): so many passes more."
    return text


def _run_missing(
    contenders: Sequence[Contender], protocols: dict[str, str], rows: Rows, launcher: Sequence[str]
) -> bool:
    """A process for each contender and seed that lacks a row; one that was begun goes on."""
    commands, jobs = {}, [word for word in launcher if word.startswith("hydra.")]
    for contender in contenders:
        for seed in contender.seeds:
            if not _missing(contender, seed, protocols, rows):
                continue
            words = [*contender.words, *([] if seed is None else ["resume=auto", f"seed={seed}"]), *jobs]
            commands[contender.label if seed is None else f"{contender.label}, seed {seed}"] = command(words)
    return well(run_all(commands))


def _tell(
    contenders: Sequence[Contender], costs: dict[str, Cost], protocols: dict[str, str], rows: Rows, folder: Path, all_well: bool,
    dry: bool,
) -> Compared:  # fmt: skip
    """Print the result and write it, where there is one."""
    labels = [*(contender.label for contender in contenders), *inits_of(contenders, rows)]
    found: Measured = measured(labels, list(protocols), rows)
    results: list[Comparison] = compared_by(found)
    report, picture = None, None
    said = sentences(results)
    if results:
        console.print(table_of(results, labels))
        for line in said:
            console.print(line, soft_wrap=True)
    if results and not dry:
        report, picture = folder / "comparison.md", folder / "comparison.png"
        folder.mkdir(parents=True, exist_ok=True)
        draw(results, labels, picture)
        cost = cost_cells(costs) if costs else []
        with whole(report) as part:
            part.write_text(markdown(results, labels, said, cost, picture.name), encoding="utf-8")
        console.print(f"\nas Markdown: {report}\na picture: {picture}", soft_wrap=True)
    by_label = {
        label: {name: [row.row for key, row in rows.items() if key[:2] == (label, name)] for name in protocols}
        for label in labels
    }
    return Compared(by_label, said, report, picture, folder, all_well)
