"""The command, as a user gives it: rows at the end, one line and exit code 2 for bad input, names for everything."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from started import Started

from longtake.engine.command_line import check_overrides
from longtake.engine.config import choices, composed
from longtake.engine.identity import config_hash, protocol_suffix, variant
from longtake.leaderboards.rows import metrics_of, read

SMALL = [  # a ViT of 16 pixels and two batches: seconds
    "method=dino", "backbone=vit_mini", "backbone.image_size=16", "method.views.locals=[{size:8,scale:[0.1,0.4],num:1}]",
    "method.out_dim=32", "method.hidden_dim=16", "method.bottleneck_dim=8", "method.warmup_epochs=0",
    "method.freeze_last_layer_epochs=0", "pretrain.short_side=32", "pretrain.clips_per_epoch=8", "epochs=2", "batch_size=4",
    "num_workers=0",
]  # fmt: skip
TASKS = ["eval=[knn_imagenet1k,linear_imagenet1k]"] + [
    f"eval.{task}.{key}={value}"
    for task in ("knn_imagenet1k", "linear_imagenet1k")
    for key, value in (("size", 16), ("resize", 16))
] + ["eval.linear_imagenet1k.epochs=3", "eval.linear_imagenet1k.held_out=0.2", "eval.linear_imagenet1k.augment=false"]  # fmt: skip


@pytest.fixture
def command(said, tmp_path, tiny_video, tiny_folder):
    """Runs `run` with these words, after those of a small training for `whole`."""
    source = ["pretrain=video", f"pretrain.path='{tiny_video}'", f"output={tmp_path / 'out'}"]
    roots = [f"eval.{task}.root={tiny_folder}" for task in ("knn_imagenet1k", "linear_imagenet1k")]

    def run(*words: str, whole: bool = True) -> tuple[int, str, str]:
        return said(*source, *SMALL, *TASKS, *roots, *words) if whole else said(*words)

    return run


def board(out: Path, name: str) -> list:
    path = out / "leaderboards" / f"{name}.csv"
    return read(path, metrics_of(path))


def test_a_run_ends_with_rows_for_itself_and_random_init(command, tmp_path):
    code, shown, error = command()
    assert code == 0, shown + error
    for name in ("knn_imagenet1k", "linear_imagenet1k"):
        ours, random = sorted(board(tmp_path / "out", name), key=lambda row: row.key.method)
        assert (ours.key.method, ours.key.epochs) == ("dino", 2)
        assert re.fullmatch("video:tiny walk@[0-9a-f]{8}", ours.key.pretrain)
        assert (random.key.method, random.key.pretrain, random.key.epochs) == ("none", "none", 0)
        assert "data=stripes0@" in ours.key.protocol  # not ImageNet, and the row says so
        assert ours.key.variant.startswith("backbone.image_size=16 batch_size=4 bottleneck_dim=8")
        assert ours.provenance.frames_seen == 2 * 8
        assert " method.out_dim=32 " in ours.provenance.command  # as it was typed
        assert ours.provenance.checkpoint_hash != random.provenance.checkpoint_hash
        for estimate in ours.metrics.values():
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100
        assert f"{name} top1" in shown
        assert "paired bootstrap" in " ".join(shown.split())  # lines are wrapped
    (folder,) = (tmp_path / "out").glob("*_dino_video_*_seed0")
    assert {path.name for path in folder.iterdir()} >= {
        "encoder.safetensors",
        "last.ckpt",
        "loss.png",
        "run.json",
        "logs",
        "eval",
    }
    assert str(folder) in shown.replace("\n", "")

    assert "_dino_video_backbone.image_size=16_batch_size=4_" in folder.name
    assert (tmp_path / "out" / "latest").resolve() == folder.resolve()

    again = command(f"checkpoint='{folder / 'encoder.safetensors'}'")
    assert again[0] == 0
    assert len(board(tmp_path / "out", "knn_imagenet1k")) == 2  # the same encoder: the same key
    code, shown, _ = command("task=leaderboard", f"output={tmp_path / 'out'}", whole=False)
    assert code == 0
    assert "random init" in (tmp_path / "out" / "leaderboards" / "leaderboard.md").read_text()
    code, _, error = command("resume=true", "seed=7")
    assert code == 2
    assert "no run of this configuration" in error


def test_a_continued_run_evaluates_nothing_twice(command, tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.engine.record.code_commit", lambda: "0123456789")
    assert command()[0] == 0
    (folder,) = (tmp_path / "out").glob("*_dino_video_*_seed0")
    assert command(f"checkpoint='{folder / 'encoder.safetensors'}'")[0] == 0  # a later folder
    before = board(tmp_path / "out", "knn_imagenet1k")
    (tmp_path / "out" / "leaderboards" / "linear_imagenet1k.csv").unlink()
    code, shown, error = command("resume=true")
    assert code == 0, error
    assert str(folder) in shown.replace("\n", "")
    assert board(tmp_path / "out", "knn_imagenet1k") == before
    assert len(board(tmp_path / "out", "linear_imagenet1k")) == 2


def test_dry_run_prints_the_plan_and_computes_nothing(command, tmp_path):
    code, shown, error = command("dry_run=true", "eval=[knn_imagenet1k,linear_imagenet1k]")
    assert code == 0, error
    assert "dino on vit_mini_8: 2 epochs of 2 steps of 4 clips, T = 1" in shown
    assert "tiny walk.mp4 (96 x 64, 4.0 s, 8.00 fps)" in shown
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "out").glob("*"))


def test_missing_data_is_named_with_where_it_belongs(command, tmp_path):
    code, shown, error = command("dry_run=true", "eval.knn_imagenet1k.root=null")
    assert code == 0, error
    assert "cannot" in shown
    assert "imagenet1k" in shown.replace("\n", "")
    code, _, error = command("method=none", "suite=paper", f"output={tmp_path / 'out'}", whole=False)
    assert code == 2
    assert "nothing to do" in error


BAD = {
    "method": (["method=dinno"], "unknown method 'dinno'. Did you mean dino?"),
    "pretrain": (["pretrain=wt_venise"], "unknown pretrain 'wt_venise'"),
    "key": (["epochz=3"], "unknown key 'epochz'. Did you mean epochs?"),
    "method's argument": (["+method.momentun=0.9"], "Did you mean momentum"),
    "evaluation's key": (["+eval.knn_imagenet1k.temprature=1"], "unknown key of evaluation knn"),
    "view's key": (["method.views.locals=[{size:8,scale:[0.1,0.4],nun:1}]"], "unknown key of method.views 'nun'"),
    "view without scale": (
        ["method.views.globals=[{size:16,num:2}]"],
        "method.views.globals.scale: expected a list of 2",
    ),
    "view's type": (
        ["method.views.globals=[{size:16,scale:0.5,num:2}]"],
        "method.views.globals.scale: got 0.5, expected a list of 2: a number, a number",
    ),
    "views": (["method.views.locals=none"], "method.views.locals: got 'none', expected a list"),
    "precrop's key": (["+method.views.precrop.scael=1"], "Did you mean scale"),
    "task": (["task=runn"], "unknown task 'runn'. Did you mean run?"),
    "no video": (["pretrain.path=/nowhere/a.mp4"], "/nowhere/a.mp4: no such file"),
    "no path": (["pretrain.path=null"], "pretrain.path=walk.mp4"),
    "too short": (["method.num_frames=8"], "one clip lasts 7.0 s"),
    "too short by a frame": (["method.num_frames=5"], "one clip lasts 4.0 s"),
    "patch": (
        ["method.views.locals=[{size:9,scale:[0.1,0.4],num:1}]"],
        "image size 9 is not divisible by the patch size 8",
    ),
    "image size": (["backbone.image_size=20"], "not divisible by the patch size 8"),
    "warm-up": (["method.warmup_epochs=5"], "epochs=2 is shorter than the warm-up"),
    "batch": (["batch_size=64"], "batch_size=64 is larger than an epoch of 8 clips"),
    "device": (["device=cuda"], "no CUDA device"),
    "output": (["output=/proc/nowhere"], "cannot write there"),
    "checkpoint": (["checkpoint=/nowhere/e.safetensors"], "there is no such file"),
    "resume": (["resume=true"], "no run of this configuration"),
    "command line": (["epochs=[1"], "cannot read the command line"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_exit_code_2(command, tmp_path, case):
    words, message = BAD[case]
    code, _, error = command(*words)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1, error
    assert not list((tmp_path / "out").glob("*/*")) if (tmp_path / "out").exists() else True


BAD_METHODS = {
    "more objects than heads": (["method=dora", "method.num_objects=5"], "num_objects=5: the last block has 4 heads"),
    "queue": (["method=swav", "method.queue_length=100"], "method.queue_length=100 is not a multiple of the 32 images"),
    "no local views": (["method=dora", "method.views.locals=[]"], "method.views.locals: got 0 local views"),
    "temperature": (["method=simclr", "method.temperature=0"], "method.temperature: got 0"),
    "nothing to track": (["method=dora", "method.num_frames=1"], "method.num_frames=1: there is nothing to track"),
    "batch of one": (["method=vicreg", "batch_size=1"], "batch_size=1: the head normalises over the batch"),
    "fidelity": (
        ["method=dora", "method.fidelity=offical"],
        "unknown method.fidelity 'offical'. Did you mean official?",
    ),
    "optimizer": (["method=simclr", "method.optimizer=lamb"], "method.optimizer: got 'lamb', expected adamw or sgd"),
    "experiment": (["experiment=table2d"], "unknown experiment 'table2d'. Did you mean table2"),
    "images that are not there": (
        ["pretrain=imagenet1k", "method=dino"],
        "imagenet1k/train: expected images in it or below",
    ),
    "images have no frames": (
        ["pretrain=imagenet1k", "method=dora"],
        "imagenet1k has images, not clips: method.num_frames=8",
    ),
}


@pytest.mark.parametrize("case", BAD_METHODS)
def test_what_a_method_cannot_work_with_is_named(command, case):
    words, message = BAD_METHODS[case]
    code, _, error = command(*words, "dry_run=true", whole=False)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1, error


def test_a_tour_that_is_not_there_is_named_with_the_way_to_get_it(command):
    code, _, error = command("method=dora", "pretrain=wt_venice", whole=False)
    assert code == 2
    for part in ("walking_tours/venice.mp4: no such file", "https://www.youtube.com/watch?v=", "task=prepare"):
        assert part in error, error


def test_folders_of_one_class_or_with_an_empty_class_are_refused(command, tmp_path, tiny_folder):
    for name in ("train", "val"):
        (tmp_path / "one" / name / "cat").mkdir(parents=True)
    code, _, error = command(f"eval.knn_imagenet1k.root={tmp_path / 'one'}")
    assert code == 2
    assert "class" in error
    assert not (tmp_path / "data").exists()


def test_a_sweep_runs_every_combination(command):
    code, shown, error = command("-m", "seed=0,1", "method=dino", "dry_run=true")
    assert code == 0, error
    assert shown.count("evaluate") == 2
    code, _, error = command("-m", "method=dino,dinno", "dry_run=true")
    assert code == 2
    assert "unknown method 'dinno'" in error


def test_names_of_configurations(tmp_path):
    from omegaconf import OmegaConf

    def config(*words: str) -> dict:
        return OmegaConf.to_container(composed(words), resolve=True)

    recipe = config()
    assert variant(recipe, recipe) == ""
    assert variant(config("epochs=3", "seed=2", "output=elsewhere"), recipe) == ""
    assert variant(config("method.momentum=0.9", "batch_size=32"), recipe) == "batch_size=32 momentum=0.9"
    assert config_hash(config("output=elsewhere", "num_workers=3")) == config_hash(recipe)
    assert len({config_hash(config(word)) for word in ("seed=1", "epochs=2", "method.lr=1", "backbone=vit_tiny")}) == 4
    official = config("method=dora", "method.fidelity=official")
    assert variant(official, official) == "fidelity=official"
    four = config("method=dora", "method.fidelity=official", "method.num_objects=4")
    assert variant(four, official) == "fidelity=official num_objects=4"
    task = recipe["eval"]["knn_mini"]
    assert protocol_suffix(task | {"batch_size": 7, "device": "cuda"}, task) == ""
    assert protocol_suffix(task | {"size": 32, "root": "/data/pets"}, task) == " root=pets size=32"


def test_every_choice_composes():
    for table in choices("experiment"):
        check_overrides([f"experiment={table}"])
    for words in (
        ["pretrain=video"],
        ["backbone=vit_base"],
        ["suite=paper"],
        ["method=none"],
        ["-m", "method=none,dino"],
    ):
        check_overrides([word for word in words if word != "-m"])


def test_experiments_are_the_papers_rows():
    def keys(*words: str):
        return composed(words)

    assert [keys("experiment=table2b", f"method.num_objects={k}").backbone.last_heads for k in (1, 6, 16, 32)] == [
        None,
        None,
        16,
        32,
    ]
    assert keys("experiment=table7").epochs == 300
    assert keys("experiment=table9").backbone.arch == "base"
    images = keys("experiment=table10")
    assert (images.pretrain.name, images.method.tracking, images.method.num_frames) == ("imagenet1k", False, 1)


def test_an_experiment_names_the_folder(said, tmp_path, tiny_video):
    """Without it, the folders of its runs would differ by a second of their time."""
    words = ["pretrain=video", f"pretrain.path='{tiny_video}'", *SMALL, "method=dora", "experiment=table2b", "eval=[]"]
    code, _, error = said(*words, "method.num_frames=2", "method.num_objects=2", "output=out")
    assert code == 0, error
    (folder,) = (tmp_path / "out").glob("*_dora_video_table2b_*_seed0")
    assert folder.is_dir()


def test_two_processes_train_one_encoder(tmp_path, tiny_video, tiny_folder):
    """DDP through Lightning on two CPU processes, as trainer.devices=2 starts it."""
    environment = {**os.environ, "LONGTAKE_DATA": str(tmp_path / "data")}
    roots = [f"eval.{task}.root={tiny_folder}" for task in ("knn_imagenet1k", "linear_imagenet1k")]
    words = [
        *SMALL,
        "method.use_bn_in_head=true",
        *TASKS,
        *roots,
        f"output={tmp_path / 'out'}",
        "trainer.devices=2",
        "device=cpu",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "longtake.run", "pretrain=video", f"pretrain.path='{tiny_video}'", *words],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "out").glob("*_dino_video_*_seed0")
    assert board(tmp_path / "out", "knn_imagenet1k")[0].provenance.frames_seen == 2 * 8
    assert (folder / "encoder.safetensors").is_file()


def test_sigterm_leaves_a_run_that_goes_on(said, tmp_path, tiny_video, tiny_folder):
    """In a process of its own: exit code 143, how to continue; continued (here), it ends with rows."""
    roots = [f"eval.{task}.root={tiny_folder}" for task in ("knn_imagenet1k", "linear_imagenet1k")]
    words = ["pretrain=video", f"pretrain.path='{tiny_video}'", *SMALL, *TASKS, *roots, f"output={tmp_path / 'out'}"]
    command = [sys.executable, "-c", "from longtake.run import main; main()", *words, "epochs=60"]
    first = Started(command, tmp_path / "printed.txt")
    first.until(lambda: list((tmp_path / "out").glob("*/logs/from_step_0/metrics.csv")))
    os.kill(first.pid, signal.SIGTERM)
    code, shown = first.ended()
    assert code == 143, shown
    assert "resume=true" in shown
    (folder,) = (tmp_path / "out").glob("*_dino_video_*_seed0")
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["epochs"] == 60
    code, _, error = said(*words, "epochs=60", "resume=true")
    assert code == 0, error
    assert len(list((tmp_path / "out").glob("*_dino_*"))) == 1
    assert board(tmp_path / "out", "knn_imagenet1k")[0].provenance.frames_seen == 60 * 8
