"""Copy a run's rows into the tracked leaderboards: only results whose code can be looked up get there."""

import math
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from longtake.engine.boards import TRACKED, write_ledger
from longtake.engine.git import DIRTY, UNKNOWN, git
from longtake.engine.identity import Config
from longtake.leaderboards.outcomes import has_outcomes, load_outcomes, odd_numbers, outcomes_path
from longtake.leaderboards.rows import board_files, metrics_of, read, upsert
from longtake.leaderboards.schema import RANDOM_INIT, Key, Row
from longtake.leaderboards.statistics import Estimate
from longtake.tasks import TASKS
from longtake.tasks.leaderboard import write_readme

OF_THE_MACHINE = ("output=", "resume=")  # words of a command that do not change its numbers
# Provenance that a published row must have. A new column joins when every row that shall be published can have it.
REQUIRED = (
    "config_hash", "checkpoint_hash", "code_commit", "date", "frames_seen", "hours", "peak_memory_gb", "device", "command",
    "code_hash", "data_hash",
)  # fmt: skip
ABSOLUTE_FOLDER = re.compile(
    r"(?<=[=\[, ])(?:/|~[^/,\]]*/)(?:[^,\]]*/)?(?=[^,\]/])"
)  # of an absolute path, alone or in a list


@dataclass
class Publication:
    """The result of `publish`, by evaluation; `print` it."""

    published: list[tuple[str, Key]] = field(default_factory=list)
    refused: list[tuple[str, Key, str]] = field(default_factory=list)  # with the reason

    def __str__(self) -> str:
        lines = [f"published {evaluation}: {key}" for evaluation, key in self.published]
        lines += [f"refused {evaluation}: {key}: {reason}" for evaluation, key, reason in self.refused]
        return "\n".join([*lines, f"{len(self.published)} published, {len(self.refused)} refused"])


@TASKS.named("publish")
def publish_rows(config: Config) -> None:
    """Publish the rows of `output`, with the paper's numbers beside them, and make README's table anew."""
    print(publish(Path(config["output"]) / "leaderboards", TRACKED))
    write_ledger(TRACKED)
    write_readme()


def publish(source: Path, target: Path) -> Publication:
    """Copies the rows of every CSV in `source` into the CSV of the same name in `target`, a folder of a git repository.

    With each row goes the file of its items' outcomes, so that whoever has the repository can repeat the comparisons.

    A row's command loses what it says of the machine: `output=`, `resume=` and the folders of absolute paths.

    A row without complete provenance, with numbers that are not finite, or of code that no commit holds, is refused and stays where
    it is.

    Raises:
        ValueError: there are no rows, the repository has uncommitted changes, or a file of either folder cannot be
            read; then nothing was published.
    """
    if (changes := git(target, "status", "--porcelain")) is None:
        raise ValueError(f"{target} is not in a git repository; publish from a clone of this one")
    if changes:
        names = "; ".join(changes.splitlines())
        raise ValueError(f"the repository has uncommitted changes ({names}); commit them first")
    boards = {path: (metrics := metrics_of(path), read(path, metrics)) for path in board_files(source)}
    if not boards:
        raise ValueError(f"no rows in {source}; run an evaluation first")
    for path, (metrics, _) in boards.items():
        read(target / path.name, metrics)  # all of them before the first is written
    publication = Publication()
    for path, (metrics, rows) in boards.items():
        reasons = {row.key: "; ".join([*_reasons(row), *_of_outcomes(source, path.stem, row.key)]) for row in rows}
        accepted = [row for row in rows if not reasons[row.key]]
        if accepted:
            upsert(target / path.name, map(_for_everybody, accepted), metrics)
        for row in accepted:
            if (kept := outcomes_path(source, path.stem, row.key)).exists():
                copy = outcomes_path(target, path.stem, row.key)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, copy)
        publication.published += [(path.stem, row.key) for row in accepted]
        publication.refused += [(path.stem, key, reason) for key, reason in reasons.items() if reason]
    return publication


def _of_outcomes(source: Path, evaluation: str, key: Key) -> Iterator[str]:
    """Yield the reason why the outcomes of a row, where they were kept, cannot be published."""
    if has_outcomes(source, evaluation, key):
        try:
            odd = odd_numbers(load_outcomes(source, evaluation, key))
        except ValueError as error:
            odd = str(error)
        if odd:
            yield odd


def _for_everybody(row: Row) -> Row:
    """Return a row that says nothing of its machine but the device."""
    return replace(row, provenance=row.provenance._replace(command=_without_places(row.provenance.command)))


def _without_places(command: str) -> str:
    """Return a command line that anybody could give; one that no shell can read stays as it is."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return shlex.join(
        ABSOLUTE_FOLDER.sub("", word.rstrip("/")) for word in words if not word.startswith(OF_THE_MACHINE)
    )


def _reasons(row: Row) -> Iterator[str]:
    """Yield the reasons why a row cannot be published."""
    if row.broken_seal:
        yield "its seal is broken: somebody changed it"
    empty = [name for name in REQUIRED if getattr(row.provenance, name) in ("", None)]
    if row.key.method == RANDOM_INIT and "checkpoint_hash" in empty:
        empty.remove("checkpoint_hash")  # random init comes from the seed, not from a file
    if not row.metrics:
        yield "it has no number"
    yield from (f"{name} is {score.value}" for name, score in row.metrics.items() if not _finite(score))
    if empty:
        yield f"no {', '.join(empty)}"
    if row.provenance.code_commit == UNKNOWN:
        yield "its code is not known"
    if row.provenance.code_commit.endswith(DIRTY):
        yield f"its code had uncommitted changes ({row.provenance.code_commit})"


def _finite(score: Estimate) -> bool:
    return all(math.isfinite(number) for number in score if number is not None)
