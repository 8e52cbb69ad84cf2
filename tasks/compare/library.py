"""`run task=compare` without a command line, for scripts and notebooks."""

from collections.abc import Sequence
from pathlib import Path

from longtake.engine.compared import compared
from longtake.engine.config import check_overrides, choices, plainly
from longtake.tasks.compare.session import Compared, compare_all


def compare(
    *,
    method: Sequence[str] = (),
    source: str | Path | Sequence[str | Path] = "mini",
    checkpoint: Sequence[str | Path] = (),
    label: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    frames: int | str | None = None,
    budget: str | None = None,
    match: str = "frames",
    output: str | Path = "outputs",
    words: Sequence[str] = (),
) -> Compared:
    """Train methods at equal frames (or FLOP: `match`), or take encoders that exist, evaluate them, and say who is above whom.

    `source` is a word of `pretrain=` or video files; `frames` or `budget` ("15min") say how long; `words` are more of the command
    line's (["suite=mini", "backbone=vit_tiny"]). Each training is a process of its own, and what is done is not done again.

    Returns rows by contender and evaluation, sentences, and the paths of the report and the picture. Raises `ValueError` for what
    cannot be compared, before anything is computed.
    """
    found = ["task=compare", f"seeds=[{','.join(map(str, seeds))}]", f"match={match}", f"output={quoted(output)}"]
    if checkpoint:
        found.append(f"checkpoint=[{','.join(map(quoted, checkpoint))}]")
        found += [f"label=[{','.join(map(quoted, label))}]"] if label else []
    else:
        found += [f"method=[{','.join(method)}]", *_source(source)]
    found += [f"{key}={value}" for key, value in (("frames", frames), ("budget", budget)) if value is not None]
    given = compared([*found, *words])
    check_overrides([word for word in given if not word.startswith("frames=")])
    return compare_all(plainly([word for word in given if not word.startswith("frames=")]), given)


def _source(source: str | Path | Sequence[str | Path]) -> list[str]:
    if isinstance(source, str) and source in choices("pretrain"):
        return [f"pretrain={source}"]
    if isinstance(source, str | Path):
        return ["pretrain=video", f"pretrain.path={quoted(source)}"]
    return ["pretrain=video", f"pretrain.path=[{','.join(map(quoted, source))}]"]


def quoted(path: object) -> str:
    """A text as Hydra's grammar reads it, whatever is in it."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
