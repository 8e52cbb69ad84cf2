"""Getting a file: from a mirror, resumable and checked, or through yt-dlp where that is installed."""

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from longtake.console import Bars
from longtake.datasets.tours import Origin, origin_of, tour_name
from longtake.files import whole

FIGSHARE = (
    "https://api.figshare.com/v2/articles"  # GET /{article} lists name, size, download_url, computed_md5 of its files
)
CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without an answer
# Trustworthy by https://w3c.github.io/webappsec-secure-contexts/, section 3.1.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
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
        with whole(target.with_name(target.name + ".json")) as part:
            part.write_text(json.dumps(record, indent=1) + "\n")
        return str(record["url"])
    raise FetchError("; ".join(reasons))


def download(url: str, target: Path, size: int | None = None, md5: str | None = None) -> None:
    """GET a file. What an earlier attempt left in `<target>.part` is kept, if the server can go on from there.

    Raises `FetchError` for an address that nobody can trust, when the server does not answer, when the disk is too small for
    `size`, or when size or MD5 are not the announced ones (the part is then deleted).
    """
    check_address(url, md5 is not None)
    part = target.with_name(target.name + ".part")
    missing = (size or 0) - (part.stat().st_size if part.exists() else 0)
    if missing > (free := shutil.disk_usage(target.parent).free):
        raise FetchError(f"{url}: needs {missing / 1e9:.1f} GB in {target.parent}, {free / 1e9:.1f} GB are free")
    for attempt in range(ATTEMPTS):
        try:
            _append(url, part, md5 is not None)
            break
        except FetchError:
            raise
        except urllib.error.HTTPError as error:
            raise FetchError(f"{url}: {error.code} {error.reason}") from error
        except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
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


def check_address(url: str, checked: bool) -> None:
    """Raise `FetchError` unless a file may come from there: by https, or by http where its checksum is known (`checked`)."""
    scheme = urllib.parse.urlsplit(url).scheme.lower()
    if scheme != "https" and not (scheme == "http" and checked):
        raise FetchError(f"{url[:200]!r}: refused, expected https://, or http:// of a file whose checksum is known")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address, where that may be one of a file."""

    def __init__(self, checked: bool) -> None:
        self.checked = checked

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check_address(newurl, self.checked)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Python refuses other schemes, too, but as a broken answer, which is asked for again."""
        if address := headers.get("location") or headers.get("uri"):
            check_address(urllib.parse.urljoin(req.full_url, address), self.checked)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opened(request: urllib.request.Request | str, checked: bool) -> Any:
    """The answer of a server. The opener knows the web alone: no files, no FTP, no data in the address itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(checked),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=TIMEOUT)


def _append(url: str, part: Path, checked: bool) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = _opened(request, checked)
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
    here = urllib.parse.urlsplit(address).hostname in LOOPBACK  # nobody is on the way
    try:
        check_address(address, here)
        with _opened(address, here) as response:
            files = [_listed(file) for file in json.load(response)["files"]]
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise FetchError(f"the mirror {address} does not answer ({error})") from error
    for name, url, size, md5 in files:
        words = tour_name(Path(name).stem)
        if origin_of(words) is origin or any(origin_of(word) is origin for word in _endings(words)):
            download(url, target, size, md5)
            return {"url": url, "md5": md5}
    raise FetchError(f"the mirror {address} has no file of this name")


def _listed(file: Any) -> tuple[str, str, int, str]:
    """Name, address, size and MD5 of a file on the mirror. Raises `ValueError` for what is none of these."""
    name, url, size, md5 = (file[key] for key in ("name", "download_url", "size", "computed_md5"))
    if not (isinstance(size, int) and isinstance(md5, str) and re.fullmatch("[0-9a-f]{32}", md5)):
        raise ValueError(f"{name!r}: got size {size!r} and MD5 {md5!r}")
    return str(name), str(url), size, md5


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
    # -o is a template, in which %(title)s, $HOME and ~ mean something: so it gets the video's id, and the file its name here
    fetched = target.with_name(f"{origin.youtube}.mp4")
    command = [program, *wanted, "--remux-video", "mp4", "-P", ".", "-o", fetched.name, "--", origin.watch]
    status = subprocess.run(command, check=False, cwd=target.parent).returncode
    if status or not fetched.is_file():
        raise FetchError(f"yt-dlp ended with {status}; it may need cookies (yt-dlp --help, --cookies-from-browser)")
    os.replace(fetched, target)
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
