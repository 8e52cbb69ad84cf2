"""Lightning's own parts as keys: loggers, callbacks, strategy, profiler; what cannot be had is said before a run."""

import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path

import pytest

from longtake.engine.config import plainly
from longtake.engine.devices import resolve_devices
from longtake.engine.identity import config_hash, variant
from longtake.engine.lightning_parts import check_parts, trainer_parts
from longtake.leaderboards.rows import metrics_of, read

CALLBACK = """
from lightning.pytorch.callbacks import Callback


class Counting(Callback):
    def __init__(self, path, start=0):
        self.path, self.count = path, start

    def on_train_batch_end(self, *_):
        self.count += 1
        with open(self.path, "w") as file:
            file.write(str(self.count))
"""
SMALL = [
    "method=simclr", "backbone=vit_mini", "backbone.image_size=16", "method.warmup_epochs=0", "pretrain=video", "epochs=2",
    "pretrain.short_side=32", "pretrain.clips_per_epoch=8", "batch_size=4", "num_workers=0", "device=cpu", "baseline=false",
    "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16",
]  # fmt: skip


@pytest.fixture
def words(tmp_path: Path, tiny_video: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "my_parts.py").write_text(CALLBACK)
    monkeypatch.syspath_prepend(str(tmp_path))
    return [*SMALL, f"pretrain.path={tiny_video}", f"eval.knn_imagenet1k.root={tiny_folder}"]


def training(words: list[str]) -> list[str]:
    """These words without evaluations."""
    return [*(word for word in words if not word.startswith("eval")), "eval=[]"]


def test_ones_own_callbacks_are_called_and_are_part_of_what_a_row_is(said, words, tmp_path):
    counted = f"trainer.callbacks=[{{_target_: my_parts.Counting, path: {tmp_path / 'count'}, start: 10}}]"
    code, shown, error = said(*words, "output=out [bold]", counted, "trainer.profiler=simple", "trainer.logger=null")
    assert code == 0, error
    assert (tmp_path / "count").read_text() == "14"
    assert "this run: out [bold]/" in shown  # as it is called
    (folder,) = (tmp_path / "out [bold]").glob("*_simclr_*")
    assert (folder / "logs" / "from_step_0" / "metrics.csv").is_file()
    assert not (folder / "logs" / "tensorboard").exists()
    assert "on_train_batch_end" in next((folder / "logs").glob("*profile*")).read_text()
    path = tmp_path / "out [bold]" / "leaderboards" / "knn_imagenet1k.csv"
    (row,) = read(path, metrics_of(path))
    assert "trainer.callbacks=" in row.key.variant
    assert "'output=out [bold]'" in row.provenance.command
    assert " pretrain.path='tiny walk.mp4'" in row.provenance.command or "tiny walk.mp4' " in row.provenance.command


def test_parts_that_may_change_numbers_are_another_run():
    plain = plainly(["eval=[]"])
    for word in ("trainer.strategy=ddp", "trainer.callbacks=[a:B]"):
        other = plainly(["eval=[]", word])
        assert config_hash(other) != config_hash(plain)
        assert variant(other, plain).startswith(word.split("=")[0])
    for word in ("trainer.logger=null", "trainer.profiler=simple", "trainer.devices=2", "trainer.strategy=auto"):
        assert config_hash(plainly(["eval=[]", word])) == config_hash(plain)
        assert variant(plainly(["eval=[]", word]), plain) == ""


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.logger=wandbb", "trainer.logger: got 'wandbb', expected csv, tensorboard, wandb, mlflow or"),
        ("trainer.logger=[nowhere.module:Logger]", "trainer.logger: nowhere.module.Logger: No module named 'nowhere'"),
        ("trainer.logger=[lightning.pytorch.loggers:CSVLogger]", "CSVLogger: missing a required argument: 'save_dir'"),
        ("trainer.callbacks=[nothing]", "trainer.callbacks: got 'nothing', expected package.module:Class"),
        ("trainer.callbacks=[{lr: 1}]", "trainer.callbacks: got {'lr': 1}, expected package.module:Class or {_target_:"),
        ("trainer.callbacks=[my_parts:Other]", "trainer.callbacks: my_parts.Other: module 'my_parts' has no attribute 'Other'"),
        ("trainer.callbacks=[my_parts:Counting]", "my_parts.Counting: missing a required argument: 'path'"),
        ("trainer.callbacks=[collections:OrderedDict]", "OrderedDict is no lightning.pytorch.callbacks.Callback"),
        ("trainer.callbacks=[lightning.pytorch.callbacks:ModelCheckpoint]", "a run keeps last.ckpt by itself"),
        ("trainer.strategy=dpp", "trainer.strategy: got 'dpp', expected auto, ddp, ddp_find_unused"),
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: the encoder is saved from whole weights"),
        ("trainer.precision=transformer-engine", "trainer.precision=transformer-engine: not installed, pip install"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("words")
def test_what_cannot_be_had_is_said_before_a_run(word: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_parts(plainly(["eval=[]", word])["trainer"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_named(word: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("longtake.engine.lightning_parts.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=f"trainer.logger={word}: not installed, pip install {word}"):
        check_parts(plainly(["eval=[]", f"trainer.logger=[csv,{word}]"])["trainer"])


def test_words_become_parts(tmp_path: Path):
    config = plainly(["eval=[]", "device=cpu", "trainer.strategy=ddp", "trainer.devices=2"])
    resolve_devices(config)
    with trainer_parts(config, tmp_path) as parts:
        pass
    assert {key: parts[key] for key in ("accelerator", "devices", "strategy", "profiler", "callbacks")} == {
        "accelerator": "cpu", "devices": 2, "strategy": "ddp", "profiler": None, "callbacks": [],
    }  # fmt: skip
    assert [type(logger).__name__ for logger in parts["loggers"]] == ["TensorBoardLogger"]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs mlflow")
def test_mlflow_has_the_curves_and_finds_the_run_again(said, words, tmp_path):
    words = [*training(words), "trainer.logger=mlflow"]
    assert said(*words)[0] == 0
    (number,) = (tmp_path / "outputs").glob("*/logs/mlflow_run")
    kept = sqlite3.connect(tmp_path / "outputs" / "mlflow.db")
    assert kept.execute("select count(*) from metrics where key = 'loss'").fetchone() == (4,)
    assert ("method/name", "simclr") in kept.execute("select key, value from params").fetchall()
    before = number.read_text()
    (number.parent.parent / "last.ckpt").unlink()
    (number.parent.parent / "encoder.safetensors").unlink()
    assert said(*words, "resume=true")[0] == 0
    assert number.read_text() == before
    assert kept.execute("select count(*) from runs").fetchone() == (1,)


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb")
def test_wandb_writes_offline(said, words, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code, _, error = said("-m", *training(words), "trainer.logger=wandb", "seed=0,1")
    assert code == 0, error
    folders = list((tmp_path / "outputs").glob("*_simclr_*"))
    assert len(folders) == 2
    for folder in folders:  # each has a run of its own
        (kept,) = (folder / "logs" / "wandb").glob(f"offline-run-*-{folder.name}/run-*.wandb")
        assert b"loss/nt_xent" in kept.read_bytes()


def test_weights_of_float16_are_refused_before_they_become_nan():
    trainer = plainly(["trainer.precision=16-true"])["trainer"]
    with pytest.raises(
        ValueError, match=r"16-true: weights of float16 do not train .*expected 16-mixed, bf16-mixed or bf16-true"
    ):
        check_parts(trainer)
