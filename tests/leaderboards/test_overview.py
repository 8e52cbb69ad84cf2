"""Methods x tasks in Markdown, LaTeX and pictures: exact texts, names that are no markup."""

from pathlib import Path

import matplotlib.image
import pytest
from markdown_it import MarkdownIt
from matplotlib.mathtext import MathTextParser

from longtake.leaderboards.overview import Column, Line, latex_table, markdown_overview, overview
from longtake.leaderboards.plots import draw_bars, draw_heat_map, draw_losses
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.summary import Entry, Placing, Score

KNN, DECAY = Column("knn_mini", "top1"), Column("davis_mini", "J_decay")
NASTY = "<b>_x_</b>|&$%{}~^\\"


def entry(
    method: str,
    column: Column,
    score: Score,
    variant: str = "",
    epochs: int = 6,
    source: str = "run",
    seeds: int = 1,
    protocol: str = "p-v1",
) -> Entry:
    key = Key(method, variant, "mini", "vit_mini_8", epochs, protocol, None, source)
    if method == "none":
        key = key._replace(pretrain="none", epochs=0)
    rows = tuple(Row(key._replace(seed=seed), {}, Provenance()) for seed in range(seeds))
    return Entry(key, rows, (Path(),) * seeds, {column.metric: score})


def example() -> tuple[list[Column], list[Line]]:
    boards = {
        KNN: [
            entry("none", KNN, Score(11.04, 9, 13, None, {0: Placing("b", (3, 3), 3)})),
            entry("dino", KNN, Score(18.5, 16.3, 20.8, 0.5, {0: Placing("a", (1, 2), 3)}), seeds=3),
            entry("dora", KNN, Score(18.46, 16, 21, 0.5, {0: Placing("a", (1, 2), 3)}), epochs=12),
            entry("dora", KNN, Score(99.0), source="paper:table5"),
        ],
        DECAY: [
            entry("none", DECAY, Score(5.0)),
            entry("dora", DECAY, Score(4.0), epochs=12),
            entry("dino", DECAY, Score(3.0)),
        ],
    }
    return list(boards), overview(boards)


def test_lines_go_from_the_best_mean_rank_and_have_no_paper() -> None:
    _, lines = example()
    assert [(line.label, line.mean_rank) for line in lines] == [("dino", 1.0), ("dora", 2.0), ("random init", 3.0)]


def test_a_method_with_two_budgets_says_which() -> None:
    boards = {KNN: [entry("dino", KNN, Score(1.0), epochs=e) for e in (6, 12)] + [entry("none", KNN, Score(0.5))]}
    assert [line.label for line in overview(boards)] == ["dino (12 epochs)", "dino (6 epochs)", "random init"]


def test_ranks_are_of_the_columns_that_all_have() -> None:
    boards = {
        KNN: [entry("dino", KNN, Score(1.0)), entry("none", KNN, Score(0.5))],
        DECAY: [entry("none", DECAY, Score(1))],
    }
    assert [line.mean_rank for line in overview(boards)] == [1.0, 2.0]
    boards = {KNN: [entry("dino", KNN, Score(1.0))], DECAY: [entry("none", DECAY, Score(1))]}
    assert [line.mean_rank for line in overview(boards)] == [None, None]


def test_only_the_presets_own_protocol_stands_in_a_column() -> None:
    other = entry("dino", KNN, Score(90.6), protocol="p-v2 temperature=1")
    newer, older = (entry("dino", KNN, Score(value), protocol=name) for value, name in ((55.0, "p-v2"), (50.0, "p-v1")))
    (line,) = overview({KNN: [newer, older, other]})
    assert line.scores[KNN].value == 55.0
    assert overview({KNN: [other]}) == []


def test_letters_of_two_budgets_are_not_mixed() -> None:
    def line(method: str, value: float, *budgets: int) -> Entry:
        return entry(method, KNN, Score(value, places={n: Placing("a", (1, 2), 2) for n in budgets}))

    def letters(*entries: Entry) -> list[str]:
        return [found.scores[KNN].letters for found in overview({KNN: entries})]

    assert letters(line("dino", 3, 0), line("ibot", 2, 0), line("none", 1, 0)) == ["a", "a", "a"]
    assert letters(line("dino", 3, 0), line("none", 1, 0, 1)) == ["a", "a"]
    assert letters(line("dino", 3, 0), line("ibot", 2, 1), line("none", 1, 0, 1)) == ["", "", ""]


def test_markdown() -> None:
    columns, lines = example()
    assert markdown_overview(lines, columns) == (
        "|  | dino | dora | random init |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| knn_mini<br><sub>top1, 1 to 3 seeds</sub> | **18.5** a<br><sub>[16.3, 20.8]</sub> | "
        "**18.5** a<br><sub>[16.0, 21.0]</sub> | 11.0 b<br><sub>[9.0, 13.0]</sub> |\n"
        "| davis_mini<br><sub>J_decay, 1 seed</sub> | **3.0** | 4.0 | 5.0 |\n"
        "| mean rank | 1.0 | 2.0 | 3.0 |\n"
    )


def test_latex() -> None:
    columns, lines = example()
    assert latex_table(lines, columns).splitlines()[3:7] == [
        r"\textbf{method} & knn\_mini top1 & davis\_mini J\_decay \\",
        r"\midrule",
        r"dino & \textbf{18.5} {\scriptsize $\pm$ 2.2} & \textbf{3.0} \\",
        r"dora & \textbf{18.5} {\scriptsize $\pm$ 2.5} & \underline{4.0} \\",
    ]


def test_names_are_no_markup() -> None:
    lines = overview({KNN: [entry("dino", KNN, Score(1.0), variant=NASTY), entry("dino", KNN, Score(2.0))]})
    html = MarkdownIt("commonmark").enable("table").render(markdown_overview(lines, [KNN]))
    assert "<b>" not in html
    assert "&lt;b&gt;_x_&lt;/b&gt;|&amp;$%{}~^\\" in html
    latex = latex_table(lines, [KNN]).splitlines()
    (row,) = [line for line in latex if "textless" in line]
    expected = (
        r"dino \textless{}b\textgreater{}\_x\_\textless{}/b\textgreater{}\textbar{}\&\$\%\{\}\textasciitilde{}"
        r"\textasciicircum{}\textbackslash{} & \underline{1.0} \\"
    )
    assert row == expected


@pytest.mark.parametrize(("label", "latex"), [("[9cm] x", "{[}9cm{]} x"), ("*x", "{*}x"), ("x]", "x{]}")])
def test_no_name_is_an_option_of_the_line_above(label: str, latex: str) -> None:
    r"""After \\\\ LaTeX reads [9cm] as the height of a gap."""
    lines = overview({KNN: [entry("dino", KNN, Score(1.0)), entry(label, KNN, Score(2.0))]})
    (row,) = [line for line in latex_table(lines, [KNN]).splitlines() if "x" in line and "2.0" in line]
    assert row.startswith(latex)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    columns, lines = example()
    draw_bars(lines, columns, tmp_path / "bars.png")
    draw_heat_map(lines, columns, tmp_path / "heat.png")
    draw_losses({"dino": [([0, 0.5, 1], [3, 2, 1])], "dora": [([0, 1], [9, 8])]}, tmp_path / "losses.png")
    for name in ("bars", "heat", "losses"):
        image = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert image.std() > 0.05, f"{name}: an empty picture"
    blue = matplotlib.image.imread(tmp_path / "heat.png")[..., :3].reshape(-1, 3)
    assert ((blue[:, 2] - blue[:, 0]) > 0.2).any(), "what is above random init is blue"


def test_names_in_pictures_are_no_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that would not even be a formula: drawing it as such is an error. In each place that a name has."""
    name = r"a=$\foo$"
    formulas: list[str] = []
    parse = MathTextParser.parse
    monkeypatch.setattr(
        MathTextParser, "parse", lambda *args, **kwargs: formulas.append(args[1]) or parse(*args, **kwargs)
    )
    column = Column(name, name)
    lines = overview({column: [entry("dino", column, Score(1.0), variant=name), entry("dino", column, Score(2.0))]})
    draw_bars(lines, [column], tmp_path / "bars.png")
    draw_heat_map(lines, [column], tmp_path / "heat.png")
    draw_losses({name: [([0, 1], [9, 8])]}, tmp_path / "losses.png")
    assert formulas == []
