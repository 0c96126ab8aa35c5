"""What jobs write that share this process with others: to where it goes anyway, and to the log of the job as well.

The streams of Python are replaced as long as such jobs run. Which job it is that writes, a context variable tells; what
belongs to none goes on as it is. C code and programs that a job starts do not come by here.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any

from weft.rundir.place import append_to, make_folder

__all__ = ["Log", "end_teeing", "is_teeing", "tee"]

LOGGER = logging.getLogger("weft")

_log: ContextVar[Log | None] = ContextVar("weft_log", default=None)


class Log:
    """The log of one job, as long as it runs; the file is there when something has been written."""

    def __init__(self) -> None:
        self._file: Any = None
        self._failed = False
        self._token: Token[Log | None] | None = None
        self._lines: dict[int, tuple[Any, str]] = {}  # by stream: what is no whole line yet

    def open(self) -> None:
        """What is written from now on in this context belongs to it."""
        self._token = _log.set(self)

    def close(self) -> None:
        """The job is over."""
        if self._token is not None:
            _log.reset(self._token)
        if self._lines:
            for stream, rest in list(self._lines.values()):
                stream.write(rest)
            self._lines.clear()
        if self._file is not None:
            self._file.close()

    def path(self) -> Path:
        """Hook: of the file. Asked for when it is needed."""
        raise NotImplementedError

    def write(self, text: str) -> None:
        """Add to the file, as long as that can be done: what a job prints is no reason for it to fail."""
        if self._failed:
            return
        try:
            if self._file is None:
                path = self.path()
                make_folder(path.parent)
                self._file = open(append_to(path), "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            self._file.write(text)
            self._file.flush()
        except OSError as error:  # a full disk, or a StorageError
            self._failed = True
            LOGGER.warning("a log is not complete: %s", error)

    def relay(self, stream: Any, text: str) -> None:
        """Pass on whole lines, so that those of several jobs do not mix."""
        _, rest = self._lines.pop(id(stream), (stream, ""))
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if end:
            stream.write(rest + text[:end])
            rest = ""
        rest += text[end:]
        if rest:
            self._lines[id(stream)] = (stream, rest)

    def flush(self, stream: Any) -> None:
        """Pass on what there is, as of a question to the user."""
        _, rest = self._lines.pop(id(stream), (stream, ""))
        if rest:
            stream.write(rest)


class _Tee:
    """In the place of a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        log = _log.get()
        if log is None:
            return int(self._stream.write(text) or 0)
        log.relay(self._stream, text)
        log.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        log = _log.get()
        if log is not None:
            log.flush(self._stream)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_users = 0
_teeing = threading.Lock()


def tee() -> None:
    """Have stdout and stderr looked at from now on, until `end_teeing` has been called as often."""
    global _users
    with _teeing:
        _users += 1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Tee):
                setattr(sys, name, _Tee(stream))


def is_teeing() -> bool:
    """Whether the streams are looked at."""
    return isinstance(sys.stdout, _Tee)


def end_teeing() -> None:
    """Put back what was there; what somebody else has put there meanwhile stays."""
    global _users
    with _teeing:
        _users -= 1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not _users and isinstance(stream, _Tee):
                setattr(sys, name, stream._stream)
