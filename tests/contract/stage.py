"""What a test and its tasks in other processes share: gates, ledgers, and the sight of a process that ends."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from hand import PATIENCE, eventually

if TYPE_CHECKING:
    from pathlib import Path


def threads() -> set[threading.Thread]:
    """Those of this process, but for that of a cluster in memory, which is no executor's."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("weft-fake-")}


class Gate:
    """A place where tasks wait: each tells the test that it has come and goes on when the test lets it through.

    Two named pipes: they work alike in threads, processes and jobs on this machine, and nobody polls.
    """

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = str(folder)
        for name in "arrivals", "passes":
            os.mkfifo(folder / name)
        # Open for both, so that opening waits for nobody and tasks see the end of file only when the test is over.
        self._arrivals = os.open(folder / "arrivals", os.O_RDWR)
        self._passes = os.open(folder / "passes", os.O_RDWR | os.O_NONBLOCK)

    def __getstate__(self):
        return {"folder": self.folder}

    # In the task

    def wait(self, mark: bytes = b".") -> None:
        """Tell that this task is here; return when it is let through."""
        self.tell(mark)
        with open(os.path.join(self.folder, "passes"), "rb", buffering=0) as passes:
            passes.read(1)

    def tell(self, mark: bytes = b".") -> None:
        """Only tell that this task is here."""
        fd = os.open(os.path.join(self.folder, "arrivals"), os.O_WRONLY)  # and do not make it when the test is over
        try:
            os.write(fd, mark)
        finally:
            os.close(fd)

    # In the test

    def arrived(self, count: int = 1) -> bytes:
        """Return once so many more tasks have come: their marks, in the order of their coming."""
        marks = b""
        while len(marks) < count:
            ready, _, _ = select.select([self._arrivals], [], [], PATIENCE)
            assert ready, f"{len(marks)} of {count} tasks came to the gate"
            marks += os.read(self._arrivals, count - len(marks))
        return marks

    def open(self, count: int = 4096) -> None:
        """Let so many tasks through, now or when they come."""
        try:
            os.write(self._passes, b"." * count)
        except BlockingIOError:
            pass  # there are more passes in the pipe than anyone can use

    def close(self) -> None:
        """Open it, and let tasks that come later fail instead of waiting."""
        self.open()
        for name in "arrivals", "passes":
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)
        os.close(self._arrivals)
        os.close(self._passes)


class Ledger:
    """A file into which tasks write lines, each whole and in the order of writing."""

    def __init__(self, path: Path):
        self.path = str(path)
        path.touch()

    def note(self, text: object = "") -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, f"{text}\n".encode())
        finally:
            os.close(fd)

    def lines(self) -> list[str]:
        with open(self.path) as file:
            return file.read().splitlines()


class Stage:
    """The gates, ledgers and executors of one test, all put away at its end, also when it failed half-way."""

    def __init__(self, make: Callable[..., Executor], folder: Path):
        self._make = make
        self.folder = folder
        self._gates: list[Gate] = []
        self._ledgers = 0
        self._executors: list[Executor] = []

    def executor(self, max_workers: int = 2, **options) -> Executor:
        self._executors.append(self._make(max_workers, **options))
        return self._executors[-1]

    def unkept_executor(self, max_workers: int = 2, **options) -> Executor:
        """One that the test itself gives up or shuts down."""
        return self._make(max_workers, **options)

    def gate(self) -> Gate:
        self._gates.append(Gate(self.folder / f"gate{len(self._gates)}"))
        return self._gates[-1]

    def ledger(self) -> Ledger:
        self._ledgers += 1
        return Ledger(self.folder / f"ledger{self._ledgers}")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_) -> None:
        for gate in self._gates:
            gate.close()
        for executor in self._executors:
            # In a thread, so that an executor that hangs fails its test and not the ones after it.
            closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
            closing.start()
            closing.join(PATIENCE)
            assert not closing.is_alive(), f"shutdown of {executor} hangs"


def ended(pid: int) -> bool:
    """Whether this process, child or not, ends or is gone."""
    if not hasattr(os, "pidfd_open"):
        return eventually(lambda: not is_alive(pid))
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], PATIENCE)[0])
    finally:
        os.close(fd)


def is_alive(pid: int) -> bool:
    """Whether there is such a process that still runs: a zombie does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return not os.path.exists("/proc")
    except ProcessLookupError:
        return False


def worker_ended(who: tuple[int, int]) -> bool:
    """Whether the worker that once answered ``payloads.whoami`` ends: a process, or a thread of this one."""
    pid, thread = who
    if pid != os.getpid():
        return ended(pid)
    return eventually(lambda: thread not in {t.native_id for t in threading.enumerate()})
