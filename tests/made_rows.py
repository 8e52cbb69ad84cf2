"""Rows with outcomes, made up: encoders whose skill is known, over the same items and several seeds."""

from pathlib import Path

import numpy as np

from longtake.engine.boards import metrics_for
from longtake.engine.code_hash import evaluation_hash, training_hash
from longtake.leaderboards.outcomes import items_hash, keep_outcomes
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import interval

FRAMES = 12_672


def make_key(method: str, seed: int | None = 0, evaluation: str = "knn_mini", **changes: object) -> Key:
    untrained = method == "none"
    data, epochs = ("none", 0) if untrained else ("mini", 6)
    key = Key(method, "", data, "vit_mini_8", epochs, f"{evaluation.replace('_', '-')}-v1", seed, "run")
    return key._replace(**changes)


def make_rows(
    folder: Path,
    skills: dict[str, float],
    evaluation: str = "knn_mini",
    *,
    seeds: int = 3,
    items: int = 400,
    frames: dict[str, int] | None = None,
    **changes: object,
) -> list[Row]:
    """Written into `folder` with their outcomes; each method gets every item right with the probability of its skill."""
    metrics, rows = metrics_for(evaluation), []
    for method, skill in skills.items():
        for seed in range(seeds):
            rng = np.random.default_rng([seed, *method.encode()])
            right = (rng.random(items) < skill).astype(float)
            outcomes = {"items": np.array([f"{i}.jpg" for i in range(items)]), metrics[0]: right}
            key = make_key(method, seed, evaluation, **changes)
            seen = 0 if method == "none" else (frames or {}).get(method, FRAMES)
            code = f"{training_hash(method, key.pretrain, key.backbone)}-{evaluation_hash(evaluation)}"
            proof = Provenance(
                "c0ffee", "abad1dea", "0123456789", "2026-11-28T12:00:00+00:00", seen, 0.1, 1.5, "cpu",
                f"run method={method} pretrain=mini seed={seed}", code, items_hash(outcomes),
            )  # fmt: skip
            keep_outcomes(folder, evaluation, key, outcomes)
            rows.append(Row(key, {metrics[0]: interval(right)}, proof))
    upsert(folder / f"{evaluation}.csv", rows, metrics)
    return rows
