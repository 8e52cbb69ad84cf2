"""A comparison from its words to its files: plan and costs, the runs that are missing, the result."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longtake.console import console
from longtake.datasets.sources.base import build_source
from longtake.engine.children import command, run_all, well
from longtake.engine.compared import deciding
from longtake.engine.forecast import evaluating_seconds
from longtake.engine.identity import Config
from longtake.engine.launch import alone
from longtake.engine.length import in_time
from longtake.engine.machine import writable
from longtake.files import whole
from longtake.leaderboards.schema import Row
from longtake.tasks.compare.contenders import Contender, encoders, trainings
from longtake.tasks.compare.cost import Cost, cost_cells, cost_of, cost_table, why_flop
from longtake.tasks.compare.picture import draw
from longtake.tasks.compare.result import Comparison, Measured, compared_by, measured, table_of
from longtake.tasks.compare.rows import Rows, Tested, inits_of, missing, protocols_of, rows_at_hand
from longtake.tasks.compare.words import markdown, sentences


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
        costs = {contender.label: cost_of(contender.config(contender.seeds[0])) for contender in contenders}
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


def _say_plan(
    contenders: Sequence[Contender], costs: dict[str, Cost], protocols: dict[str, Tested], rows: Rows
) -> None:
    """Print what each training costs, what is evaluated, and what of it is there."""
    if costs:
        console.print(cost_table(costs))
        console.print(why_flop([contender.config(contender.seeds[0]) for contender in contenders]))
    lacking = {
        (c.label, seed): found for c in contenders for seed in c.seeds if (found := missing(c, seed, protocols, rows))
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


def _run_missing(
    contenders: Sequence[Contender], protocols: dict[str, Tested], rows: Rows, launcher: Sequence[str]
) -> bool:
    """A process for each contender and seed that lacks a row; one that was begun goes on."""
    commands, jobs = {}, [word for word in launcher if word.startswith("hydra.")]
    for contender in contenders:
        for seed in contender.seeds:
            if not missing(contender, seed, protocols, rows):
                continue
            words = [*contender.words, *([] if seed is None else ["resume=auto", f"seed={seed}"]), *jobs]
            commands[contender.label if seed is None else f"{contender.label}, seed {seed}"] = command(words)
    return well(run_all(commands))


def _tell(
    contenders: Sequence[Contender], costs: dict[str, Cost], protocols: dict[str, Tested], rows: Rows, folder: Path, all_well: bool,
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
