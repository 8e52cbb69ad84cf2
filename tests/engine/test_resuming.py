"""Which run is gone on with: an interrupted one, one that today's code would train alike, and with `auto` no other."""

from pathlib import Path

import pytest

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.engine.code_hash import training_hash
from longtake.engine.config import plainly
from longtake.engine.folders import ENCODER, NoRun, run_folder
from longtake.engine.machine import resolve_machine
from longtake.engine.resuming import has_begun, resumed_run


@pytest.fixture
def config(tmp_path: Path) -> dict:
    found = plainly(["method=simclr", "pretrain=mini", f"output={tmp_path}"])
    resolve_machine(found)
    return found


def ended(folder: Path, config: dict, code: str, epochs: int) -> None:
    header = {"method": "simclr", "variant": "", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": epochs}
    save_encoder(ViT("mini", 8, 16), folder / ENCODER, {**header, "code_hash": code})


def test_a_run_that_is_not_there_begins(config: dict):
    assert resumed_run({**config, "resume": "auto"}) is None
    assert resumed_run({**config, "resume": False}) is None
    assert not has_begun(config)
    with pytest.raises(NoRun, match="no run of this configuration"):
        resumed_run({**config, "resume": True})


def test_auto_leaves_what_older_code_has_ended(config: dict, capsys: pytest.CaptureFixture):
    folder = run_folder(config, "simclr", None)
    assert resumed_run({**config, "resume": "auto"}) == folder
    ended(folder, config, "0123456789ab", config["epochs"])
    assert resumed_run({**config, "resume": "auto"}) is None
    assert f"today's code trains otherwise; a new run begins: {folder}" in capsys.readouterr().out
    assert resumed_run({**config, "resume": True}) == folder  # asked for by name
    assert not has_begun(config)
    ended(folder, config, training_hash("simclr", "mini", "vit_mini_8"), config["epochs"])
    assert resumed_run({**config, "resume": "auto"}) == folder


def test_what_older_code_has_interrupted_goes_on(config: dict):
    folder = run_folder(config, "simclr", None)
    ended(folder, config, "0123456789ab", config["epochs"] - 1)
    assert resumed_run({**config, "resume": "auto"}) == folder
