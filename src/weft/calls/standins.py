"""Typed stand-ins: values of a wanted type for results that a dry run does not compute."""

from __future__ import annotations

import collections
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any

from weft.calls.typenames import type_name
from weft.errors import UnknownValueError

__all__ = ["stand_in"]


def stand_in(annotation: Any) -> Any:
    """A value that passes the check against `annotation`: 0 for int, an empty list for list[float], and so on.

    Dataclasses, named tuples and TypedDicts are built from stand-ins for what they must have. Optional gives None, a
    union the first of its members that can be made, a Literal its first value, an Enum its first member. An instance
    of another class is made without calling its ``__init__``, so it has no attributes.

    Raises UnknownValueError where there is no such value or none can be found, such as for Any.
    """
    return _make(annotation, ())


Making = tuple[Any, ...]  # what is being made, outermost first, so that a type that needs itself is seen
_TELL = "give the function an example of its result: @task(mock=...)"


def _make(annotation: Any, making: Making) -> Any:
    if annotation in making:
        raise _cannot(annotation, "it needs another one of itself")
    if annotation is Any:
        raise _cannot(annotation, "it can be anything")
    making = (*making, annotation)
    origin = typing.get_origin(annotation) or annotation
    args = typing.get_args(annotation)
    if isinstance(origin, typing.NewType):
        return _make(origin.__supertype__, making)
    if type(origin).__name__ == "TypeAliasType":
        return _make(origin.__value__, making)
    if isinstance(origin, typing.TypeVar):
        return _make(_first_of_type_var(origin), making)
    maker = _MAKERS.get(origin)
    if maker is not None:
        return maker(args, making)
    if not isinstance(origin, type):
        raise _cannot(annotation, "it is not the type of one value")
    return _instance(origin, making)


def _cannot(annotation: Any, why: str) -> UnknownValueError:
    return UnknownValueError(f"a dry run cannot make up a value of type {type_name(annotation)}: {why}; {_TELL}")


def _first_of_type_var(variable: typing.TypeVar) -> Any:
    return variable.__constraints__[0] if variable.__constraints__ else variable.__bound__ or Any


def _instance(kind: Any, making: Making) -> Any:
    import enum
    import inspect

    if kind in _VALUES:
        made = _VALUES[kind]
    elif issubclass(kind, enum.Enum):
        made = next(iter(kind), None) or _refuse(kind, "it has no members")
    elif typing.is_typeddict(kind):
        from weft.calls.checks import required_keys

        hints = _hints(kind)
        needed = required_keys(kind, typing.get_type_hints(kind, include_extras=True))
        made = {key: _make(hint, making) for key, hint in hints.items() if key in needed}
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = _hints(kind)
        made = kind._make(_make(hints.get(name), making) for name in kind._fields)
    elif hasattr(kind, "__dataclass_fields__"):
        made = _dataclass(kind, making)
    elif inspect.isabstract(kind) or getattr(kind, "_is_protocol", False):
        made = _refuse(kind, "it is abstract")
    else:
        made = _plain_instance(kind)
    return made


def _plain_instance(kind: Any) -> Any:
    """Built-in kinds, dates and paths by calling them; other classes without running any code of theirs."""
    known = (kind.__module__, kind.__name__)
    if known in _ARGUMENTS:
        return kind(*_ARGUMENTS[known])
    if kind.__module__ not in _CALLABLE_MODULES:
        try:
            return object.__new__(kind)
        except TypeError:  # a subclass of a built-in kind has to be called as well
            pass
    try:
        return kind()
    except Exception:  # noqa: BLE001 - a class of the user's can raise anything
        return _refuse(kind, "it cannot be made without arguments")


_CALLABLE_MODULES = frozenset(
    {"builtins", "collections", "pathlib", "pathlib._local", "decimal", "fractions", "datetime", "io", "numpy"}
)
_ARGUMENTS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("datetime", "date"): (1970, 1, 1),
    ("datetime", "datetime"): (1970, 1, 1),
    ("builtins", "range"): (0,),
    ("numpy", "ndarray"): (0,),
    ("uuid", "UUID"): ("0" * 32,),
}


def _dataclass(kind: Any, making: Making) -> Any:
    import dataclasses

    hints = _hints(kind)
    made: Any = object.__new__(kind)
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = _make(hints[field.name], making)
        object.__setattr__(made, field.name, value)
    return made


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception as error:  # noqa: BLE001 - an annotation is an expression of the user's
        raise _cannot(kind, f"its annotations cannot be resolved ({error})") from None


def _refuse(kind: Any, why: str) -> Any:
    raise _cannot(kind, why)


def _union(args: tuple[Any, ...], making: Making) -> Any:
    if type(None) in args:
        return None
    for member in args:
        try:
            return _make(member, making)
        except UnknownValueError:
            continue
    return _refuse(typing.Union[args], "none of its members can be made")  # noqa: UP007 - from a tuple


def _tuple(args: tuple[Any, ...], making: Making) -> Any:
    return () if args[1:] == (...,) else tuple(_make(arg, making) for arg in args)


def _first(args: tuple[Any, ...], making: Making) -> Any:
    return _make(args[0], making)


def _callable(args: tuple[Any, ...], making: Making) -> Any:
    return lambda *_, **__: _make(args[1], making) if args else None


def _new(make: Callable[[], Any]) -> Callable[[tuple[Any, ...], Making], Any]:
    return lambda _args, _making: make()


_MAKERS: dict[Any, Callable[[tuple[Any, ...], Making], Any]] = {
    None: _new(lambda: None),
    typing.Union: _union,
    types.UnionType: _union,
    typing.Literal: lambda args, _making: args[0],
    typing.Annotated: _first,
    typing.Required: _first,
    typing.NotRequired: _first,
    typing.Final: _first,
    tuple: _tuple,
    type: lambda args, _making: args[0] if args and isinstance(args[0], type) else object,
    abc.Callable: _callable,
    collections.defaultdict: _new(lambda: collections.defaultdict(None)),
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Reversible), _new(list)),
    **dict.fromkeys((abc.Mapping, abc.MutableMapping), _new(dict)),
    **dict.fromkeys((abc.Set, abc.MutableSet), _new(set)),
    **dict.fromkeys((abc.Iterator, abc.Generator), _new(lambda: iter(()))),
}

_VALUES: dict[type, Any] = {bool: False, int: 0, float: 0.0, complex: 0j, str: "", bytes: b"", type(None): None}
