"""Names of files are text on every console: brackets in them are printed as they are."""

import io

import pytest
from rich.table import Table

from longtake.console import Literal, console, notes, progress_bar

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
