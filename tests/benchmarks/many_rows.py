"""Seconds that `run task=leaderboard` takes for 100 000 rows of one evaluation: many_rows.py FOLDER.

A script of its own: the tests' process checks the types of every row.
"""

import json
import sys
import time
from pathlib import Path

from longtake.console import console
from longtake.engine.boards import metrics_for
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
from longtake.tasks import leaderboard as report

VARIANTS, SEEDS = 20_000, 5
PROOF = Provenance("c", "h", "0123456789", "2026-11-28", 12_672, 0.1, 1.5, "cpu", "run method=dora", "x-y", "z")


def row(variant: int, seed: int) -> Row:
    key = Key("dora", f"lr={variant}", "mini", "vit_mini_8", 6, "knn-mini-v1", seed, "run")
    return Row(key, {"top1_k20": Estimate(40 + variant % 7, 38, 50)}, PROOF)


def main(folder: Path) -> None:
    rows = [row(variant, seed) for variant in range(VARIANTS) for seed in range(SEEDS)]
    upsert(folder / "knn_mini.csv", rows, metrics_for("knn_mini"))
    report.TRACKED = folder / "none"
    with console.capture() as shown:
        began = time.perf_counter()
        report.leaderboard(folder, None)
        seconds = time.perf_counter() - began
    page = (folder / "leaderboard.html").stat().st_size
    print(json.dumps({"rows": len(rows), "seconds": seconds, "page_mb": page / 1e6, "shown": shown.get()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
