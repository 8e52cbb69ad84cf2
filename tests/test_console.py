"""Names of files are text on every console; the bar in a notebook is one output that is updated in its place."""

import io
import sys
import types
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from longtake.console import Bars, Literal, console, notes, progress_bar

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())


class Output:
    """What IPython's `display` gives: what is shown, one text after the other."""

    def __init__(self, content: dict[str, str]) -> None:
        self.shown = [content["text/plain"]]

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content["text/plain"])


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Output]:
    found: list[Output] = []

    def display(content: Any, *, raw: bool = False, display_id: bool = False) -> Output | None:
        if not raw:  # what a console prints, the end of a bar's line
            return None
        assert display_id
        found.append(Output(content))
        return found[-1]

    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return found


@pytest.fixture
def notebook(outputs: list[Output]) -> Console:
    return Console(force_jupyter=True, width=80)


@pytest.mark.filterwarnings("error")  # rich's own bar asks for ipywidgets
def test_it_is_one_output_and_ends_where_the_work_does(notebook: Console, outputs: list[Output]) -> None:
    with Bars(*COLUMNS, console=notebook) as bar:
        task = bar.add_task("pretraining", total=7)
        for _ in range(7):
            bar.advance(task)
        bar.refresh()
    (output,) = outputs
    assert output.shown[-1].startswith("pretraining ━━━")
    assert output.shown[-1].endswith("7/7")


def test_a_passing_one_leaves_nothing(notebook: Console, outputs: list[Output]) -> None:
    with Bars(*COLUMNS, console=notebook, transient=True) as bar:
        bar.add_task("features", total=3)
        bar.refresh()
    (output,) = outputs
    assert any("features" in text for text in output.shown)
    assert output.shown[-1] == ""


def test_a_switched_off_one_shows_nothing(notebook: Console, outputs: list[Output]) -> None:
    with Bars(*COLUMNS, console=notebook, disable=True) as bar:
        bar.add_task("features", total=3)
    assert outputs == []


def test_a_log_has_no_bar(capsys: pytest.CaptureFixture[str], outputs: list[Output]) -> None:
    options: dict[str, Any] = {"console": Console(force_jupyter=False, force_terminal=False)}
    with Bars(*COLUMNS, **options) as bar:
        bar.add_task("features", total=3)
    assert "features" in capsys.readouterr().out  # its last state alone, as rich has it
    assert outputs == []


ODD = "out [bold]/a [/] :smile: [red]b"


def shown(*what: object) -> str:
    page = Literal(file=io.StringIO(), width=200)
    page.print(*what)
    return page.file.getvalue()  # type: ignore[attr-defined]


def test_brackets_are_printed() -> None:
    assert isinstance(console, Literal)
    assert isinstance(notes, Literal)
    assert shown(ODD) == f"{ODD}\n"
    table = Table("name", title=ODD)
    table.add_row(ODD)
    assert shown(table).count(ODD) == 2


def test_a_label_in_front_has_a_colour() -> None:
    assert shown(f"[red]not fetched[/] {ODD}") == f"not fetched {ODD}\n"
    page = Literal(file=io.StringIO(), width=200)
    assert str(page.render_str("[red]broken[/] x").spans[0].style) == "red"


@pytest.mark.parametrize("show", [True, False])
def test_bars_describe_files_as_they_are_called(show: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(show) as bar:
        bar.add_task(ODD, total=1, completed=1)
    assert (ODD[:20] in capsys.readouterr().err.replace("\n", "")) is show
