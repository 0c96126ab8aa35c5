"""What tasks have in common, so that it travels once and not with each of them: functions, and settings.

A function that pickles by reference never changes. One that travels by value, such as a lambda or a function of the
main script, takes along what it refers to, and that may be another thing at the next submit. So it is packed again
unless everything that it refers to is the same object as before and of a kind that cannot change; and if it packs to
the same bytes, it is the same to the workers.

Other callables are packed each time, too, unless their class says what they consist of: a method
``__fixed_parts__()`` returns a tuple of all that decides what an instance packs to.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from operator import is_
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from weft.executors.batch import packed_value
from weft.executors.worker import FUNCTION, SETTING, Setting
from weft.payload import call_name

if TYPE_CHECKING:
    from weft.executors.segments import Segment

__all__ = ["Common", "Shelf"]

MOST = 256  # kept of each kind; what is older is packed again when it comes again


class Common:
    """A function or a setting that workers are told of once."""

    __slots__ = ("__weakref__", "id", "kind", "name", "packed", "seconds", "segments", "source", "witness")

    def __init__(self, number: int, kind: int, packed: Any, segments: list[Segment]) -> None:
        self.id = number
        self.kind = kind
        self.packed = packed
        self.segments = segments
        self.name = ""
        self.source: Any = None  # the function itself, so that its id is nobody else's
        self.witness: _Witness | None = None  # for a function that travels by value
        self.seconds: float | None = None  # how long a call takes; None: it has not been seen yet

    def learn(self, seconds: float) -> None:
        """Calls have taken so long each: more counts at once, less little by little."""
        known = self.seconds
        self.seconds = seconds if known is None or seconds > known else (known + seconds) / 2


class Shelf:
    """All that is known of the functions and settings of one executor.

    Threads need not take turns: the worst that can happen is that a function is sent twice.

    Args:
        packed: packs functions and settings; returns bytes, or where they lie, and memory that they lie in. Default:
            for a process on this machine.
    """

    def __init__(self, packed: Callable[[Any], tuple[Any, list[Segment]]] | None = None) -> None:
        self._packs_by = packed
        self._numbers = itertools.count(1)
        self._by_identity: dict[int, Common] = {}
        self._by_content: dict[Any, Common] = {}
        self._unpackable: WeakValueDictionary[int, Common] = WeakValueDictionary()
        self._last: _Surroundings | None = None

    def _packed(self, value: Any) -> tuple[Any, list[Segment]]:
        return packed_value(value) if self._packs_by is None else self._packs_by(value)

    def function(self, function: Callable[..., Any]) -> Common:
        """What workers are told of `function`. Raises what packing it raises."""
        known = self._by_identity.get(id(function))
        if known is not None and known.source is function and (known.witness is None or known.witness.holds()):
            return known
        packed, segments = self._packed(function)
        known = self._keep(FUNCTION, packed, segments)
        known.name = known.name or call_name(function)
        fixed, witness = _fixed(function)
        if fixed:
            known.source = function
            known.witness = witness
            self._by_identity[id(function)] = known
            _bound(self._by_identity)
        return known

    def unpackable_function(self, function: Callable[..., Any], name: str, *, again: bool) -> Common:
        """A function that only a worker has that is forked from now on; `again`: it may come again."""
        known = self._by_identity.get(id(function))
        if known is None or known.source is not function or known.packed is not None:
            known = Common(next(self._numbers), FUNCTION, None, [])
            known.source, known.name = function, name
            self._unpackable[known.id] = known
            if again:
                self._by_identity[id(function)] = known
                _bound(self._by_identity)
        return known

    def unpackable(self) -> dict[int, Callable[..., Any]]:
        """Those functions, by id: as long as there is a task of theirs, or they are known to come again."""
        return {number: known.source for number, known in list(self._unpackable.items())}

    def setting(self) -> Common:
        """What a task that is submitted now, by this thread, inherits."""
        try:
            folder: str | None = os.getcwd()
        except OSError:  # it has been deleted
            folder = None
        context = copy_context()
        last = self._last
        if last is not None and last.folder == folder and last.path == sys.path and last.has(context):
            return last.setting
        path = [str(entry) for entry in sys.path]
        known = last.stay if last is not None else {}
        stay = {variable: value for variable, value in context.items() if _is_in(known, variable, value)}
        variables = tuple((variable, value) for variable, value in context.items() if variable not in stay)
        try:
            packed, segments = self._packed(Setting(folder, path, variables))
        except Exception:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
            variables, stay = _travelling(context)
            packed, segments = self._packed(Setting(folder, path, variables))
        setting = self._keep(SETTING, packed, segments)
        fixed = all(_constant(value) for _, value in variables)
        self._last = _Surroundings(folder, list(sys.path), context, fixed, stay, setting)
        return setting

    def _keep(self, kind: int, packed: Any, segments: list[Segment]) -> Common:
        # Where large parts lie in memory of their own, comparing them would cost as much as sending them.
        key = (kind, packed) if type(packed) is bytes else None
        known = self._by_content.get(key) if key is not None else None
        if known is None:
            known = Common(next(self._numbers), kind, packed, segments)
            if key is not None:
                self._by_content[key] = known
                _bound(self._by_content)
        return known


def _bound(kept: dict[Any, Common]) -> None:
    """Drop the oldest, where there are too many."""
    if len(kept) > MOST:
        try:
            kept.pop(next(iter(kept)), None)
        except RuntimeError:  # another thread has come between
            pass


# Settings --------------------------------------------------------------------------------------------------


class _Surroundings(NamedTuple):
    """Where a task was submitted last."""

    folder: str | None
    path: list[str]
    context: Context
    fixed: bool  #: Whether the values of the context that travel cannot change.
    stay: dict[ContextVar[Any], Any]  #: Those that do not travel.
    setting: Common

    def has(self, context: Context) -> bool:
        """Whether a context is still this one."""
        before = self.context
        if not before and not context:
            return True
        return (
            self.fixed
            and len(before) == len(context)
            and all(variable in before and before[variable] is value for variable, value in context.items())
        )


def _is_in(stay: dict[ContextVar[Any], Any], variable: ContextVar[Any], value: Any) -> bool:
    return variable in stay and stay[variable] is value


def _travelling(
    context: Context,
) -> tuple[tuple[tuple[ContextVar[Any], Any], ...], dict[ContextVar[Any], Any]]:
    """The variables and values that can be packed; and those that cannot, such as an open connection, and stay here."""
    travel, stay = [], {}
    for variable, value in context.items():
        if _packs((variable, value)):
            travel.append((variable, value))
        else:
            stay[variable] = value
    return tuple(travel), stay


def _packs(value: Any) -> bool:
    try:
        packed_value(value)
    except Exception:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        return False
    return True


# Functions by value ----------------------------------------------------------------------------------------

_CONSTANT = (int, float, complex, str, bytes, bool, type(None), type(...), ModuleType, BuiltinFunctionType, range)


def _constant(value: Any) -> bool:
    kind = type(value)
    if kind in _CONSTANT:
        return True
    if kind in (tuple, frozenset):
        return all(map(_constant, value))
    return kind is FunctionType and _by_reference(value)


def _by_reference(thing: Any) -> bool:
    """Whether a function or class pickles as a name in a module that others can import."""
    module = getattr(thing, "__module__", None)
    if module is None or module in ("__main__", "__mp_main__"):
        return False
    found: Any = sys.modules.get(module)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        return False
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is None or not cloudpickle.list_registry_pickle_by_value()


class _Witness:
    """What functions by value refer to, as it was when they were packed."""

    __slots__ = ("_made_of", "_seen")

    def __init__(self) -> None:
        self._seen: list[tuple[FunctionType, tuple[Any, ...], list[tuple[Any, Any]], list[tuple[str, Any]]]] = []
        self._made_of: list[tuple[Any, tuple[Any, ...]]] = []

    def add(self, function: FunctionType) -> list[Any]:
        """Take note of a function; returns what it refers to."""
        names = function.__globals__
        cells = [(cell, _content(cell)) for cell in function.__closure__ or ()]
        used = [(name, names.get(name, _NOTHING)) for name in _names(function.__code__)]
        own = (function.__code__, function.__defaults__, function.__kwdefaults__)
        # Types that it mentions may well change, as classes of the script do; but not be replaced by others.
        types = [(name, names.get(name, _NOTHING)) for name in _names_of_types(function)]
        self._seen.append((function, own, cells, used + types))
        found = [content for _, content in cells] + [value for _, value in used]
        found += function.__defaults__ or ()
        found += (function.__kwdefaults__ or {}).values()
        return found

    def add_parts(self, thing: Any) -> tuple[Any, ...]:
        """Take note of an object that says what it consists of; returns that."""
        parts: tuple[Any, ...] = thing.__fixed_parts__()
        self._made_of.append((thing, parts))
        return parts

    def holds(self) -> bool:
        """Whether all is as it was."""
        for thing, parts in self._made_of:
            now = thing.__fixed_parts__()
            if len(now) != len(parts) or not all(map(is_, now, parts)):
                return False
        for function, (code, defaults, kwdefaults), cells, used in self._seen:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not kwdefaults
            ):
                return False
            for cell, content in cells:
                if _content(cell) is not content:
                    return False
            if used:
                names = function.__globals__
                for name, value in used:
                    if names.get(name, _NOTHING) is not value:
                        return False
        return True


class _Nothing:
    """In place of what is not there."""


_NOTHING = _Nothing()


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _NOTHING


def _fixed(function: Any) -> tuple[bool, _Witness | None]:
    """Whether it need not be packed again, and as long as what."""
    if isinstance(function, (BuiltinFunctionType, type)):
        return _by_reference(function), None
    if isinstance(function, FunctionType):
        if _by_reference(function):
            return True, None
    elif not _has_parts(function):
        return False, None
    witness = _Witness()
    todo: list[Any] = [function]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        if item is _NOTHING or id(item) in seen or _constant(item):
            continue
        seen.add(id(item))
        if type(item) is FunctionType and not item.__dict__:
            todo += witness.add(item)
        elif _has_parts(item):
            todo += witness.add_parts(item)
        elif not isinstance(item, type) or not _by_reference(item):
            return False, None
    return True, witness


def _has_parts(thing: Any) -> bool:
    """Whether it says what it consists of; by its very class, for a subclass may add to it."""
    return "__fixed_parts__" in vars(type(thing)) and _by_reference(type(thing))


def _names_of_types(function: FunctionType) -> set[str]:
    from weft.payload.cloud import names_of_types  # imported by now, for this function has been packed by value

    return names_of_types(function)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
