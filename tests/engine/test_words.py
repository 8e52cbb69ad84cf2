"""Words of the command line: whatever a shell hands over as one word after a key that takes a path is that path."""

import os
import re
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.engine.config import plainly
from longtake.engine.words import as_hydra_reads, as_typed, split

NAMES = [
    "walk (1).mp4", "it's me.mp4", "walk & talk.mp4", "münchen.mp4", "epoch=9-step=100.ckpt", "walk[1].mp4", "a, b.mp4", "#1.mp4",
    "cost $5.mp4", "a${b}.mp4", "back\\slash.mp4", " leading and trailing ", "{x: 1}.mp4", 'say "hi".mp4', "2017", "1e3", "007",
    "null", "true", "[bold]", "[a.mp4,b.mp4]", "~me.mp4", "???", "a\\${b", "ends in \\", "'quoted'", "a:b", "100%", "a|b;c!*?.mp4",
    "${", "\\'", "$(date)", "-dash.mp4", "+plus", "日本.mp4", "a\tb", "choice(a,b)", "x,y", "%(title)s.mp4",
]  # fmt: skip


def read(word: str, sweep: bool = False, *others: str) -> object:
    """The value that the configuration has for a key of root or of `pretrain`."""
    words = as_hydra_reads([*others, word], sweep)
    assert as_hydra_reads(words, sweep) == words  # the processes that Lightning starts read them again
    found: object = plainly(words)
    for part in word.partition("=")[0].split("."):
        found = found[part]  # type: ignore[index]
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("key", "more"), [("checkpoint", ()), ("output", ()), ("pretrain.path", ("pretrain=video",))])
def test_a_file_that_exists_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str, more: tuple
):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    value = read(f"{key}={name}", False, *more)
    assert isinstance(value, str)
    assert Path(value) == Path(name)
    assert os.path.exists(value)
    (typed,) = as_typed(as_hydra_reads([f"{key}={name}"]))
    assert read(typed, False, *more) == value  # the row's command can be given again
    if not name.startswith(("~", "?")):
        assert typed == f"{key}={name}"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("null", "'quoted'", "${", "a${b}.mp4", "???")])
def test_so_is_one_that_does_not_exist_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    assert Path(read(f"output={name}")) == Path(name)  # type: ignore[arg-type]


@given(st.text(st.sampled_from(string.printable + "üß€"), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_through(tmp_path_factory: pytest.TempPathFactory, text: str):
    from longtake.engine.config import composed
    from longtake.engine.words import literal

    assert composed([f"checkpoint_key={literal(text, is_path=False)}"]).checkpoint_key == text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("pretrain.path=[a.mp4,b.mp4]", ["a.mp4", "b.mp4"]),
        ("pretrain.path=[walk (1).mp4, it's me.mp4]", ["walk (1).mp4", "it's me.mp4"]),
        ("pretrain.path=['a, b.mp4',c.mp4]", ["a, b.mp4", "c.mp4"]),
        ("pretrain.path=[2017,2018]", ["2017", "2018"]),
        ("pretrain.path='walk 1.mp4'", "walk 1.mp4"),
        ('pretrain.path="walk 1.mp4"', "walk 1.mp4"),
        ("pretrain.path=null", None),
        ("++pretrain.path=walk 1.mp4", "walk 1.mp4"),
        ("pretrain.path=*.mp4", "*.mp4"),
        ("pretrain.path=~/Videos/walk.mp4", "~/Videos/walk.mp4"),  # the class expands it
        ("pretrain.path=$LONGTAKE_DATA/a b.mp4", "$LONGTAKE_DATA/a b.mp4"),
    ],
)
def test_lists_and_what_is_quoted_for_hydra_stay(word: str, value: object):
    assert plainly(as_hydra_reads(["pretrain=video", word]))["pretrain"]["path"] == value


def test_homes_and_references_of_root_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LONGTAKE_DATA", "/data")
    assert read("output=~/my runs") == f"{tmp_path}/my runs"
    assert read("checkpoint=$LONGTAKE_DATA/dino (1).pth") == "/data/dino (1).pth"
    assert read("output=runs/${seed}") == "runs/0"
    assert read("checkpoint=null") is None


def test_evaluations_folders_are_paths_too():
    words = as_hydra_reads(["eval=[davis2017]", "eval.davis2017.root=2017", "eval.davis2017.split=val"])
    assert words[1:] == ["eval.davis2017.root='2017'", "eval.davis2017.split=val"]
    assert plainly(words)["eval"]["davis2017"]["root"] == "2017"
    inherited = as_hydra_reads(
        ["eval=[finetune_mini_quick]", "eval.finetune_mini_quick.root=my (1)", "eval.none_such.root=a b"]
    )
    assert inherited[1:] == ["eval.finetune_mini_quick.root='my (1)'", "eval.none_such.root=a b"]


def test_commits_are_text():
    assert read("diff=HEAD~1..HEAD") == "HEAD~1..HEAD"
    assert read("since=1234567") == "1234567"


def test_sweeps_go_over_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert as_hydra_reads(["output=a,b"], sweep=True) == ["output=a,b"]
    assert as_hydra_reads(["output=walk (1),b"], sweep=True) == ["output='walk (1)',b"]
    assert as_hydra_reads(["pretrain.path=[a,b],c"], sweep=True) == ["pretrain.path=[a,b],c"]
    assert as_hydra_reads(["output=choice(a,b)"], sweep=True) == ["output=choice(a,b)"]
    Path("a,b").mkdir()
    assert as_hydra_reads(["output=a,b"], sweep=True) == ["output='a,b'"]


def test_commas_divide_but_for_quotes_and_brackets():
    assert split("a,b") == ["a", "b"]
    assert split("'a,b',c") == ["'a,b'", "c"]
    assert split("[a,b],c") == ["[a,b]", "c"]
    assert split("it's,b") == ["it's", "b"]
    assert split("") == [""]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain=/videos/walk.mp4"], "pretrain=/videos/walk.mp4: expected pretrain=video pretrain.path=/videos/walk.mp4"),
        (["pretrain=walk.mp4"], "expected pretrain=video pretrain.path=walk.mp4"),
        (["pretrain=walk (1).MP4"], "expected pretrain=video pretrain.path=walk (1).MP4"),
        (["pretrain=here"], "expected pretrain=video pretrain.path=here (or pretrain=frames, for numbered pictures)"),
        (["pretrain.path=a.mp4,b.mp4"], "several are pretrain.path=[a.mp4,b.mp4]"),
        (["output=a.mp4,b.mp4"], "several are -m output=a.mp4,b.mp4"),
    ],
)  # fmt: skip
def test_what_was_meant_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Path(name).touch()
    Path("here").mkdir()
    with pytest.raises(ValueError, match=re.escape(message)):
        as_hydra_reads(words)
