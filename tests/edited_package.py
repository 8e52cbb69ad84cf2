"""This package with some lines of its modules edited: what a developer does to a schema, done in a test."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
Edits = Mapping[str, tuple[str, str]]  # old and new text, which is there once, by module of leaderboards/


def run_edited(folder: Path, edits: Edits, script: str, *arguments: object) -> str:
    """What a script prints in a process where `longtake` is a package in `folder`: leaderboards/ edited, links to the rest."""
    package = folder / "longtake"
    if not package.exists():
        package.mkdir(parents=True)
        for path in ROOT.iterdir():
            if path.name != "leaderboards" and not path.name.startswith("."):
                (package / path.name).symlink_to(path)
        (package / "leaderboards").mkdir()
        for path in (ROOT / "leaderboards").iterdir():
            if path.suffix == ".py":
                (package / "leaderboards" / path.name).write_text(_edited(path, edits))
            else:
                (package / "leaderboards" / path.name).symlink_to(path)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _edited(path: Path, edits: Edits) -> str:
    text = path.read_text()
    if path.name not in edits:
        return text
    old, new = edits[path.name]
    assert text.count(old) == 1, f"{path.name} has not one {old!r}"
    return text.replace(old, new)
