"""Training runs: exact continuation, interruption, what is left on disk."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from longtake.backbones.vit import ViT
from longtake.backbones.weights import load_encoder, read_header
from longtake.datasets.clips import Clips
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.views import Crop, MultiCrop
from longtake.engine import fit as fitting
from longtake.engine.fit import Interrupted, fit
from longtake.engine.lightning_parts import trainer_parts
from longtake.engine.progress import curves, draw_curves, health_line
from longtake.methods.base import Duration
from longtake.methods.dino import DINO
from longtake.methods.simclr import SimCLR
from longtake.run import main

DURATION = Duration(epochs=3, steps_per_epoch=3, batch_size=4)
TRAINER = {
    "devices": 1,
    "num_nodes": 1,
    "precision": "32-true",
    "log_every_n_steps": 1,
    "checkpoint_minutes": 60,
    "stop_signals": ["TERM", "HUP", "USR1", "USR2"],
    "strategy": "auto",
    "logger": ["csv", "tensorboard"],
    "callbacks": [],
    "profiler": None,
}


@pytest.fixture(scope="module")
def clips(tiny_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    store = build([tiny_video], StoreSpec(short_side=64), tmp_path_factory.mktemp("frames"), progress=False)
    crops = [Crop(16, (0.4, 1.0), num=2)], [Crop(8, (0.1, 0.4), num=2)]
    return Clips(store, num_frames=2, stride_seconds=0.5, clips_per_epoch=13, seed=3, views=MultiCrop(*crops))


def train(clips: Clips, folder: Path, num_workers: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    backbone = ViT("mini", patch_size=8, image_size=16, drop_path=0.3)  # drop path: draws inside the loss count too
    backbone.blocks, backbone.depth = backbone.blocks[:2], 2
    method = DINO(backbone, DURATION, out_dim=32, hidden_dim=16, bottleneck_dim=8, warmup_epochs=1, seed=3)
    folder.mkdir(exist_ok=True)
    config = {"trainer": TRAINER, "device": "cpu", "num_workers": num_workers}
    with trainer_parts(config, folder) as parts:
        fit(method, clips, folder, {"method": "dino"}, config, **parts)
    return method.state_dict()


class StopAt(Callback):
    """Sends the process a signal at the end of a step, as Ctrl-C or Slurm does."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def stopping(monkeypatch):
    """Makes the next `fit` receive a signal after a step."""

    def at(step: int, number: int) -> None:
        progress = fitting.TrainingProgress
        original = progress.on_train_batch_end
        stop = StopAt(step, number)

        def patched(self, trainer, *args):
            original(self, trainer, *args)
            stop.on_train_batch_end(trainer)

        monkeypatch.setattr(progress, "on_train_batch_end", patched)

    return at


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(clips, folder)


@pytest.mark.parametrize(("step", "number"), [(1, signal.SIGINT), (3, signal.SIGTERM), (5, signal.SIGTERM)])
def test_a_stopped_run_goes_on_exactly(clips, undisturbed, stopping, tmp_path, monkeypatch, step, number):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context():
        stopping(step, number)
        with pytest.raises(Interrupted) as stop:
            train(clips, tmp_path)
        assert stop.value.args == (number,)
        header = read_header(tmp_path / "encoder.safetensors")[
            1
        ]  # usable already, and its row claims no more than it saw
        assert (header["steps"], header["epochs"]) == (step, step // DURATION.steps_per_epoch)
        monkeypatch.undo()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    for name, tensor in train(clips, tmp_path).items():
        assert torch.equal(tensor, undisturbed[1][name]), name
    header = read_header(tmp_path / "encoder.safetensors")[1]
    assert header["steps"] == DURATION.num_steps
    assert header["frames_seen"] == DURATION.num_steps * DURATION.batch_size * 2


def test_workers_change_nothing(clips, undisturbed, tmp_path):
    for name, tensor in train(clips, tmp_path, num_workers=2).items():
        assert torch.equal(tensor, undisturbed[1][name]), name


def test_views_made_late_change_nothing(clips, undisturbed, tmp_path):
    late = Clips(
        clips.store,
        clips.num_frames,
        clips.stride_seconds,
        clips.clips_per_epoch,
        clips.seed,
        clips.views,
        late_views=True,
    )
    assert late[0][0].dtype == torch.uint8
    for name, tensor in train(late, tmp_path, num_workers=1).items():
        assert torch.equal(tensor, undisturbed[1][name]), name


def test_what_a_run_leaves_behind(undisturbed):
    folder, state = undisturbed
    tensors = load_file(folder / "encoder.safetensors")
    assert torch.equal(tensors["cls_token"], state["teacher_backbone.cls_token"])  # the teacher is what is evaluated
    assert not torch.equal(tensors["cls_token"], state["backbone.cls_token"])
    assert not list(folder.glob("*.part"))
    draw_curves(folder)
    for picture in ("loss.png", "health.png"):
        assert (folder / picture).stat().st_size > 5000
    assert curves(folder, "loss/")["dino"][0] == list(range(DURATION.num_steps))
    assert curves(folder, "health/")["rankme"][0] == [0]  # looked at every ten steps
    assert len(curves(folder, "lr")[""][0]) == len(curves(folder, "weight_decay")[""][0]) == DURATION.num_steps
    assert "rankme" in health_line(folder)
    assert "collapsed" not in health_line(folder)
    assert list((folder / "logs" / "tensorboard").glob("events*"))


def test_logs_of_both_parts_are_kept(clips, stopping, tmp_path, monkeypatch):
    stopping(4, signal.SIGINT)
    with pytest.raises(Interrupted):
        train(clips, tmp_path)
    monkeypatch.undo()
    train(clips, tmp_path)
    assert curves(tmp_path, "loss/")["dino"][0] == list(range(DURATION.num_steps))


def test_a_collapsed_run_is_said_to_be_one(tmp_path):
    part = tmp_path / "logs" / "from_step_0"
    part.mkdir(parents=True)
    (part / "metrics.csv").write_text(
        "step,loss/dino,health/feature_std,health/target_kl\n0,5.5,0.6,4\n10,5.5,0.001,3\n"
    )
    assert "looks collapsed: feature_std" in health_line(tmp_path)


def test_an_interrupted_encoder_can_be_evaluated(clips, stopping, tmp_path):
    stopping(2, signal.SIGTERM)
    with pytest.raises(Interrupted):
        train(clips, tmp_path)
    (tmp_path / "encoder.safetensors").rename(tmp_path / "e.safetensors")
    with pytest.raises(ValueError, match=r"encoder|checkpoint"):
        load_encoder(tmp_path / "e.safetensors")  # two blocks here, six in the architecture: never loaded in part


@pytest.mark.parametrize("part", ["backbone", "teacher_backbone"])
def test_weights_that_are_not_finite_are_never_saved(clips, tmp_path, monkeypatch, part):
    after_step = DINO.after_step

    def spoilt(self, step):
        after_step(self, step)
        if step == DURATION.num_steps - 1:
            getattr(self, part).norm.bias.data[3] = float("inf")

    monkeypatch.setattr(DINO, "after_step", spoilt)
    said = rf"step 9: tensor {part}\.norm\.bias has 1 of 128 values that are not finite .*; lower method\.lr"
    with pytest.raises(FloatingPointError, match=said):
        train(clips, tmp_path)
    assert not (tmp_path / "encoder.safetensors").exists()
    assert not (tmp_path / "last.ckpt").exists()


def test_a_training_most_of_whose_steps_were_skipped_has_no_encoder(clips, tmp_path, monkeypatch):
    losses = DINO.losses

    def spoilt(self, views):
        return {
            name: value * (float("nan") if self.global_step % 3 else 1) for name, value in losses(self, views).items()
        }

    monkeypatch.setattr(DINO, "losses", spoilt)
    with pytest.raises(
        FloatingPointError, match="6 of 9 steps were not finite and changed nothing: there is no encoder"
    ):
        train(clips, tmp_path)
    assert not (tmp_path / "encoder.safetensors").exists()


def test_skipped_steps_are_said_at_the_end(clips, tmp_path, monkeypatch):
    losses = DINO.losses
    monkeypatch.setattr(
        DINO,
        "losses",
        lambda self, views: {
            n: v * (float("nan") if self.global_step == 4 else 1) for n, v in losses(self, views).items()
        },
    )
    train(clips, tmp_path)
    assert "\n1 step(s) were not finite and changed nothing: a lower method.lr" in health_line(tmp_path)


def test_an_encoder_that_a_training_has_spoilt_ends_the_run_without_a_row(tiny_folder, tmp_path, monkeypatch):
    """The weights are lost in the last step; before, nothing could be seen."""
    monkeypatch.setattr(
        SimCLR, "after_step", lambda self, step: self.backbone.pos_embed.data.fill_(float("nan")) if step == 7 else None
    )
    words = [
        "method=simclr", "pretrain=imagenet1k", f"pretrain.images={tiny_folder / 'train'}", "epochs=2", "batch_size=8",
        "method.warmup_epochs=1", "backbone=vit_mini", "backbone.image_size=32", "eval=[knn_imagenet1k]", "device=cpu",
        f"eval.knn_imagenet1k.root={tiny_folder}", "num_workers=0", f"output={tmp_path / 'out'}", "trainer.precision=32-true",
    ]  # fmt: skip
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run", *words])
    with pytest.raises(
        SystemExit, match=r"^error: step 8: tensor backbone\.pos_embed has .* not finite .*; nothing had been saved yet"
    ):
        main()
    assert not list((tmp_path / "out").rglob("encoder.safetensors"))
    assert not (tmp_path / "out" / "leaderboards").exists()
