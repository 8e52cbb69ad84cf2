"""A recipe is taken for the data it was tuned for, or by its name, and the plan says what it sets; --help says what can be set."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from longtake.engine.command_line import check_overrides
from longtake.engine.config import plainly

Said = Callable[..., tuple[int, str, str]]


def plan(said: Said, *words: str) -> str:
    code, shown, error = said(*words, "dry_run=true", "eval=[knn_mini]")
    assert code == 0, error
    return " ".join(shown.split())


def test_the_plan_says_what_the_recipe_of_the_mini_world_sets(said: Said):
    shown = plan(said, "method.num_objects=2")
    assert "recipe mini/vit_mini_dora: batch_size 128 -> 16, epochs 100 -> 24" in shown
    assert "num_frames 8 -> 2" in shown
    assert "use_bn_in_head false -> true, its own views" in shown
    assert "num_objects" not in shown  # whose value is the command line's


def test_a_video_of_ones_own_keeps_the_papers_values_on_a_small_backbone(said: Said, tiny_video: Path):
    words = [
        "pretrain=video",
        f"pretrain.path='{tiny_video}'",
        "pretrain.stride_seconds=0.25",
        "backbone=vit_mini",
        "budget=null",
    ]
    shown = plan(said, *words, "batch_size=8")
    assert "dora on vit_mini_8: 100 epochs of 4 steps of 8 clips, T = 8" in shown
    assert "recipe" not in shown
    assert plainly(words)["method"]["num_objects"] == 3
    shown = plan(said, *words, "recipe=mini")
    assert "24 epochs of 33 steps of 16 clips, T = 2: 792 steps, 25,344 frames recipe mini/vit_mini_dora: " in shown


def test_a_recipe_that_has_nothing_for_a_choice_is_said(said: Said):
    shown = plan(said, "backbone=vit_tiny", "method=dino")
    assert "recipe mini, which has nothing for dino on vit_tiny: batch_size 128 -> 64, epochs 100 -> 12" in shown


@pytest.mark.parametrize("data", ["mini", "mini_hd"])
def test_both_mini_worlds_take_the_recipe(data: str):
    config = plainly([f"pretrain={data}"])
    assert (config["epochs"], config["batch_size"], config["method"]["num_frames"]) == (24, 16, 2)
    config = plainly([f"pretrain={data}", "recipe=none"])
    assert (config["epochs"], config["batch_size"], config["method"]["num_frames"]) == (100, 128, 8)


def test_every_value_of_an_experiments_sweep_is_checked():
    check_overrides(["experiment=table2b"])
    with pytest.raises(ValueError, match="unknown argument of method dino: 'sinkhorn'"):
        check_overrides(["experiment=table2c", "method=dino"])
    with pytest.raises(ValueError, match="got 'many', expected an integer"):
        check_overrides(["method.num_objects=1,2,many"])


def test_help_of_choices_shows_their_keys_with_defaults(said: Said):
    code, shown, error = said("--help", "method=dora", "eval=[knn_mini]")
    assert code == 0, error
    lines = {words[0] if words[0] != "*" else words[1]: words for line in shown.splitlines() if (words := line.split())}
    assert lines["method.health_every"] == ["method.health_every", "10", "10", "an", "integer"]
    assert lines["method.num_objects"] == ["*", "method.num_objects", "1", "3", "an", "integer"]
    assert lines["eval.knn_mini.progress"] == ["eval.knn_mini.progress", "true", "true", "true", "or", "false"]
    assert "pretrain.cuts" not in lines
    assert "pretrain.cuts" in said("--help", "pretrain=video")[1]
    code, _, error = said("--help", "method=dorra")
    assert (code, error[:40]) == (2, "error: unknown method 'dorra'. Did you m")


def test_help_alone_is_quick_and_says_how_to_see_more():
    code = "import sys; sys.argv = ['run', '--help']\nfrom longtake.run import main\ntry: main()\nexcept SystemExit: pass\n"
    command = [sys.executable, "-c", f"{code}print('torch' in sys.modules)"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "run --help method=dora" in shown
    assert shown.strip().endswith("False")
