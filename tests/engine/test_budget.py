"""A budget of time picks words: what this machine trains in it, equal frames for the methods of a sweep; what is given stays."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from longtake.engine import budget, forecast, probe
from longtake.engine.budget import picks
from longtake.engine.config import plainly
from longtake.engine.description import cannot
from longtake.engine.folders import NoRun, interrupted_run, run_folder
from longtake.engine.machine import on_this_machine, resolve_machine
from longtake.engine.plan import make_plan
from longtake.engine.probe import Probe, probed

Said = Callable[..., tuple[int, str, str]]
PER_CLIP = {"dora": 0.03, "dino": 0.01, "simclr": 0.005}  # seconds
EVALUATING = 100.0


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Speeds that the tests know, without a GPU."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for module in (budget, forecast):
        monkeypatch.setattr(module, "seconds_per_clip", lambda config: PER_CLIP.get(config["method"]["name"], 0.02))
        monkeypatch.setattr(module, "evaluating_seconds", lambda config, names: (EVALUATING, ()))
        monkeypatch.setattr(module, "probed", lambda config: Probe(0.01, 0.001, 1e9, 7e6, 5e7))


@pytest.fixture
def data(tiny_video: Path) -> list[str]:
    return ["pretrain=video", f"pretrain.path='{tiny_video}'"]


def test_a_video_of_ones_own_is_fitted_to_a_machine_without_a_gpu(data: list[str]):
    found = picks(["method=dino", *data])
    frames = (15 * 60 - EVALUATING - forecast.START_SECONDS) / PER_CLIP["dino"]
    assert found == ["budget=15min", "backbone=vit_mini", "recipe=mini", f"frames={int(frames) // 100 * 100}"]
    config = plainly(["method=dino", *data, *found])
    assert (config["epochs"], config["batch_size"], config["backbone"]["name"]) == (10, 16, "vit_mini_8")
    assert config["epochs"] * config["pretrain"]["clips_per_epoch"] == pytest.approx(frames, rel=0.02)


def test_methods_of_a_sweep_see_the_frames_of_the_slowest(data: list[str]):
    alone = {name: picks([f"method={name}", *data])[-1] for name in ("dora", "dino", "simclr")}
    assert len(set(alone.values())) == 3
    found = picks(["method=dora,dino,simclr", *data])
    assert found[-1] == min(alone.values(), key=lambda word: int(word.partition("=")[2]))
    seen = []
    for name in alone:
        config = plainly([f"method={name}", *data, *found])
        seen.append(config["epochs"] * config["pretrain"]["clips_per_epoch"] * config["method"]["num_frames"])
    assert max(seen) <= 1.02 * min(seen)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (["backbone=vit_tiny"], ["budget=15min", "batch_size"]),
        (["backbone=vit_mini", "recipe=mini"], ["budget=15min", "frames"]),
        (["recipe=none"], ["budget=15min", "backbone=vit_mini", "frames"]),
        (["epochs=5"], ["budget=15min", "backbone=vit_mini", "recipe=mini"]),
        (["frames=10k"], ["budget=15min", "backbone=vit_mini", "recipe=mini"]),
        (["budget=null"], []),
        (["method=none"], []),
        (["launcher=slurm"], ["budget=null"]),
        (["budget=1h"], ["budget=1h", "backbone=vit_mini", "recipe=mini", "frames"]),
    ],
)
def test_what_is_given_stays(data: list[str], given: list[str], left: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        budget, "seconds_per_clip", lambda config: 0.02 if "mini" in config["backbone"]["name"] else 0.2
    )
    found = picks(["method=dino", *data, *given])
    assert [
        word if word in left else word.partition("=")[0]
        for word in found
        if not word.startswith("frames=") or "frames" in left
    ] == left
    assert not {word.partition("=")[0] for word in given} & {word.partition("=")[0] for word in found} - {"budget"}


def test_a_batch_is_halved_until_each_epoch_has_one(data: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "seconds_per_clip", lambda config: 0.2)
    found = picks(
        ["method=dino", *data, "backbone=vit_tiny"]
    )  # 3,950 clips, and 100 epochs of 128 of the paper's recipe
    assert "batch_size=32" in found
    monkeypatch.setattr(budget, "seconds_per_clip", lambda config: 20.0)
    with pytest.raises(
        ValueError, match=r"budget=15min: dino on vit_tiny_16 makes 39 frames .* fewer than half of 100 epochs"
    ):
        picks(["method=dino", *data, "backbone=vit_tiny"])


def test_evaluations_leave_training_half_of_the_time_at_least(data: list[str]):
    found = picks(["method=dino", *data, "budget=1min"])
    assert found[-1] == f"frames={int((30 - forecast.START_SECONDS) / PER_CLIP['dino'])}"


def test_only_data_of_ones_own_have_a_budget_by_default():
    assert picks(["pretrain=mini"]) == []
    assert picks(["pretrain=mini", "budget=1h"])[0] == "budget=1h"
    assert plainly(["pretrain=wt_venice"])["budget"] is None


def test_processes_that_would_each_measure_take_the_recipe_or_are_refused(
    data: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="budget=1h: started as several processes; give them frames=N"):
        picks([*data, "budget=1h"])
    assert picks([*data]) == ["budget=null"]  # as for jobs of Slurm: of the default nobody is to notice
    assert picks([*data, "frames=10k"])[0] == "budget=15min"
    assert picks([*data, "budget=1h", "frames=10k", "launcher=slurm"]) == ["budget=null"]  # the length is given


def test_a_run_that_goes_on_keeps_what_was_picked(data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["method=dino", *data, f"output={tmp_path}"]
    found = picks(words)
    config = plainly([*words, *found])
    resolve_machine(config)
    run_folder(config, "dino", None)
    (tmp_path / "2026-01-02_other").mkdir()
    (tmp_path / "2026-01-02_other" / "run.json").write_text("")  # cut short by a power cut
    monkeypatch.setattr(budget, "seconds_per_clip", lambda config: 0.9)
    again = [*words, "resume=true"]
    continued = plainly([*again, *picks(again)])
    assert interrupted_run(make_plan(continued).config).folder.name.endswith("_dino")
    with pytest.raises(NoRun):
        interrupted_run(make_plan(plainly([*words, *picks(words)])).config)


def test_a_budget_of_an_experiment_s_yaml_picks_as_well(said: Said, tmp_path: Path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    yaml = "# @package _global_\ndefaults:\n  - override /pretrain: mini\nbudget: 20min\n"
    (tmp_path / "mine" / "experiment" / "quick.yaml").write_text(yaml)
    code, shown, error = said(f"--config-dir={tmp_path / 'mine'}", "experiment=quick", "suite=quick", "dry_run=true")
    assert code == 0, error
    assert "20min: picked frames=" in " ".join(shown.split())


def test_a_slow_first_step_is_not_the_speed(data: list[str], monkeypatch: pytest.MonkeyPatch):
    """It imports and allocates; neither counts with the clips."""
    counted = probe._counted
    monkeypatch.setattr(probe, "PROBED", {})
    monkeypatch.setattr(probe, "_counted", lambda *arguments: time.sleep(3) or counted(*arguments))
    config = on_this_machine([*data, "method=dino", "backbone=vit_mini", "recipe=mini", "eval=[]"])
    assert probed(config).seconds < 1


def test_a_sweep_has_one_budget(data: list[str]):
    with pytest.raises(ValueError, match="budget: got 15min, 2h, expected one for all runs of a sweep"):
        picks([*data, "budget=15min,2h"])


def test_the_plan_says_what_was_picked_and_what_it_takes(said: Said, data: list[str]):
    code, shown, error = said(*data, "method=dino", "dry_run=true")
    assert code == 0, error
    whole = " ".join(shown.split())
    assert "budget 15min: picked backbone=vit_mini recipe=mini frames=" in whole
    assert "takes about 13 min of training + about 2 min of evaluations; memory about" in whole
    assert "for the frame store" in whole
    assert "evaluate own_video, knn_mini, linear_mini, lost_mini, davis_mini" in whole
    code, shown, error = said(*data, "method=dino", "dry_run=true", "epochs=20000")
    assert code == 0, error
    assert "over the budget" in shown


def test_a_disk_without_room_is_one_line(said: Said, data: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forecast, "store_bytes", lambda source: 1e18)
    code, _, error = said(*data, "method=dino", "dry_run=true")
    assert code == 2
    assert error.startswith("error: LONGTAKE_DATA: ")
    assert "the frame store may take 1000000000.0 GB" in error
    assert error.count("\n") == 1


def test_what_cannot_run_is_a_line_for_each_reason():
    missing = {
        "knn_imagenet1k": [
            "no image folder /d/imagenet1k/train (expected <class>/<image> in it). ImageNet: ...",
            "no image folder",
        ],
        "linear_imagenet1k": ["no image folder /d/imagenet1k/train (expected <class>/<image> in it). ImageNet: ..."],
        "davis2017": ["no folder /d/DAVIS (expected JPEGImages in it). DAVIS: ..."],
    }
    assert cannot(missing) == [
        "knn_imagenet1k, linear_imagenet1k: no image folder /d/imagenet1k/train",
        "davis2017: no folder /d/DAVIS",
        "how to get them: run task=check_data eval=[knn_imagenet1k,linear_imagenet1k,davis2017]",
    ]
    assert cannot({}) == []


def test_a_probe_counts_what_a_clip_costs(monkeypatch: pytest.MonkeyPatch):
    """DoRA shows a view once for each object: the student's FLOP grow with k, the teacher's do not."""
    from longtake.engine.machine import resolve_machine

    monkeypatch.undo()
    found = {}
    for k in (1, 2, 3):
        config = plainly(["method=dora", "pretrain=mini", f"method.num_objects={k}", "batch_size=2", "device=cpu"])
        resolve_machine(config)
        found[k] = probed(config)
    steps = [found[k + 1].flop - found[k].flop for k in (1, 2)]
    assert steps[0] == pytest.approx(steps[1], rel=0.01)
    assert 0.2 * found[1].flop < steps[0] < found[1].flop
    assert found[1].seconds > 0
    assert found[3].bytes > found[1].bytes > 1e6
    config = plainly(["method=simclr", "pretrain=mini", "batch_size=2", "device=cpu"])
    resolve_machine(config)
    # forward and backward are three forward passes, of two views of 64 tokens through 12 d^2 weights in each of 4 blocks, and so on
    least = 3 * 2 * 2 * 65 * 4 * 12 * 128**2
    assert least < probed(config).flop < 1.5 * least
