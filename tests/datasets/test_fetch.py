"""Downloads from a server of this machine that breaks off, lies and resumes; a yt-dlp that is a shell script."""

import hashlib
import json
import stat
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest

from longtake.datasets import fetch as fetching
from longtake.datasets.fetch import FetchError, download, fetch
from longtake.datasets.tours import ORIGINS, how_to_get, origin_of

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """`/whole` ignores ranges, `/ranges` honours them, `/cut` breaks off after 100 kB, `/articles/...` is a list of files."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.files: list[dict] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        if self.path == "/articles/25189275":
            return self.answer(200, json.dumps({"files": self.server.files}).encode())
        if self.path == "/missing":
            return self.answer(404, b"")
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", unquote(self.path.removeprefix("/to/")))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        first = 0 if wanted is None or self.path == "/whole" else int(wanted.removeprefix("bytes=").rstrip("-"))
        if first >= len(CONTENT):
            return self.answer(416, b"")
        self.answer(206 if first else 200, CONTENT[first:], cut=100_000 if self.path == "/cut" else None)

    def answer(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["whole", "ranges", "cut"])
@pytest.mark.parametrize("have", [0, 1000, len(CONTENT)])
def test_a_download_goes_on_where_it_stopped(server: Server, tmp_path: Path, kind: str, have: int) -> None:
    (tmp_path / "a.mp4.part").write_bytes(CONTENT[:have])
    download(f"{server.url}/{kind}", tmp_path / "a.mp4", len(CONTENT), hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    if kind == "cut" and have == 0:
        assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize(
    ("path", "size", "md5", "reason"),
    [
        ("missing", None, "0" * 32, "404 Not Found"),
        ("ranges", 7, "0" * 32, "300000 bytes, expected 7; deleted, try again"),
        ("ranges", 10**18, "0" * 32, r"needs 1000000000.0 GB in .*, \d+.\d GB are free"),
        ("ranges", None, "0" * 32, "its MD5 is not 000.*deleted, try again"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    server: Server, tmp_path: Path, path: str, size: int | None, md5: str | None, reason: str
) -> None:
    with pytest.raises(FetchError, match=f"/{path}: {reason}"):
        download(f"{server.url}/{path}", tmp_path / "a.mp4", size, md5)
    assert list(tmp_path.iterdir()) == []


def test_no_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    with pytest.raises(FetchError, match=r"http://127.0.0.1:9/a: .*[Rr]efused"):
        download("http://127.0.0.1:9/a", tmp_path / "a.mp4", md5="0" * 32)


UNTRUSTED = {
    "file": "file:///etc/passwd", "FILE": "FILE:///etc/passwd", "data": "data:text/plain,x", "ftp": "ftp://127.0.0.1/x",
    "path": "/etc/passwd", "relative": "a.mp4", "nothing": "", "jar": "jar:file:///x!/y", "javascript": "javascript:alert(1)",
}  # fmt: skip


@pytest.mark.parametrize("kind", UNTRUSTED)
@pytest.mark.parametrize("md5", [None, "0" * 32])
def test_files_come_from_the_web_alone(server: Server, tmp_path: Path, kind: str, md5: str | None) -> None:
    with pytest.raises(FetchError, match="refused, expected https://"):
        download(UNTRUSTED[kind], tmp_path / "a.mp4", md5=md5)
    if ":" in UNTRUSTED[kind]:  # nor when a server says so
        with pytest.raises(FetchError, match="refused, expected https://"):
            download(f"{server.url}/to/{quote(UNTRUSTED[kind], safe='')}", tmp_path / "a.mp4", md5="0" * 32)
        assert len(server.requests) == 1, "and it is not asked again"
    assert list(tmp_path.iterdir()) == []


def test_without_a_checksum_the_way_has_to_be_safe(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="refused, expected https://, or http:// of a file whose checksum is known"):
        download(f"{server.url}/whole", tmp_path / "a.mp4", len(CONTENT))
    assert server.requests == []
    to = quote(f"{server.url}/whole", safe="")
    download(f"{server.url}/to/{to}", tmp_path / "a.mp4", len(CONTENT), hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT
    with pytest.raises(FetchError, match="refused"):  # as a redirect from https to http would be
        fetching._Redirects(checked=False).http_error_302(
            urllib.request.Request("https://example.org/a"), None, 302, "Found", {"location": "http://example.org/a"}
        )


@pytest.mark.parametrize("entry", [{}, {"computed_md5": None}, {"size": "7"}, {"computed_md5": "../x"}, 3, None])
def test_a_mirror_that_answers_nonsense_is_none(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: object
) -> None:
    monkeypatch.setattr(fetching, "FIGSHARE", server.url + "/articles")
    monkeypatch.setenv("PATH", "")
    sound = {"name": "venice.mp4", "download_url": f"{server.url}/whole", "size": 1, "computed_md5": "0" * 32}
    server.files = [{**sound, **entry} if isinstance(entry, dict) and entry else entry]  # type: ignore[list-item]
    with pytest.raises(FetchError, match=r"the mirror .* does not answer \(.*; yt-dlp is not installed"):
        fetch(ORIGINS["venice"], tmp_path / "venice.mp4", height=360)


@pytest.mark.parametrize("name", ["%(title)s.mp4", "-exec.mp4", "$HOME.mp4", "~.mp4", "a b;touch x.mp4", "${PATH}.mp4"])
def test_no_name_of_ours_is_a_template_or_an_option(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """yt-dlp gets its options, a file name made of the video's id, and the address; the file is renamed here."""
    monkeypatch.setattr(fetching, "FIGSHARE", server.url + "/nothing")
    program = tmp_path / "bin" / "yt-dlp"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {tmp_path}/words\n'
        'while [ "$1" != -o ]; do shift; done\necho film > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    folder = tmp_path / "%(id)s $HOME"
    fetch(ORIGINS["venice"], folder / name, height=360)
    assert (folder / name).read_text() == "film\n"
    words = (tmp_path / "words").read_text().splitlines()
    assert words[-4:] == ["-o", "fGX0Te6pFvk.mp4", "--", "https://www.youtube.com/watch?v=fGX0Te6pFvk"]
    assert not [word for word in words if name in word or "%" in word or "$" in word]


def test_the_mirror_knows_a_tour_by_its_name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIGSHARE", server.url + "/articles")
    common = {"size": len(CONTENT), "computed_md5": hashlib.md5(CONTENT).hexdigest()}
    server.files = [
        {"name": name, "download_url": f"{server.url}/{path}", **common}
        for name, path in (("WT_Venice.mp4", "missing"), ("WT_Chiang Mai.mp4", "cut"), ("Kuala_Lampur.mp4", "whole"))
    ]
    for name, path in (("chiang_mai", "cut"), ("kuala_lumpur", "whole")):
        target = tmp_path / "tours" / f"{name}.mp4"
        assert fetch(ORIGINS[name], target, height=360) == f"{server.url}/{path}"
        record = json.loads(target.with_name(f"{name}.mp4.json").read_text())
        assert (
            record["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest() == hashlib.sha256(CONTENT).hexdigest()
        )
        assert record["bytes"] == len(CONTENT)


def test_yt_dlp_comes_second(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIGSHARE", server.url + "/nothing")
    program = tmp_path / "bin" / "yt-dlp"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/words\nwhile [ "$1" != -o ]; do shift; done\necho film > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    target = tmp_path / "venice.mp4"
    assert fetch(ORIGINS["venice"], target, height=360) == "https://www.youtube.com/watch?v=fGX0Te6pFvk"
    assert "bv*[height>=360]/bv* -S res:360" in (tmp_path / "words").read_text()
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(FetchError, match=r"mirror .* does not answer.*; yt-dlp ended with 3; it may need cookies"):
        fetch(ORIGINS["venice"], tmp_path / "again.mp4", height=360)


def test_every_origin_can_be_found_by_hand() -> None:
    assert len([origin for origin in ORIGINS.values() if origin.figshare]) == 10
    assert len({origin.youtube for origin in ORIGINS.values() if origin.youtube}) == 11
    for name, origin in ORIGINS.items():
        assert origin_of(name) is origin
        assert "https://" in how_to_get(origin)[0]
    assert origin_of("Chiang Mai") is ORIGINS["chiang_mai"]
    assert origin_of("Kuala_Lampur") is ORIGINS["kuala_lumpur"]
    assert origin_of("walk") is None
