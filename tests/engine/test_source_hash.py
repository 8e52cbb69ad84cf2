"""Which changes of a source make a number old, on a package made for the test and on a copy of this one."""

import shutil
from pathlib import Path

import pytest

from longtake.engine.source_hash import closure, source_hash

ROOT = Path(__file__).resolve().parents[2]

METHOD = '''"""A method."""

from longtake.methods.base import Method


class Ours(Method):
    """Learns."""

    def losses(self, views):
        from longtake.methods.loss import distance  # late

        return distance(views)
'''
# What the trees of several Pythons differ in: type parameters, f-strings, empty fields, None.
SAMPLE = """@decorated(level=2)
class Ours(Base, metaclass=Meta):
    weight: float = 0.5

    async def losses(self, x, /, *views, scale=None, **others) -> "Tensor | None":
        name = f"{x!r:>{scale}} and {self.weight=:.3f}" "{}" f'{views["a"]}'
        match views:
            case [first, *_] if first is not None:
                return lambda: (yield first)
            case {"key": 1.5e-3 | -2j, **rest}:
                return None
        try:
            return [*views, {**others}, x[1:, ..., ::2]]
        except* ValueError as error:
            raise RuntimeError(u"text", b"bytes") from error
"""
SAMPLES_HASH = "c25bac708b8a"
LOSS = '''"""A loss."""

import math

WEIGHT = 0.5


def distance(x):
    assert x == x, "no number"
    if x < 0:
        raise ValueError(f"got {x}")
    return WEIGHT * math.sqrt(x)
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "methods").mkdir()
    files = {
        "ours": METHOD,
        "loss": LOSS,
        "base": "class Method:\n    pass\n",
        "other": "import longtake.methods.base\n",
    }
    for name, text in files.items():
        (tmp_path / "methods" / f"{name}.py").write_text(text)
    return tmp_path


def rewritten(package: Path, name: str, old: str, new: str) -> str:
    path = package / "methods" / f"{name}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return source_hash([package / "methods" / "ours.py"], package)


def test_what_is_imported_belongs_to_it_wherever_the_import_stands(package: Path) -> None:
    assert set(closure([package / "methods" / "ours.py"], package)) == {
        "methods/ours.py",
        "methods/base.py",
        "methods/loss.py",
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("loss", "WEIGHT = 0.5", "WEIGHT = 0.50  # a half"),
        ("loss", '"""A loss."""', '"""The loss of the paper."""'),
        ("loss", "WEIGHT * math.sqrt(x)", "(\n        WEIGHT\n        * math.sqrt(x)\n    )"),
        ("ours", '    """Learns."""\n\n', ""),
        ("loss", 'f"got {x}"', 'f"got {x}, expected a positive number"'),
        ("loss", '"no number"', '"not a number"'),
        ("other", "import longtake.methods.base", "import longtake.methods.base as b"),
    ],
)
def test_words_and_layout_do_not_matter(package: Path, name: str, old: str, new: str) -> None:
    before = source_hash([package / "methods" / "ours.py"], package)
    assert rewritten(package, name, old, new) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("loss", "WEIGHT = 0.5", "WEIGHT = 0.6"),
        ("loss", "raise ValueError", "raise TypeError"),
        ("loss", "x < 0", "x <= 0"),
        ("base", "    pass", "    momentum = 0.9"),
        ("ours", "return distance(views)", "return -distance(views)"),
    ],
)
def test_what_is_computed_matters(package: Path, name: str, old: str, new: str) -> None:
    before = source_hash([package / "methods" / "ours.py"], package)
    assert rewritten(package, name, old, new) != before


def test_every_python_gives_the_same_hash(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE)
    assert source_hash([tmp_path / "sample.py"], tmp_path) == SAMPLES_HASH


def test_modules_for_people_are_not_followed(package: Path) -> None:
    start = [package / "methods" / "ours.py"]
    before = source_hash(start, package, {"methods.loss"})
    assert before != source_hash(start, package)
    assert rewritten(package, "loss", "0.5", "0.6") != before  # without the exception it counts
    assert source_hash(start, package, {"methods.loss"}) == before


def test_a_file_outside_of_the_package_is_hashed_and_followed(
    package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "mine.py"
    outside.write_text("from longtake.methods.loss import distance\n")
    before = source_hash([outside], package)
    (package / "methods" / "loss.py").write_text(LOSS.replace("0.5", "0.6"))
    assert source_hash([outside], package) != before


def test_a_constant_of_dora_is_noticed_in_a_copy_of_this_package(tmp_path: Path) -> None:
    for folder in ("methods", "backbones", "datasets"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for leaf in ROOT.glob("*.py"):
        shutil.copy(leaf, tmp_path)
    start = [tmp_path / "methods" / "dora.py"]
    found = closure(start, tmp_path)
    assert {"methods/dora.py", "methods/dino.py", "methods/tracking.py", "methods/base.py", "backbones/vit.py"} <= set(
        found
    )
    assert "methods/swav.py" not in found
    before = source_hash(start, tmp_path)
    assert before == source_hash([ROOT / "methods" / "dora.py"], ROOT), "the place of the package does not matter"
    cross_entropy = tmp_path / "methods" / "cross_entropy.py"
    cross_entropy.write_text(cross_entropy.read_text() + "\nTEMPERATURE = 0.07\n")
    assert source_hash(start, tmp_path) != before
