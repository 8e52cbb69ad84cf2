"""A budget of frames: the same for every method, exact in the plan, refused where it cannot be."""

from collections.abc import Callable

import pytest

from longtake.engine.command_line import check_overrides
from longtake.engine.config import choices, plainly
from longtake.engine.identity import config_hash, variant
from longtake.engine.length import frames_in, length_of, seconds_in

Said = Callable[..., tuple[int, str, str]]
TRAINED = [name for name in choices("method") if name != "none"]


@pytest.mark.parametrize(
    ("word", "frames"),
    [("20M", 20_000_000), ("1.5M", 1_500_000), ("300k", 300_000), ("25344", 25_344), (7, 7), ("1_000", 1000)],
)
def test_frames_are_said_in_several_ways(word: object, frames: int):
    assert frames_in(word) == frames


@pytest.mark.parametrize("word", ["many", "0", "-3", "1.5", "20 miles", "", "1e6x", True, "0.0001k"])
def test_what_is_no_number_of_frames_is_refused(word: object):
    with pytest.raises(ValueError, match=r"frames: got .* expected a number of frames like 20M"):
        frames_in(word)


def test_a_time_is_said_in_seconds_minutes_hours():
    assert [seconds_in(word) for word in ("90s", "15min", "1.5h", "2h", "1d")] == [90, 900, 5400, 7200, 86_400]
    for word in ("15", "soon", "0min", "-2h", "min"):
        with pytest.raises(ValueError, match=r"budget: got .* expected a time like 15min"):
            seconds_in(word)


def test_epochs_stay_and_clips_are_whole_batches():
    assert length_of(25_344, 24, 16, 2) == (24, 528, 25_344)  # DoRA's recipe of the mini world
    assert length_of(21_600, 10, 16, 1) == (10, 135 * 16, 21_600)
    found = length_of(100_000, 24, 16, 2)
    assert found.epochs == 24
    assert found.frames == 24 * found.clips_per_epoch * 2
    assert found.clips_per_epoch % 16 == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 10, 12, 24, 100])
@pytest.mark.parametrize("steps", [1, 3, 5, 6, 13, 14, 29, 50, 99, 140, 149, 150, 1001])
def test_frames_are_met_as_nearly_as_whole_batches_allow(epochs: int, steps: int):
    """Within half a step for each epoch; by brute force no number of epochs from half to all of them comes much nearer."""
    frames, of_step = steps * 8 * 3, 8 * 3
    if steps < -(-epochs // 2):
        with pytest.raises(ValueError, match=f"expected at least {-(-epochs // 2) * of_step}"):
            length_of(frames, epochs, 8, 3)
        return
    found = length_of(frames, epochs, 8, 3)
    nearest = min(
        abs(count * per * of_step - frames)
        for count in range(-(-epochs // 2), epochs + 1)
        for per in range(1, steps + 1)
    )
    assert abs(found.frames - frames) <= max(nearest, 0.01 * frames)
    assert epochs / 2 <= found.epochs <= epochs
    assert found.frames == found.epochs * found.clips_per_epoch * 3


@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("data", [["pretrain=mini"], ["pretrain=wt_venice"]])
def test_every_method_sees_the_frames_of_a_budget(method: str, data: list[str]):
    frames = 60_000 if data == ["pretrain=mini"] else 5_000_000
    words = [f"method={method}", *data, "eval=[]"]
    config, recipe = plainly([*words, f"frames={frames}"]), plainly(words)
    seen = config["epochs"] * config["pretrain"]["clips_per_epoch"] * config["method"]["num_frames"]
    assert seen == pytest.approx(frames, rel=0.01)
    assert config["pretrain"]["clips_per_epoch"] % config["batch_size"] == 0
    assert config["epochs"] == recipe["epochs"]
    assert f"pretrain.clips_per_epoch={config['pretrain']['clips_per_epoch']}" in variant(config, recipe).split()
    assert config_hash(config) != config_hash(recipe)


def test_a_number_and_a_word_of_the_same_frames_are_one_configuration():
    words = ["method=dino", "pretrain=mini", "eval=[]"]
    assert config_hash(plainly([*words, "frames=60k"])) == config_hash(plainly([*words, "frames=60000"]))
    assert config_hash(plainly(words)) == config_hash(plainly([*words, "frames=null"]))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["frames=lots"], "error: frames: got 'lots', expected a number of frames like 20M, 1.5M, 300k or 25344"),
        (
            ["frames=100"],
            "error: frames=100: 3 step(s) of 16 clips of 2 frame(s), expected at least 384, a step for each of 12",
        ),
        (
            ["frames=30k", "pretrain.clips_per_epoch=64"],
            "error: frames and pretrain.clips_per_epoch: got both, expected one",
        ),
        (["budget=soon"], "error: budget: got 'soon', expected a time like 15min, 2h or 90s"),
    ],
)
def test_what_cannot_be_is_one_line(said: Said, words: list[str], line: str):
    code, shown, error = said("pretrain=mini", "eval=[]", *words)
    assert (code, shown) == (2, "")
    assert error.startswith(line)
    assert error.count("\n") == 1


def test_a_sweep_takes_frames():
    check_overrides(["method=dora,dino", "pretrain=mini", "frames=30k,60k"])
    with pytest.raises(ValueError, match="expected at least"):
        check_overrides(["method=dora,dino", "pretrain=mini", "frames=30k,60"])


def test_the_plan_says_epochs_steps_and_frames(said: Said):
    code, shown, error = said("pretrain=mini", "dry_run=true", "eval=[knn_mini]")
    assert code == 0, error
    whole = " ".join(shown.split())
    assert "24 epochs of 33 steps of 16 clips, T = 2: 792 steps, 25,344 frames" in whole
    code, shown, error = said("method=dino", "pretrain=mini", "frames=100k", "dry_run=true", "eval=[knn_mini]")
    assert code == 0, error
    assert "10 epochs of 625 steps of 16 clips, T = 1: 6,250 steps, 100,000 frames" in " ".join(shown.split())
