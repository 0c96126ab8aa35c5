"""The other end: makes the calls of one element, and writes down what became of each.

It is started anew for each element of an array, so it imports nothing that it can do without.
"""

from __future__ import annotations

import os
import sys
from _pickle import dumps, loads
from contextvars import Context

from weft.executors.cluster.ending import Ending, Stopped, TimeUp
from weft.executors.cluster.formats import (
    ALL_GOOD,
    EXIT_FAILED,
    HEAD,
    OFFSET,
    call_purpose,
    outcome_purpose,
    shared_purpose,
)
from weft.rundir.signer import SIZE, Signer

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["main"]

PLAIN = frozenset({int, float, complex, bool, type(None), str, bytes})


def main(folder: str, group: str, place: str) -> NoReturn:
    """Make the calls of an element of a submission; exit with 0 if all went well."""
    ending = Ending()
    try:
        good = _Worker(folder, int(group), ending).make_calls(int(place))
    except Stopped:
        _flush()
        ending.die()
    from weft.executors.leaving import leave

    leave(0 if good else EXIT_FAILED)


class _Worker:
    def __init__(self, folder: str, group: int, ending: Ending) -> None:
        self._of = os.path.basename(folder)
        self._group = group
        self._outcomes = os.path.join(folder, "groups", str(group), "outcomes")
        self._path = os.path.join(folder, "groups", str(group), "calls")
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        _, self._count, shared, self._each = HEAD.unpack(os.pread(self._file, HEAD.size, 0))
        self._made: dict[int, Any] = {}
        self._seconds: float | None = loads(self._shared(shared - 1))[0]
        self._pid = os.getpid()
        self._tries = int(os.environ.get("WEFT_TRY") or 0)
        self._ending = ending

    def make_calls(self, place: int) -> bool:
        """Make them, one after the other; whether all went well."""
        good = True
        for index in range(place * self._each, min((place + 1) * self._each, self._count)):
            if os.path.exists(os.path.join(self._outcomes, f"{index}.cancelled")):
                continue
            try:
                kind, payload = self._made_call(index)
            except Stopped:
                self._write(index, "stopped", b"")
                raise
            good = self._write(index, kind, payload) and good
            if self._ending.stopped:
                raise Stopped
        if good and self._each > 1:
            name = f"{ALL_GOOD}{place}.{self._tries}"
            os.close(os.open(os.path.join(self._outcomes, name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return good

    def _made_call(self, index: int) -> tuple[str, bytes]:
        function: Any = None

        def call() -> Any:
            nonlocal function
            _, function, setting, packed = loads(self._record(index, call_purpose(self._of, self._group, index)))
            context = self._enter(setting)
            function = self._value(function)
            args, kwargs = loads(packed) if packed else ((), {})
            self._ending.limit(self._seconds)
            return context.run(function, *args, **kwargs)

        try:
            result = self._ending.run(call)
        except Stopped:
            raise
        except TimeUp:
            return "failure", _late(function, self._seconds)
        except BaseException as error:  # noqa: BLE001 - whatever the task raises is its outcome
            from weft.payload import pack_failure

            return "failure", pack_failure(error)
        return _packed(function, result)

    def _enter(self, setting: int) -> Context:
        """Be where the task was submitted."""
        if setting not in self._made:
            folder, path, variables = loads(self._shared(setting))
            if path is not None:  # else what is here will do
                sys.path[:] = path  # before the variables are made, which may need it
            context = Context()
            for variable, content in loads(variables):
                context.run(variable.set, content)
            self._made[setting] = folder, path, context
        folder, path, context = self._made[setting]
        if path is not None and sys.path != path:
            sys.path[:] = path
        try:
            if folder is not None:
                os.chdir(folder)
        except OSError:  # it is gone by now; a task that needs it will say so
            pass
        return context.copy()  # type: ignore[no-any-return]

    def _value(self, function: int) -> Callable[..., Any]:
        if function not in self._made:
            self._made[function] = loads(self._shared(function))
        return self._made[function]  # type: ignore[no-any-return]

    def _shared(self, index: int) -> bytes:
        return self._record(self._count + index, shared_purpose(self._of, self._group, index))

    def _record(self, index: int, purpose: str) -> bytes:
        at = HEAD.size + OFFSET.size * index
        begin, end = (OFFSET.unpack(os.pread(self._file, OFFSET.size, at + k * OFFSET.size))[0] for k in (0, 1))
        data = b""
        while len(data) < end - begin and (part := os.pread(self._file, end - begin - len(data), begin + len(data))):
            data += part
        if Signer(purpose)(data[SIZE:]) == data[:SIZE]:
            return data[SIZE:]
        from weft.errors import TamperedError

        raise TamperedError(f"{self._path} is not what weft wrote there: its signature does not fit; it is not read")

    def _write(self, index: int, kind: str, payload: bytes) -> bool:
        """Write an outcome down: whole, or not at all; whether it is a good one."""
        name = os.path.join(self._outcomes, f"{index}.{self._tries}")
        body = dumps((kind, payload), 5)
        data = memoryview(Signer(outcome_purpose(self._of, self._group, index, self._tries))(body) + body)
        beside = f"{name}.{self._pid}.part"
        _flush()
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            while data:
                data = data[os.write(file, data) :]
            os.close(file)
            os.replace(beside, name)
        except OSError as error:
            print(f"weft: cannot write the outcome {name}: {error.strerror}", file=sys.stderr, flush=True)
            os._exit(1)  # nothing tells it but this line
        return kind == "result"


def _packed(function: Any, result: Any) -> tuple[str, bytes]:
    """A result as an outcome."""
    try:
        if type(result) in PLAIN:
            return "result", dumps(result, 5)
        from weft.payload import pack

        return "result", pack(result)
    except BaseException as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        from weft.payload import pack_failure, unsendable_result

        return "failure", pack_failure(unsendable_result(function, result, error))


def _late(function: Any, seconds: float | None) -> bytes:
    from weft.errors import TaskTimeout
    from weft.payload import call_name, pack_failure

    assert seconds is not None
    text = f"{call_name(function)} ran longer than its time limit of {seconds:g} s and was stopped"
    return pack_failure(TaskTimeout(text, seconds=seconds))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - a stream of the user's, or a full disk
            pass
