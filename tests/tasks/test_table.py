"""Tables as plans: every line of the paper is a command of ours, cells know their state, only what is missing is run."""

import json
import re
import sys
from pathlib import Path

import pytest
from made_rows import make_rows

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.console import console
from longtake.engine.code_hash import training_hash
from longtake.engine.config import choices, plainly
from longtake.engine.identity import config_hash, variant
from longtake.engine.machine import resolve_machine
from longtake.engine.probe import Cost, clips_of, measure_cost, seconds_per_clip
from longtake.engine.resuming import has_begun
from longtake.leaderboards import paper
from longtake.leaderboards.overview import Column
from longtake.tasks.table import cells as tables
from longtake.tasks.table import fill as fill_table
from longtake.tasks.table.cells import (
    DONE,
    MINI_FRAMES,
    MISSING,
    NO_DATA,
    NOT_OURS,
    SERVER,
    STALE,
    cells,
    entries,
    table,
)
from longtake.tasks.table.fill import cost_of
from longtake.tasks.table.show import markdown


@pytest.fixture(autouse=True)
def nothing_published(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TRACKED", tmp_path_factory.mktemp("tracked"))
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path_factory.mktemp("data")))


def states(name: str, folder: Path, seeds: list[int] | None = None) -> dict[tuple[str, str], str]:
    plan = table(name, seeds)
    return {(cell.encoder.label, cell.evaluation): cell.status for cell in cells(plan, folder)}


@pytest.mark.parametrize("name", paper.TABLES)
def test_every_line_is_a_command_whose_row_would_have_its_key(name: str) -> None:
    for encoder in table(name, None).encoders:
        method, changed, data, backbone, epochs = encoder.identity
        if method not in choices("method"):
            assert (method, encoder.overrides) == ("vito", ())
            continue
        config = plainly(encoder.overrides)
        recipe = plainly(
            [word for word in encoder.overrides if word.split("=")[0] in ("method", "backbone", "pretrain")]
        )
        assert set(variant(config, recipe).split()) == set(changed.split())
        assert config["backbone"]["name"] == backbone
        if method != "none":
            assert (config["pretrain"]["name"], config["epochs"]) == (data, epochs)


def test_the_states_of_table_5(tmp_path: Path) -> None:
    found = states("5", tmp_path)
    assert {name for _, name in found} == {"linear_imagenet1k", "knn_imagenet1k", "lost_voc2012"}
    assert len(found) == 27
    assert set(found.values()) == {NO_DATA}


def test_what_is_not_ours_and_what_a_server_measures(tmp_path: Path) -> None:
    third = states("3", tmp_path)
    assert {status for (label, _), status in third.items() if label.startswith("vito")} == {NOT_OURS}
    fourth = states("4", tmp_path)
    assert {status for (_, name), status in fourth.items() if name == "seqtrack_got10k_test"} == {SERVER}
    assert {status for (_, name), status in fourth.items() if name == "davis2017"} == {NO_DATA}


def test_the_comparison_shows_every_method_equally_many_frames(tmp_path: Path) -> None:
    plan = table("mini", None)
    assert [encoder.identity[0] for encoder in plan.encoders] == ["none", *sorted(set(choices("method")) - {"none"})]
    assert plan.seeds == (0, 1, 2)
    for encoder in plan.encoders[1:]:
        config = plainly(encoder.overrides)
        clips = config["pretrain"].get("clips_per_epoch") or 2160
        seen = clips // config["batch_size"] * config["batch_size"] * config["method"]["num_frames"] * config["epochs"]
        assert seen == pytest.approx(MINI_FRAMES, rel=0.025)


def fresh(monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...] = ()) -> None:
    """Made-up rows are of this code, but for some methods'."""
    monkeypatch.setattr(tables, "reasons", lambda _, row: ["stale: the code"] if row.key.method in wrong else [])


def epochs_of(method: str) -> int:
    return next(e.identity[4] for e in table("mini", None).encoders if e.identity[0] == method)


def test_rows_fill_cells_and_stale_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(monkeypatch, wrong=("swav",))
    make_rows(tmp_path, {"simclr": 0.5}, seeds=2, epochs=epochs_of("simclr"))
    make_rows(tmp_path, {"swav": 0.5}, seeds=1, epochs=epochs_of("swav"))
    make_rows(tmp_path, {"vicreg": 0.5}, seeds=1, epochs=epochs_of("vicreg") + 1)  # another budget
    make_rows(tmp_path, {"none": 0.1}, seeds=1, protocol="knn-mini-v1 size=32")  # another protocol
    there = [cell for cell in cells(table("mini", [0, 1, 2]), tmp_path) if cell.evaluation == "knn_mini"]
    found = {(cell.encoder.label, cell.seed): cell.status for cell in there}
    assert {cell.encoder.label for cell in there if cell.row is not None} == {"simclr"}
    assert [found["simclr", seed] for seed in range(3)] == [DONE, DONE, MISSING]
    assert found["swav", 0] == STALE
    assert {found[label, seed] for label in ("vicreg", "random init") for seed in range(3)} == {MISSING}


class Started:
    """Instead of processes: their commands."""

    def __init__(self, code: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.code = code

    def exit_codes(self, commands: list[list[str]]) -> list[int]:
        self.commands += commands
        return [self.code] * len(commands)


def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0, **keys: object) -> tuple[Started, bool, str]:
    monkeypatch.setattr(fill_table, "measure_cost", lambda config: Cost(1.5, 100, config["device"]))
    if keys.get("table", "mini") == "mini":
        fresh(monkeypatch)
    started = Started(code)
    monkeypatch.setattr("longtake.engine.children.exit_codes", started.exit_codes)
    config = plainly(["task=table", f"output={tmp_path}"]) | {"table": "mini", "seeds": [0]} | keys
    with console.capture() as captured:
        well = fill_table.fill_table(config, [])
    return started, well, captured.get()


def test_only_what_is_missing_is_run_random_init_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rows(tmp_path / "leaderboards", {"none": 0.1}, seeds=1)
    started, well, shown = filled(tmp_path, monkeypatch)
    assert well
    words = [command[3:] for command in started.commands]
    assert all(command[:3] == [sys.executable, "-m", "longtake.run"] for command in started.commands)
    trained = sorted(set(choices("method")) - {"none"})
    assert [found[0] for found in words] == [f"method={name}" for name in ("none", *trained)]
    (evaluations,) = [word for word in words[0] if word.startswith("eval=")]
    assert "[knn_mini" not in evaluations
    assert ",knn_mini" not in evaluations
    assert "linear_mini" in evaluations
    (all_of_them,) = [word for word in words[1] if word.startswith("eval=")]
    assert "knn_mini" in all_of_them
    assert {"baseline=false", "seed=0", f"output={tmp_path}"} <= set(words[1])
    assert all("resume=auto" in found for found in words)
    assert "90 min on" in shown


def test_a_dry_run_starts_nothing_and_tells_the_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, well, shown = filled(tmp_path, monkeypatch, table="5", dry_run=True, seeds=None)
    assert (started.commands, well) == ([], True)
    assert "train dora wt_venice vit_small_16 100 epochs: 90 min on cpu (100 steps)" in shown
    assert "training in all: 13.5 h" in shown  # nine lines
    assert "evaluate knn_imagenet1k x 9: one forward pass of 1.33 million images" in shown
    assert "<i>45.4</i>" in (tmp_path / "tables" / "table_5.md").read_text()


def test_what_was_begun_goes_on_and_costs_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill_table, "has_begun", lambda config: config["method"]["name"] == "dora")
    _, _, shown = filled(tmp_path, monkeypatch)
    assert "train dora" not in shown
    assert "train dino" in shown


def test_an_interrupted_run_is_known_by_its_configuration(tmp_path: Path) -> None:
    (encoder,) = [e for e in table("mini", None).encoders if e.label == "simclr"]
    config = plainly(["task=table", f"output={tmp_path}"])
    begun = lambda seed: has_begun(fill_table._machine(encoder, seed, config, []))  # noqa: E731
    assert not begun(1)
    trained = plainly([*encoder.overrides, "seed=1"])
    resolve_machine(trained)
    (tmp_path / "a_run").mkdir()
    (tmp_path / "a_run" / "run.json").write_text(json.dumps({"config_hash": config_hash(trained), "config": trained}))
    assert begun(1)
    assert not begun(2)
    header = {
        "method": "simclr",
        "variant": "",
        "pretrain": "mini",
        "backbone": "vit_mini_8",
        "epochs": trained["epochs"],
    }
    for code, today in (("0123456789ab", False), (training_hash("simclr", "mini", "vit_mini_8"), True)):
        save_encoder(ViT("mini", 8, 16), tmp_path / "a_run" / "encoder.safetensors", {**header, "code_hash": code})
        assert begun(1) is today
    save_encoder(
        ViT("mini", 8, 16), tmp_path / "a_run" / "encoder.safetensors", {**header, "epochs": 1, "code_hash": "old"}
    )
    assert begun(1)  # it has not ended
    (tmp_path / "a_run" / "encoder.safetensors").write_bytes(b"")  # a power cut's
    (tmp_path / "b_run").mkdir()
    (tmp_path / "b_run" / "run.json").touch()
    assert begun(1)


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, well, shown = filled(tmp_path, monkeypatch, code=1)
    assert not well
    assert len(started.commands) == len(choices("method"))
    *_, last, end = [line for line in shown.splitlines() if line.strip()]  # after the scores, where they are seen
    assert shown.count("failed: ") == len(choices("method"))
    assert last.startswith("failed: ")
    assert end == "the same command goes on with what is missing"
    assert "failed: dora, seed 0 (exit code 1)" in shown


def test_a_run_that_was_stopped_stops_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="give the same command again"):
        filled(tmp_path, monkeypatch, code=130)


def test_both_numbers_in_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(monkeypatch)
    make_rows(
        tmp_path,
        {"dora": 0.4},
        "knn_imagenet1k",
        pretrain="wt_venice",
        backbone="vit_small_16",
        epochs=100,
        protocol="knn-imagenet1k-v1",
    )
    plan = table("5", [0, 1])
    found = cells(plan, tmp_path)
    text = markdown(plan, entries(plan, found, tmp_path))
    (line,) = [line for line in text.splitlines() if line.startswith("| dora wt_venice")]
    assert "<i>33.8</i><br>" in line
    assert "<i>45.4</i> |" in line
    score = entries(plan, found, tmp_path)[Column("knn_imagenet1k", "top1_k20")]
    ((_, entry),) = score.items()
    assert f"{entry.scores['top1_k20'].value:.1f} [" in line


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(ValueError, match="got '12', expected mini or one of the paper's: 2a, 2b"):
        table("12", None)


def test_one_seed_needs_no_list() -> None:
    for name, default in (("mini", (0, 1, 2)), ("5", (0,))):
        assert table(name, None).seeds == default
        assert table(name, 0).seeds == (0,)
        assert table(name, 3).seeds == (3,)
        assert table(name, [4, 0]).seeds == (4, 0)


@pytest.mark.parametrize(
    "seeds", [["a"], "a", "0", [], [0, 0], [-1], -1, 1.0, [0.5], True, [True], [None], [[0]], {"a": 1}]
)
def test_seeds_that_are_none_are_named_before_anything_is_said(tmp_path: Path, seeds: object) -> None:
    message = rf"^seeds: got {re.escape(repr(seeds))}, expected .*integers.*, for example seeds=\[0,1,2\]$"
    with console.capture() as captured, pytest.raises(ValueError, match=message):
        fill_table.fill_table({"table": "5", "seeds": seeds, "output": str(tmp_path)}, [])
    assert captured.get() == ""


def test_costs_are_what_the_yamls_say() -> None:
    for name in choices("eval"):
        assert cost_of(name), name
    assert cost_of("knn_mini").startswith("one forward pass of 3 600 pictures")


def test_a_probe_times_a_step(tmp_path: Path) -> None:
    config = plainly(["method=simclr", "pretrain=mini", "epochs=2"])
    resolve_machine(config)
    cost = measure_cost(config)
    assert cost.steps == 2 * (clips_of(config) // config["batch_size"])
    assert 0 < seconds_per_clip(config) < 10
    assert cost.hours == pytest.approx(seconds_per_clip(config) * cost.steps * config["batch_size"] / 3600)


def test_data_that_are_not_there_have_the_papers_frames() -> None:
    assert clips_of(plainly(["method=dora", "pretrain=wt_venice"])) == 200_000
    assert clips_of(plainly(["method=dino", "pretrain=imagenet1k"])) == 1_281_167
    assert clips_of(plainly(["method=dino", "pretrain=wt_all"])) == 1_500_000


def test_jobs_are_not_held_against_the_machine_that_submits_them() -> None:
    """Half precision is refused on a CPU, which a login node has."""
    (encoder,) = [e for e in table("mini", None).encoders if e.label == "simclr"]
    config = plainly(["task=table", "trainer.precision=16-mixed", "device=cpu"])
    with pytest.raises(ValueError, match="16-mixed: not on a CPU"):
        fill_table._machine(encoder, 0, config, [])
    assert fill_table._machine(encoder, 0, config, ["launcher=slurm"])["device"] == "cpu"
