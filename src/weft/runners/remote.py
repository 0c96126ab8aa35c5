"""Calls across a process border: the call goes as bytes, and so does its outcome.

The executor itself pickles bytes only. So functions of ``__main__`` and lambdas travel, and whatever cannot travel,
in either direction, fails the one call that it belongs to and never the pool.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from weft.calls.closure import Closure
from weft.errors import ArgumentError, RemoteTraceback, TaskError, told
from weft.payload import pack, pack_failure, unpack, unpack_failure

__all__ = ["RemoteFuture", "RemoteTraceback", "pack_call", "run_packed"]


def pack_call(closure: Closure) -> bytes:
    """A call without futures as bytes. Raises ArgumentError naming the argument that cannot travel."""
    try:
        return pack(closure)
    except Exception as error:
        culprit = next((name for name, value in closure.get_parameters().items() if not _travels(value)), None)
        what = f"the function {closure.describe()}" if culprit is None else f"argument {culprit!r}"
        raise ArgumentError(
            f"{what} cannot be sent to another process: {error}; send what it is made from, or run in threads"
        ) from error


def _travels(value: Any) -> bool:
    try:
        pack(value)
    except Exception:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        return False
    return True


def run_packed(call: bytes) -> bytes:
    """At the other end: make the call and pack its outcome, a pair of result and failure."""
    name = "the call"
    try:
        closure: Closure = unpack(call)
        name = closure.describe()
        result = closure.validated_call()
    except BaseException as error:  # noqa: BLE001 - whatever the user's function raises is the outcome
        return pack((None, pack_failure(error)))
    try:
        return pack((result, None))
    except BaseException as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        failure = TaskError(f"the result of {name}, a {type(result).__name__}, cannot be sent back: {told(error)}")
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
