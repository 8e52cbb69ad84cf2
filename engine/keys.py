"""Every keyword of a chosen class is a key: what nobody gives has the class's default, what somebody gives is checked.

Whether a yaml lists a default or leaves it out makes no difference: hashes, variants and protocols are of the configuration that is
filled in here. The keys of no class are checked in the same way.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from longtake.datasets.roots import Place, expanded
from longtake.datasets.sources.base import SOURCES
from longtake.datasets.views import Crop, Precrop
from longtake.engine.config import choices, config_folders, unknown_key
from longtake.engine.hints import fits, in_words, nearest, not_finite, text_of
from longtake.engine.keywords import NO_DEFAULT, Section, annotated, keywords, of_no_class, plain_value, sections
from longtake.engine.settings import GROUPS, OWN, RANGES, Root, Views
from longtake.registry import unknown


def check_views(views: Mapping[str, Any]) -> None:
    """Raise `ValueError` for what a method's views cannot be made of."""
    _check(Section("method.views", "key of method.views:", annotated(Views)), {"precrop": None, **views})
    for place in ("globals", "locals"):
        for crop in views[place]:
            _check(Section(f"method.views.{place}", "key of method.views", keywords(Crop)), crop)
    if precrop := views.get("precrop"):
        _check(Section("method.views.precrop", "key of method.views.precrop", keywords(Precrop)), precrop)


def effective(config: DictConfig) -> dict[str, Any]:
    """The configuration as dictionaries and lists: defaults filled in, references resolved, keys and types checked.

    Raises `ValueError` for a key that its class does not have, for a value of another type, and for one that is missing.
    """
    filled = config.copy()
    OmegaConf.set_struct(filled, False)
    listed: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    parts, tables = list(sections(listed)), _referred_to(listed)
    for part in of_no_class():
        _known(part, {key: value for key, value in part.of(listed).items() if part.place or key not in tables})
    for part in parts:
        for key, keyword in part.keywords.items():
            if key not in part.of(listed) and keyword.default is not NO_DEFAULT:
                part.of(filled)[key] = plain_value(keyword.default)
    found: dict[str, Any] = OmegaConf.to_container(filled, resolve=True)  # type: ignore[assignment]
    for key in tables:
        del found[key]
    for part in [*of_no_class(), *parts]:
        _check(part, part.of(found))
    _at_home(found)
    return found


def _referred_to(config: Mapping[str, Any]) -> list[str]:
    """A yaml's own tables of values: groups of keys that nothing reads but the references of other keys, `${table2b.k16}`."""
    others, text = {*get_type_hints(Root), *OWN, *GROUPS}, str(config)
    tables = [key for key, value in config.items() if key not in others and isinstance(value, Mapping)]
    return [key for key in tables if re.search(rf"\$\{{[^}}]*\b{re.escape(key)}\.", text)]


def _at_home(config: dict[str, Any]) -> None:
    """`~` and `$NAME` of the paths that belong to no class; a class reads its own."""
    for part in of_no_class():
        values = part.of(config)
        for key in (key for key, keyword in part.keywords.items() if text_of(keyword.hint) == text_of(Place)):
            value = values[key]
            values[key] = list(map(_expanded, value)) if isinstance(value, list) else _expanded(value)


def _expanded(value: Any) -> Any:
    return str(expanded(value)) if isinstance(value, str) and ("$" in value or value.startswith("~")) else value


def _check(part: Section, values: dict[str, Any]) -> None:
    """Raise `ValueError` for what is wrong; a value that equals the default becomes it (0 and 0.0 are one setting)."""
    _known(part, values)
    for key, value in values.items():
        if key in part.others:
            continue
        if (number := not_finite(value)) is not None:
            raise ValueError(f"{part.key(key)}: got {number}, expected {in_words(part.keywords[key].hint)} (finite)")
        default, hint = part.keywords[key]
        if not fits(value, hint):
            raise ValueError(f"{part.key(key)}: {_other_type(part.key(key), value, hint)}")
        _within(part, key, value)
        if value == plain_value(default):
            values[key] = plain_value(default)
    for key, keyword in part.keywords.items():
        if key not in values and keyword.default is NO_DEFAULT:
            raise ValueError(f"{part.key(key)}: expected {in_words(keyword.hint)}, got nothing")


def _within(part: Section, key: str, value: Any) -> None:
    """Raise `ValueError` for a number that the keyword of an evaluation or a backbone cannot have."""
    limits = RANGES.get(key) if part.place.startswith(("eval.", "backbone")) else None
    if limits is not None and isinstance(value, int | float) and not limits.allows(value):
        raise ValueError(f"{part.key(key)}: got {value}, expected a number{limits}")


def _known(part: Section, values: Mapping[str, Any]) -> None:
    """Raise `ValueError`, with the nearest right name, for a key that nothing reads."""
    for key, value in values.items():
        if key in part.others or key in part.keywords:
            continue
        if part.place == "method" and not part.keywords:
            raise ValueError(f"{part.place}.{key}: got {value!r}, but nothing is trained")
        if part.place == "pretrain" and (kinds := _sources_with(key)):
            given = f"pretrain.{key}={value}"
            raise ValueError(
                f"{given}: pretrain={values['name']} has no such key, expected {' or '.join(kinds)} {given}"
            )
        if not part.place:
            raise ValueError(unknown_key(key, [*part.keywords, *(f"{name}.{word}" for name, word in _of_groups())]))
        raise ValueError(unknown(part.kind, key, sorted(part.keywords)))


def _of_groups() -> Iterator[tuple[str, str]]:
    return ((part.place, key) for part in of_no_class() if part.place for key in part.keywords)


def _sources_with(key: str) -> list[str]:
    """The words that choose a source with this key, one for each class, videos first."""
    named = [name for name in SOURCES.all_names() if key in keywords(SOURCES[name])]
    return [f"pretrain={word}" for name in reversed(named) for word in _words_of_source(name)[:1]]


def _words_of_source(name: str) -> list[str]:
    """The choices of `pretrain` that are of a class; first the one that is called as the class is."""
    words = sorted(choices("pretrain"), key=lambda word: word != name)
    yamls = {
        word: file
        for word in words
        for folder in config_folders()
        if (file := folder / f"pretrain/{word}.yaml").is_file()
    }
    read = {word: OmegaConf.create(file.read_text()) for word, file in yamls.items()}
    return [word for word, keys in read.items() if keys.get("pretrain", keys).get("source") == name]


def _other_type(key: str, value: Any, hint: Any) -> str:
    """What was given and what is expected, with what may have been meant."""
    said = f"got {'null' if value is None else repr(value)}, expected {in_words(hint)}"
    if isinstance(value, list) and value and all(fits(item, hint) for item in value):
        return f"{said}; for several runs: -m {key}={','.join(map(str, value))}"
    if near := nearest(value, hint):
        return f"{said}. Did you mean {' or '.join(near)}?"
    return said
