"""`task=compare`: words become Hydra's, frames and FLOP are equal, the same command goes on, paired tests decide."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_rows import make_rows
from PIL import Image

import longtake
from longtake.backbones.vit import ViT
from longtake.engine import budget
from longtake.engine.boards import metrics_for, rows_of
from longtake.engine.compared import compared, names_in, words_of_runs
from longtake.engine.config import plainly
from longtake.engine.identity import config_hash
from longtake.engine.machine import resolve_machine
from longtake.engine.probe import probed
from longtake.leaderboards.outcomes import load_outcomes, sorted_by_item
from longtake.leaderboards.ranking import standings
from longtake.leaderboards.rows import upsert
from longtake.tasks.compare import rows as comparison
from longtake.tasks.compare.contenders import Contender, _kept, trainings


def test_lists_become_keys_that_hydra_reads():
    words = [
        "task=compare",
        "method=[dora,dino]",
        "checkpoint=['a,b.pth',c.pth]",
        "label=[a, b]",
        "match=both",
        "seeds=[0,1]",
    ]
    assert compared(words) == [
        "task=compare", "method=dora", "compare.methods=[dora,dino]", "compare.checkpoints=['a,b.pth',c.pth]",
        "compare.labels=[a,b]", "compare.match=both", "seeds=[0,1]",
    ]  # fmt: skip
    assert compared(["method=[dora,dino]"]) == ["method=[dora,dino]"]
    assert names_in("dora,dino") == ["dora", "dino"]
    assert words_of_runs(["task=compare", "seeds=[0]", "output=o", "method=dora", "method.lr=1", "epochs=3", "dry_run=true"]) == [
        "method.lr=1", "epochs=3",
    ]  # fmt: skip


def made(words: list[str]) -> list[str]:
    return compared(["task=compare", *words])


class Started:
    """Instead of processes: their words."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []

    def exit_codes(self, commands: list[list[str]]) -> list[int]:
        self.words += [command[3:] for command in commands]
        return [0] * len(commands)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    found = Started()
    monkeypatch.setattr("longtake.engine.children.exit_codes", found.exit_codes)
    return found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=[dora]"], r"got method=\[dora\], expected two or more"),
        (["method=[dora,dora]"], "expected two or more different ones"),
        (["method=[dora,dion]"], "unknown method 'dion'. Did you mean dino"),
        (["method=[dora,dino]", "match=flops"], "compare.match: got 'flops', expected frames or flop or both"),
        (["method=[dora,dino]", "seeds=[0,0]"], "seeds: got"),
        (["method=[dora,dino]", "frames=40"], "frames=40: 1 step"),
        (
            ["method=[dora,dino]", "pretrain.clips_per_epoch=64"],
            "another number of frames for each method; give frames=",
        ),
        (["checkpoint=[a.pth]"], r"got checkpoint=\[a.pth\], expected two or more"),
        (["checkpoint=[a.pth,b.pth]", "label=[x]"], r"label: got \[x\], expected 2 different names"),
        (["checkpoint=[a.pth,b.pth]", "label=[x,x]"], "expected 2 different names"),
    ],
)
def test_what_cannot_be_compared_is_one_line(said, words: list[str], message: str):
    code, _, error = said("task=compare", "pretrain=mini", "eval=[knn_mini]", *words)
    assert (code, error.count("\n")) == (2, 1)
    assert re.search(message, error), error


def test_frames_are_equal_and_flop_stand_beside(said, started: Started):
    code, shown, error = said(
        "task=compare", "method=[dora,dino,simclr]", "pretrain=mini", "eval=[knn_mini]", "dry_run=true"
    )
    assert code == 0, error
    assert not started.words
    lines = {
        name: line.split() for line in shown.splitlines() if (name := line.split(" ")[0]) in ("dora", "dino", "simclr")
    }
    frames = {name: int(cells[1].replace(",", "")) for name, cells in lines.items()}
    assert max(frames.values()) <= 1.02 * min(frames.values())  # of the recipes: 25,344, 21,600 and 25,344
    relative = {name: float(cells[5]) for name, cells in lines.items()}
    assert relative["dino"] > relative["dora"] == 1.0
    assert "DoRA shows the student each global view once for each of its 1 object(s)" in " ".join(shown.split())
    assert "runs 3, of which 0 are done" in " ".join(shown.split())
    assert not list(Path("outputs").glob("compare/*"))


def test_flop_can_be_matched(said, started: Started):
    words = ["method=[dora,dino]", "pretrain=mini", "eval=[knn_mini]", "seeds=[0,1]", "match=both", "frames=20k"]
    assert said("task=compare", *words)[0] == 0
    of = {(w[0], next(word for word in w if word.startswith("frames=")), w[-1]) for w in started.words}
    assert len(of) == 6  # two methods and the dearer one again, by two seeds
    costs = {}
    for method, frames, _ in of:
        config = plainly([method, "pretrain=mini", frames, "device=cpu"])
        resolve_machine(config)
        costs[method, frames] = probed(config).flop / config["method"]["num_frames"] * config["frames"]
    cheap, *dear = sorted(costs.values())
    assert min(dear) == pytest.approx(cheap, rel=0.03)


def rows_of_runs(output: Path, methods: dict[str, float], seeds: int = 3) -> dict[str, dict]:
    """Rows as the comparison's runs would have left them: right configuration, made-up outcomes."""
    found = {}
    config = plainly(made(["method=[dora,dino]", "pretrain=mini", "eval=[knn_mini]"]))
    words = made(
        ["method=[dora,dino]", "pretrain=mini", "eval=[knn_mini]", f"output={output}", f"seeds={list(range(seeds))}"]
    )
    for contender in trainings(
        {**config, "output": str(output), "seeds": list(range(seeds))}, words, output / "compare"
    ):
        for seed in contender.seeds:
            known = contender.config(seed)
            rows = make_rows(
                output / "leaderboards",
                {contender.method: methods[contender.method]},
                seeds=seeds,
                epochs=known["epochs"],
            )
            row = next(row for row in rows if row.key.seed == seed)
            proof = row.provenance._replace(config_hash=config_hash(known))
            found[contender.label, seed] = replace(row, provenance=proof)
    upsert(output / "leaderboards" / "knn_mini.csv", found.values(), metrics_for("knn_mini"))
    for row in make_rows(
        output / "leaderboards", {"none": methods["none"]}, seeds=seeds
    ):  # each beside the training of its seed
        proof = row.provenance._replace(config_hash=found["dora", row.key.seed].provenance.config_hash)
        upsert(output / "leaderboards" / "knn_mini.csv", [replace(row, provenance=proof)], metrics_for("knn_mini"))
    return found


def test_the_result_is_that_of_paired_tests_over_seeds(said, started: Started, tmp_path: Path):
    skills = {"dora": 0.55, "dino": 0.40, "none": 0.40}
    rows_of_runs(tmp_path / "out", skills)
    words = [
        "method=[dora,dino]",
        "pretrain=mini",
        "eval=[knn_mini]",
        "seeds=[0,1,2]",
        f"output={tmp_path / 'out'}",
        "name=both",
    ]
    code, shown, error = said("task=compare", *words)
    assert code == 0, error
    assert started.words == []  # everything is there
    text = " ".join(shown.split())
    assert "runs 2, of which 2 are done" not in text
    assert "runs 6, of which 6 are done" in text
    sentence = re.search(r"knn_mini top1_k20: dora ([\d.]+) (is above .*? pairs\))", text)
    assert sentence, text
    assert re.search(r"is above dino [\d.]+ by [\d.]+ \[[\d.]+, [\d.]+\]: significant", sentence[2])
    assert re.search(r"is above random init [\d.]+ by", sentence[2])
    assert "(paired test over items and seeds, 95 %, 400 independent items, Holm over 3 pairs)" in sentence[2]
    outcomes = {}
    for method in skills:
        kept = [
            load_outcomes(tmp_path / "out" / "leaderboards", "knn_mini", row.key)
            for _, row in rows_of("knn_mini", [tmp_path / "out" / "leaderboards"]) if row.key.method == method
        ]  # fmt: skip
        outcomes[method] = np.stack([sorted_by_item(one)["top1_k20"] for one in kept])
    ranked, pairs = standings(outcomes)
    assert f"dora {ranked[0].score.value:.1f}" in sentence[0]
    pair = next(pair for pair in pairs if {pair.better, pair.worse} == {"dora", "dino"})
    assert f"by {pair.contrast.value:.1f} [{pair.contrast.low:.1f}, {pair.contrast.high:.1f}]" in sentence[2]
    folder = tmp_path / "out" / "compare" / "both"
    report = (folder / "comparison.md").read_text()
    assert f"**{ranked[0].score.value:.1f} {ranked[0].letters}**" in report
    assert "FLOP per frame" in report
    with Image.open(folder / "comparison.png") as picture:
        assert min(picture.size) > 100
    assert str(folder / "comparison.md") in shown.replace("\n", "")


def test_only_what_is_missing_is_run(said, started: Started, tmp_path: Path):
    rows_of_runs(tmp_path / "out", {"dora": 0.5, "dino": 0.4, "none": 0.4}, seeds=2)
    words = ["method=[dora,dino]", "pretrain=mini", "eval=[knn_mini]", f"output={tmp_path / 'out'}"]
    said("task=compare", *words, "seeds=[0,1,2]")
    assert [(found[0], found[-1]) for found in started.words] == [("method=dora", "seed=2"), ("method=dino", "seed=2")]
    started.words.clear()
    said("task=compare", *words, "seeds=[0,1]", "method.momentum=0.9")  # another training
    assert len(started.words) == 4
    assert all("method.momentum=0.9" in found for found in started.words)


def test_a_budget_is_measured_once(tmp_path: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch):
    words = made(["method=[dora,dino]", "pretrain=video", f"pretrain.path='{tiny_video}'", f"output={tmp_path}"])
    config = {**plainly(words), "output": str(tmp_path)}
    found = {}
    for pace in (0.02, 0.04):
        monkeypatch.setattr(budget, "seconds_per_clip", lambda config, pace=pace: pace)
        monkeypatch.setattr(budget, "evaluating_seconds", lambda config, names: (60.0, ()))
        found[pace] = [contender.words for contender in trainings(config, words, tmp_path / "same")]
    assert found[0.02] == found[0.04]
    assert "recipe=mini" in found[0.02][0]
    (frames,) = {word for one in found[0.02] for word in one if word.startswith("frames=")}
    assert int(frames.partition("=")[2]) == pytest.approx((900 - 60 - 10) / 0.02, rel=0.01)


ODD = ["walk (1)", "it's me", "a,b", "walk & talk", "epoch=9-step=100", "münchen [2]", "c#", "~old"]


@pytest.mark.parametrize("name", ODD)
def test_paths_need_no_quotes(said, started: Started, tmp_path: Path, tiny_video: Path, name: str):
    """What the shell hands over as one word arrives in the runs as that, as video, as output and as checkpoints."""
    video = tmp_path / f"{name}.mp4"
    shutil.copy(tiny_video, video)
    words = ["method=[dora,dino]", "pretrain=video", f"pretrain.path={video.name}", "backbone=vit_mini", "suite=quick"]
    code, _, error = said("task=compare", *words, "frames=3k", "recipe=mini", f"output=out {name}")
    assert code == 0, error
    assert len(started.words) == 2
    for found in started.words:
        run = plainly(found)
        assert (Path(run["pretrain"]["path"]), run["output"]) == (Path(video.name), f"out {name}")
        assert run["frames"] in range(2700, 3300)
    started.words.clear()
    for seed, file in enumerate((f"{name}.pth", "other.pth")):
        torch.manual_seed(seed)
        torch.save(ViT("mini", 8, 16).state_dict(), tmp_path / file)
    quoted = f'"{name}.pth"' if "," in name else f"{name}.pth"
    code, _, error = said("task=compare", f"checkpoint=[{quoted},other.pth]", "eval=[knn_mini]", f"output=out {name}")
    assert code == 0, error
    assert [Path(plainly(found)["checkpoint"]) for found in started.words] == [Path(f"{name}.pth"), Path("other.pth")]


def test_home_is_expanded_and_flags_of_a_cluster_reach_the_jobs(said, started: Started, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for seed, file in enumerate(("a.pth", "b.pth")):
        torch.manual_seed(seed)
        torch.save(ViT("mini", 8, 16).state_dict(), tmp_path / file)
    words = ["checkpoint=[~/a.pth,~/b.pth]", "label=[mine,theirs]", "eval=[knn_mini]", "launcher=slurm"]
    code, _, error = said("task=compare", *words, "hydra.launcher.partition=gpu")
    assert code == 0, error
    assert [plainly(found[:-2])["checkpoint"] for found in started.words] == [
        str(tmp_path / name) for name in ("a.pth", "b.pth")
    ]
    assert all({"launcher=slurm", "hydra.launcher.partition=gpu"} <= set(found) for found in started.words)


@pytest.mark.parametrize(
    ("words", "found"), [([], 2), (["trainer.precision=auto"], 2), (["trainer.precision=bf16-mixed"], 1)]
)
def test_rows_of_jobs_are_known_whatever_their_machine_makes_of_auto(tmp_path: Path, words: list[str], found: int):
    on_a_gpu = Contender("dino", ("method=dino", "pretrain=mini", "launcher=slurm", *words), (0,), tmp_path)
    assert len(on_a_gpu.hashes(0)) == found
    half = replace(on_a_gpu, words=(*on_a_gpu.words, "trainer.precision=16-mixed"))  # no CPU could
    assert half.hashes(0).isdisjoint(on_a_gpu.hashes(0))


def test_a_name_is_that_of_one_comparison(said, started: Started, tmp_path: Path):
    words = ["method=[dora,dino]", "pretrain=mini", "eval=[knn_mini]", "name=first"]
    assert said("task=compare", *words)[0] == 0
    assert said("task=compare", *words, "seeds=[0,1]", "num_workers=0")[0] == 0  # more of the same
    code, _, error = said("task=compare", *words, "method.momentum=0.9")
    assert code == 2
    assert "error: name: outputs/compare/first is the comparison method=dora,dino" in error
    assert error.rstrip().endswith("expected a name of its own")


def test_encoders_are_compared_by_their_labels(said, tmp_path: Path, tiny_folder: Path):
    """For real, in processes: two encoders at random, which no header tells apart, and one of them twice."""
    for seed, name in ((0, "a"), (1, "b"), (0, "c")):
        torch.manual_seed(seed)
        torch.save(ViT("mini", 8, 16).state_dict(), tmp_path / f"{name}.pth")
    words = [
        "eval=[knn_imagenet1k]",
        *(f"eval.knn_imagenet1k.{word}" for word in (f"root={tiny_folder}", "size=16", "resize=16")),
    ]
    words += ["output=out", "num_workers=0", "device=cpu"]
    code, shown, error = said("task=compare", "checkpoint=[a.pth,c.pth]", "label=[mine,theirs]", *words)
    assert code == 2
    assert "error: checkpoint: theirs and mine are the same encoder, weight by weight" in error
    code, shown, error = said("task=compare", "checkpoint=[a.pth,b.pth]", "label=[mine,theirs]", *words)
    assert code == 0, shown + error
    assert re.search(r"knn_imagenet1k top1_k20: (mine|theirs|random init) [\d.]+ ", shown)
    (report,) = Path("out").glob("compare/mine_theirs_*/comparison.md")
    assert "mine" in report.read_text()
    assert report.with_suffix(".png").is_file()


def test_encoders_of_two_backbones_have_an_init_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Seeds of one backbone's are never stacked with those of the other's."""
    monkeypatch.setattr(Contender, "config", lambda self, seed: {"baseline": True})
    contenders = []
    for label, backbone in (("small", "vit_mini_8"), ("large", "vit_tiny_8")):
        rows = make_rows(tmp_path / label / "leaderboards", {"dino": 0.5, "none": 0.4}, seeds=1, backbone=backbone)
        weights = {row.key.method: row.provenance.checkpoint_hash for row in rows}["dino"]
        contenders.append(Contender(label, (), (None,), tmp_path / label, weights))
    monkeypatch.setattr(Contender, "has", lambda self, row, seed: row.key.method == "dino")
    monkeypatch.setattr(comparison, "reasons", lambda path, row: [])
    rows = comparison.rows_at_hand(contenders, {"knn_mini": comparison.Tested("knn-mini-v1", "")})
    assert comparison.inits_of(contenders, rows) == ["random init vit_mini_8", "random init vit_tiny_8"]
    assert not any(
        comparison.missing(contender, None, {"knn_mini": comparison.Tested("", "")}, rows) for contender in contenders
    )
    alone = comparison.rows_at_hand(contenders[:1], {"knn_mini": comparison.Tested("knn-mini-v1", "")})
    assert comparison.inits_of(contenders[:1], alone) == ["none"]


def test_the_function_returns_rows_and_paths(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rows_of_runs(tmp_path / "out", {"dora": 0.55, "dino": 0.40, "none": 0.40}, seeds=2)
    found = longtake.compare(
        method=["dora", "dino"], source="mini", seeds=[0, 1], output=tmp_path / "out", words=["eval=[knn_mini]"]
    )
    assert found.well
    assert [row.key.seed for row in found.rows["dora"]["knn_mini"]] == [0, 1]
    assert found.report.is_file()
    assert found.picture.is_file()
    assert found.sentences[0].startswith("knn_mini top1_k20: dora ")
    with pytest.raises(ValueError, match="unknown method 'dion'"):
        longtake.compare(method=["dora", "dion"], source="mini", output=tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"words": 1, "picked": []}', b'{"words": []}', b"\xff"])
def test_a_damaged_record_of_what_was_picked_is_a_sentence(tmp_path, content):
    (tmp_path / "picked.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"picked\.json: damaged"):
        _kept(tmp_path / "picked.json")
