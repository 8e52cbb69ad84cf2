"""Damaged copies of files: bytes flipped, cut, zeroed, doubled, and values of texts replaced; each a function of (seed, number)."""

import re
from pathlib import Path

import numpy as np

TEXTS = {".json", ".xml", ".txt", ".csv", ".ini", ".label", ".yaml"}
TOKEN = re.compile(rb'-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|"[^"]*"|(?<=>)[^<>\s]+(?=<)|\w+')
# What tools, tired people and attackers write where a value is expected.
VALUES = (
    b"nan", b"NaN", b"-Infinity", b"1e999", b"-1e999", b"-1", b"0", b"1.5", b"99999999999999999999", b"", b"null", b"[]", b"{}",
    b"true", b'"text"', b'"../../x"', b"/etc/x", b"[[[[]]]]", b"[" * 3000, b"\xff\xfe", b"\0", b"<a>", b"&x;", b"1e5000", b"{",
)  # fmt: skip


def mutated(path: Path, content: bytes, *seed: int) -> bytes:
    """A damaged copy of a file's content."""
    draw = np.random.default_rng(seed)
    if path.suffix in TEXTS and draw.random() < 0.7:
        return _other_value(content, draw)
    way = (_flipped, _cut, _zeroed, _doubled, _shuffled)[int(draw.integers(5))]
    return way(content, draw)


def _other_value(content: bytes, draw: np.random.Generator) -> bytes:
    found = list(TOKEN.finditer(content))
    if not found:
        return _flipped(content, draw)
    token = found[int(draw.integers(len(found)))]
    value = VALUES[int(draw.integers(len(VALUES)))]
    if draw.random() < 0.2:  # a value of elsewhere in the file
        value = found[int(draw.integers(len(found)))][0]
    return content[: token.start()] + value + content[token.end() :]


def _place(content: bytes, draw: np.random.Generator) -> int:
    """Somewhere; every other time near the beginning, where the headers are."""
    return int(draw.integers(min(len(content), 400) if draw.random() < 0.5 else len(content))) if content else 0


def _flipped(content: bytes, draw: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 9)) if content else 0):
        changed[_place(content, draw)] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def _cut(content: bytes, draw: np.random.Generator) -> bytes:
    return content[: _place(content, draw)]


def _zeroed(content: bytes, draw: np.random.Generator) -> bytes:
    start, length = _place(content, draw), int(draw.integers(1, 600))
    length = min(length, len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _doubled(content: bytes, draw: np.random.Generator) -> bytes:
    start, length = _place(content, draw), int(draw.integers(1, 600))
    return content[:start] + content[start : start + length] + content[start:]


def _shuffled(content: bytes, draw: np.random.Generator) -> bytes:
    start, length = _place(content, draw), int(draw.integers(1, 60))
    return content[:start] + draw.bytes(min(length, len(content) - start)) + content[start + length :]
