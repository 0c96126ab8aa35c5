"""Processes: each run of an element's script is one, with all that it starts, and a thread waits for its end."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from weft.executors.launch import KEEPER
from weft.executors.processes import UNKNOWN, bury, kill_group

if TYPE_CHECKING:
    from weft.executors.cluster.fake.jobs import Element
    from weft.executors.cluster.fake.nodes import Node

__all__ = ["Attempt", "Program", "exit_of"]

Ended: TypeAlias = "Callable[[Attempt], None]"

NO_OUTPUT = 53  # the "signal" of a job whose output cannot be opened


class Program(NamedTuple):
    """What is to be run."""

    command: Sequence[str]
    environ: dict[str, str]
    directory: str
    output: str
    error: str  #: "": with the output.
    append: bool


class Attempt:
    """One run of the script of an element.

    All but `run` is done under the lock of the site.

    Args:
        element: that it runs.
        node: where.
        lock: of the site.
        ended: called with the lock held when the process has ended, and all that it had started with it.
    """

    def __init__(self, element: Element, node: Node, lock: AbstractContextManager[object], ended: Ended) -> None:
        self.element: Element | None = element  # None: it has been given up and is nobody's; it may go on as a ghost
        self.node = node
        self.thread: threading.Thread | None = None
        self.status: int | None = None  # as `os.waitpid` has it
        self.kill_at = self.limit_at = self.warn_at = math.inf
        self.occupies = True  # the clock is told that something is at work
        self._lock = lock
        self._ended = ended
        self._pid = 0
        self._pending: list[int] = []  # signals for a process that is about to be there
        self._log = -1

    def run(self, program: Program) -> None:
        """Start the process. What prevents that is how it ended."""
        import subprocess

        with self._lock:
            if signal.SIGKILL in self._pending:  # the cluster is being closed
                self._over(signal.SIGKILL)
                return
        mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (0 if program.append else os.O_TRUNC)
        try:
            log = os.open(program.output, mode, 0o666)
        except OSError:
            self._over(NO_OUTPUT)
            return
        with self._lock:
            self._log = log
        directory = program.directory
        if not os.path.isdir(directory):
            self.note(
                f"slurmstepd: error: couldn't chdir to `{directory}': No such file or directory: going to /tmp instead"
            )
            directory = "/tmp"
        try:
            error = os.open(program.error, mode, 0o666) if program.error else log
            try:
                process = subprocess.Popen(
                    program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=error,
                    cwd=directory,
                    env=program.environ,
                    start_new_session=True,
                )
            finally:
                if error != log:
                    os.close(error)
        except OSError as problem:
            first, *rest = program.command
            self.note(
                f"slurmstepd: error: execve(): {f'bad interpreter({first})' if rest else first}: {problem.strerror}"
            )
            self._over((problem.errno or 1) << 8)
            return
        process.returncode = 0  # somebody else waits for it, and that is meant
        thread = threading.Thread(target=self._await, args=(process.pid,), name="weft-fake-job", daemon=True)
        with self._lock:
            self._pid = process.pid
            for number in self._pending:
                kill_group(self._pid, number)
        try:
            KEEPER.guard(process.pid)  # ends it when this process dies
        finally:
            thread.start()
            self.thread = thread

    def _await(self, pid: int) -> None:
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # somebody else has waited for it
            pass
        try:
            KEEPER.leave(pid)
        finally:
            with self._lock:
                self._pid = 0  # from now on the number may be somebody else's
                status = bury(pid)
                self._over(UNKNOWN if status is None else status)

    def _over(self, status: int) -> None:
        with self._lock:
            self.status = status
            if self._log >= 0:
                os.close(self._log)
                self._log = -1
            self._ended(self)

    def signal(self, number: int, *, alone: bool = False) -> None:
        """Send a signal to it and all that it has started, or to it alone."""
        if self.status is not None:
            return
        if not self._pid:
            self._pending.append(number)
        elif alone:
            os.kill(self._pid, number)
        else:
            kill_group(self._pid, number)

    def end(self, kill_at: float) -> None:
        """Ask it to end; at this time it is killed."""
        self.kill_at = kill_at
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def note(self, line: str) -> None:
        """Write a line into its log."""
        with self._lock:
            if self._log >= 0:
                os.write(self._log, f"{line}\n".encode(errors="surrogateescape"))


def exit_of(status: int) -> tuple[int | None, int | None]:
    """Exit code and number of the signal, of which one is None."""
    if status == UNKNOWN:
        return 1, None
    return (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)
