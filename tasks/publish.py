"""Copy a run's rows into the tracked leaderboards: only results whose code can be looked up get there."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from longtake.engine.boards import TRACKED, write_ledger
from longtake.engine.git import DIRTY, REPOSITORY, UNKNOWN, git
from longtake.engine.identity import Config
from longtake.leaderboards.commands import for_everybody, names_a_home
from longtake.leaderboards.outcomes import has_outcomes, load_outcomes, odd_numbers, outcomes_path
from longtake.leaderboards.rows import board_files, metrics_of, read, upsert
from longtake.leaderboards.schema import RANDOM_INIT, Key, Row
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.together import Changes, finish, together
from longtake.tasks import TASKS
from longtake.tasks.leaderboard import README, with_blocks

# Provenance that a published row must have. A new column joins when every row that shall be published can have it.
REQUIRED = (
    "config_hash", "checkpoint_hash", "code_commit", "date", "frames_seen", "hours", "peak_memory_gb", "device", "command",
    "code_hash", "data_hash",
)  # fmt: skip


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
    if files := finish(REPOSITORY):
        names = ", ".join(path.name for path in files if path.suffix != ".npz")
        print(f"what an interrupted publication had not come to is done: {names}; commit that, then publish again")
        return
    check_clean(TRACKED)
    with together(REPOSITORY) as changes:
        publication = publish_into(changes, Path(config["output"]) / "leaderboards", TRACKED)
        write_ledger(TRACKED, changes.place)
        if README.is_file():  # an installed package has none
            text = with_blocks(README.read_text(encoding="utf-8"), changes.view(TRACKED))
            changes.place(README).write_text(text, encoding="utf-8")
    print(publication)


def publish(source: Path, target: Path) -> Publication:
    """Copy the rows of `source` into `target` as `publish_into` does; all of them, or none where it ends before its end.

    Raises `ValueError` for a repository that is none or has uncommitted changes, too; then nothing was published.
    """
    finish(target)
    check_clean(target)
    with together(target) as changes:
        return publish_into(changes, source, target)


def publish_into(changes: Changes, source: Path, target: Path) -> Publication:
    """Copies the rows of every CSV in `source` into the CSV of the same name in `target`, a folder of a git repository.

    With each row goes the file of its items' outcomes, so that whoever has the repository can repeat the comparisons.

    A row's command loses what it says of the machine: `output=`, `resume=` and the folders of paths (leaderboards/commands.py).

    A row without complete provenance, with numbers that are not finite, or of code that no commit holds, is refused and stays where
    it is.

    Raises `ValueError` where there are no rows, or a file of either folder cannot be read.
    """
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
            upsert(changes.place(target / path.name), map(_for_everybody, accepted), metrics)
        for row in accepted:
            if (kept := outcomes_path(source, path.stem, row.key)).exists():
                shutil.copyfile(kept, changes.place(outcomes_path(target, path.stem, row.key)))
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


def check_clean(target: Path) -> None:
    """Raise `ValueError` unless a folder is in a repository without uncommitted changes."""
    if (changed := git(target, "status", "--porcelain")) is None:
        raise ValueError(f"{target} is not in a git repository; publish from a clone of this one")
    if changed:
        names = "; ".join(changed.splitlines())
        raise ValueError(f"the repository has uncommitted changes ({names}); commit them first")


def _for_everybody(row: Row) -> Row:
    """Return a row that says nothing of its machine but the device."""
    return replace(row, provenance=row.provenance._replace(command=for_everybody(row.provenance.command)))


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
    for name, value in row.key._asdict().items():
        if isinstance(value, str) and names_a_home(value):
            yield f"its {name} names a home folder: {value}"
    if row.provenance.code_commit == UNKNOWN:
        yield "its code is not known"
    if row.provenance.code_commit.endswith(DIRTY):
        yield f"its code had uncommitted changes ({row.provenance.code_commit})"


def _finite(score: Estimate) -> bool:
    return all(math.isfinite(number) for number in score if number is not None)
