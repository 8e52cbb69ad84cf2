"""The one console, and the one progress bar: colours and bars on a terminal, plain lines in a log."""

import os
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

LOG_WIDTH = 120  # columns of a file or a pipe

console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH)
notes = Console(stderr=True)  # what is said beside a result: bars, findings, waiting


def progress_bar(show: bool = True, *more: ProgressColumn, transient: bool = False) -> Progress:
    """Description, bar, count, whatever `more` shows, and time left; on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn())
    return Progress(*columns, console=notes, disable=not show, transient=transient)
