"""`outputs/latest`: a link to the newest run folder."""

import os
from pathlib import Path

LATEST = "latest"


def point_to(folder: Path) -> None:
    """Make `latest`, beside a run folder, a link to it; one of two processes that do so at once is the later one.

    Left alone are a file or a folder of that name, and systems without links.
    """
    link, new = folder.with_name(LATEST), folder.with_name(f".{LATEST}.{os.getpid()}")
    if link.exists() and not link.is_symlink():
        return
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(folder.name, target_is_directory=True)  # relative: the whole folder may move
        os.replace(new, link)
    except (OSError, NotImplementedError):  # of a file system, or a Windows, that has no links for everybody
        new.unlink(missing_ok=True)
