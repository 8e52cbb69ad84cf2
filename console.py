"""The one console, and the one progress bar: colours and bars on a terminal, plain lines in a log.

What is printed is text, whatever brackets it has: names of files are not markup. One label in front of it may have a colour, as in
`[red]failed[/]: out [bold]/walk.mp4`.
"""

import os
import re
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

LOG_WIDTH = 120  # columns of a file or a pipe
LABEL = re.compile(r"\[(red|yellow|green|bold)\]([\w ]+)\[/\]")


class Literal(Console):
    """A console for which a string is what it says, but for one coloured label at its beginning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        found = LABEL.match(text)
        if found is None:
            return super().render_str(text, **options)
        said = super().render_str(found[2] + text[found.end() :], **options)
        said.stylize(found[1], 0, len(found[2]))
        return said


console = Literal(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH)
if os.environ.get("LOCAL_RANK", "0") != "0":
    console.quiet = True  # one process speaks
notes = Literal(stderr=True)  # what is said beside a result: bars, findings, waiting


def progress_bar(show: bool = True, *more: ProgressColumn, transient: bool = False) -> Progress:
    """Description, bar, count, whatever `more` shows, and time left; on stderr."""
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn())
    return Progress(*columns, console=notes, disable=not show, transient=transient)
