"""Where data live: `LONGTAKE_DATA`, by default `~/.cache/longtake`. Nothing is written into the package."""

import os
from pathlib import Path
from typing import Annotated

# A path as somebody types it, for `expanded`. The command line takes the value of a key of this type as it is, whatever its signs.
Place = Annotated[str, "a path"]


def data_root() -> Path:
    """Folder of data sets in their official layouts, frame stores and the mini world (it may not exist yet)."""
    return Path(os.environ.get("LONGTAKE_DATA") or Path.home() / ".cache" / "longtake").expanduser()


def expanded(path: str) -> Path:
    """`~`, unless it is nobody's home (as in `~old.mp4`), and the data root, `$LONGTAKE_DATA`, which has a default."""
    return Path(os.path.expanduser(path.replace("$LONGTAKE_DATA", str(data_root()))))
