"""Where data live: `LONGTAKE_DATA`, by default `~/.cache/longtake`. Nothing is written into the package."""

import os
import re
from pathlib import Path
from typing import Annotated

# A path as somebody types it, for `expanded`. The command line takes the value of a key of this type as it is, whatever its signs.
Place = Annotated[str, "a path"]
HOME = re.compile(r"\$LONGTAKE_DATA\b|\$\{LONGTAKE_DATA\}")


def data_root() -> Path:
    """Folder of data sets in their official layouts, frame stores and the mini world (it may not exist yet)."""
    return Path(os.path.expandvars(os.environ.get("LONGTAKE_DATA") or Path.home() / ".cache" / "longtake")).expanduser()


def expanded(path: str | Path) -> Path:
    """Every path that somebody types, as a shell takes it: `~`, unless it is nobody's home (as in `~old.mp4`), and `$NAME` where
    there is such a variable; `$LONGTAKE_DATA` has a default. What exists as it is typed is that, whatever its signs.
    """
    return Path(path if os.path.lexists(path) else _by_shell(os.fspath(path)))


def _by_shell(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(HOME.sub(lambda _: str(data_root()), path)))
