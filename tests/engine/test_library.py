"""The package as a library: a training and an evaluation from plain arguments are those of the command line."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny import TinyEncoder

import longtake
from longtake.engine import budget
from longtake.methods.base import METHODS

BACKBONE = {"arch": "mini", "patch_size": 8, "image_size": 16}
SMALL = {"out_dim": 32, "hidden_dim": 16, "bottleneck_dim": 8, "warmup_epochs": 0}


def views() -> "longtake.MultiCrop":
    return longtake.MultiCrop([longtake.Crop(16, (0.4, 1.0), num=2)], [longtake.Crop(8, (0.1, 0.4))])


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_a_training_is_that_of_the_same_words(said, tiny_video):
    """The command line and `pretrain` give one encoder, bit for bit, and one hash of the configuration."""
    crops = "{globals: [{size: 16, scale: [0.4, 1.0], num: 2}], locals: [{size: 8, scale: [0.1, 0.4]}], precrop: null}"
    words = [f"method.{key}={value}" for key, value in SMALL.items()]
    code, _, errors = said(
        "method=dino", "pretrain=video", f"pretrain.path='{tiny_video}'", "backbone=vit_mini", *words, "eval=[]",
        f"++method.views={crops}", "epochs=1", "batch_size=8", "seed=3", "num_workers=0", "output=words", "baseline=false",
    )  # fmt: skip
    assert code == 0, errors
    (theirs,) = Path("words").glob("*_seed3/encoder.safetensors")
    ours = longtake.pretrain(
        method="dino", source=tiny_video, backbone="vit_mini", views=views(), epochs=1, batch_size=8, seed=3, num_workers=0,
        output="ours", **SMALL,
    )  # fmt: skip
    expected = longtake.load_encoder(theirs).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.encoder.state_dict().items())
    headers = [longtake.open_encoder(file)[1] for file in (str(ours.file), theirs)]
    assert headers[0]["variant"].startswith("batch_size=8 bottleneck_dim=8 hidden_dim=16")
    for header in headers:
        assert header.pop("hours") > 0
        assert header.pop("peak_memory_gb") > 0
    assert headers[0] == headers[1]


def test_a_method_and_a_source_of_ones_own_need_no_yaml(tiny_video, monkeypatch):
    class Brightness(longtake.Method, name="brightness"):
        """Both views are equally bright to the encoder."""

        def __init__(self, backbone, duration, *, weight: float = 1.0, **recipe) -> None:
            super().__init__(backbone, duration, **recipe)
            self.weight = weight

        def losses(self, views):
            a, b = (self.backbone(view.flatten(0, 1)).cls.mean(-1) for view in views.globals)
            return {"brightness": self.weight * (a - b).square().mean()}

    monkeypatch.setattr(METHODS, "_known", dict(METHODS._known))
    source = longtake.Video(name="walk", path=str(tiny_video), stride_seconds=0.5)
    arguments = dict(source=source, backbone=BACKBONE, epochs=1, batch_size=8, num_workers=0, warmup_epochs=0)  # noqa: C408
    trained = longtake.pretrain(method=Brightness, views=views(), weight=2.0, **arguments)
    record = json.loads((trained.file.parent / "run.json").read_text())["config"]
    assert record["method"]["weight"] == 2.0
    assert record["pretrain"]["stride_seconds"] == 0.5
    with pytest.raises(ValueError, match=r"unknown argument of method brightness: 'wieght'.*weight"):
        longtake.pretrain(method=Brightness, views=views(), wieght=2.0, **arguments)
    with pytest.raises(ValueError, match="views"):
        longtake.pretrain(method=Brightness, **arguments)


def test_a_budget_measures_what_will_be_trained(tiny_video, monkeypatch):
    """On the device, with the method's keywords and nothing to evaluate: what the run then does."""
    asked = []
    monkeypatch.setattr(budget, "seconds_per_clip", lambda config: asked.append(config) or 0.5)
    trained = longtake.pretrain(
        method="dino", source=longtake.Video(name="walk", path=str(tiny_video), stride_seconds=0.25), budget="1min",
        batch_size=8, epochs=None, device="cpu", precision="32-true", num_workers=0, **SMALL,
    )  # fmt: skip
    (config, *_) = asked
    assert config["eval"] == {}
    assert config["method"]["out_dim"] == SMALL["out_dim"]
    assert config["pretrain"]["stride_seconds"] == 0.25
    assert (config["device"], config["num_workers"], config["trainer"]["precision"]) == ("cpu", 0, "32-true")
    record = json.loads((trained.folder / "run.json").read_text())["config"]
    assert record["frames"] == 100  # (60 s - 10 s to start) / 0.5 s
    assert (record["budget"], record["backbone"]["arch"]) == ("1min", "mini")
    with pytest.raises(ValueError, match="a method and a backbone by their names"):
        longtake.pretrain(method="dino", source=tiny_video, budget="1min", backbone=BACKBONE)


def test_what_is_wrong_is_said_before_anything_is_computed(tiny_video):
    with pytest.raises(ValueError, match=r"unknown method 'dion'.*dino"):
        longtake.pretrain(method="dion", source=tiny_video)
    with pytest.raises(ValueError, match="trains nothing"):
        longtake.pretrain(method="none", source=tiny_video)
    with pytest.raises(ValueError, match=r"nothing\.mp4: no such file"):
        longtake.pretrain(method="dino", source="nothing.mp4")
    with pytest.raises(ValueError, match=r"unknown eval 'knn_mimi'.*knn_mini"):
        longtake.evaluate(TinyEncoder(), "knn_mimi", "scores")
    with pytest.raises(ValueError, match="Linear has no embed_dim, patch_size, depth, intermediate"):
        longtake.evaluate(torch.nn.Linear(2, 2), "knn_mini", "scores")
    with pytest.raises(ValueError, match="no image folder"):
        longtake.evaluate(TinyEncoder(), "knn_imagenet1k", "scores", root="nowhere")


@pytest.mark.filterwarnings("ignore:.*neighbo")
def test_any_module_that_fits_is_evaluated(tiny_folder):
    scores = longtake.evaluate(
        TinyEncoder(), "linear_imagenet1k", "scores", root=str(tiny_folder), size=16, resize=16, epochs=1, num_blocks=1,
        train_batch_size=16, device="cpu", num_workers=0,
    )  # fmt: skip
    task = longtake.DOWNSTREAM["linear"]
    assert tuple(scores) == tuple(name for name in task.metrics if name in scores)
    assert all(0 <= score <= 100 for score in scores.values())
    assert Path("scores/outcomes.npz").is_file()


@pytest.mark.filterwarnings("error:install .ipywidgets")
def test_a_notebook_shows_the_plan_and_the_bar(tiny_video, monkeypatch, capsys, recwarn):
    """A training of seconds: nothing else of it would be seen before it has ended."""
    from longtake import console as consoles
    from longtake.engine import library, progress

    shown: list[str] = []
    monkeypatch.setattr(consoles.InNotebook, "_show", lambda self, what: shown.append(rendered(what)))
    notebook = Console(force_jupyter=True, width=120)
    monkeypatch.setattr(progress, "console", notebook)
    monkeypatch.setattr(library, "console", Console(force_jupyter=False, width=120))
    trained = longtake.pretrain(
        method="dino",
        source=tiny_video,
        backbone=BACKBONE,
        views=views(),
        epochs=1,
        batch_size=8,
        num_workers=0,
        **SMALL,
    )
    assert "dino on vit_mini_8: 1 epochs of 4 steps of 8 clips, T = 1" in capsys.readouterr().out
    assert shown[-1].startswith("pretraining ━━━")
    assert " 4/4 epoch 1/1  loss " in shown[-1]
    assert trained.folder == trained.file.parent
    assert (trained.folder / "last.ckpt").is_file()


def rendered(what: object) -> str:
    page = Console(width=200, file=io.StringIO())
    page.print(what)
    return page.file.getvalue()
