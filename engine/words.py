"""Words of the command line as Hydra's grammar reads them: text stays text, whatever its signs.

The rule, for a value of a key that takes a path (`Place`) or other text, by its annotation: what exists as a file or folder is that
one; else `[a,b]` is a list, where the key takes lists; else with `-m` a comma separates the runs of a sweep; `null`, what is quoted
for Hydra already and `${...}` are left to Hydra; all the rest is the text itself. `~` and `$LONGTAKE_DATA` are expanded later.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from longtake.datasets.roots import Place, expanded
from longtake.engine.config import KEYWORD, choices, composed
from longtake.engine.hints import takes_list, text_of
from longtake.engine.settings import GROUPS, Root

WORD = re.compile(r"(?P<key>\+{0,2}[\w./@-]+)=(?P<value>.*)", re.DOTALL)
# Text that every grammar reads as itself; nothing is asked or imported for it.
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_./][\w./-]*", re.ASCII | re.IGNORECASE)
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
OPEN, CLOSED = "([{", ")]}"


def as_hydra_reads(words: Sequence[str], sweep: bool = False) -> list[str]:
    """The words with text quoted where Hydra would not take it as it is. `sweep`: -m is given.

    Raises `ValueError` for files in the place of something else.
    """
    return [_read(word, words, sweep) for word in words]


def as_given(words: Sequence[str]) -> list[str]:
    """The words of a job without what `allow_keywords` has put before them: they can be composed again, and given to a process."""
    return [word[2:] if word.startswith("++") and KEYWORD.match(word[2:]) else word for word in words]


def as_typed(words: Sequence[str]) -> list[str]:
    """Return what a user typed, given the words of a job; where that is not known, words that mean the same."""
    return [_typed(word) for word in as_given(words)]


def word_of(key: str, value: Any) -> str:
    """A key with any value of a configuration, in Hydra's grammar."""
    return f"{key}={_in_grammar(value)}"


def _in_grammar(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_in_grammar(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_in_grammar, value))}]"
    if isinstance(value, str | Path):
        return literal(str(value), is_path=False)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _read(word: str, words: Sequence[str], sweep: bool) -> str:
    found = WORD.fullmatch(word)
    if found is None or PLAIN.fullmatch(found["value"]) or not found["value"]:
        if found and found["key"] == "pretrain":
            _no_choice(found["value"])
        return word
    key, value = found["key"], found["value"]
    if key == "pretrain":
        for part in [value, *(split(value) if sweep else [])]:
            _no_choice(part)
    hint = hint_of(key.lstrip("+"), words)
    kind = text_of(hint)
    if kind is None:
        return word
    is_path = kind == text_of(Place)
    if sweep and not _exists(value) and (len(parts := split(value)) > 1 or _is_sweep(word)):
        read = [_one(part, is_path, takes_list(hint)) for part in parts]
        return word if len(parts) == 1 else f"{key}={','.join(read)}"
    if is_path and not _exists(value) and len(parts := split(value)) > 1 and all(map(_exists, parts)):
        several = f"{key}=[{value}]" if takes_list(hint) else f"-m {word}"
        raise ValueError(f"{word}: there is no such file; several are {several}")
    return f"{key}={_one(value, is_path, takes_list(hint))}"


def _one(value: str, is_path: bool, lists: bool) -> str:
    """One value, quoted unless Hydra is to read it."""
    if is_path and _exists(value):
        return literal(value, is_path)
    if value.lower() == "null" or QUOTED.fullmatch(value) or ("${" in value and _parsed(f"key={value}")):
        return value
    if lists and value.startswith("[") and value.endswith("]"):
        items = (item.strip() for item in split(value[1:-1]) if item.strip())
        return f"[{','.join(_one(item, is_path, False) for item in items)}]"
    return literal(value, is_path)


def literal(text: str, is_path: bool = True) -> str:
    """Text in quotes, so that neither Hydra nor OmegaConf reads anything into it; a path so that `~` is no one's home by chance."""
    if is_path and (text == "???" or (text.startswith("~") and os.path.expanduser(text) == text)):
        text = f"./{text}"
    if PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)\$\{", lambda found: f"{2 * found[1]}\\${{", text)
    return QuotedString(escaped, Quote.single).with_quotes()


def split(value: str) -> list[str]:
    """A value at its commas, but for those in quotes and in brackets that close."""
    parts, begin, i, depth = [], 0, 0, 0
    while i < len(value):
        if depth == 0 and (quoted := QUOTED.match(value, i)) and value[quoted.end() : quoted.end() + 1] in ("", ","):
            i = quoted.end()
            continue
        if value[i] in OPEN and any(sign in value[i:] for sign in CLOSED):
            depth += 1
        depth -= value[i] in CLOSED and depth > 0
        if value[i] == "," and depth == 0:
            parts.append(value[begin:i])
            begin = i + 1
        i += 1
    return [*parts, value[begin:]]


def hint_of(key: str, words: Sequence[str]) -> Any:
    """The annotation of a key, where that is text; None of any other key."""
    root = get_type_hints(Root, include_extras=True)
    if "." not in key:
        return root.get(key)
    if (types := GROUPS.get(key.partition(".")[0])) is not None:
        return get_type_hints(types, include_extras=True).get(key.partition(".")[2])
    if not KEYWORD.match(f"{key}="):
        return None
    from longtake.engine.keywords import keywords  # imports classes: not for words that are plain

    name = key.rpartition(".")[2]
    hints = [keywords(cls)[name].hint for cls in _classes(key, words) if name in keywords(cls)]
    return next((hint for hint in hints if text_of(hint) and takes_list(hint)), hints[0] if hints else None)


def _classes(key: str, words: Sequence[str]) -> list[type]:
    """The classes that a key can be a keyword of. A wrong name is somebody else's to refuse."""
    from longtake.datasets.sources.base import SOURCES
    from longtake.downstream.base import DOWNSTREAM
    from longtake.methods.base import METHODS

    group, *rest = key.split(".")
    if group == "pretrain":
        return [SOURCES[name] for name in SOURCES.all_names()]
    chosen = [word.partition("=")[2] for word in words if word.startswith("method=")]
    name = rest[0] if group == "eval" else "".join(chosen[-1:])
    try:
        if group == "eval":
            return [DOWNSTREAM[composed([f"eval=[{name}]"]).eval[name].task]]
        return [METHODS[composed([f"method={name}"]).method.name]]
    except (HydraException, OmegaConfBaseException, ValueError):
        return []


def _no_choice(value: str) -> None:
    """Raise `ValueError`, with what was meant, for a file or a folder in the place of a word that chooses data."""
    if value in choices("pretrain") or not (_is_video(value) or value[:1] in "~/." or _exists(value)):
        return
    frames = " (or pretrain=frames, for numbered pictures)" if _exists(value) and expanded(value).is_dir() else ""
    raise ValueError(f"pretrain={value}: expected pretrain=video pretrain.path={value}{frames}")


def _is_video(value: str) -> bool:
    from longtake.datasets.video_files import VIDEO_SUFFIXES  # imports decoders

    return "." in value and value.lower().endswith(VIDEO_SUFFIXES)


def _exists(value: str) -> bool:
    try:
        return bool(value) and expanded(value).exists()
    except (OSError, ValueError, RuntimeError):  # too long, no name at all, of nobody's home
        return False


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _is_sweep(word: str) -> bool:
    parsed = _parsed(word)
    return parsed is not None and parsed.is_sweep_override()


def _typed(word: str) -> str:
    """A word without the quotes that `as_hydra_reads` would set."""
    found = WORD.fullmatch(word)
    parsed = _parsed(word) if found and QUOTED.fullmatch(found["value"]) else None
    text = parsed.value() if parsed is not None else None
    if found is None or not isinstance(text, str):
        return word
    text = re.sub(r"(\\*)\\\$\{", lambda signs: f"{signs[1][: len(signs[1]) // 2]}${{", text)
    typed = f"{found['key']}={text}"
    try:
        return typed if as_hydra_reads([typed]) == [word] else word
    except ValueError:
        return word
