"""The one console: colours and bars on a terminal, plain lines in a log."""

import os
import sys

from rich.console import Console

LOG_WIDTH = 120  # columns of a file or a pipe

console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_WIDTH)
if os.environ.get("LOCAL_RANK", "0") != "0":
    console.quiet = True  # one process speaks
