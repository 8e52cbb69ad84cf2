"""A server's answer becomes a row: per cent, no interval, the run it belongs to."""

from pathlib import Path

import pytest

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder, weights_hash
from longtake.downstream.got10k import SUBMITTED
from longtake.downstream.seqtrack import SeqTrack
from longtake.leaderboards.rows import Key, Provenance, Row, read, upsert
from longtake.leaderboards.statistics import Estimate
from longtake.tasks.submit_result import submit_got10k, submit_result

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


def test_the_task_finds_the_row_by_the_encoder(tmp_path: Path) -> None:
    encoder = ViT("mini", 8, 64)
    save_encoder(encoder, tmp_path / "encoder.safetensors", {"method": "dora"})
    config = {
        "checkpoint": str(tmp_path / "encoder.safetensors"), "checkpoint_key": None, "checkpoint_pos_mode": None, "label": None,
        "submit_result": {"mao": 0.414, "msr50": 0.481, "msr75": None},
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"no row of this encoder; eval=\[seqtrack_got10k\]"):
        submit_result(config, tmp_path)
    local = Row(KEY, {"ao": Estimate(50.0)}, Provenance(checkpoint_hash=weights_hash(encoder), date="2026-01-01"))
    upsert(tmp_path / "seqtrack_got10k.csv", [local], SeqTrack.metrics)
    with pytest.raises(ValueError, match=r"submit_result\.msr75 is missing"):
        submit_result(config, tmp_path)
    config["submit_result"]["msr75"] = 0.231
    row = submit_result(config, tmp_path)
    assert row.key == KEY._replace(source="server:got-10k.aitestunion.com")
    assert row.metrics["mAO"].value == pytest.approx(41.4)
    with pytest.raises(ValueError, match="needs checkpoint=FILE"):
        submit_result(config | {"checkpoint": None}, tmp_path)
