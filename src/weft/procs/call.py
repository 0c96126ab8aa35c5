"""One run of a proc's function, wherever that is: its streams, its context, and what its end means."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from weft.engine.states import FAILED, SKIPPED, SUCCEEDED, State
from weft.errors import ProcFailedError, ProcNoChangeError, ProcSkippedError
from weft.executors.tee import Log, end_teeing, tee
from weft.procs.bind import arguments_for

if TYPE_CHECKING:
    from weft.procs.context import Facts, Parent

__all__ = ["Call", "Outcome", "this_process"]

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
LARGE = 64 * 1024  # bytes; buffers of this size are not copied when it is tried whether a result can travel


class Outcome(NamedTuple):
    """What a proc that has not failed leaves."""

    state: State
    value: Any = None
    reason: str = ""
    changed: bool = True  #: For those that depend on it.


def this_process() -> tuple[str, int]:
    """What tells this process from all others."""
    return socket.gethostname(), os.getpid()


class Call:
    """A function and what it is called with; it travels to where it runs.

    Args:
        function: the user's.
        facts: what its context tells.
        parent: whom its context asks.
        log: the file that takes what it writes.
        for_good: the process is for this call alone, so its streams need not be put back.
    """

    def __init__(
        self, function: Callable[..., Any], facts: Facts, parent: Parent, log: str, *, for_good: bool = False
    ) -> None:
        self._function = function
        self._facts = facts
        self._parent = parent
        self._log = log
        self._for_good = for_good
        self._home = this_process()

    def __call__(self) -> Outcome:
        """Run it. Raises what the function raises, which is in the log by then."""
        if self._home == this_process():
            with _written_to(self._log):
                return self._run()
        if self._for_good:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the handler of the manager has come along with the fork
            _point_streams(self._log)
            return self._run_in_fork()
        with _pointed_streams(self._log):
            return self._run()

    def _run_in_fork(self) -> Outcome:
        from weft.procs.packed import Raised

        try:
            return self._run()
        except Exception as error:
            if type(error).__module__ != "__main__":
                raise
            try:
                raised = Raised(error)
            except Exception:  # noqa: BLE001 - code of the user's; then it goes the usual way
                raised = None
            if raised is None:
                raise
            return Outcome(FAILED, raised)

    def _run(self) -> Outcome:
        from weft.procs.context import ProcContext

        context = ProcContext(self._facts, self._parent)
        try:
            args, kwargs = arguments_for(self._function, context, self._facts.args, self._facts.proc_name)
            value = self._sendable(self._function(*args, **kwargs))
        except ProcNoChangeError:
            return Outcome(SKIPPED, reason="no change", changed=False)
        except ProcSkippedError as skipped:
            return Outcome(SKIPPED, reason=str(skipped))
        except ProcFailedError as failed:
            print(failed, file=sys.stderr)
            raise
        except BaseException as error:
            _tell(error)
            raise
        return Outcome(SUCCEEDED, value)

    def _sendable(self, value: Any) -> Any:
        """A result that can be sent back. Raises ProcFailedError, naming the part that cannot."""
        if type(value) in _PLAIN:
            return value
        if hasattr(type(value), "model_dump") and hasattr(type(value), "model_fields"):  # of pydantic
            value = value.model_dump()
        from weft.payload import culprit, pack_apart

        try:
            if self._for_good:
                from weft.procs.packed import Packed

                return Packed(value)
            pack_apart(value, LARGE)
        except Exception:  # noqa: BLE001 - pickling runs code of the user's
            _refuse(culprit(value, f"a {type(value).__name__}"))
        return value


def _tell(error: BaseException) -> None:
    from weft.payload import traceback_of

    sys.stdout.flush()
    print(traceback_of(error), file=sys.stderr)


def _refuse(why: str) -> NoReturn:
    raise ProcFailedError(f"not pickleable: the result is {why}")


# Streams ----------------------------------------------------------------------------------------------------


def _open(log: str) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _point_streams(log: str) -> None:
    """For the rest of this process: both streams, and those of all that it starts, are the log, unbuffered."""
    import io

    from weft.executors.streams import point_streams_to

    file = _open(log)
    point_streams_to(file)
    os.close(file)
    for name, number in (("stdout", 1), ("stderr", 2)):
        # Without a buffer, so that what children write comes in between where it belongs.
        raw = io.FileIO(number, "w", closefd=False)
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


@contextmanager
def _pointed_streams(log: str) -> Iterator[None]:
    """The same for a while: the process belongs to another executor, and goes on to other tasks."""
    from weft.executors.streams import flush_streams, point_streams_to

    before = [getattr(sys, name) for name in ("stdout", "stderr", "__stdout__", "__stderr__")]
    flush_streams()
    kept = os.dup(1), os.dup(2)
    try:
        _point_streams(log)
        yield
    finally:
        flush_streams()
        point_streams_to(*kept)
        for file in kept:
            os.close(file)
        for name, stream in zip(("stdout", "stderr", "__stdout__", "__stderr__"), before, strict=True):
            setattr(sys, name, stream)


@contextmanager
def _written_to(log: str) -> Iterator[None]:
    """In a thread beside others: what Python writes in it."""
    tee()
    file = _ThreadLog(log)
    try:
        file.open()
        try:
            yield
        finally:
            file.close()
    finally:
        end_teeing()


class _ThreadLog(Log):
    """Of a proc that shares this process; what it writes goes to its log and nowhere else."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    def path(self) -> Path:
        return self._path

    def relay(self, stream: Any, text: str) -> None:
        pass

    def flush(self, stream: Any) -> None:
        pass
