"""What a plan and `import longtake` do not wait for: libraries that take seconds to import are imported where they are used."""

import subprocess
import sys

from torchvision.datasets.folder import IMG_EXTENSIONS

from longtake.datasets.pictures import EXTENSIONS

SLOW = {
    "lightning",
    "torchmetrics",
    "torchvision",
    "timm",
    "torch._dynamo",
    "scipy",
    "sklearn",
    "matplotlib",
    "mmengine",
}


def imported(code: str, folder: str) -> set[str]:
    """Which modules a program has imported when it ends; the program must end well."""
    code = f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_a_plan_imports_nothing_slow_but_pytorch(tmp_path):
    code = "from longtake.run import main\nsys.argv = ['run', 'dry_run=true']\nmain()"
    modules = imported(code, str(tmp_path))
    assert "longtake.methods.dora" in modules
    assert not modules & SLOW


def test_import_longtake_imports_nothing_slow(tmp_path):
    modules = imported("import longtake\nlongtake.__version__, longtake.__all__, dir(longtake)", str(tmp_path))
    assert not modules & (SLOW | {"torch", "numpy", "hydra"})


def test_names_of_picture_files_end_as_torchvisions():
    assert EXTENSIONS == IMG_EXTENSIONS
