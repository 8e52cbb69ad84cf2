"""Thousands of damaged files for every reader: each is read as it is, or refused by a `ValueError` that names the file."""

from pathlib import Path

import numpy as np
import pytest
from mutations import mutated
from readers import READERS, SLOW

SHORT, LONG = 40, 5000  # files of a format
pytestmark = pytest.mark.usefixtures("own_data_root")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_nothing_but_a_sentence(name: str, count: int, tmp_path: Path) -> None:
    failures = list(damage(name, tmp_path / "set", max(8, count // SLOW.get(name, 1)), seed=count))
    assert not failures, "\n".join(failures[:20])


def damage(name: str, root: Path, count: int, seed: int = 0):
    """What went wrong with each damaged file that did not end in a sentence with its name."""
    reader = READERS[name]
    reader.make(root)
    reader.look(root)
    groups = [sorted(root.glob(pattern)) for pattern in reader.files]
    assert all(groups), reader.files
    for number in range(count):
        draw = np.random.default_rng([seed, number])
        group = groups[int(draw.integers(len(groups)))]
        path = group[int(draw.integers(len(group)))]
        content = path.read_bytes()
        path.write_bytes(mutated(path, content, seed, number))
        try:
            reader.look(root)
        except ValueError as error:
            if said := amiss(error, path, root):
                yield f"{name}, {number}: {path.relative_to(root)}: {said}"
        except Exception as error:
            yield f"{name}, {number}: {path.relative_to(root)}: {type(error).__name__}: {str(error)[:300]}"
        finally:
            path.write_bytes(content)


def amiss(error: ValueError, path: Path, root: Path) -> str:
    """What a sentence lacks."""
    text = str(error)
    if "\n" in text:
        return f"several lines: {text[:300]!r}"
    if not any(name in text for name in (path.name, path.stem, path.parent.name, str(root))):
        return f"the file is not named: {type(error).__name__}: {text[:300]}"
    return ""
