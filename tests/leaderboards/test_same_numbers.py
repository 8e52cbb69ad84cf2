"""Lines that say which hashes are the same numbers: written once, read again, followed over several commits."""

from pathlib import Path

import pytest

from longtake.leaderboards.same_numbers import Equivalence, add_equivalences, chain, read_equivalences


def line(old: str, new: str, what: str = "evaluation knn_mini") -> Equivalence:
    return Equivalence(old, new, what, f"{old}..{new}", "d1ce")


def test_what_is_added_is_read_again_each_pair_once(tmp_path: Path) -> None:
    path = tmp_path / "same_numbers.csv"
    assert read_equivalences(path) == []
    add_equivalences(path, [line("b", "c"), line("a", "b", "evaluation davis_mini")])
    add_equivalences(path, [line("b", "c")._replace(digest="beef")])
    assert read_equivalences(path) == [
        line("a", "b", "evaluation davis_mini"),
        line("b", "c")._replace(digest="beef"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("old,new,what,commit\n", "line 1: got columns 'old,new,what,commit'"),
        ("old,new,what,commit,digest\na,b,evaluation knn_mini,c\n", "line 2: got 4 cells, expected 5"),
        ("old,new,what,commit,digest\na,b,,c,d\n", "none of them empty"),
    ],
)
def test_a_line_that_nobody_has_written_so_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "same_numbers.csv").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_equivalences(tmp_path / "same_numbers.csv")


def test_lines_form_chains() -> None:
    lines = [line("a", "b"), line("b", "c"), line("c", "b"), line("a", "d"), line("d", "e"), line("e", "c")]
    assert chain("a", "a", lines) == []
    assert chain("a", "c", lines) == [line("a", "b"), line("b", "c")]  # the shortest
    assert chain("c", "a", lines) is None, "the other way round nobody has looked"
    assert chain("x", "c", lines) is None
