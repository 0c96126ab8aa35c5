"""Calls across a process border.

An executor of weft's packs by itself, and names what cannot travel. It gets a `Validated` and the arguments::

    executor.submit(Validated(metafunc), *args, **kwargs)

Any other is given bytes, and gives bytes back: `pack_call`, `run_packed`, `RemoteFuture`. So functions of ``__main__``
and lambdas travel, and whatever cannot travel, in either direction, fails the one call that it belongs to and never
the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from weft.calls.closure import Closure
from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc
from weft.calls.tasks import Task
from weft.errors import ArgumentError, RemoteTraceback, TaskError, told
from weft.payload import pack, pack_failure, unpack, unpack_failure, unpackable_arguments

__all__ = ["RemoteFuture", "RemoteTraceback", "Validated", "pack_call", "packed_outcome", "run_packed", "unsendable"]


class Validated:
    """A function that checks its arguments and its result when it is called: what is sent to processes, and only once.

    Executors know a function again by its identity; so there should be one of these for each function.
    """

    __slots__ = ("__name__", "__weakref__", "metafunc")

    def __init__(self, metafunc: MetaFuncBase) -> None:
        self.metafunc = metafunc
        self.__name__ = _name_of(metafunc)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return Closure.without_snapshot(self.metafunc, args, kwargs).validated_call()

    def __fixed_parts__(self) -> tuple[Any, ...]:
        return (self.metafunc,)

    def __reduce__(self) -> tuple[Any, ...]:
        return Validated, (self.metafunc,)

    def __repr__(self) -> str:
        return f"<Validated {self.__name__}>"


def _name_of(metafunc: MetaFuncBase) -> str:
    """What can be said without the arguments of a call."""
    if type(metafunc) in (MinimalMetaFunc, Task):
        return metafunc.describe()
    return str(getattr(metafunc, "__name__", None) or type(metafunc).__name__)


def unsendable(closure: Closure, error: BaseException) -> ArgumentError:
    """The error for a call without futures that does not pack, naming the parameter."""
    return unpackable_arguments(
        closure.describe(),
        (),
        closure.get_parameters(),
        error,
        getattr(closure.metafunc, "function", closure.metafunc),
        'make or open it inside the function, or let the runner use threads: ConcurrentRunner(executor="threads")',
    )


def pack_call(closure: Closure) -> bytes:
    """A call without futures as bytes. Raises ArgumentError naming the argument that cannot travel."""
    try:
        return pack(closure)
    except Exception as error:
        raise unsendable(closure, error) from error


def run_packed(call: bytes) -> bytes:
    """At the other end: make the call and pack its outcome, a pair of result and failure."""
    name = "the call"

    def make() -> Any:
        nonlocal name
        closure: Closure = unpack(call)
        name = closure.describe()
        return closure.validated_call()

    return packed_outcome(make, lambda: name)


def packed_outcome(call: Callable[[], Any], name: Callable[[], str]) -> bytes:
    """Call it and pack what comes of it, a pair of result and failure, for `RemoteFuture`. It never raises."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever the user's function raises is the outcome
        return pack((None, pack_failure(error)))
    try:
        return pack((result, None))
    except BaseException as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        failure = TaskError(f"the result of {name()}, a {type(result).__name__}, cannot be sent back: {told(error)}")
        failure.__cause__ = error
        return pack((None, pack_failure(failure)))


class RemoteFuture(Future[Any]):
    """The outcome of a packed call, unpacked. `cancel()` and `running()` are those of the executor's future."""

    def __init__(self, packed: Future[bytes]) -> None:
        super().__init__()
        self._packed: Future[bytes] | None = packed
        packed.add_done_callback(self._arrive)

    def running(self) -> bool:
        packed = self._packed
        return packed is not None and packed.running()

    def cancel(self) -> bool:
        packed = self._packed
        if packed is not None:
            packed.cancel()  # if it can be, `_arrive` is called
        return self.cancelled()

    def _arrive(self, packed: Future[bytes]) -> None:
        self._packed = None  # the bytes are not needed any more
        if packed.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        error = packed.exception()
        if error is not None:  # the executor's own, such as a broken pool
            self.set_exception(error)
            return
        try:
            result, failure = unpack(packed.result())
        except BaseException as unpackable:  # noqa: BLE001 - code of the user's runs here; no future may hang for it
            self.set_exception(unpackable)
            return
        if failure is None:
            self.set_result(result)
        else:
            self.set_exception(unpack_failure(failure))
