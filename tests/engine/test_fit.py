"""Training runs: exact continuation, interruption, what is left on disk."""

import os
import signal
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
