"""Several files of a repository change together: all of them or none, also where the process or the machine ends in between.

The new files are made in a hidden folder that git does not see, then a list of them is written, then each is moved to its place.
Without the list nothing has happened; with it `finish` moves what is left, however often.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtake.files import locked, refuse_to_write, settle

LIST = "moves.json"


class Changes:
    """Files that are to become others; `folder` is the hidden one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Path, Path] = {}  # where each will be: where it is made

    def place(self, target: Path) -> Path:
        """Where to write what `target` will be; what it is now is there already."""
        target = target.resolve()
        if target not in self.files:
            self.files[target] = self.folder / f"{len(self.files)}{target.suffix}"
            if target.exists():
                shutil.copyfile(target, self.files[target])
        return self.files[target]

    def view(self, folder: Path) -> Path:
        """A folder of links that shows `folder` as it will be."""
        found, shown, folder = {}, self.folder / "view", folder.resolve()
        for path in folder.rglob("*"):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                found[path] = path
        for target, made in {**found, **self.files}.items():
            if target.is_relative_to(folder):
                link = shown / target.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(made)
        return shown


@contextmanager
def together(root: Path) -> Iterator[Changes]:
    """The changes that the block makes come about when it ends without an error; an error leaves all as it was.

    `root` is the folder below which all of them lie. Raises `Refused` where something cannot be written; nothing has then changed.
    """
    changes = Changes(_hidden(root))
    with _alone(root):
        try:
            shutil.rmtree(changes.folder, ignore_errors=True)  # of one that never came to its list
            changes.folder.mkdir()
            yield changes
            for made in changes.files.values():
                settle(made)
            _write_list(root, changes)
        except BaseException:
            shutil.rmtree(changes.folder, ignore_errors=True)
            raise
        _move(root)


def finish(root: Path) -> list[Path]:
    """Move what the list of an earlier process names and that process did not come to; the files of the list, [] without one."""
    if not (_hidden(root) / LIST).is_file():
        return []
    with _alone(root):
        return _move(root)


def _move(root: Path) -> list[Path]:
    folder = _hidden(root)
    if not (folder / LIST).is_file():  # another process was faster
        return []
    moves = {folder / made: root.resolve() / target for made, target in json.loads((folder / LIST).read_text()).items()}
    for made, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.exists():
            os.replace(made, target)
    for parent in {target.parent for target in moves.values()}:
        settle(parent)
    (folder / LIST).unlink()
    shutil.rmtree(folder)
    return list(moves.values())


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps other processes out; git sees nothing of it."""
    place = _hidden(root).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / ".gitignore").write_text("*\n")
    except OSError as error:
        refuse_to_write(place, error)
        raise
    with locked(place / "together.lock"):
        yield


def _hidden(root: Path) -> Path:
    return root / ".writing" / "together"


def _write_list(root: Path, changes: Changes) -> None:
    names = {made.name: str(target.relative_to(root.resolve())) for target, made in changes.files.items()}
    part = changes.folder / f"{LIST}.part"
    part.write_text(json.dumps(names))
    settle(part)
    settle(changes.folder)
    os.replace(part, changes.folder / LIST)
    settle(changes.folder)
