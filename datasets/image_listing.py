"""Class folders and the images in them, `<class>/<image>`; long listings are kept."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from longtake.datasets.folders import is_data, is_picture
from longtake.datasets.pictures import EXTENSIONS
from longtake.datasets.roots import data_root
from longtake.files import whole

CACHE_FROM = 100_000  # images; a listing below this size takes a second and is not worth a file
SETTLED_SECONDS = 10  # a folder changed more recently may change again within one tick of a coarse file-system clock


def find_classes(folder: Path) -> list[str]:
    """Class folders of a split, sorted, hidden ones left out.

    Raises ValueError when the folder is missing, has fewer than two classes, or a class without images.
    """
    if not folder.is_dir():
        raise ValueError(f"no image folder {folder}: expected <class>/<image> in it")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and is_data(entry.name))
    if len(classes) < 2:
        loose = f"; {lying} of its images lie in no class folder" if (lying := len(list(_image_names(folder)))) else ""
        raise ValueError(f"got {len(classes)} class folder(s) {classes} in {folder}: expected two or more{loose}")
    for name in classes:
        if next(_image_names(folder / name), None) is None:
            kinds = " ".join(EXTENSIONS)
            raise ValueError(f"class {name!r} in {folder} has no image ({kinds}): fill the folder or remove it")
    return classes


def files_of_classes(folder: Path, classes: Sequence[str]) -> dict[str, list[str]]:
    """Sorted file names of each class.

    A long listing (ImageNet's) is kept under the data root and holds while no class folder's modification time changes.
    """
    stamps = {name: (folder / name).stat().st_mtime_ns for name in classes}
    kept = listing_file(folder)
    if kept.is_file():
        listing = read_listing(kept)
        if listing.get("stamps") == stamps:
            return listing["files"]
    files = {name: sorted(_image_names(folder / name)) for name in classes}
    if settled(stamps) and sum(map(len, files.values())) >= CACHE_FROM:
        keep_listing(kept, {"folder": str(folder), "stamps": stamps, "files": files})
    return files


def listing_file(folder: Path, kind: str = "") -> Path:
    """Where a listing of a folder is kept."""
    return data_root() / "listings" / f"{kind}{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.json"


def read_listing(path: Path) -> dict[str, Any]:
    """A listing that was kept; {} where it is damaged."""
    try:
        listing = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return listing if isinstance(listing, dict) and {"stamps", "files"} <= listing.keys() else {}


def settled(stamps: Mapping[str, int]) -> bool:
    """Whether folders, whose modification times these are, have not changed just now."""
    return max(stamps.values()) < (time.time() - SETTLED_SECONDS) * 1e9


def _image_names(folder: Path) -> Iterator[str]:
    for entry in os.scandir(folder):
        if is_picture(entry.name) and not entry.is_dir():
            yield entry.name


def keep_listing(path: Path, listing: dict) -> None:
    try:
        with whole(path) as part:
            part.write_text(json.dumps(listing))
    except OSError as error:  # a read-only data root costs time at the next start, nothing else
        warnings.warn(f"the listing of {listing['folder']} could not be kept: {error}", stacklevel=2)


def lonely_classes(folder: Path) -> list[str]:
    """Classes of a split that have one image."""
    return [name for name in find_classes(folder) if len(list(islice(_image_names(folder / name), 2))) == 1]
