"""Hash the code that a number depends on: the modules it starts from and all modules of the package that they import.

Only what makes numbers counts: comments, docstrings, formatting and the words of errors do not, and every Python gives the same
hash. The hash does not cover what the package does not contain (PyTorch, the data), nor yamls; freshness.py adds those of a row.
"""

import ast
import hashlib
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGE = "longtake"


def source_hash(starts: Iterable[Path], root: Path, without: Collection[str] = ()) -> str:
    """Twelve hex digits of the files `starts` and of everything under `root`, the package's folder, that they import.

    `without` are patterns of modules (`downstream.gallery`, `datasets.mini.*`) that are not followed: they decide what people
    see, or are known by something better than their source.
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
    """The trees of all modules, by file relative to `root` (by name alone where it lies elsewhere), words for people removed."""
    trees: dict[str, ast.Module] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        if name in trees or _matches(name.removesuffix(".py").replace("/", "."), without):
            continue
        trees[name] = without_words(ast.parse(path.read_bytes()))
        waiting += imported(trees[name], root)
    return trees


def _matches(module: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


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
    folders = [root.joinpath(*part[:i], "__init__.py") for part in parts for i in range(1, len(part) + 1)]
    return sorted({file for file in (*files, *folders) if file.is_file()})


def without_words(tree: ast.Module) -> ast.Module:
    """The same tree without docstrings and without what its errors and assertions say."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func  # the kind of error, not its words
        elif isinstance(node, ast.Assert):
            node.msg = None
    return tree
