"""The executor's end of what workers write."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING

from weft.executors.ledger import WROTE, Ledger
from weft.executors.memory import unnamed_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Kept", "Output", "Relay", "open_output"]

TAIL = 4096  # bytes
LINES = 20
READ = 64 * 1024


class Output:
    """What one worker writes."""

    #: Files to be read when they are readable.
    ours: tuple[int, ...] = ()
    #: Files for the worker's stdout and stderr; to be closed by `started`.
    its: tuple[int, int] = (-1, -1)
    #: Whether something is held back, such as a line that is not whole.
    partial = False

    def started(self) -> None:
        """The worker has its files."""

    def read(self, file: int) -> bool:
        """Take what is there; False where nothing can come any more."""
        return False

    def drain(self) -> None:
        """Take all that is there: the worker has ended."""

    def settle(self) -> None:
        """Let nothing be held back: the tasks have ended."""

    def tail(self, ledger: Ledger, number: int, pid: int) -> str:
        """The last lines."""
        return ""

    def log(self, ledger: Ledger, number: int, pid: int) -> str | Path:
        """What a task has left of which nothing has been told: text, or the path of a file."""
        return ""

    def drop(self) -> None:
        """Forget what is held back: it is somebody else's to tell."""

    def close(self) -> None:
        """Let go of the files."""


class Relay(Output):
    """To where this process writes, whole lines at a time, so that the lines of several workers do not mix."""

    def __init__(self) -> None:
        ends = [os.pipe()]
        if not _one_place():
            try:
                ends.append(os.pipe())
            except OSError:
                for end in ends[0]:
                    os.close(end)
                raise
        self.ours = tuple(ours for ours, _ in ends)
        self.its = (ends[0][1], ends[-1][1])
        self._streams = {ours: _Stream(name) for ours, name in zip(self.ours, ("stdout", "stderr"), strict=False)}
        for ours in self.ours:
            os.set_blocking(ours, False)

    def started(self) -> None:
        for file in set(self.its):
            os.close(file)

    def read(self, file: int) -> bool:
        stream = self._streams[file]
        try:
            while data := os.read(file, READ):
                stream.take(data)
                self.partial = self.partial or bool(stream.line)
                if len(data) < READ:
                    return True
        except BlockingIOError:
            return True
        return False

    def drain(self) -> None:
        for file in self.ours:
            self.read(file)

    def settle(self) -> None:
        self.partial = False
        for stream in self._streams.values():
            stream.settle()

    def drop(self) -> None:
        for stream in self._streams.values():
            stream.line = ""

    def tail(self, ledger: Ledger, number: int, pid: int) -> str:
        return _last_lines(self._streams[self.ours[-1]].tail)

    def close(self) -> None:
        for file in self.ours:
            self._streams[file].settle()
            os.close(file)


class _Stream:
    """The lines of one pipe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.line = ""  # not whole yet
        self.tail = b""

    def take(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL:]
        text = self.line + self._decoder.decode(data)
        whole, newline, self.line = text.rpartition("\n")
        self._write(whole + newline)

    def settle(self) -> None:
        text, self.line = self.line, ""
        self._write(text)

    def _write(self, text: str) -> None:
        # To the Python object, so that it appears in a notebook, in a test that looks for it, or wherever this
        # script has redirected its output to.
        stream = getattr(sys, self._name)
        if not text or stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except Exception:  # noqa: BLE001 - closed, or one of the user's own: there is nobody to tell
            pass


class Kept(Output):
    """In a file in memory, where the worker reads what a task has written; and in log files, if there is a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = unnamed_file("weft-output")
        self.its = (self._file, self._file)

    def tail(self, ledger: Ledger, number: int, pid: int) -> str:
        log = self.log(ledger, number, pid)
        try:
            return _last_lines(log.encode()[-TAIL:] if isinstance(log, str) else log.read_bytes()[-TAIL:])
        except OSError:
            return ""

    def log(self, ledger: Ledger, number: int, pid: int) -> str | Path:
        if self._folder:
            from pathlib import Path

            return next(Path(self._folder).glob(f"*-{pid}-{number}.log"), "")
        start = ledger.cells[WROTE]
        size = os.fstat(self._file).st_size - start
        return os.pread(self._file, size, start).decode(errors="replace") if size > 0 else ""

    def close(self) -> None:
        os.close(self._file)


def open_output(folder: str | None) -> Output:
    """For one worker: None relays, "" keeps in memory, else keeps in log files there."""
    return Relay() if folder is None else Kept(folder)


def _one_place() -> bool:
    """Whether stdout and stderr of this process go to the same place; then their order can be kept."""
    try:
        return (
            os.path.samestat(os.fstat(1), os.fstat(2)) and sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
        )
    except OSError:
        return False


def _last_lines(data: bytes) -> str:
    lines = data.decode(errors="replace").splitlines()
    return "\n".join(lines[-LINES:])
