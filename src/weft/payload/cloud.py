"""cloudpickle, with what it leaves out.

That is: context variables, where the code of a function was written, what annotations mean that are texts, and the
NewTypes of a script.
"""

from __future__ import annotations

import contextvars
import importlib
import os
import re
import sys
import threading
from collections import ChainMap, deque
from io import TextIOWrapper
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NewType

import cloudpickle

from weft.payload.rebuild import fill_function, import_module, make_cell, make_code, make_function

__all__ = ["CloudPickler", "TracingPickler", "names_of_types"]

LAST = 1000


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    # cloudpickle replaces the file name, so that equal code makes equal bytes; for us a traceback with lines of source
    # is worth more.
    _, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return make_code, (parts, code.co_filename)


def _reduce_cell(cell: CellType) -> tuple[Any, ...]:
    try:
        return make_cell, (cell.cell_contents,)
    except ValueError:  # it is empty
        return make_cell, ()


def _reduce_module(module: ModuleType) -> tuple[Any, ...]:
    make, parts = cloudpickle.Pickler.dispatch_table[ModuleType](module)
    return (import_module if len(parts) == 1 else make), parts  # else it cannot be imported, and comes by value


def _reduce_file(file: TextIOWrapper) -> Any:
    # cloudpickle sends all that is in a file that is open for reading, as a StringIO. That is another thing.
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError("cannot pickle '_io.TextIOWrapper' object")


def _reduce_new_type(kind: Any) -> Any:
    if kind.__module__ not in ("__main__", "__mp_main__"):
        return kind.__qualname__  # as it does by itself: by name
    return NewType, (kind.__name__, kind.__supertype__)


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc] # it comes without types
    """Packs functions and classes that cannot be imported by value, and context variables, too."""

    def _dynamic_function_reduce(self, function: FunctionType) -> Any:
        _, parts, state, *_ = super()._dynamic_function_reduce(function)
        _, slots = state
        for name in names_of_types(function):
            slots["__globals__"].setdefault(name, function.__globals__[name])
        return make_function, parts, state, None, None, fill_function


def names_of_types(function: FunctionType) -> set[str]:
    """The globals that a function names in annotations that are texts, as all are after ``from __future__``."""
    texts = [text for text in function.__annotations__.values() if isinstance(text, str)]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    return {word for word in words if _is_of_types(function.__globals__.get(word))}


def _is_of_types(value: Any) -> bool:
    # A word may also stand in a Literal, and be the name of something quite different.
    return isinstance(value, (type, ModuleType)) or type(value).__module__ in ("typing", "typing_extensions", "types")


class TracingPickler(CloudPickler):
    """Packs to nowhere and keeps, in `visited`, what it came to last."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=5)
        self.visited: deque[Any] = deque(maxlen=LAST)

    def persistent_id(self, obj: Any) -> None:
        self.visited.append(obj)


class _Nowhere:
    def write(self, chunk: Any) -> None:
        pass


# Context variables
#
# They have no state to copy: a variable is its identity. One that a module holds is that module's at the other end,
# too. Any other has a key, under which each process has one variable; so what a function refers to and what a context
# has values for meet in one variable, and one that comes back is the one that was sent.

_variables: dict[str, contextvars.ContextVar[Any]] = {}
_keys: dict[contextvars.ContextVar[Any], str] = {}
_naming = threading.Lock()
_NOTHING = object()


def _reduce_variable(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    # Once without a home it has a key; looking through all modules again would take milliseconds each time.
    home = None if variable in _keys else _home(variable)
    if home is not None:
        return _variable_of, home
    with _naming:
        key = _keys.get(variable)
        if key is None:
            key = _keys[variable] = os.urandom(12).hex()
            _variables[key] = variable
    return _variable, (key, variable.name, *_default(variable))


def _default(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    try:
        return (contextvars.Context().run(variable.get),)
    except LookupError:
        return ()


def _variable(key: str, name: str, *default: Any) -> contextvars.ContextVar[Any]:
    with _naming:
        variable = _variables.get(key)
        if variable is None:
            if default:
                variable = contextvars.ContextVar(name, default=default[0])
            else:
                variable = contextvars.ContextVar(name)
            _variables[key] = variable
            _keys[variable] = key
        return variable


_homes: dict[contextvars.ContextVar[Any], tuple[str, str]] = {}


def _home(variable: contextvars.ContextVar[Any]) -> tuple[str, str] | None:
    """The module that another process can import the variable from, and its name there."""
    known = _homes.get(variable)
    if known is not None and _holds(known[0], known[1], variable):
        return known
    by_value = cloudpickle.list_registry_pickle_by_value()
    modules = [name for name in list(sys.modules) if name not in {"__main__", "__mp_main__", *by_value}]
    # Mostly a variable is called what it says that it is called; only then look at all that there is.
    for module in modules:
        if _holds(module, variable.name, variable):
            _homes[variable] = module, variable.name
            return _homes[variable]
    for module in modules:
        for name, value in list(getattr(sys.modules.get(module), "__dict__", {}).items()):
            if value is variable and isinstance(name, str):
                _homes[variable] = module, name
                return _homes[variable]
    return None


def _holds(module: str, name: str, variable: contextvars.ContextVar[Any]) -> bool:
    return getattr(sys.modules.get(module), "__dict__", {}).get(name) is variable


def _variable_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


CloudPickler.dispatch_table = ChainMap(
    {
        CellType: _reduce_cell,
        CodeType: _reduce_code,
        ModuleType: _reduce_module,
        TextIOWrapper: _reduce_file,
        contextvars.ContextVar: _reduce_variable,
        NewType: _reduce_new_type,
    },
    cloudpickle.Pickler.dispatch_table,
)
