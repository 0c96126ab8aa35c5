"""What decides whether the recorded result of a job is still of use: its code, its arguments, its conditions.

The same in every process and for every hash seed, as long as Python's version is the same: bytecode counts, and not how
it is laid out in lines and files. What cannot be told for certain makes no fingerprint, and then nothing that was
recorded is used.

The code of a job is that of its function and conditions, and of all functions and classes of the same modules that
these name, directly or not, with the plain values there. What other modules do is not looked at: after a new version of
a library, ``schedule(..., fresh=True)``.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from weft.calls.metafunc import MinimalMetaFunc
from weft.jobs.node import Job

__all__ = ["Fingerprints"]

SIZE = 16  # bytes
DEEPEST = 100  # containers in containers that are followed
PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None), type(...)})
CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
MAIN = ("__main__", "__mp_main__")


class _UnknownError(Exception):
    """Of such a thing, two that are equal may look different, or two that differ equal."""


class Fingerprints:
    """Those of the jobs of one graph. What they have in common is looked at once."""

    def __init__(self) -> None:
        self.codes: dict[int, bytes] = {}  # digests of code objects, by id
        self._of_jobs: dict[Job[..., Any], bytes | None] = {}
        self._of_functions: dict[tuple[Any, ...], bytes | None] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def job(self, job: Job[..., Any]) -> bytes | None:
        """Of a job, without an element; None where it cannot be told. Ask first for those whose results it takes."""
        if job not in self._of_jobs:
            self._of_jobs[job] = self._job(job)
        return self._of_jobs[job]

    def place(self, job: Job[..., Any], place: int | None) -> bytes:
        """Of an element of a job's array, or of the job where there is none; empty where it cannot be told."""
        whole = self._of_jobs[job] if job in self._of_jobs else self.job(job)
        if whole is None:
            return b""
        if job.elements is None or place is None:
            return whole
        element = job.elements[place]
        kind = type(element)
        if kind is int:  # by far the most common, and many
            return hashlib.sha256(b"%b %x" % (whole, element)).digest()[:SIZE]
        try:
            return _Look(self, job).sum(whole, element)
        except _UnknownError:
            return b""

    def keep(self, thing: Any) -> None:
        """See to it that its id stays its own."""
        self._kept.append(thing)

    def _job(self, job: Job[..., Any]) -> bytes | None:
        functions = self._functions(job)
        args, kwargs = job.arguments.args, job.arguments.kwargs
        if functions is None or not (args or kwargs):
            return functions
        if PLAIN.issuperset(map(type, args)) and (not kwargs or PLAIN.issuperset(map(type, kwargs.values()))):
            try:
                # By far the most common, and many: what Python makes of them, in one go.
                text = repr((args, kwargs)).encode("utf-8", "surrogatepass")
                return hashlib.sha256(b"plain %b %b" % (functions, text)).digest()[:SIZE]
            except ValueError:  # a number with thousands of digits
                pass
        try:
            return _Look(self, job).sum(functions, args, dict(kwargs))
        except _UnknownError:
            return None

    def _functions(self, job: Job[..., Any]) -> bytes | None:
        functions: tuple[Any, ...] = (job.function,)
        key: tuple[Any, ...] = (id(job.function),)
        if job.conditions:
            functions += tuple(condition.function for condition in job.conditions)
            key = (*map(id, functions), *(condition.when for condition in job.conditions))
        if key not in self._of_functions:
            self.keep(functions)
            whens = [condition.when for condition in job.conditions]
            try:
                self._of_functions[key] = _Look(self, job).sum(list(sys.version_info[:2]), whens, *functions)
            except _UnknownError:
                self._of_functions[key] = None
        return self._of_functions[key]


class _Look:
    """One look at things: each is put down with its kind and its length, so that different ones never look alike.

    Functions and classes get numbers, in the order in which they are met, and are looked at afterwards, one by one:
    they may mention each other in circles, and their chain may be long.
    """

    def __init__(self, known: Fingerprints, job: Job[..., Any]) -> None:
        self._known = known
        self._job = job
        self._ours = {*MAIN, *(_module_of(f) for f in (job.function, *(c.function for c in job.conditions)))}
        self._numbers: dict[int, int] = {}
        self._queue: list[Any] = []
        self._under_way: dict[int, int] = {}  # containers that this is within, and how deep

    def sum(self, *things: Any) -> bytes:
        """The digest of several things, and of all functions and classes that belong to them."""
        whole = hashlib.sha256(self._digest(b"", things))
        for thing in self._queue:  # which grows meanwhile
            whole.update(self._code_of(thing))
        return whole.digest()[:SIZE]

    def value(self, thing: Any) -> bytes:
        """One thing."""
        kind = type(thing)
        if kind is int:
            return b"int %x" % thing
        if kind in PLAIN:
            return kind.__name__.encode() + b" " + repr(thing).encode("utf-8", "surrogatepass")
        within = self._under_way.get(id(thing))
        depth = len(self._under_way)
        if within is not None:
            return b"circle %d" % (depth - within)
        if depth > DEEPEST:
            raise _UnknownError
        self._under_way[id(thing)] = depth
        try:
            for kinds, look in _LOOKS:
                if issubclass(kind, kinds) and (found := look(self, thing)) is not None:
                    return found
            return self._reduced(thing, kind)
        finally:
            del self._under_way[id(thing)]

    def _digest(self, tag: bytes, parts: Iterable[Any]) -> bytes:
        whole = hashlib.sha256(tag)
        for part in parts:
            data = self.value(part)
            whole.update(b"%d:" % len(data))
            whole.update(data)
        return whole.digest()

    # Data

    def _sequence(self, thing: Any) -> bytes | None:
        return self._digest(type(thing).__name__.encode(), thing) if type(thing) in (list, tuple) else None

    def _mapping(self, thing: Any) -> bytes | None:
        if type(thing) is not dict:
            return None
        return self._digest(b"dict", [part for item in thing.items() for part in item])

    def _set(self, thing: Any) -> bytes | None:
        if type(thing) not in (set, frozenset):
            return None
        # Each by itself: which of them is met first differs from process to process.
        return self._digest(b"set", sorted(_Look(self._known, self._job).sum(part) for part in thing))

    def _array(self, thing: Any) -> bytes | None:
        numpy = sys.modules.get("numpy")
        if numpy is None or type(thing) is not numpy.ndarray or thing.dtype.hasobject:
            return None
        whole = hashlib.sha256(repr((thing.dtype.descr, thing.shape)).encode())
        whole.update(thing.tobytes())
        return b"array " + whole.digest()

    def _job_of_graph(self, thing: Any) -> bytes:
        known = self._known._of_jobs.get(thing)
        if known is not None:
            return b"job " + known
        if thing in self._job.arguments.takes:  # it has none
            raise _UnknownError
        return b"job that is called " + self.value(thing.function)

    def _reduced(self, thing: Any, kind: type) -> bytes:
        """By what pickle would make of it."""
        try:
            reduced = thing.__reduce_ex__(4)
        except Exception as error:
            raise _UnknownError from error
        if isinstance(reduced, str):
            return f"global {kind.__module__}.{reduced}".encode()
        make, args, *rest = reduced
        return self._digest(
            b"object", (make, args, [list(part) if hasattr(part, "__next__") else part for part in rest])
        )

    # Code

    def _numbered(self, thing: Any) -> bytes:
        """A function or a class: its number, if it is of the modules that count, else its name."""
        if _module_of(thing) not in self._ours:
            return f"named {thing.__module__}.{thing.__qualname__}".encode()
        number = self._numbers.get(id(thing))
        if number is None:
            number = self._numbers[id(thing)] = len(self._queue)
            self._queue.append(thing)
        return b"number %d" % number

    def _code_of(self, thing: Any) -> bytes:
        if isinstance(thing, FunctionType):
            names = thing.__globals__
            used = [name for name in sorted(_names(thing.__code__)) if name in names]
            cells = [_content(cell) for cell in thing.__closure__ or ()]
            parts: Sequence[Any] = (thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells)
            return self._digest(b"function", (*parts, *used, *(_Loosely(names[name]) for name in used)))
        own = {name: value for name, value in vars(thing).items() if name not in NOT_CODE}
        return self._digest(
            b"class",
            (thing.__qualname__, thing.__bases__, *sorted(own), *(_Loosely(own[name]) for name in sorted(own))),
        )

    def _loose(self, thing: Any) -> bytes:
        """What a function or a class refers to by a name: of a logger, a lock or a file it counts that it is one."""
        value = thing.value
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        kind = type(value)
        if kind in PLAIN or isinstance(value, (FunctionType, type, ModuleType, Job)):
            return self.value(value)
        if kind in CONTAINERS:
            try:
                return self.value(value)
            except _UnknownError:
                pass
        return f"a {kind.__module__}.{kind.__qualname__}".encode()

    def _bytecode(self, code: Any) -> bytes:
        found = self._known.codes.get(id(code))
        if found is None:
            parts = (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)
            found = self._known.codes[id(code)] = self._digest(b"code", parts)
            self._known.keep(code)
        return found

    def _partial(self, thing: Any) -> bytes:
        return self._digest(b"partial", (thing.func, thing.args, thing.keywords))

    def _method(self, thing: Any) -> bytes:
        return self._digest(b"method", (thing.__func__, thing.__self__))

    def _builtin(self, thing: Any) -> bytes:
        owner = thing.__self__
        name = f"builtin {thing.__module__}.{thing.__qualname__}".encode()
        return name if owner is None or isinstance(owner, ModuleType) else self._digest(name, (owner,))

    def _module(self, thing: Any) -> bytes:
        return f"module {thing.__name__}".encode()

    def _plain_metafunc(self, thing: Any) -> bytes:
        return self._digest(b"function of", (thing.function,))


class _Loosely:
    """Marks what `_Look._loose` is for."""

    def __init__(self, value: Any) -> None:
        self.value = value


# Made by dataclasses from what is written elsewhere in the class; no code; or the same for all.
NOT_CODE = frozenset({
    *("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"),
    *("__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "_abc_impl", "__orig_bases__"),
})  # fmt: skip


def _module_of(thing: Any) -> str | None:
    """Where it was written. A function that wraps another has the name of its module, but not its globals."""
    if isinstance(thing, FunctionType):
        return thing.__globals__.get("__name__")
    while isinstance(thing, partial):
        thing = thing.func
    return getattr(thing, "__module__", None)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return ...


def _names(code: CodeType) -> set[str]:
    """All that it may look up among the globals, also in functions inside it."""
    names, left = set(code.co_names), [code]
    while left:
        inner = [const for const in left.pop().co_consts if isinstance(const, CodeType)]
        left += inner
        for one in inner:
            names.update(one.co_names)
    return names


_LOOKS: tuple[tuple[Any, Callable[[_Look, Any], bytes | None]], ...] = (
    ((list, tuple), _Look._sequence),
    (dict, _Look._mapping),
    ((set, frozenset), _Look._set),
    (_Loosely, _Look._loose),
    ((FunctionType, type), _Look._numbered),
    (CodeType, _Look._bytecode),
    (Job, _Look._job_of_graph),
    (partial, _Look._partial),
    (MethodType, _Look._method),
    (BuiltinFunctionType, _Look._builtin),
    (ModuleType, _Look._module),
    (MinimalMetaFunc, _Look._plain_metafunc),
    (object, _Look._array),
)
