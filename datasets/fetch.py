"""Getting a file: from a mirror, resumable and checked, or through yt-dlp where that is installed."""

import hashlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from longtake.console import Bars
from longtake.datasets.tours import Origin, origin_of, tour_name

FIGSHARE = (
    "https://api.figshare.com/v2/articles"  # GET /{article} lists name, size, download_url, computed_md5 of its files
)
CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without an answer
ATTEMPTS = 5  # a transfer of hours is cut off now and then; each attempt goes on where the last one stopped


class FetchError(ValueError):
    """It could not be had from there; the reason."""


def fetch(origin: Origin, target: Path, height: int) -> str:
    """Get one video to `target` and record where it came from beside it; returns the source.

    The mirror comes first, then yt-dlp with the smallest picture of at least `height` pixels (else the largest). Raises
    `FetchError` with the reason of each failure.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for way in (_from_figshare, _from_youtube):
        try:
            record = way(origin, target, height)
        except FetchError as error:
            reasons.append(str(error))
            continue
        record |= {"sha256": sha256(target), "bytes": target.stat().st_size, "date": time.strftime("%Y-%m-%d")}
        target.with_name(target.name + ".json").write_text(json.dumps(record, indent=1) + "\n")
        return str(record["url"])
    raise FetchError("; ".join(reasons))


def download(url: str, target: Path, size: int | None = None, md5: str | None = None) -> None:
    """GET a file. What an earlier attempt left in `<target>.part` is kept, if the server can go on from there.

    Raises `FetchError` when the server does not answer, when the disk is too small for `size`, or when size or MD5 are not the
    announced ones (the part is then deleted).
    """
    part = target.with_name(target.name + ".part")
    missing = (size or 0) - (part.stat().st_size if part.exists() else 0)
    if missing > (free := shutil.disk_usage(target.parent).free):
        raise FetchError(f"{url}: needs {missing / 1e9:.1f} GB in {target.parent}, {free / 1e9:.1f} GB are free")
    for attempt in range(ATTEMPTS):
        try:
            _append(url, part)
            break
        except urllib.error.HTTPError as error:
            raise FetchError(f"{url}: {error.code} {error.reason}") from error
        except (OSError, urllib.error.URLError) as error:
            if attempt == ATTEMPTS - 1:
                raise FetchError(f"{url}: {error}") from error
            time.sleep(min(2.0**attempt, 30) if part.exists() else 0)
    wrong = None
    if size is not None and part.stat().st_size != size:
        wrong = f"{part.stat().st_size} bytes, expected {size}"
    elif md5 and _digest(part, "md5") != md5:
        wrong = f"its MD5 is not {md5}"
    if wrong:
        part.unlink()
        raise FetchError(f"{url}: {wrong}; deleted, try again")
    part.rename(target)


def sha256(path: Path) -> str:
    return _digest(path, "sha256")


def _append(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            return
        raise
    with response:
        if response.status != 206:  # the server begins at the beginning
            have = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("r+b" if have else "wb") as file, _bar(part.stem, total, have) as advance:
            file.seek(have)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                advance(len(chunk))
            if total is not None and file.tell() < total:
                raise OSError(f"the connection ended after {file.tell()} of {total} bytes")


def _from_figshare(origin: Origin, target: Path, height: int) -> dict[str, Any]:
    if origin.figshare is None:
        raise FetchError("no mirror")
    address = f"{FIGSHARE}/{origin.figshare}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as response:
            files = json.load(response)["files"]
    except (OSError, ValueError, KeyError) as error:
        raise FetchError(f"the mirror {address} does not answer ({error})") from error
    for file in files:
        words = tour_name(Path(file["name"]).stem)
        if origin_of(words) is origin or any(origin_of(word) is origin for word in _endings(words)):
            download(file["download_url"], target, file["size"], file["computed_md5"])
            return {"url": file["download_url"], "md5": file["computed_md5"]}
    raise FetchError(f"the mirror {address} has no file of this name")


def _endings(words: str) -> Iterator[str]:
    """`wt_chiang_mai` ends with `chiang_mai` and `mai`."""
    parts = words.split("_")
    return ("_".join(parts[i:]) for i in range(len(parts)))


def _from_youtube(origin: Origin, target: Path, height: int) -> dict[str, Any]:
    program = shutil.which("yt-dlp")
    if origin.watch is None or program is None:
        raise FetchError("not on YouTube" if origin.watch is None else "yt-dlp is not installed (pip install yt-dlp)")
    # -S res:N: N lines, else the next more, else the next fewer; video only; a partial file is continued by default
    wanted = ["-f", f"bv*[height>={height}]/bv*", "-S", f"res:{height},ext:mp4"]
    command = [program, *wanted, "--remux-video", "mp4", "-o", str(target), origin.watch]
    if (status := subprocess.run(command, check=False).returncode) or not target.is_file():
        raise FetchError(f"yt-dlp ended with {status}; it may need cookies (yt-dlp --help, --cookies-from-browser)")
    return {"url": origin.watch}


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


@contextmanager
def _bar(name: str, total: int | None, have: int) -> Iterator[Any]:
    columns = (TextColumn("download {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(name, total=total, completed=have)
        yield lambda amount: progress.advance(task, amount)
