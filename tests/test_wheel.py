"""What a user installs: the wheel runs outside a clone, and type checkers see the public names through it and through a clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # mypy reads PyTorch's types: half a minute
ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
USERS = """from pathlib import Path

import longtake

source = longtake.Video(name="video", path="walk.mp4")
trained = longtake.pretrain(method="dino", source=source, epochs=2, lr=1e-3)
width: int = trained.encoder.embed_dim
file: Path = trained.file
score: float = longtake.evaluate(trained.encoder, "knn_mini", "scores")["top1_k20"]
"""
PAIRED = """from longtake.engine.boards import TRACKED, metrics_for
from longtake.leaderboards.outcomes import compare
from longtake.leaderboards.rows import read

rows = {row.key.method: row.key for row in read(TRACKED / "knn_mini.csv", metrics_for("knn_mini")) if row.key.seed == 0}
print(compare(TRACKED, "knn_mini", "top1_k20", rows["dino"], rows["none"]).num_items, "items")
"""
WRONG = """import longtake

longtake.pretrain(method="dino", source="walk.mp4", epochs="two")
longtake.dino_los
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    done = subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = built.glob("longtake-*.whl")
    return archive


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked as pip does it."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(archive).extractall(site)
    return site


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which this clone is the package, as `.typing` is."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "longtake").symlink_to(ROOT)
    return folder


def python(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "LONGTAKE_DATA": str(folder / "data")}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_runs_outside_a_clone(wheel, tmp_path):
    where = python(wheel, tmp_path, "-c", "import longtake; print(longtake.__file__, longtake.__version__)").stdout
    assert where.split()[0] == str(wheel / "longtake" / "__init__.py")
    done = python(wheel, tmp_path, "-m", "longtake.run", "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "dora on vit_mini_8" in done.stdout
    assert "knn_mini" in done.stdout


def test_the_wheel_has_the_items_of_every_published_row(archive, wheel, tmp_path):
    """Without them an installed package has no letters and no paired tests."""
    kept = {path.relative_to(ROOT) for path in (ROOT / "leaderboards" / "outcomes").rglob("*.npz")}
    assert len(kept) > 200
    assert {path.relative_to(wheel / "longtake") for path in (wheel / "longtake").rglob("*.npz")} == kept
    done = python(wheel, tmp_path, "-c", PAIRED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1200 items")
    assert archive.stat().st_size < 5e6


@pytest.mark.parametrize("installed", ["wheel", "clone"])
def test_mypy_passes_in_a_users_project(installed, request, tmp_path):
    site = request.getfixturevalue(installed)
    (tmp_path / "users.py").write_text(USERS)
    (tmp_path / "wrong.py").write_text(WRONG)
    good = python(site, tmp_path, "-m", "mypy", "--strict", "users.py")
    assert good.returncode == 0, good.stdout
    wrong = python(site, tmp_path, "-m", "mypy", "--strict", "wrong.py").stdout
    assert 'Argument "epochs" to "pretrain" has incompatible type "str"' in wrong
    assert 'Module has no attribute "dino_los"' in wrong
