"""`run task=submit_result`: add a test server's answer as a row. No code here can measure GOT-10k's mAO, mSR0.5 and mSR0.75."""

import datetime
from pathlib import Path

from longtake.backbones.weights import weights_hash
from longtake.downstream.got10k import GOT10K_BOARD, GOT10K_LOCAL, GOT10K_SOURCE, SUBMITTED, server_metrics
from longtake.downstream.seqtrack import SeqTrack
from longtake.engine.encoders import open_checkpoint
from longtake.engine.identity import Config
from longtake.leaderboards.rows import Key, Provenance, Row, read, upsert
from longtake.leaderboards.statistics import Estimate
from longtake.tasks import TASKS


@TASKS.named("submit_result")
def submit(config: Config) -> None:
    """Add the row and say so."""
    boards = Path(config["output"]) / "leaderboards"
    row = submit_result(config, boards)
    print(f"{row.key}: added to {boards / GOT10K_BOARD}.csv")


def submit_result(config: Config, boards: Path) -> Row:
    """Add the answer in `submit_result` for the encoder `checkpoint`, whose local row says how the archive was made.

    Raises `ValueError` without a checkpoint, without that row, and for numbers that the server cannot have printed.
    """
    if config["checkpoint"] is None:
        raise ValueError("task=submit_result needs checkpoint=FILE, the encoder whose archive the server has scored")
    encoder, *_ = open_checkpoint(config)
    digest, local = weights_hash(encoder), boards / f"{GOT10K_LOCAL}.csv"
    rows = [row for row in read(local, SeqTrack.metrics) if row.provenance.checkpoint_hash == digest]
    if not rows:
        raise ValueError(
            f"{local}: no row of this encoder; eval=[{GOT10K_LOCAL}] eval.{GOT10K_LOCAL}.submission=true makes it"
        )
    answer, row = config["submit_result"], max(rows, key=lambda row: row.provenance.date)
    if missing := [name for name, value in answer.items() if value is None]:
        raise ValueError(
            f"task=submit_result: submit_result.{missing[0]} is missing (a share, as the server prints it)"
        )
    return submit_got10k(boards, row.key, answer["mao"], answer["msr50"], answer["msr75"], row.provenance)


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
