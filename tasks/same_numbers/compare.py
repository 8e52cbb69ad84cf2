"""Compare what two trees answered: whether a hash of one stands for the numbers of the other."""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from longtake.engine.code_hash import NOT_FOLLOWED
from longtake.engine.source_hash import closure, without_words
from longtake.leaderboards.same_numbers import Equivalence
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.tasks.same_numbers.changes import Executed, Trees, Units, indexed, not_executed
from longtake.tasks.same_numbers.trees import Tree

OUTSIDE = ("tests", "outputs", "build", ".venv", ".typing")  # folders that are not of the package
MOST_PLACES = 8  # that a reason names
# Of a tree that is older than datasets/mini/ and engine/.
NOT_FOLLOWED_BEFORE = ("datasets.mini", "datasets.mini_*", "progress")


class Verdict(NamedTuple):
    """Two hashes of one thing; `against` says why they may not stand for the same numbers, `alone` what only one tree sets."""

    what: str
    old: str
    new: str
    commit: str
    digest: str
    against: tuple[str, ...]
    alone: str

    @property
    def line(self) -> Equivalence:
        return Equivalence(self.old, self.new, self.what, self.commit, self.digest)


def verdicts(
    trees: Sequence[Tree],
    abouts: Sequence[Mapping[str, Any]],
    digests: Sequence[Mapping[str, str]],
    executed: Sequence[Mapping[str, Sequence[int]]],
    whats: Sequence[str],
) -> list[Verdict]:
    """A verdict on each of `whats`. Everything is that of the older tree and of the newer one, as the probe found it."""
    verdicts, packages = [], [indexed(_package(tree.root)) for tree in trees]
    ran = [{file: frozenset(lines) for file, lines in files.items()} for files in executed]
    for what in whats:
        old, new = (about[what] for about in abouts)
        against: list[str] = []
        numbers = [{name: found[name] for name in fixtures_for(what, list(found))} for found in digests]
        if old["hash"] != new["hash"]:
            against += _settings(old["settings"], new["settings"])
            against += _numbers(*numbers)
            against += _code(what, trees, (old["starts"], new["starts"]), ran, packages) if not against else []
        digest = hashlib.sha256(json.dumps(numbers[1], sort_keys=True).encode()).hexdigest()[:12]
        commit = "..".join(tree.commit for tree in trees)
        alone = _alone(old["settings"], new["settings"])
        verdicts.append(Verdict(what, old["hash"], new["hash"], commit, digest, tuple(against), alone))
    return verdicts


def fixtures_for(what: str, names: Sequence[str]) -> list[str]:
    """Return the fixtures that test a subject: a method's own and those of the sources; an evaluation's own."""
    kind, name, *_ = what.split(" ")
    if kind == "evaluation":
        return [fixture for fixture in names if fixture in (what, f"continued {what}", f"two processes {what}")]
    if name == RANDOM_INIT:  # its weights, and the backbone, which every evaluation asks
        return [fixture for fixture in names if fixture.startswith((f"{RANDOM_INIT} ", "evaluation "))]
    return [fixture for fixture in names if fixture.split(" ")[0] in (name, "source")]


def _numbers(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    if not new:
        return ["there is no fixture for it"]
    failed = [digest for digest in (*old.values(), *new.values()) if digest.startswith("failed")]
    return failed or [f"other numbers by the fixture '{name}'" for name in new if old[name] != new[name]]


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that both trees have and that differ. What one of them does not have, its code does not ask for."""
    differing = [key for key in sorted({*old} & {*new}) if _plain(old[key]) != _plain(new[key])]
    return [f"another setting: {key} {old[key]!r} -> {new[key]!r}" for key in differing]


def _alone(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Settings that only one of the trees has: that the numbers are bit-equal is all that speaks for them."""
    pairs = {"OLD": {*old} - {*new}, "NEW": {*new} - {*old}}
    return "; ".join(f"{name} alone sets {', '.join(sorted(keys))}" for name, keys in pairs.items() if keys)


def _plain(value: Any) -> Any:
    """Numbers as numbers, however a yaml or a signature writes them."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def _code(
    what: str,
    trees: Sequence[Tree],
    starts: Sequence[Sequence[str]],
    ran: Sequence[Executed],
    packages: Sequence[Units],
) -> list[str]:
    """Changed statements that a tree has not executed, whichever of the fixtures had to."""
    places: list[str] = []
    for tree, files, lines, others in zip(trees, starts, ran, reversed(packages), strict=True):
        code = closure([Path(file).resolve() for file in files], tree.root, (*NOT_FOLLOWED, *NOT_FOLLOWED_BEFORE))
        places += [
            f"changed, and run by no fixture, in {tree.commit}: {place}" for place in not_executed(code, others, lines)
        ]
    more = [f"... and {len(places) - MOST_PLACES} more"] if len(places) > MOST_PLACES else []
    return places[:MOST_PLACES] + more


def _package(root: Path) -> Trees:
    """Every file of a tree's package but the tests."""
    files = [path for path in root.glob("**/*.py") if path.relative_to(root).parts[0] not in OUTSIDE]
    return {path.relative_to(root).as_posix(): without_words(ast.parse(path.read_bytes())) for path in files}
