"""What people see: exact tables at several widths, names that are not markup, the sentence about two rows."""

import io
from itertools import pairwise

import pytest
from hostile import HOSTILE, elements
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from longtake.leaderboards.render import comparison, console_table, markdown_table
from longtake.leaderboards.rows import Key, Provenance, Row
from longtake.leaderboards.statistics import Difference, Estimate

DINO = Key("dino", "", "mini", "vit_mini", 10, "mini.v1", 0, "run")
DORA = DINO._replace(method="dora", variant="fidelity=official num_objects=4", seed=1)
NONE = Key("none", "", "", "vit_mini", 0, "mini.v1", 0, "run")


def make_row(key: Key, **values: float | tuple[float, float, float]) -> Row:
    scores = {name: Estimate(*value) if isinstance(value, tuple) else Estimate(value) for name, value in values.items()}
    return Row(key, scores, Provenance())


ROWS = [
    make_row(DINO, top1_k10=(41.24, 38.5, 44.04), top1_k20=(40.0, 37.2, 42.8)),
    make_row(DORA, top1_k10=(43.5, 40.7, 46.3)),
    make_row(NONE, top1_k10=(24.31, 21.9, 26.7), top1_k20=(40.0, 37.3, 42.9)),
]
METRICS = ("top1_k10", "top1_k20")


def shown(rows: list[Row], width: int, metrics: tuple[str, ...] = METRICS, colour: bool = False) -> str:
    """What a console of this width prints; ASCII only, as in a log or an old terminal."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8" if colour else "ascii", write_through=True)
    console = Console(file=stream, width=width, force_terminal=colour, color_system="standard" if colour else None)
    console.print(console_table("knn_mini", rows, metrics))
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_wide_console_shows_one_table() -> None:
    assert stripped(shown(ROWS, width=120)) == [
        "knn_mini  backbone vit_mini, source run, protocol mini.v1",
        "method      | variant           | pretrain | epochs | seed |          top1_k10 |          top1_k20",
        "------------+-------------------+----------+--------+------+-------------------+------------------",
        "dino        |                   | mini     |     10 |    0 | 41.2 [38.5, 44.0] | 40.0 [37.2, 42.8]",
        "dora        | fidelity=official | mini     |     10 |    1 | 43.5 [40.7, 46.3] |",
        "            | num_objects=4     |          |        |      |                   |",
        "random init |                   |          |      0 |    0 | 24.3 [21.9, 26.7] | 40.0 [37.3, 42.9]",
        "",
    ]


def test_a_narrow_console_shows_the_metrics_in_several_tables() -> None:
    assert stripped(shown([ROWS[0], ROWS[2]], width=60)) == [
        "knn_mini  backbone vit_mini, seed 0, source run, protocol",
        "mini.v1",
        "method      | pretrain | epochs |          top1_k10",
        "------------+----------+--------+------------------",
        "dino        | mini     |     10 | 41.2 [38.5, 44.0]",
        "random init |          |      0 | 24.3 [21.9, 26.7]",
        "",
        "method      | pretrain | epochs |          top1_k20",
        "------------+----------+--------+------------------",
        "dino        | mini     |     10 | 40.0 [37.2, 42.8]",
        "random init |          |      0 | 40.0 [37.3, 42.9]",
        "",
    ]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_console_and_no_score_is_broken(width: int) -> None:
    metrics = ("top1_k10", "top1_k20", "top1_k100", "top1_k200")
    rows = [make_row(key, **dict.fromkeys(metrics, (41.2, 38.5, 44.0))) for key in (DINO, NONE, DORA)]
    text = shown(rows, width, metrics)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("41.2 [38.5, 44.0]") == len(rows) * len(metrics)


def test_the_best_of_a_column_is_bold_and_so_are_equals() -> None:
    text = shown(ROWS, width=120, colour=True)
    assert "\x1b[1m43.5\x1b[0m" in text
    assert text.count("\x1b[1m40.0\x1b[0m") == 2
    assert "\x1b[1m41.2" not in text
    assert "\x1b[1m43.5" not in shown(ROWS[1:2], width=120, colour=True)  # alone, nothing is best


def test_a_name_is_neither_markup_nor_a_command_to_the_terminal() -> None:
    rows = [ROWS[0], make_row(DINO._replace(method="[red]x[/red]\x1b[31m\n2"), top1_k10=1.0)]
    text = shown(rows, width=120, colour=True)
    assert "[red]x[/red] [31m 2" in text
    assert "\x1b[31m" not in text


def test_no_rows_are_said_so() -> None:
    assert shown([], width=80).startswith("knn_mini  no rows yet\n")


def test_markdown_table() -> None:
    assert markdown_table("knn_mini", ROWS, METRICS) == (
        "**knn_mini**  backbone vit_mini, source run, protocol mini.v1\n"
        "\n"
        "| method | variant | pretrain | epochs | seed | top1_k10 | top1_k20 |\n"
        "| --- | --- | --- | --- | --- | ---: | ---: |\n"
        "| dino |  | mini | 10 | 0 | 41.2 [38.5, 44.0] | **40.0** [37.2, 42.8] |\n"
        "| dora | fidelity=official num_objects=4 | mini | 10 | 1 | **43.5** [40.7, 46.3] |  |\n"
        "| random init |  |  | 0 | 0 | 24.3 [21.9, 26.7] | **40.0** [37.3, 42.9] |\n"
    )


@given(name=st.text("ab_|\\`*<>[]()~&$#!-+=.: \n", min_size=1, max_size=12))
@example(" *a* ")
@example(" _a_ ")
@example(" __a__ ")
@example(" `a` ")
@example(" ~~a~~ ")
@example("<b>a</b>")
@example("&lt;")
@example("![a](b)")
@example("\\|")
def test_markdown_shows_names_as_they_are(name: str) -> None:
    rows = [make_row(DINO, top1_k10=1.0), make_row(DINO._replace(source=f"x{name}x"), top1_k10=2.0)]
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = markdown.parse(markdown_table("knn_mini", rows, ("top1_k10",)))
    cells = [
        "".join(part.content for part in token.children or [])
        for before, token in pairwise(tokens)
        if before.type in ("th_open", "td_open")
    ]
    shown_name = f"x{name}x".replace("\n", " ")
    assert cells == ["method", "source", "top1_k10", "dino", "run", "1.0", "dino", shown_name, "2.0"]


def test_the_better_row_and_its_significance_are_said() -> None:
    dino, none = make_row(DINO, top1_k20=(41.2, 38.4, 44.0)), make_row(NONE, top1_k20=(24.3, 21.9, 26.7))
    difference = Difference(16.9, 14.1, 19.8, 0.95, 1200)
    assert comparison("knn_mini", "top1_k20", dino, none, difference) == (
        "knn_mini top1_k20: dino 41.2 is above random init 24.3 by 16.9 [14.1, 19.8]: significant "
        "(paired bootstrap, 95 %, 1200 items)"
    )
    reverse = Difference(-16.9, -19.8, -14.1, 0.95, 1200)
    assert comparison("knn_mini", "top1_k20", none, dino, reverse) == (
        "knn_mini top1_k20: random init 24.3 is below dino 41.2 by 16.9 [14.1, 19.8]: significant "
        "(paired bootstrap, 95 %, 1200 items)"
    )


def test_rows_of_one_method_are_told_apart_by_what_differs() -> None:
    first = make_row(DINO, top1=41.0)
    second = make_row(DINO._replace(variant="num_objects=4", seed=1), top1=41.0)
    assert comparison("knn_mini", "top1", first, second, Difference(0.0, -1.04, 0.96, 0.9, 500)) == (
        "knn_mini top1: dino (seed 0) 41.0 equals dino (variant num_objects=4, seed 1) 41.0 at this precision [-1.0, 1.0]: "
        "not significant (paired bootstrap, 90 %, 500 items)"
    )


@pytest.mark.parametrize("value", [0.04, -0.04, 0.0, -0.0])
def test_nobody_is_above_or_below_by_nothing(value: float) -> None:
    shown = Difference(value, -0.3, 0.3, 0.95, 500)
    same = comparison("knn_mini", "top1", make_row(DINO, top1=41.0 + value), make_row(NONE, top1=41.0), shown)
    assert "dino 41.0 equals random init 41.0 at this precision [-0.3, 0.3]: not significant" in same
    apart = comparison("knn_mini", "top1", make_row(DINO, top1=41.07), make_row(NONE, top1=41.03), shown)
    assert "dino 41.1 differs from random init 41.0 by less than 0.1 [-0.3, 0.3]: not significant" in apart


@pytest.mark.parametrize("field", ["method", "variant", "pretrain", "backbone", "protocol", "source"])
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("differs", [False, True])
def test_what_a_row_says_is_text_in_markdown(text: str, field: str, differs: bool) -> None:
    """In a column of the table, or above it."""

    def table(value: str) -> str:
        rows = [make_row(DINO._replace(**{field: value}), top1_k10=1.0)]
        rows += [make_row(DINO._replace(seed=1) if differs else rows[0].key._replace(seed=1), top1_k10=2.0)]
        return markdown_table("knn_mini", rows, METRICS[:1])

    assert elements(table(text)) == elements(table("plain words"))
