"""Keeping what a task writes: stdout and stderr of Python, of C code and of children, in order."""

from __future__ import annotations

import os
import re
from typing import Any

from weft.executors.ledger import WROTE, Ledger
from weft.executors.streams import flush_streams, point_streams_to
from weft.payload import call_name

__all__ = ["Sink", "log_name"]

LARGE = 1024 * 1024  # bytes of old output from which on the file is emptied


class Sink:
    """In a worker: where the output of the task at hand goes. Both streams are one file in append mode."""

    def __init__(self, folder: str, ledger: Ledger) -> None:
        self._folder = folder
        self._cells = ledger.cells
        self._memory = os.dup(1)  # the file that the executor reads when we are gone

    def begin(self, function: Any, number: int) -> None:
        """A task begins."""
        if self._folder:
            path = os.path.join(self._folder, log_name(function, os.getpid(), number))
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            point_streams_to(file)
            os.close(file)
            return
        end = os.lseek(self._memory, 0, os.SEEK_END)
        if end > LARGE:
            os.ftruncate(self._memory, 0)
            end = os.lseek(self._memory, 0, os.SEEK_SET)
        point_streams_to(self._memory)  # again: the task before may have closed them
        self._cells[WROTE] = end

    def end(self, function: Any, number: int) -> str:
        """It has ended; what it has written, or the name of its log."""
        flush_streams()
        if self._folder:
            point_streams_to(self._memory)
            return log_name(function, os.getpid(), number)
        start = self._cells[WROTE]
        size = os.lseek(self._memory, 0, os.SEEK_END) - start
        return os.pread(self._memory, size, start).decode(errors="replace") if size else ""


def log_name(function: Any, pid: int, number: int) -> str:
    """The name of a log file."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', call_name(function))[:80]}-{pid}-{number}.log"
