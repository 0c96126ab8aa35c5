"""Starting worker processes, and learning of their ends. Three ways to start one:

* ``forkserver`` (default): the keeper forks it, see `keeper`: a fresh interpreter's state at the cost of a fork.
* ``spawn``: a fresh interpreter of its own.
* ``fork``: a fork of this very process, so that it has all that this process has: locks, queues, open files.

In each case the worker leads a session of its own, so Ctrl-C at the terminal does not reach it, and the keeper ends it
when this process dies.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from weft.executors.processes import STATUS, UNKNOWN, bury, kill_group
from weft.executors.wire import Wire, pair

__all__ = ["STARTS", "Child", "Start", "launch"]

Start: TypeAlias = Literal["forkserver", "spawn", "fork"]
Files: TypeAlias = tuple[int, int, int, int]  # wire, ledger, output, errors
STARTS: tuple[Start, ...] = ("forkserver", "spawn", "fork")


class Child:
    """A worker process. `sentinel` is readable when there is something to learn; then ask `ended`."""

    pid = 0  #: 0 while it is not known yet.
    sentinel: int

    def ended(self) -> int | None:
        """The status that `os.waitpid` gave (`UNKNOWN`: nobody knows), or None while it lives."""
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it has started."""
        if self.pid:
            kill_group(self.pid, number)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.sentinel)


class _Kept(Child):
    """A child of the keeper, which writes its pid and, later, its status into a pipe."""

    def __init__(self, status: int) -> None:
        self.sentinel = status
        self._read = b""

    def ended(self) -> int | None:
        data = os.read(self.sentinel, 2 * STATUS.size)
        self._read += data
        if not self.pid and len(self._read) >= STATUS.size:
            self.pid = STATUS.unpack_from(self._read)[0]
        if len(self._read) == 2 * STATUS.size:
            return int(STATUS.unpack_from(self._read, STATUS.size)[0])
        if data:
            return None
        # The keeper is gone, or it could not fork.
        self.signal(signal.SIGKILL)
        return UNKNOWN


class _Own(Child):
    """A child of this process."""

    def __init__(self, pid: int, lifeline: int) -> None:
        self.pid = pid
        self._lifeline = lifeline
        try:
            # Also where what the worker has started holds the lifeline open.
            self.sentinel = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else lifeline
        except OSError:
            self.sentinel = lifeline
        KEEPER.guard(pid)

    def signal(self, number: int) -> None:
        super().signal(number)
        try:
            if os.getpgid(self.pid) != self.pid:  # it has not come as far as to lead a group: it has started nothing
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def ended(self) -> int | None:
        code = bury(self.pid)
        if code is None and self.sentinel == self._lifeline:
            # It has closed its end. That is not to happen to a worker: it would go on without anybody who listens.
            self.signal(signal.SIGKILL)
            code = os.waitpid(self.pid, 0)[1]
        if code is not None:
            KEEPER.leave(self.pid)
        return code

    def close(self) -> None:
        super().close()
        if self.sentinel != self._lifeline:
            os.close(self._lifeline)


def launch(
    start: Start,
    wire: socket.socket,
    ledger: int,
    output: int,
    errors: int,
    inherited: Mapping[int, Callable[..., Any]],
) -> Child:
    """Start a worker with its ends of these; what is given stays open here. Raises OSError where that fails.

    Args:
        start: how.
        wire, ledger, output, errors: the worker's ends.
        inherited: with ``fork``: functions that cannot be sent, by their ids.
    """
    files: Files = (wire.fileno(), ledger, output, errors)
    if start == "forkserver":
        return _Kept(KEEPER.fork(files))
    lifeline, its_end = os.pipe()
    try:
        pid = _spawn(files, its_end) if start == "spawn" else _fork(files, inherited)
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(its_end)
    return _Own(pid, lifeline)


def _spawn(files: Files, lifeline: int) -> int:
    # Put in place by the new process itself: here, other threads may start programs at any moment. First to numbers
    # that are out of the way, since what is at the places they should go to may be another one of them.
    high = max((*files, lifeline)) + 10
    moves = [(os.POSIX_SPAWN_DUP2, file, high + n) for n, file in enumerate((*files, lifeline))]
    places = ", ".join(str(high + n) for n in range(len(files)))
    code = (
        f"import os; os.set_inheritable({high + len(files)}, False); from weft.executors.keeper import become_worker; "
    )
    return _python(f"{code}become_worker({places})", moves)


def _python(code: str, moves: Sequence[tuple[int, int, int]]) -> int:
    """Start an interpreter like this one that finds what this one finds."""
    path = [entry if entry else os.getcwd() for entry in sys.path]
    command = [sys.executable, *_flags(), "-c", f"import sys; sys.path[:] = {path!r}; {code}"]
    try:
        # In a session of its own from its very first moment: Ctrl-C at the terminal is not for it.
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=moves, setsid=True)
    except NotImplementedError:  # this C library cannot; then it does so itself, as soon as it can
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=moves)


def _flags() -> list[str]:
    if sys.flags.isolated:
        return ["-I"]
    import subprocess

    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]


def _fork(files: Files, inherited: Mapping[int, Callable[..., Any]]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the caller asks for it
        pid = os.fork()
    if pid:
        return pid
    try:
        from weft.executors.keeper import become_worker

        signal.set_wakeup_fd(-1)
        if (server := sys.modules.get("multiprocessing.forkserver")) is not None:
            server._forkserver.__init__()  # what it knows of is a child of our parent
        become_worker(*files, inherited=inherited)
    finally:
        os._exit(1)


class _Keeper:
    """The keeper's other end; it is started when it is needed. All executors of the process share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._pid = 0
        self._guarded: set[int] = set()

    def fork(self, files: Sequence[int]) -> int:
        """Have a worker forked; the file to read its pid and its status from."""
        status, its_end = os.pipe()
        try:
            self._tell(b"fork", (*files, its_end))
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(its_end)
        return status

    def guard(self, pid: int) -> None:
        """Have `pid` and its group ended when this process dies."""
        self._guarded.add(pid)
        self._tell(b"guard %d" % pid)

    def leave(self, pid: int) -> None:
        """`pid` has ended."""
        self._guarded.discard(pid)
        self._tell(b"leave %d" % pid)

    def warm_up(self) -> None:
        """Start it, so that it is there by the time when it is needed."""
        with self._lock:
            if self._wire is None:
                self._start()

    def forget(self) -> None:
        """In a child of a fork: it is not ours."""
        self._lock = threading.Lock()
        self._guarded = set()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _tell(self, message: bytes, files: Sequence[int] = ()) -> None:
        with self._lock:
            if self._wire is not None:
                try:
                    self._wire.send(message, files)
                except OSError:  # it has left, or was killed
                    self._wire.close()
                    self._wire = None
                else:
                    return
            self._start().send(message, files)

    def _start(self) -> Wire:
        if self._pid:
            try:
                os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:
                pass
        ours, its = pair()
        moves = [(os.POSIX_SPAWN_DUP2, its.fileno(), 0)]
        try:
            self._pid = _python("from weft.executors.keeper import main; main(0)", moves)
        finally:
            its.close()
        self._wire = Wire(ours)
        for pid in self._guarded:
            self._wire.send(b"guard %d" % pid)
        return self._wire


KEEPER = _Keeper()
os.register_at_fork(after_in_child=KEEPER.forget)
