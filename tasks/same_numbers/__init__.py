"""`run task=same_numbers since=REV`: show that a change of code has changed no number, and write it down so that rows stay fresh.

The commit REV and this one are run side by side, on this machine, on the same small fixtures: trainings through `run`, whole and
continued, and every evaluation of a fixed encoder. A line of `leaderboards/same_numbers.csv` is written for each hash that
changed while settings agree, the numbers are bit-equal, and every changed statement was executed in both trees. Whatever else
changed is listed with the reason; such rows are stale. Without `since` the lines that lead to today's code are tried again
(`.ci/run` does).
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from longtake.console import console
from longtake.engine.boards import TRACKED
from longtake.engine.code_hash import evaluation_hash, training_hash
from longtake.engine.config import choices
from longtake.engine.git import REPOSITORY, code_commit, is_clean
from longtake.engine.identity import Config
from longtake.leaderboards.rows import board_files, metrics_of, read
from longtake.leaderboards.same_numbers import NAME, Equivalence, add_equivalences, read_equivalences
from longtake.leaderboards.schema import PAPER, RANDOM_INIT
from longtake.tasks import TASKS
from longtake.tasks.same_numbers.compare import Verdict, verdicts
from longtake.tasks.same_numbers.fixture_data import write_data
from longtake.tasks.same_numbers.fixtures import (
    WORLD,
    Fixture,
    of_continued,
    of_evaluations,
    of_processes,
    of_random_init,
    of_source,
    of_training,
)
from longtake.tasks.same_numbers.trees import ask, checked_out


@TASKS.named("same_numbers")
def same_numbers(config: Config) -> None:
    """Exit code 1 where a line that leads to today's code does not hold. Raises `ValueError` for uncommitted changes."""
    commit = code_commit()
    if not is_clean(commit):
        raise ValueError(f"task=same_numbers compares commits: this tree is {commit}; commit first")
    if config["since"] is not None:
        lines = vouch(str(config["since"]), commit, subjects(Path(config["output"]) / "leaderboards"))
        add_equivalences(TRACKED / NAME, lines)
        console.print(f"{len(lines)} lines: {TRACKED / NAME}")
    elif not recompute(commit):
        raise SystemExit(1)


def subjects(folder: Path) -> list[str]:
    """Return what lines can be about: the trainings of all rows, each method's on the mini world, and all evaluations."""
    trained = {(method, "none" if method == RANDOM_INIT else "mini", "vit_mini_8") for method in choices("method")}
    for place in (TRACKED, folder):
        for path in board_files(place) if place.is_dir() else ():
            rows = [row.key for row in read(path, metrics_of(path)) if not row.key.source.startswith(PAPER)]
            trained |= {
                (key.method, _known(key.pretrain), key.backbone) for key in rows if key.method in choices("method")
            }
    return [f"training {' '.join(names)}" for names in sorted(trained)] + [
        f"evaluation {name}" for name in choices("eval")
    ]


def _known(pretrain: str) -> str:
    """Return the source as a yaml calls it: a user's own video has its own name."""
    kind = re.split("[:@]", pretrain)[0]
    return kind if kind == "none" or kind in choices("pretrain") else "video"


def today(what: str) -> str:
    """The hash of this tree."""
    kind, *names = what.split(" ")
    return training_hash(*names) if kind == "training" else evaluation_hash(*names)


def vouch(since: str, commit: str, whats: Sequence[str]) -> list[Equivalence]:
    """The lines that can be written; everything else is printed, with the reason."""
    verdicts = side_by_side(since, commit, whats)
    changed = [verdict for verdict in verdicts if verdict.old != verdict.new]
    if len(changed) < len(verdicts):
        console.print(f"{len(verdicts) - len(changed)} of {len(verdicts)} hashes are the same in both commits")
    for note, names in _together((verdict.what, verdict.alone) for verdict in changed if not verdict.against).items():
        console.print(f"{', '.join(names)}: {note}", soft_wrap=True)
    for reason, names in _together((verdict.what, _lines(verdict.against)) for verdict in changed).items():
        console.print(f"[bold]not vouched for[/]: {', '.join(names)}:", soft_wrap=True)
        console.print(reason, soft_wrap=True)
    return [verdict.line for verdict in changed if not verdict.against]


def _lines(reasons: Sequence[str]) -> str:
    return "\n".join(f"  {reason}" for reason in reasons)


def _together(said: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """What is said of several, once; "" is not said."""
    found: dict[str, list[str]] = defaultdict(list)
    for what, text in said:
        if text:
            found[text].append(what)
    return found


def recompute(commit: str) -> bool:
    """Whether every line that leads to a hash of today holds when it is tried again."""
    lines = [line for line in read_equivalences(TRACKED / NAME) if _is_current(line)]
    well = True
    for old in sorted({line.commit.partition("..")[0] for line in lines}):
        mine = {line.what: line for line in lines if line.commit.startswith(f"{old}..")}
        for verdict in side_by_side(old, commit, list(mine)):
            line = mine[verdict.what]
            wrong = [
                *verdict.against,
                *([] if (line.old, line.new) == (verdict.old, verdict.new) else ["other hashes"]),
            ]
            well = well and not wrong
            for reason in wrong:
                console.print(f"{NAME}: {line.what}, {line.commit}: {reason}", soft_wrap=True)
    console.print(f"{len(lines)} lines lead to today's code: {'all of them hold' if well else 'not all of them hold'}")
    return well


def _is_current(line: Equivalence) -> bool:
    try:
        return today(line.what) == line.new
    except ValueError:  # of a method or an evaluation that there is no more
        return False


def side_by_side(since: str, commit: str, whats: Sequence[str]) -> list[Verdict]:
    """Ask both trees: first for their hashes, then for the numbers of the fixtures of what differs."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        data = scratch / "fixtures"
        data.mkdir()
        write_data(data)
        with checked_out(REPOSITORY, since, scratch) as old, checked_out(REPOSITORY, commit, scratch) as new:
            trees = [old, new]
            job: dict[str, Any] = {"world": WORLD, "whats": list(whats), "fixtures": []}
            abouts = [answer["abouts"] for answer in ask(trees, job, scratch / "hashes")]
            for what in whats:
                if None in (about[what] for about in abouts):
                    console.print(f"{what}: one of the commits does not have it", soft_wrap=True)
            whats = [what for what in whats if None not in (about[what] for about in abouts)]
            differing = [what for what in whats if len({about[what]["hash"] for about in abouts}) > 1]
            fixtures = [fixture._asdict() for fixture in fixtures_of(differing, data)]
            console.print(
                f"{len(differing)} hashes differ: {len(fixtures)} fixtures on {old.commit} and on {new.commit}"
            )
            if not fixtures:
                return verdicts(trees, abouts, [{}, {}], [{}, {}], whats)
            with console.status("running both trees on the fixtures, some minutes"):
                found = ask(trees, {**job, "fixtures": fixtures}, scratch / "numbers")
            digests, executed = ([answer[part] for answer in found] for part in ("digests", "executed"))
            return verdicts(trees, abouts, digests, executed, whats)


def fixtures_of(whats: Sequence[str], data: Path) -> list[Fixture]:
    """Each of them once."""
    trained = {what.split(" ")[1] for what in whats if what.startswith("training")}
    methods = sorted(trained - {RANDOM_INIT})
    fixtures = [of_random_init(data)] if RANDOM_INIT in trained else []
    fixtures += [fixture for method in methods for fixture in of_training(method)]
    fixtures += of_source(data) if methods else []
    names = [what.split(" ")[1] for what in whats if what.startswith("evaluation")]
    return [*fixtures, *of_evaluations(names, data), *of_continued(names, data), *of_processes(names, data)]
