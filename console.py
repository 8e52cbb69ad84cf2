"""The one console, and the one kind of progress bar: colours and bars on a terminal or in a notebook, plain lines in a log.

What is printed is text, whatever brackets it has: names of files are not markup. One label in front of it may have a colour, as in
`[red]failed[/]: out [bold]/walk.mp4`.
"""

import io
import os
import re
import sys
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

LOG_WIDTH = 120  # columns of a file or a pipe
LABEL = re.compile(r"\[(red|yellow|green|bold)\]([\w ]+)\[/\]")


class Literal(Console):
    """A console for which a string is what it says, but for one coloured label at its beginning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Rich's own ends the program without a word; this is called where the error is handled, and the run says what it is."""
        raise

    def render_str(self, text: str, **options: Any) -> Text:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # names of files that are not UTF-8
        found = LABEL.match(text)
        if found is None:
            return super().render_str(text, **options)
        said = super().render_str(found[2] + text[found.end() :], **options)
        said.stylize(found[1], 0, len(found[2]))
        return said


def usable(name: str, number: int) -> None:
    """See to a standard stream: one that is closed swallows what it gets, and signs that an encoding has not are spelled out.

    A closed one would give its number to the next file, into which libraries would then print.
    """
    stream = getattr(sys, name)
    if stream is None:
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
        setattr(sys, name, stream)
    if name != "stdin" and isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


for _number, _name in enumerate(("stdin", "stdout", "stderr")):
    usable(_name, _number)
console = Literal(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH)
notes = Literal(stderr=True)  # what is said beside a result: bars, findings, waiting


class InNotebook(Live):
    """A display that a notebook updates in its place. Rich's own needs ipywidgets there, which few have."""

    handle: Any = None

    def refresh(self) -> None:
        if self._nested:
            super().refresh()
        else:
            self._show(self.renderable)

    def stop(self) -> None:
        if self.is_started and not self._nested:
            self._show("" if self.transient else self.renderable)
        super().stop()

    def _show(self, renderable: Any) -> None:
        from IPython.display import display  # type: ignore[import-not-found, unused-ignore]  # there is one in every notebook

        page = Console(file=io.StringIO(), width=self.console.width, force_jupyter=False)
        page.print(renderable)
        content = {"text/plain": page.file.getvalue().rstrip()}  # type: ignore[attr-defined]
        with self._lock:
            if self.handle is None:
                self.handle = display(content, raw=True, display_id=True)
            else:
                self.handle.update(content, raw=True)


class Bars(Progress):
    """Rich's progress bars, in notebooks too."""

    def __init__(self, *columns: str | ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, **options)
        if self.console.is_jupyter:
            transient, renderable = self.live.transient, self.get_renderable
            self.live = InNotebook(
                console=self.console, refresh_per_second=2, transient=transient, get_renderable=renderable
            )


def progress_bar(show: bool = True, *more: ProgressColumn, transient: bool = False) -> Bars:
    """Description, bar, count, whatever `more` shows, and time left; on stderr."""
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn())
    return Bars(*columns, console=notes, disable=not show, transient=transient)
