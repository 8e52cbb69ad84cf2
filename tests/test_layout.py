"""The repository root is the package: what must stay true for that to work, and who may import whom."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from longtake.methods.cross_entropy import other_views

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("backbones", "configs", "datasets", "downstream", "engine", "leaderboards", "methods", "tasks")
NESTED = ("datasets/mini", "datasets/sources", "tasks/compare", "tasks/same_numbers", "tasks/table", "tasks/visualize")
LEAVES = {"console", "files", "parallel", "registry"}  # of every floor
# Who may import whom (design: no cycles, methods and downstream never meet). The root is a room, too.
ARROWS = {
    **{leaf: set() for leaf in LEAVES},
    "backbones": LEAVES,
    "datasets": LEAVES,
    "leaderboards": LEAVES,
    "configs": set(),
    "methods": {"backbones", "datasets.views", *LEAVES},
    "downstream": {"backbones", "datasets", *LEAVES},
    "engine": {"backbones", "datasets", "methods", "downstream", "leaderboards", *LEAVES},
    "tasks": {"engine", "backbones", "datasets", "methods", "downstream", "leaderboards", *LEAVES},
    "run": {
        "tasks",
        *(
            f"engine.{name}"
            for name in (
                "budget",
                "command_line",
                "compared",
                "config",
                "flags",
                "launch",
                "overview",
                "submission",
                "sweep",
                "trouble",
                "words",
            )
        ),
        "registry",
        "console",
    },
}
OURS = sorted([*(p for f in FOLDERS for p in (ROOT / f).rglob("*.py")), *ROOT.glob("*.py")])


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_packages_are_the_folders():
    listed = project()["tool"]["setuptools"]["packages"]
    names = (folder.replace("/", ".") for folder in (*FOLDERS, *NESTED))
    assert sorted(listed) == sorted(["longtake", *(f"longtake.{name}" for name in names)])
    nested = {
        path.parent.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*/*.py")
    }
    assert nested == set(NESTED), "a package inside a package has to be listed too"


def test_datasets_never_shadows_hugging_faces():
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert all((ROOT / folder / "__init__.py").exists() for folder in FOLDERS if folder != "datasets")
    code = "import datasets, longtake.datasets.roots as r; print(getattr(datasets, '__file__', None), r.__name__)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not shown.startswith(str(ROOT)), shown
    assert "longtake.datasets.roots" in shown


def test_nothing_at_the_root_shadows_a_library():
    """In a clone's root `import tables` (PyTables', which pandas imports to read HDF) must not find a file of ours."""
    names = {path.stem for path in ROOT.glob("*.py") if path.stem != "__init__"}
    names |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    installed = {name.lower() for top in packages_distributions() for name in (top,)} | set(sys.stdlib_module_names)
    assert names == {*LEAVES, "run", *FOLDERS} - {"datasets"}, "a new name: is it a library's?"
    assert not names & (installed | {"tables", "datasets", "evaluate", "pandas", "models", "files_io"}) - {"longtake"}


def test_lock_files_are_not_tracked_and_versions_are_pinned():
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()
    uv = project()["tool"]["uv"]
    assert uv["exclude-newer"]
    pinned = {line.split("==")[0] for line in uv["constraint-dependencies"]}
    assert {"torch", "torchvision", "timm", "lightning", "numpy", "mmdet", "mmsegmentation"} <= pinned


def test_pip_gets_the_versions_that_uv_gets():
    """`pip install -c constraints.txt .`, as README says."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == project()["tool"]["uv"]["constraint-dependencies"]
    assert "pip install -c constraints.txt ." in (ROOT / "README.md").read_text()


def test_ci_tries_the_newest_versions_with_tests_that_exist():
    assert ".ci/newest" in (ROOT / ".ci" / "run").read_text()
    words = (ROOT / ".ci" / "newest").read_text().split()
    named = [word.split("::") for word in words if word.startswith("tests/")]
    assert len(named) >= 4
    for path, *tests in named:
        assert (ROOT / path).exists(), path
        assert all(f"def {test}(" in (ROOT / path).read_text() for test in tests)


def test_types_and_shapes_are_checked_while_tests_run():
    with pytest.raises(TypeCheckError):
        other_views(torch.zeros(3))


def imports(path: Path) -> set[str]:
    """Modules of ours that a file imports: `datasets.views`, `registry`."""
    return imports_of(ast.parse(path.read_text()), path)


def imports_of(tree: ast.Module, path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module != "longtake" else {f"longtake.{name.name}" for name in node.names}
            assert node.level == 0, f"{path}: relative import"
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.removeprefix("longtake.") for name in found if name.startswith("longtake.")}


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_who_imports_whom(path):
    owner = path.stem if path.parent == ROOT else path.relative_to(ROOT).parts[0]
    if owner == "__init__":
        return  # the public names, imported when they are asked for
    for module in imports(path):
        folder = module.split(".")[0]
        allowed = folder == owner or any(module == arrow or module.startswith(f"{arrow}.") for arrow in ARROWS[owner])
        assert allowed, f"{path.relative_to(ROOT)} imports longtake.{module}"


def test_no_circle_of_files():
    """Imports at the top of a module; lazy ones inside functions are not followed."""
    graph = {}
    for path in OURS:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = imports_of(tree, path)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("longtake."):
                found |= {f"{node.module.removeprefix('longtake.')}.{a.name}" for a in node.names}
        graph[name] = found
    known = {name: found & graph.keys() - {name} for name, found in graph.items()}
    done: set[str] = set()
    while ready := {name for name, needs in known.items() if name not in done and needs <= done}:
        done |= ready
    assert not known.keys() - done, f"imports in a circle: {sorted(known.keys() - done)}"


def test_mm_packages_are_imported_in_one_place():
    for path in OURS:
        if path != ROOT / "downstream" / "mm.py":
            heads = {
                n.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import)
                for n in [a.name for a in node.names]
            }
            heads |= {
                node.module.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom) and node.module
            }
            assert not heads & {"mmcv", "mmdet", "mmseg", "mmengine"}, path


def test_no_paths_of_one_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    home = str(Path.home())
    for name in files:
        if name.endswith((".py", ".md", ".yaml", ".toml")) and len(home) > 1:
            assert f"{home}/" not in (ROOT / name).read_text(), name


def test_no_link_of_the_repository_leads_out_of_it():
    """A link to somebody's environment (`.venv`) takes the place of the one that `uv run` makes in a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    links = [line.partition("\t")[2] for line in listed if line.startswith("120000")]
    outside = [name for name in links if not (ROOT / name).resolve().is_relative_to(ROOT)]
    assert not outside, outside
