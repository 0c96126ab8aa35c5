"""Functions that came by value, made again: what their pickles call.

By few lines of our own, and not by cloudpickle, which made them: to import it takes a fresh process longer than all
else that it has to do before its first task.
"""

from __future__ import annotations

import builtins
import sys
from types import CellType, CodeType, FunctionType, ModuleType

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from typing import Any

__all__ = ["fill_function", "import_module", "make_cell", "make_code", "make_function"]


def make_code(parts: tuple[Any, ...], filename: str) -> CodeType:
    """The code of a function; the file is where its source was."""
    return CodeType(*parts).replace(co_filename=filename)


def make_function(
    code: CodeType, names: dict[str, Any], name: str | None, defaults: Any, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """A function to be filled: what it refers to may refer to it, and comes later. `names` are to be its globals."""
    names["__builtins__"] = builtins.__dict__
    return FunctionType(code, names, name, defaults, closure)


def fill_function(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give it its attributes, its globals and what it closes over. Globals are shared with those that came with it."""
    attributes, parts = state
    function.__dict__.update(attributes)
    function.__globals__.update(parts.pop("__globals__"))
    parts.pop("_cloudpickle_submodules")  # they are imported now, which is all that they are there for
    cells = parts.pop("__closure__") or ()
    for cell, sent in zip(function.__closure__ or (), cells, strict=True):
        try:
            cell.cell_contents = sent.cell_contents
        except ValueError:  # it was empty
            pass
    for part, value in parts.items():
        setattr(function, part, value)


def make_cell(*content: Any) -> CellType:
    """A cell; an empty one without a content."""
    return CellType(*content)


def import_module(name: str) -> ModuleType:
    """The module itself, where `name` has dots, and not the package that it is in."""
    __import__(name)
    return sys.modules[name]
