"""What becomes of sound files: cut, half zeros, other annotations; and names that are no UTF-8."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longtake.datasets.coco import COCO

NOT_UTF8 = os.fsdecode(b"gr\xfcn")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    """As a download leaves a file that was given its whole size at the beginning."""
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


def other_annotations(root: Path, change: Callable[[dict[str, Any]], object], *splits: str) -> Path:
    """Changes COCO's annotations of these splits, of the tested one where none is named."""
    for split in splits or ("val2017",):
        path = COCO(root).annotation_file(split)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return root


@contextmanager
def any_name() -> Iterator[None]:
    """Skips the test where the file system refuses a name because it is no UTF-8, as that of macOS does."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EILSEQ, errno.EINVAL):
            raise
        pytest.skip("this file system takes UTF-8 alone")
