"""Python source read without running it: what it defines, and its one written form."""

from __future__ import annotations

import ast
import re
import symtable
import warnings

_PLACE = "<code>"
UNREADABLE = (SyntaxError, ValueError, MemoryError, RecursionError)
"""What the compiler raises on text that is not Python, too deep, or holds null bytes."""
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# From Python 3.12 on the parser warns of each "\d" in a plain string; that is not our text.
warnings.filterwarnings("ignore", module=re.escape(_PLACE))


def defines(code: str, name: str) -> bool:
    """Whether ``code`` is Python that gives ``name`` a value at its top level (a function, class,
    import or assignment). Reads any text without raising."""
    try:
        symbol = symtable.symtable(code, _PLACE, "exec").lookup(name)
    except (*UNREADABLE, KeyError):
        return False
    return symbol.is_assigned() or symbol.is_imported()


def parse(code: str) -> ast.Module | None:
    """The syntax tree of ``code``, or None where it is not Python. Never raises."""
    try:
        return ast.parse(code, _PLACE)
    except UNREADABLE:
        return None


def written(tree: ast.Module) -> str | None:
    """``tree`` as source in the form that all references share, or None where it is too deep.

    The published solutions differ in indentation, spacing, brackets and comments, and a model's
    in docstrings; with one form a wrong reference differs from the right one by its mistake
    alone. Changes ``tree``: docstrings are taken out.
    """
    try:
        for node in ast.walk(tree):
            if (
                isinstance(node, _WITH_DOCSTRING)
                and ast.get_docstring(node, clean=False) is not None
            ):
                node.body = node.body[1:] or [ast.Pass()]
        return ast.unparse(tree)
    except UNREADABLE:
        return None


def block(code: str) -> str:
    """``code`` as the answer the student is asked for."""
    return f"```python\n{code}\n```"
