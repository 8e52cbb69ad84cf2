"""`run task=compare` without a command line, for scripts and notebooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longtake.engine.command_line import check_overrides
from longtake.engine.compared import compared
from longtake.engine.config import choices, plainly
from longtake.engine.words import as_hydra_reads, word_of
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
    given: dict[str, Any] = {"task": "compare", "seeds": seeds, "match": match, "output": output}
    given |= {"checkpoint": checkpoint} if checkpoint else {"method": method, **_source(source)}
    given |= {"label": label or None, "frames": frames, "budget": budget}
    found = [word_of(key, value) for key, value in given.items() if value is not None]
    whole = as_hydra_reads(compared([*found, *words]))
    check_overrides(whole, sweep=False)
    return compare_all(plainly(whole), whole)


def _source(source: str | Path | Sequence[str | Path]) -> dict[str, Any]:
    if isinstance(source, str) and source in choices("pretrain"):
        return {"pretrain": source}
    return {"pretrain": "video", "pretrain.path": source}
