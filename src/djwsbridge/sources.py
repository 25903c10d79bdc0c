"""Read the modules of a project without importing them: an import could set Django up a second time."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

__all__ = ["identifiers", "is_missing", "source_of", "tree_of"]


def is_missing(module: str) -> bool:
    """Say whether there is no such module."""
    try:
        return find_spec(module) is None
    except ModuleNotFoundError as error:
        return f"{module}.".startswith(
            f"{error.name}."
        )  # a package of its path; else one that a package imports
    except (ImportError, ValueError):
        return False


def source_of(module: str) -> str:
    """Return the text of a module, empty when there is none to read."""
    try:
        spec = find_spec(module) if module else None
        return Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    except (ImportError, ValueError, OSError):
        return ""  # the server that imports it says why


def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module, empty when there is none to read."""
    try:
        return ast.parse(source_of(module))
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def identifiers(node: ast.AST) -> set[str]:
    """Return the names that code has and uses; comments and texts are not among them."""
    found = set()
    for each in ast.walk(node):
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(each, field, None)
            if isinstance(name, str):
                found.add(name)
    return found
