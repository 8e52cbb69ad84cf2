"""Commands as everybody may read them: without the folders of the machine on which they were given.

A folder can be spelled in many ways: absolutely, from the home (`~`, `$HOME`, `${oc.env:HOME}`), from a folder above, as an
address (`file:///`), with its letters percent-encoded or escaped, in other case; alone, in a list or quoted. Of each path the last
part stays.
"""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

OF_THE_MACHINE = ("output", "resume")  # keys that do not change a command's numbers
HOME = "home"  # instead of a folder that is somebody's home
NAMES = "HOME|USERPROFILE|HOMEPATH|HOMEDRIVE|USER|USERNAME|LOGNAME|PWD|OLDPWD|TMPDIR|XDG_[A-Z]+_(?:HOME|DIR)"
VARIABLE = re.compile(
    rf"\$\{{(?:oc\.env:)?(?:{NAMES})\b[^{{}}]*\}}|\$(?:env:)?(?:{NAMES})\b|%(?:{NAMES})%", re.IGNORECASE
)
SCHEME = re.compile(r"\bfile:(?://(?:localhost)?(?=[/~$]))?", re.IGNORECASE)
DRIVE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:(?=[\\/])")
# What stands between the signs that lists, mappings, quotes and keys are made of; a sign may be escaped.
PIECE = re.compile(r"https?://[^\s,\[\]{}\"']+|(?:\\[^/]|[^,\[\]{}()=\"':;|\\]|\\(?=/))+")
SOMEBODYS = re.compile(r"/*(?:home|users|export/home|var/home|usr/home)/+[^/]+|/+root", re.IGNORECASE)
WITHIN = re.compile(r"(?:^|/)(?:home|users)/+[^/]+/", re.IGNORECASE)  # of a path that is relative


def for_everybody(command: str) -> str:
    """A command line that anybody could give; one that no shell can read loses its folders all the same."""
    try:
        words = shlex.split(command)
    except ValueError:
        return " ".join(map(without_folders, command.split(" ")))
    return shlex.join(without_folders(word) for word in words if _key(word) not in OF_THE_MACHINE)


def names_a_home(text: str) -> bool:
    """Whether a text names a folder that is somebody's home."""
    plain = _plain(text)
    return (
        "~/" in plain
        or bool(re.search(r"/(?:home|users)/+\w", plain, re.IGNORECASE))
        or any(home.casefold() in plain.casefold() for home in _homes())
    )


def without_folders(word: str) -> str:
    """A word of a command whose paths are their last parts; one without such a path is as it was, sign by sign."""
    plain = _plain(word)
    reduced = PIECE.sub(lambda found: _last_part(found[0]), plain)
    return word if reduced == plain and plain in (word, _decoded(word)) else reduced


def _key(word: str) -> str:
    return word.partition("=")[0].strip("'\"").lstrip("+~") if "=" in word else ""


def _plain(text: str) -> str:
    """Text in which every home is `~` and every slash a slash."""
    text = _decoded(text).replace("\\/", "/")
    text = DRIVE.sub("", SCHEME.sub("", VARIABLE.sub("~", text)))
    return re.sub(r"\\(?=Users\\)|(?<=\\Users)\\|\\(?=home\\)", "/", text, flags=re.IGNORECASE)


def _decoded(text: str) -> str:
    """Text without percent-encoding, where that hides a part of a path."""
    while re.search(r"%[0-9A-Fa-f]{2}", text) and (found := unquote(text)) != text:
        text = found
    return text


def _last_part(piece: str) -> str:
    """The last part of a path that says where somebody's folders are; any other piece as it is."""
    path = piece.lstrip()
    lead = piece[: len(piece) - len(path)]
    path = re.sub(r"\\(?! )", "/", path) if path.startswith(("\\", "/Users", "/users")) and "/Users" in path else path
    whole = path.rstrip("/")
    if not whole or not _is_placed(path):
        return piece
    if _is_home(whole):
        return lead + HOME
    return lead + re.split(r"/+", whole)[-1]


def _is_placed(path: str) -> bool:
    """Whether a path begins at a root, at a home or above here, or goes through a home."""
    if re.match("https?://", path):  # which is everybody's
        return bool(WITHIN.search(path))
    begins = path.startswith(("/", "~/", "\\")) or ".." in path.split("/") or _is_home(path)
    return begins or bool(re.match(r"~[^/]+/", path)) or bool(WITHIN.search(path))


def _is_home(path: str) -> bool:
    path = path.rstrip("/")
    somebodys = path == "~" or (path.startswith("~") and "/" not in path and os.path.expanduser(path) != path)
    return somebodys or bool(SOMEBODYS.fullmatch(path)) or path.casefold() in {home.casefold() for home in _homes()}


def _homes() -> set[str]:
    """The home of whoever publishes, with its links resolved, too."""
    home = Path("~").expanduser()
    return {place for place in (str(home), str(home.resolve()), os.environ.get("HOME", "")) if place.strip("/")}
