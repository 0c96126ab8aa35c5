"""The keeper: a small process beside ours that forks workers, and that ends them when we are gone.

It is a fresh interpreter with one thread that has imported nothing but what workers need. So a fork of it is quick (a
millisecond or two) and safe, whatever threads and locks our process has; and it outlives our process, however that
dies, by just the time that it takes to end all workers and what they have started.

Messages to it: ``b"fork"`` with five files (wire, ledger, output, errors, status), or ``b"guard <pid>"`` and
``b"leave <pid>"`` for a worker that is not its child. To the status file of a worker it writes two numbers: the
pid when it has been forked, and the status that `os.waitpid` gave when it has ended.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import time

from weft.executors.leaving import leave
from weft.executors.ledger import Ledger
from weft.executors.processes import STATUS, bury, kill_group, lead_session
from weft.executors.wire import Wire, readable
from weft.executors.worker import work

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

__all__ = ["become_worker", "main"]

IDLE = 5.0  # seconds without workers after which it leaves; whoever needs it again starts another
GRACE = 0.3  # seconds from SIGTERM to SIGKILL when our parent has gone


def main(control: int) -> None:
    """Fork workers until the other end of the socket `control` is closed."""
    lead_session()  # Ctrl-C at the terminal is for our parent only
    wire = Wire(socket.socket(fileno=control))
    keeper = _Keeper(wire)
    while readable(wire) and not keeper.is_orphaned:  # somebody waits for the first worker already
        keeper.hear()  # perhaps a part of a message: what brings files comes in pieces
    import weft.payload.cloud  # noqa: F401 - with cloudpickle: once, here, and not in each worker

    gc.collect()
    gc.freeze()
    keeper.serve()
    wire.close()


class _Keeper:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._status: dict[int, int] = {}  # file for the status of each worker that is a child of ours
        self._guarded: set[int] = set()
        self.is_orphaned = False  # nobody is there any more to whom the workers belong
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._wire, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self.is_orphaned:
            idle = not self._status and not self._guarded
            ready = dict(poll.poll(IDLE * 1000 if idle else None))
            if not ready:
                return
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._bury()
            if self._wire.fileno() in ready:
                self.hear()
        self._end_all()

    def hear(self) -> None:
        """Do what the messages say that are there."""
        try:
            for message, files in self._wire.receive():
                self._do(message, files)
        except EOFError:
            self.is_orphaned = True

    def _do(self, message: bytes, files: list[int]) -> None:
        if message == b"fork":
            self._fork(files)
            return
        verb, _, pid = message.partition(b" ")
        (self._guarded.add if verb == b"guard" else self._guarded.discard)(int(pid))

    def _fork(self, files: list[int]) -> None:
        wire, ledger, output, errors, status = files
        for_worker = (wire, ledger, output, errors)
        try:
            pid = os.fork()
        except OSError:  # no more processes, or no memory: without a pid in it, a status says so
            for file in files:
                os.close(file)
            return
        if pid == 0:
            self._in_worker(for_worker, status)
        for file in for_worker:
            os.close(file)
        self._status[pid] = status
        _tell(status, pid)

    def _in_worker(self, files: tuple[int, int, int, int], status: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._wire.close()
            for file in (self._woken, self._wake, status, *self._status.values()):
                os.close(file)
            gc.unfreeze()
            become_worker(*files)
        finally:
            os._exit(1)

    def _bury(self) -> None:
        for pid in list(self._status):
            code = bury(pid)
            if code is not None:
                status = self._status.pop(pid)
                _tell(status, code)
                os.close(status)

    def _end_all(self) -> None:
        groups = {*self._status, *self._guarded}
        for pid in groups:
            kill_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while self._status and (left := deadline - time.monotonic()) > 0:
            if readable(self._woken, left):
                os.read(self._woken, 4096)
            self._bury()
        if self._guarded:
            time.sleep(max(0.0, deadline - time.monotonic()))
        for pid in groups:
            kill_group(pid, signal.SIGKILL)


def _tell(status: int, number: int) -> None:
    try:
        os.write(status, STATUS.pack(number))
    except OSError:  # nobody listens any more
        pass


def become_worker(
    wire: int, ledger: int, output: int, errors: int, inherited: Mapping[int, Callable[..., Any]] | None = None
) -> NoReturn:
    """In a new process: be a worker until the end.

    Args:
        wire, ledger, output, errors: its ends of these.
        inherited: functions that cannot be sent, by their ids.
    """
    try:
        lead_session()  # a process group of its own, so that what it starts can be ended with it
        os.set_inheritable(wire, False)  # noqa: FBT003
        atexit._clear()  # after a fork: those are the parent's
        _take_streams(output, errors)
        faulthandler.enable()  # the last words of one that crashes
        shared = Ledger(ledger)
        os.close(ledger)
        work(Wire(socket.socket(fileno=wire)), shared, inherited or {})
        leave()
    except BaseException:  # noqa: BLE001 - a mistake of weft's own: nothing else may go on in this process
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def _take_streams(output: int, errors: int) -> None:
    """Make them stdout and stderr, with nothing at stdin; for Python, text in UTF-8 whose lines are not held back."""
    null = os.open(os.devnull, os.O_RDONLY)
    for file, standard in ((null, 0), (output, 1), (errors, 2)):
        os.dup2(file, standard, inheritable=True)
    for file in {null, output, errors}:
        if file > 2:
            os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
