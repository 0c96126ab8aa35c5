"""Which part of a value it is that cannot travel, so that an error can name it.

The pickler itself shows the way: it asks for a persistent id before each object that it packs, so the last one that it
asked for is the one that it failed at. A walk through the value then finds the path to that object.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from weft.payload.names import call_name
from weft.payload.packing import dump_by_value, pack

if TYPE_CHECKING:
    from weft.errors import ArgumentError, TaskError

__all__ = ["culprit", "unpackable_arguments", "unsendable_result"]

MOST = 200_000  # objects that are looked at on the way
TRIES = 100  # objects that are packed by themselves where the last one was not at fault
STEPS = 8  # of a path that are told

ATOMS = frozenset({bool, int, float, complex, str, bytes, bytearray, range, slice, type(None), type(...), CodeType})


def unpackable_arguments(
    function_name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    error: BaseException,
    function: Callable[..., Any] | None = None,
    instead: str = 'make or open it inside the function, or use start="fork"',
) -> ArgumentError:
    """The error for a call that does not pack: names the function, the path to what is at fault, and what to do.

    Args:
        function_name: as messages show it.
        args, kwargs: of the call. Positional ones are counted from 1.
        error: what packing the call raised; tells what is wrong where no part alone is at fault.
        function: where it may be at fault itself.
        instead: what to do about it.
    """
    from weft.errors import ArgumentError

    parts = chain(
        [] if function is None else [(f"the function {function_name}", function)],
        ((f"argument {number}", value) for number, value in enumerate(args, 1)),
        ((f"argument {name!r}", value) for name, value in kwargs.items()),
    )
    for where, value in parts:
        if _error_of(value) is not None:
            what = culprit(value, where)
            break
    else:
        what = _said(error)
    return ArgumentError(f"{function_name} cannot be sent to another process: {what}; {instead}")


def unsendable_result(function: Any, value: Any, error: BaseException) -> TaskError:
    """The error for a result that does not pack; `error` is what packing it raised, and its cause."""
    from weft.errors import TaskError, told

    try:
        why = culprit(value, f"a {type(value).__name__}")
    except BaseException:  # noqa: BLE001 - code of the user's
        why = told(error)
    failure = TaskError(f"the result of {call_name(function)} cannot be sent back: {why}; return what it is made from")
    failure.__cause__ = error
    return failure


def culprit(value: Any, where: str) -> str:
    """The path to the innermost part of `value` that does not pack, and why.

    As in ``argument 2, attribute .handle: cannot pickle '_io.TextIOWrapper' object``.

    Args:
        value: what does not pack.
        where: what it is for the user; the text begins with it.
    """
    error, visited = _attempt(value)
    if error is None:
        return f"{where}: packs now, and did not before"
    whole = f"{where}: {_said(error)}"
    if _too_deep(error):
        return whole
    try:
        return _traced(value, where, visited) or whole
    except Exception:  # noqa: BLE001 - attributes of objects are somebody's code
        return whole


def _traced(value: Any, where: str, visited: Sequence[Any]) -> str | None:
    walk = _Walk(value)
    seen: set[int] = set()
    for thing in reversed(visited):
        if id(thing) in seen or type(thing) in ATOMS or len(seen) == TRIES:
            continue
        seen.add(id(thing))
        # The last one is it, unless it was packed and something around it went wrong afterwards. What is made by a
        # __getstate__ on the fly is in no path; then what has that __getstate__ comes next.
        error = _error_of(thing)
        if error is not None and (steps := walk.path_to(thing)) is not None:
            return f"{where}{_path(steps)}: {_said(error)}"
    return None


def _error_of(value: Any) -> BaseException | None:
    try:
        pack(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        return error
    return None


def _attempt(value: Any) -> tuple[BaseException | None, deque[Any]]:
    """Pack, and see what the pickler came to last."""
    from weft.payload.cloud import TracingPickler

    tracing = TracingPickler()
    try:
        dump_by_value(tracing, value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - see above
        return error, tracing.visited
    return None, tracing.visited


def _too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _said(error: BaseException) -> str:
    from pickle import PicklingError

    from weft.errors import told

    if _too_deep(error):
        return "it is nested too deeply to be pickled"
    return told(error).partition(": ")[2] if isinstance(error, (TypeError, PicklingError)) else told(error)


# Paths


class _Step(NamedTuple):
    """From a thing to a part of it."""

    kind: str  # "at", "attribute" or something to say as it is
    text: str


class _Walk:
    """Goes through a value, breadth first, and remembers how it came to each object. Never recursive."""

    def __init__(self, root: Any) -> None:
        self._from: dict[int, tuple[int, _Step] | None] = {id(root): None}
        self._todo = deque([root])
        self._kept: list[Any] = [root]  # so that no id is used twice

    def path_to(self, thing: Any) -> list[_Step] | None:
        while id(thing) not in self._from and self._todo and len(self._kept) < MOST:
            self._look_into(self._todo.popleft())
        if id(thing) not in self._from:
            return None
        steps = []
        step = self._from[id(thing)]
        while step is not None:
            steps.append(step[1])
            step = self._from[step[0]]
        return steps[::-1]

    def _look_into(self, thing: Any) -> None:
        for step, part in _parts(thing):
            if type(part) not in ATOMS and id(part) not in self._from:
                self._from[id(part)] = id(thing), step
                self._kept.append(part)
                self._todo.append(part)


def _path(steps: list[_Step]) -> str:
    """As text; equal kinds of steps together: ``, at ['a'][3], attribute .x.lock``."""
    if len(steps) > STEPS:
        half = STEPS // 2
        steps = [*steps[:half], _Step("", f"and {len(steps) - STEPS:,} steps on"), *steps[-half:]]
    text, last = "", ""
    for kind, part in steps:
        if kind == last and kind:
            text += part
        else:
            text += f", {kind} {part}" if kind else f", {part}"
        last = kind
    return text


def _parts(thing: Any) -> Iterator[tuple[_Step, Any]]:
    """What `thing` is packed with, and how to come to it."""
    for kinds, parts in _PARTS:
        if isinstance(thing, kinds):
            yield from parts(thing)
    if not isinstance(thing, (type, ModuleType)):
        yield from _attributes(thing)


def _items(thing: dict[Any, Any]) -> Iterator[tuple[_Step, Any]]:
    for key, part in list(dict.items(thing)):
        yield _Step("at", f"[{_short(key)}]"), part
        yield _Step("", f"the key {_short(key)}"), key


def _elements(thing: Sequence[Any]) -> Iterator[tuple[_Step, Any]]:
    names = getattr(type(thing), "_fields", None) if isinstance(thing, tuple) else None
    for index, part in enumerate(thing):
        yield (_Step("attribute", f".{names[index]}") if names else _Step("at", f"[{index}]")), part


def _members(thing: Iterable[Any]) -> Iterator[tuple[_Step, Any]]:
    yield from ((_Step("", "an element of the set"), part) for part in list(thing))


def _parts_of_partial(thing: functools.partial[Any]) -> Iterator[tuple[_Step, Any]]:
    yield _Step("attribute", ".func"), thing.func
    yield from ((_Step("attribute", f".args[{index}]"), part) for index, part in enumerate(thing.args))
    yield from ((_Step("attribute", f".keywords[{key!r}]"), part) for key, part in thing.keywords.items())


def _parts_of_method(thing: MethodType) -> Iterator[tuple[_Step, Any]]:
    yield _Step("", "the object that the method belongs to"), thing.__self__
    yield _Step("", "the function of the method"), thing.__func__


def _named(*names: str) -> Callable[[Any], Iterator[tuple[_Step, Any]]]:
    return lambda thing: ((_Step("attribute", f".{name}"), getattr(thing, name)) for name in names)


def _attributes(thing: Any) -> Iterator[tuple[_Step, Any]]:
    own = getattr(thing, "__dict__", None)
    if type(own) is dict:
        # What a decorator has wrapped is mostly there under a name that says more, too.
        for name, part in sorted(own.items(), key=lambda item: item[0] == "__wrapped__"):
            yield _Step("attribute", f".{name}"), part
    if not _is_importable(type(thing)):
        yield _Step("", f"its class {type(thing).__name__}"), type(thing)
    for kind in type(thing).__mro__:
        for name, slot in vars(kind).items():
            # Slots only: reading anything else could run code of the user's.
            if type(slot) is MemberDescriptorType and "__slots__" in vars(kind):
                try:
                    yield _Step("attribute", f".{name}"), slot.__get__(thing)
                except AttributeError:
                    continue  # it has no value yet


def _parts_of_function(function: FunctionType) -> Iterator[tuple[_Step, Any]]:
    if _is_importable(function):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield _Step("", f"variable {name!r} that it closes over"), cell.cell_contents
        except ValueError:
            continue  # it is empty so far
    for name in _globals_of(function.__code__):
        if name in function.__globals__:
            yield _Step("", f"global {name!r}"), function.__globals__[name]
    yield from ((_Step("", f"the default of {name!r}"), default) for name, default in _defaults_of(function))
    yield from ((_Step("", f"the annotation of {name!r}"), kind) for name, kind in function.__annotations__.items())


def _defaults_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code, defaults = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _globals_of(code: CodeType) -> list[str]:
    """The names that it may look up among the globals, also in functions inside it."""
    names, left = dict.fromkeys(code.co_names), [code]
    while left:
        inner = [const for const in left.pop().co_consts if isinstance(const, CodeType)]
        left += inner
        for one in inner:
            names.update(dict.fromkeys(one.co_names))
    return list(names)


def _parts_of_class(kind: type) -> Iterator[tuple[_Step, Any]]:
    if _is_importable(kind):
        return
    yield from ((_Step("attribute", f".{name}"), part) for name, part in list(vars(kind).items()))
    yield from ((_Step("", f"base class {base.__name__}"), base) for base in kind.__bases__)


def _is_importable(thing: Any) -> bool:
    module = getattr(thing, "__module__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) and module != "__main__" else None
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def _short(key: Any) -> str:
    from weft.payload.shorten import shorten

    return shorten(key)


_PARTS: tuple[tuple[Any, Callable[[Any], Iterator[tuple[_Step, Any]]]], ...] = (
    (dict, _items),
    ((list, tuple, deque), _elements),
    ((set, frozenset), _members),
    (functools.partial, _parts_of_partial),
    (FunctionType, _parts_of_function),
    (MethodType, _parts_of_method),
    (type, _parts_of_class),
    ((staticmethod, classmethod), _named("__func__")),
    (property, _named("fget", "fset", "fdel")),
    (BaseException, _named("args")),
)
