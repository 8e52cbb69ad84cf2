"""What a test server answers, as a row: GOT-10k's mAO, mSR0.5 and mSR0.75, which no code here can measure."""

import datetime
from pathlib import Path

from longtake.downstream.got10k import SUBMITTED, server_metrics
from longtake.leaderboards.rows import Key, Provenance, Row, upsert
from longtake.leaderboards.statistics import Estimate

GOT10K_BOARD = "seqtrack_got10k_test"
GOT10K_SOURCE = "server:got-10k.aitestunion.com"


def submit_got10k(folder: Path, key: Key, mao: float, msr50: float, msr75: float, provenance: Provenance) -> Row:
    """Add the server's answer, shares as it prints them, to `<folder>/seqtrack_got10k_test.csv`, in the place of an older one.

    `key` and `provenance` are those of the run that made the archive (its row in seqtrack_got10k.csv); source and date are set
    here. There are no outcomes, hence no intervals. Raises `ValueError` for numbers that the server cannot have printed.
    """
    metrics = {name: Estimate(value) for name, value in server_metrics(mao, msr50, msr75).items()}
    today = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    row = Row(key._replace(source=GOT10K_SOURCE), metrics, provenance._replace(date=today))
    upsert(folder / f"{GOT10K_BOARD}.csv", [row], SUBMITTED)
    return row
