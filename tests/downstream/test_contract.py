"""The contract over every yaml of configs/eval: cheap facts of each yaml, and each evaluation once on tiny data in its official
format; clauses that notice when they are broken; two processes as one; perfect predictions."""

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_cases import CASES, all_keys, case_of, maker, relisted, together, vit
from eval_perfect import PERFECT
from processes import on_two_processes
from tiny import TinyEncoder

import longtake.configs
from longtake.downstream import contract
from longtake.downstream.base import DOWNSTREAM, Downstream, save_outcomes
from longtake.downstream.contract import Trial
from longtake.engine.config import choices
from longtake.engine.plan import build_evaluation
from longtake.tasks.check import broken_clauses_of

pytestmark = pytest.mark.usefixtures("stores_of_tests_alone")
FOLDER = Path(longtake.configs.__file__).parent / "eval"
YAMLS = choices("eval")
# Where one process and two are compared with more than their metrics.
TOGETHER_IN = {"linear": "test_parallel.py", "finetune": "test_finetune.py", "seqtrack": "test_seqtrack_shared.py"}
SHARED = ("knn", "knn_fewshot", "logreg")
# Two processes on CPUs train the same weights, but test with the first one's running means and variances: only GPUs have SyncBN.
OWN_STATISTICS = ("upernet", "cascade_mask_rcnn")


@cache
def evaluations() -> list[str]:
    """The classes that the yamls name."""
    return sorted(
        {task for name in YAMLS for task in re.findall(r"^task: (\w+)", (FOLDER / f"{name}.yaml").read_text(), re.M)}
    )


@pytest.mark.parametrize("name", YAMLS)
def test_a_yaml_is_an_evaluation(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    assert (FOLDER / f"{name}.yaml").read_text().startswith(f"# @package eval.{name}\n")
    task = build_evaluation(all_keys()[name])
    assert task.protocol.endswith(f"-v{task.version}")
    assert len(set(task.metrics)) == len(task.metrics) > 0
    assert set(task.primary) <= set(task.metrics)
    missing = task.check()
    assert bool(missing) == (task.root != "mini")
    for line in missing:
        assert str(tmp_path / "data") in line or task.root is None, "where it is expected"
        assert "\n" not in line
    assert not (tmp_path / "data").exists(), "nothing is rendered"


def test_a_protocol_is_of_one_yaml() -> None:
    counts = Counter(build_evaluation(all_keys()[name]).protocol for name in YAMLS)
    assert counts.most_common(1)[0][1] == 1, counts.most_common(1)


@pytest.mark.parametrize("name", evaluations())
def test_the_contract_holds(name: str, data, tmp_path: Path) -> None:
    case, root = case_of(name), data(name)
    trial = Trial(maker(case, root), vit(), tmp_path / "runs", relisted(case, root, tmp_path / "copy"))
    assert broken_clauses_of(trial, contract.CONTRACT) == []
    assert contract.harmless(trial.make)[1].keys() <= {"device", "batch_size"}


@pytest.mark.parametrize("name", [cls.lower() for cls, key in contract.MOVES if key == "batch_size"])
def test_an_excuse_is_needed(name: str, data, tmp_path: Path) -> None:
    """Batches of another size are another training, if by little."""
    make, losses = maker(CASES[name], data(name)), []
    for i, size in enumerate((None, 2)):
        make(**({"batch_size": size} if size else {})).evaluate(vit(), tmp_path / str(i))
        losses.append(torch.load(next((tmp_path / str(i)).glob("*.ckpt")), weights_only=True)["losses"])
    assert losses[0] != losses[1], "contract.MOVES excuses what does not move"
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("name", evaluations())
def test_perfect_predictions_score_100(name: str, data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in PERFECT, (
        f"nobody knows how to be perfect at {name}: add a function to PERFECT in tests/eval_perfect.py"
    )
    make = maker(case_of(name), data(name))
    metrics = PERFECT[name](make, tmp_path / "out", monkeypatch)
    assert list(metrics) == list(make().metrics)
    expected = {metric: 0.0 if metric.endswith("_decay") else 100.0 for metric in metrics}
    assert metrics == pytest.approx(expected, abs=1e-9)


@pytest.fixture(scope="module")
def shared(data, tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], tuple[Path, list]]:
    """Where two processes wrote, and what each of them answered."""

    @cache
    def run(names: tuple[str, ...]) -> tuple[Path, list]:
        folder = tmp_path_factory.mktemp("shared")
        for name in names:
            (folder / name).symlink_to(data(name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHARED_OUT", str(folder))
            patch.setenv("SHARED_CASES", " ".join(names))
            return folder, on_two_processes(together, folder)

    return run


def test_every_shared_evaluation_is_tried_in_two_processes() -> None:
    sharing = {name for name in evaluations() if DOWNSTREAM[name].shared}
    assert sharing == {*SHARED, *OWN_STATISTICS, *TOGETHER_IN}, (
        "add it to SHARED, or to TOGETHER_IN where another test does it"
    )


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_are_as_one(name: str, shared, data, tmp_path: Path) -> None:
    folder, ranks = shared(SHARED)
    alone = maker(CASES[name], data(name))().evaluate(vit(), tmp_path)
    assert ranks[0][name] == ranks[1][name] == alone
    with np.load(folder / f"0_{name}" / "outcomes.npz") as two, np.load(tmp_path / "outcomes.npz") as one:
        assert {key: two[key].tolist() for key in two} == {key: one[key].tolist() for key in one}
    assert not (folder / f"1_{name}" / "outcomes.npz").exists()


@pytest.mark.slow  # each process imports mm*
@pytest.mark.parametrize("name", OWN_STATISTICS)
def test_two_processes_train_as_one_but_for_batch_statistics(name: str, shared, data, tmp_path: Path) -> None:
    folder, ranks = shared(OWN_STATISTICS)
    maker(CASES[name], data(name))().evaluate(vit(), tmp_path)
    assert ranks[0][name] == ranks[1][name]
    two, one = (torch.load(at / "training.ckpt", weights_only=True) for at in (folder / f"0_{name}", tmp_path))
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    differ = {key for key, value in one["model"].items() if not torch.allclose(value, two["model"][key], atol=1e-4)}
    assert differ, "the exception in OWN_STATISTICS is no longer needed"
    assert all(key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") for key in differ)
    assert not (folder / f"1_{name}").exists()


@dataclass(kw_only=True)
class Careless(Downstream):
    """The mean of an encoder's weights against each number of a file; breaks the contract in chosen ways."""

    metrics = ("above", "below")
    root: str
    how: str = ""
    batch_size: int = 4
    gallery: bool = False

    def check(self) -> list[str]:
        return []

    def evaluate(self, encoder, workdir):
        weight = encoder.embed.weight.mean().item() if self.how != "mode" else float(encoder.eval().training)
        lines = (Path(self.root) / "numbers.txt").read_text().split()
        numbers = np.array([float(line) for line in lines])
        outcomes = {"above": (numbers > weight).astype(float), "below": (numbers <= weight).astype(float)}
        if self.how == "drawn":
            outcomes["above"][0] = torch.rand(()).item()
        if self.how == "training":
            outcomes["above"][0] = float(encoder.training)
        if self.how == "batch":
            outcomes["above"][0] = 1 / self.batch_size
        if self.how == "place":
            outcomes["above"] = np.linspace(0, 1, len(numbers))
        if self.how == "per cent":
            outcomes["above"][0] = 50.0
        if self.how == "weights":
            with torch.no_grad():
                encoder.embed.weight.add_(1)
        items = ["same"] * len(numbers) if self.how == "names" else lines
        if self.how == "own items":
            items = [f"{line} {weight:.3f}" for line in lines]
        if self.how == "undeclared":
            outcomes["beside"] = outcomes["above"]
        metrics = save_outcomes(workdir, items, outcomes)
        return metrics | ({"above": metrics["above"] + 1e-9} if self.how == "rounded" else {})


@pytest.mark.parametrize(
    ("how", "clause"),
    [
        ("per cent", contract.outcomes_are_shares),
        ("names", contract.items_are_named_once_and_each_has_an_outcome),
        ("rounded", contract.metrics_are_the_means_of_their_outcomes),
        ("undeclared", contract.metrics_are_the_means_of_their_outcomes),
        ("weights", contract.the_encoder_is_left_as_it_was),
        ("mode", contract.the_encoder_is_left_as_it_was),
        ("drawn", contract.evaluation_is_deterministic),
        ("training", contract.evaluation_is_deterministic),
        ("own items", contract.items_are_the_same_for_every_encoder),
        ("batch", contract.harmless_settings_change_nothing),
        ("place", contract.order_of_the_lists_does_not_matter),
    ],
)
def test_a_broken_clause_is_noticed(how: str, clause, tmp_path: Path) -> None:
    numbers = ["-0.5", "0.25", "0.75", "0.1"]
    for folder, lines in (("plain", numbers), ("back", numbers[::-1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "numbers.txt").write_text(" ".join(lines))

    def make(folder: str = "plain", how: str = how, **changes: object) -> Careless:
        return Careless(preset="careless", root=str(tmp_path / folder), how=how, **changes)

    def trial(how: str) -> Trial:
        runs = tmp_path / f"runs {how}"
        return Trial(lambda **changes: make(how=how, **changes), TinyEncoder(), runs, lambda: make("back", how))

    assert broken_clauses_of(trial(""), contract.CONTRACT) == []
    assert clause(trial(how))


def test_folders_and_lists_are_listed_backwards(data, tmp_path: Path) -> None:
    make = relisted(CASES["lost"], data("lost"), tmp_path / "copy")
    seen = []
    task = make()
    task.gallery = False
    task.discover = lambda *_: seen.append(os.listdir(data("lost"))) or pytest.fail("far enough")  # type: ignore
    with pytest.raises(pytest.fail.Exception):
        task.evaluate(vit(), tmp_path / "out")
    assert seen == [sorted(os.listdir(data("lost")), reverse=True)]
    lists = [(at / "ImageSets/Main/trainval.txt").read_text().split() for at in (data("lost"), tmp_path / "copy")]
    assert lists[0] == lists[1][::-1]


class TestTheCommand:
    """`run task=check eval=[NAME]`."""

    words = (
        "task=check", "eval=[knn_imagenet1k]", "backbone=vit_mini", "backbone.image_size=16", "device=cpu", "num_workers=0",
        "eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16",
    )  # fmt: skip

    def test_what_holds_and_what_was_left_out_is_shown(self, said, image_root: Path) -> None:
        code, shown, error = said(*self.words, f"eval.knn_imagenet1k.root={image_root}")
        assert code == 0, error
        assert shown.count("holds") == len(contract.CONTRACT) - 1
        assert "left out: two processes" in shown
        assert "left out: order of the lists" in shown

    def test_broken_clauses_are_named(self, said, image_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("longtake.downstream.knn.KNN.metrics", ("top1_k20",))
        monkeypatch.setattr("longtake.downstream.knn.save_outcomes", lambda *a: save_outcomes(*a) | {"top1_k20": 3.0})
        code, _, error = said(*self.words, f"eval.knn_imagenet1k.root={image_root}")
        assert code == 2
        assert error.splitlines()[-1] == (
            "error: eval.knn_imagenet1k breaks 1 clause(s): metrics are the means of their outcomes"
        )

    def test_missing_data_are_one_line(self, said) -> None:
        code, _, error = said(*self.words)
        assert code == 2
        (line,) = error.splitlines()
        assert line.startswith("error: nothing to check: knn_imagenet1k: no image folder")

    def test_long_trainings_are_made_short(self, said, image_root: Path) -> None:
        sizes = ["train_batch_size=24", "mixup_batch_size=12", "batch_size=12", "test_split=val", f"root={image_root}"]
        words = [f"eval.finetune_mini.{word}" for word in ("size=16", "resize=16", *sizes)]
        code, shown, error = said("task=check", "eval=[finetune_mini]", *self.words[2:6], *words)
        assert code == 0, error
        assert "shortened: epochs=1, warmup_epochs=0" in shown
        assert "left out: batch_size" in shown
