"""What code a number depends on, as a hash: the modules it starts from and all modules of the package that they import.

Only what the interpreter would see counts: comments, docstrings and formatting do not, and every Python gives the same hash. What
the package does not contain (PyTorch, the data) is not covered, and neither are yamls; freshness.py adds those of a row.
"""

import ast
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

PACKAGE = "longtake"


def source_hash(starts: Iterable[Path], root: Path, without: Collection[str] = ()) -> str:
    """Twelve hex digits of the files `starts` and of everything under `root`, the package's folder, that they import.

    `without` names modules (`downstream.gallery`) that decide what people see, not what is measured; they are not followed.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(closure(starts, root, without).items()):
        digest.update(f"{name}\n{form(tree)}\n".encode())
    return digest.hexdigest()[:12]


def form(node: object) -> str:
    """A tree as text. `ast.dump` prints empty fields, of which newer Pythons have more, and empty pieces of f-strings (3.12)."""
    if isinstance(node, list):
        return f"[{', '.join(map(form, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.JoinedStr):
        pieces = [piece for piece in node.values if not (isinstance(piece, ast.Constant) and piece.value == "")]
        return f"JoinedStr({form(pieces)})"
    fields = (f"{name}={form(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({', '.join(fields)})"


def closure(starts: Iterable[Path], root: Path, without: Collection[str] = ()) -> dict[str, ast.Module]:
    """The trees of all modules, by file relative to `root` (by name alone where it lies elsewhere), docstrings removed."""
    trees: dict[str, ast.Module] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        if name in trees or name.removesuffix(".py").replace("/", ".") in without:
            continue
        trees[name] = without_docstrings(ast.parse(path.read_bytes()))
        waiting += imported(trees[name], root)
    return trees


def imported(tree: ast.Module, root: Path) -> list[Path]:
    """Files of the package that a module imports, at its top or inside its functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".")[1:] for name in names if name.startswith(f"{PACKAGE}.")]
    files = [root.joinpath(*part).with_suffix(".py") for part in parts]
    return sorted(file for file in files if file.is_file())


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
