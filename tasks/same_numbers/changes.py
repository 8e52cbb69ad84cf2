"""Compare the code that a number depends on in two trees, statement by statement, and say whether it was executed.

A *unit* is a function, or the statements of a module or a class outside functions. A unit that some file of the other tree has,
too, has only moved. Imports do not count (what they bring is looked at itself), nor does a block that ends in a `raise`: it makes
no number.
"""

import ast
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

Trees = Mapping[str, ast.Module]  # by file, as `engine.source_hash.closure` gives them
Executed = Mapping[str, frozenset[int]]  # line numbers by file


class Statement(NamedTuple):
    """A statement, or the head of a compound one."""

    text: str  # indented as deep as it stands
    file: str
    lines: range


Units = Mapping[str, list[list[Statement]]]  # by the functions' own names; "" is what stands outside of functions


class NotExecuted(NamedTuple):
    """A changed statement that no fixture has executed."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def not_executed(ours: Trees, theirs: Units, executed: Executed) -> list[NotExecuted]:
    """Statements of `ours` that `theirs`, the whole other package, does not have, and that were not `executed`."""
    return [
        NotExecuted(statement.file, statement.lines.start, statement.text.strip().split("\n")[0])
        for statement in changed_statements(ours, theirs)
        if not executed.get(statement.file, frozenset()).intersection(statement.lines)
    ]


def indexed(trees: Trees) -> Units:
    """The units of a package by their own names."""
    found: dict[str, list[list[Statement]]] = {}
    for name, statements in units(trees):
        found.setdefault(_own_name(name), []).append(statements)
    return found


def changed_statements(ours: Trees, theirs: Units) -> Iterator[Statement]:
    """Statements of `ours` that are not in the unit of the same name, or not at the same place of it, in `theirs`.

    Left out are functions that only one side has: whatever calls them differs, too. Methods are looked at: a class that is not in
    sight may call them.
    """
    loose = {s.text for statements in theirs.get("", []) for s in statements}
    for name, statements in units(ours):
        candidates = theirs.get(_own_name(name), [])
        if not name:  # of modules and classes: each is executed when it is imported, in whatever file
            yield from (s for s in statements if s.text not in loose)
        elif candidates or "." in name:
            yield from min((_differing(statements, other) for other in candidates or [[]]), key=len)


def _own_name(name: str) -> str:
    """The name of a method without its class, which may be another one now."""
    return name.rpartition(".")[2]


def _differing(ours: list[Statement], theirs: list[Statement]) -> list[Statement]:
    matcher = SequenceMatcher(None, [s.text for s in ours], [s.text for s in theirs], autojunk=False)
    return [s for kind, first, last, *_ in matcher.get_opcodes() if kind != "equal" for s in ours[first:last]]


def units(trees: Trees) -> Iterator[tuple[str, list[Statement]]]:
    """The units of all files: functions by their qualified names, everything outside of them as one unit "" a file."""
    for file, tree in trees.items():
        loose: list[Statement] = []
        found: list[tuple[str, list[Statement]]] = [("", loose)]
        _collect(tree.body, file, "", 0, loose, found)
        yield from found


def _collect(
    body: list[ast.stmt],
    file: str,
    prefix: str,
    depth: int,
    into: list[Statement],
    found: list[tuple[str, list[Statement]]],
) -> None:
    """Append the statements of a block to `into`, and every function in it, with its own, to `found`."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.Raise | ast.Nonlocal | ast.Global):
            continue
        into.append(_statement(node, file, depth))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own: list[Statement] = []
            found.append((f"{prefix}{node.name}", own))
            if not _ends_in_raise(node.body):
                _collect(node.body, file, f"{prefix}{node.name}.", 0, own, found)
        elif isinstance(node, ast.ClassDef):
            _collect(node.body, file, f"{prefix}{node.name}.", depth + 1, into, found)
        else:
            for block in _blocks(node):
                if not _ends_in_raise(block):
                    _collect(block, file, prefix, depth + 1, into, found)


def _ends_in_raise(block: list[ast.stmt]) -> bool:
    return bool(block) and isinstance(block[-1], ast.Raise)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement; a handler of exceptions counts as one, and only where it does not raise."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body


def _statement(node: ast.stmt, file: str, depth: int) -> Statement:
    """A simple statement whole, of a compound one the head; a function's with its decorators and defaults."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    blocks = [block for block in _blocks(node) if block]
    end = blocks[0][0].lineno if blocks else (node.end_lineno or node.lineno) + 1
    text = ast.unparse(_head(node)) if blocks else ast.unparse(node)
    return Statement("    " * depth + text, file, range(first, max(end, first + 1)))


def _head(node: ast.stmt) -> ast.stmt:
    """A compound statement with nothing in its blocks."""
    if isinstance(node, ast.Match):
        return ast.copy_location(ast.Expr(node.subject), node)
    empty: dict[str, Any] = {"body": [ast.Pass()]}
    if isinstance(node, ast.Try | ast.TryStar):
        empty |= {"handlers": [], "orelse": [], "finalbody": [ast.Pass()]}
    elif hasattr(node, "orelse"):
        empty["orelse"] = []
    return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **empty}), node)
