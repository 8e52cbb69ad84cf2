"""A server's answer becomes a row: per cent, no interval, the run it belongs to."""

from pathlib import Path

import pytest

from longtake.downstream.got10k import SUBMITTED
from longtake.leaderboards.rows import Key, Provenance, read
from longtake.submit_result import submit_got10k

KEY = Key("dora", "", "wt_venice", "vit_small_16", 100, "seqtrack-got10k-v1", 0, "run")


def test_the_answer_is_a_row_and_a_second_one_replaces_it(tmp_path: Path) -> None:
    run = Provenance(checkpoint_hash="0123456789abcdef", frames_seen=7)
    submit_got10k(tmp_path, KEY, 0.4, 0.5, 0.2, run)
    written = submit_got10k(tmp_path, KEY, 0.414, 0.481, 0.231, run)
    (row,) = read(tmp_path / "seqtrack_got10k_test.csv", SUBMITTED)
    assert row == written
    assert row.key == KEY._replace(source="server:got-10k.aitestunion.com")
    assert {name: estimate.value for name, estimate in row.metrics.items()} == pytest.approx(
        {"mAO": 41.4, "mSR50": 48.1, "mSR75": 23.1}
    )
    assert all(estimate.low is None for estimate in row.metrics.values())
    assert (row.provenance.checkpoint_hash, row.provenance.frames_seen) == ("0123456789abcdef", 7)
    assert row.provenance.date


def test_what_the_server_cannot_have_said_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mAO: got 41\.4, expected a share from 0 to 1"):
        submit_got10k(tmp_path, KEY, 41.4, 48.1, 23.1, Provenance())
    assert not list(tmp_path.glob("*.csv"))
