"""What may stand for the same numbers: which statements changed, which of them must have run, and what speaks against it."""

import ast
from pathlib import Path

import pytest

from longtake.engine.config import choices
from longtake.engine.source_hash import without_words
from longtake.tasks.same_numbers import fixtures_of, subjects
from longtake.tasks.same_numbers.changes import changed_statements, indexed, not_executed
from longtake.tasks.same_numbers.compare import fixtures_for, verdicts
from longtake.tasks.same_numbers.trees import Tree

CODE = '''"""A module."""
import math

SCALE = 2.0


class Loss:
    weight: float = 0.5

    def __call__(self, x):
        if x < 0:
            raise ValueError(f"got {x}")
        total = scaled(x)
        return self.weight * total


def scaled(x):
    if x > 1000:
        return math.log(x)
    return SCALE * x
'''


def trees(text: str, name: str = "loss.py") -> dict[str, ast.Module]:
    return {name: without_words(ast.parse(text))}


def texts(old: str, new: str, name: str = "loss.py") -> list[list[str]]:
    """Changed statements of the old and of the new text."""
    before, after = trees(old), trees(new, name)
    return [
        [s.text.strip() for s in changed_statements(pair[0], indexed(pair[1]))]
        for pair in ((before, after), (after, before))
    ]


def edited(*pairs: tuple[str, str]) -> str:
    text = CODE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_what_only_moves_is_not_changed() -> None:
    assert texts(CODE, CODE, "losses/distance.py") == [[], []]
    first, second = CODE.index("class Loss"), CODE.index("def scaled")
    other_order = CODE[:first] + CODE[second:] + CODE[first:second]
    assert texts(CODE, other_order) == [[], []]


@pytest.mark.parametrize(
    ("pairs", "old", "new"),
    [
        ([("total", "y")], ["total = scaled(x)", "return self.weight * total"], ["y = scaled(x)", "return self.weight * y"]),
        ([("SCALE = 2.0", "SCALE = 3.0")], ["SCALE = 2.0"], ["SCALE = 3.0"]),
        ([("weight: float = 0.5", "weight: float = 0.6")], ["weight: float = 0.5"], ["weight: float = 0.6"]),
        ([("import math", "import math as m")], [], []),
        ([("got {x}", "got {x}, expected more")], [], []),
        ([("x < 0", "x <= 0")], ["if x < 0:\n    pass"], ["if x <= 0:\n    pass"]),
        ([('raise ValueError(f"got {x}")', 'y = -x\n            raise ValueError(f"got {y}")')], [], []),
        ([("return SCALE * x", "return SCALE * x\n\n\ndef unused(x):\n    return 0")], [], ["def unused(x):\n    pass"]),
        ([("return self.weight * total", "return self.weight * total\n\n    def extra(self):\n        return 0")], [],
         ["def extra(self):\n    pass", "return 0"]),
    ],
)  # fmt: skip
def test_a_changed_statement_is_found(pairs: list[tuple[str, str]], old: list[str], new: list[str]) -> None:
    assert texts(CODE, edited(*pairs)) == [old, new]


def test_what_did_not_run_is_named() -> None:
    after = trees(edited(("math.log(x)", "math.log2(x)"), ("SCALE * x", "x * SCALE")))
    ran = {"loss.py": frozenset({4, 7, 8, 11, 13, 14, 17, 18, 20})}  # all but the branch for large numbers
    (place,) = not_executed(after, indexed(trees(CODE)), ran)
    assert str(place) == "loss.py:19: return math.log2(x)"
    assert not_executed(after, indexed(trees(CODE)), {"loss.py": frozenset(range(30))}) == []


def verdict(tmp_path: Path, new_code: str = CODE, **changes: object):
    """Of two trees that differ in a file's name of a local, unless `changes` say more."""
    abouts, digests, executed, places = [], [], [], []
    for name, text in (("old", CODE), ("new", new_code)):
        root = tmp_path / name / "longtake"
        root.mkdir(parents=True)
        (root / "loss.py").write_text(text)
        places.append(Tree(name, root))
        about = {
            "hash": name,
            "settings": {"lr": 5e-4, "k": [1, 2], "worlds": ["mini 2 v3"]},
            "starts": [str(root / "loss.py")],
        }
        executed.append({"loss.py": [4, 7, 8, 10, 17, 11, 13, 14, 18, 20]})
        abouts.append({"evaluation knn_mini": about})
        digests.append({"evaluation knn_mini": "ab"})
    about = abouts[1]["evaluation knn_mini"]
    about["settings"] |= changes.get("settings", {})  # type: ignore[operator]
    about["hash"] = changes.get("hash", "new")
    digests[1]["evaluation knn_mini"] = changes.get("digest", "ab")
    return verdicts(places, abouts, digests, executed, ["evaluation knn_mini"])[0]


def test_a_renamed_local_is_vouched_for(tmp_path: Path) -> None:
    found = verdict(tmp_path, CODE.replace("total", "sum_"), settings={"lr": "5e-4", "new": 3})
    assert found.against == ()
    assert found.line[:4] == ("old", "new", "evaluation knn_mini", "old..new")
    assert found.alone == "NEW alone sets new"


@pytest.mark.parametrize(
    ("code", "changes", "reason"),
    [
        (CODE, {"digest": "cd"}, "other numbers by the fixture 'evaluation knn_mini'"),
        (CODE, {"settings": {"lr": 6e-4}}, "another setting: lr 0.0005 -> 0.0006"),
        (CODE, {"settings": {"worlds": ["mini 2 v4"]}}, "another setting: worlds ['mini 2 v3'] -> ['mini 2 v4']"),
        (CODE, {"settings": {"k": [1, 3]}}, "another setting: k [1, 2] -> [1, 3]"),
        (CODE, {"digest": "failed: it ended with exit code 2"}, "failed: it ended with exit code 2"),
        (CODE.replace("math.log(x)", "math.cos(x)"), {}, "run by no fixture, in new: loss.py:19: return math.cos(x)"),
    ],
)  # fmt: skip
def test_what_speaks_against_it_is_said(tmp_path: Path, code: str, changes: dict, reason: str) -> None:
    assert any(reason in said for said in verdict(tmp_path, code, **changes).against)


def test_the_same_hash_needs_no_word(tmp_path: Path) -> None:
    assert verdict(tmp_path, hash="old", settings={"lr": 1.0}).against == ()


def test_every_evaluation_and_every_method_has_its_fixtures(tmp_path: Path) -> None:
    whats = subjects(tmp_path / "none")
    names = [fixture.name for fixture in fixtures_of(whats, tmp_path)]
    assert len(set(names)) == len(names)
    assert {f"evaluation {name}" for name in choices("eval")} <= {*whats} & {*names}
    for what in whats:
        assert fixtures_for(what, names), what
    assert "none untrained" in fixtures_for("training none none vit_mini_8", names), "its weights are drawn, not read"
    for method in set(choices("method")) - {"none"}:
        assert fixtures_for(f"training {method} mini vit_mini_8", names)[:2] == [
            f"{method} whole",
            f"{method} continued",
        ]


def test_only_commits_are_compared(said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtake.tasks.same_numbers.code_commit", lambda: "0123456789+dirty")
    code, _, error = said("task=same_numbers", "since=HEAD")
    assert code == 2
    assert "this tree is 0123456789+dirty; commit first" in error
    monkeypatch.setattr("longtake.tasks.same_numbers.code_commit", lambda: "0123456789")
    code, _, error = said("task=same_numbers", "since=nowhere")
    assert code == 2
    assert "since: got 'nowhere', expected a commit of this repository" in error
