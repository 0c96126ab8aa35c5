"""Logs of procs: where they are, and what of one tells most about a failure. Nothing is shown here."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from weft.errors import StorageError

__all__ = ["log_folder", "read_log", "snippet"]

WORDS = re.compile(r"\b(?:exception|error|warning|notice|deprecated)\b", re.IGNORECASE)
AROUND = 2  # lines before and after one that has such a word
LAST = 16  # lines, where none has
MOST = 1024 * 1024  # bytes of the end of a log that are looked at


def log_folder(given: Path | None, temporary: Path | None) -> Path:
    """A folder for logs, which is there: `given`, else `temporary`, else a new one for temporary files.

    Raises StorageError.
    """
    try:
        if given is not None:
            given.mkdir(mode=0o700, parents=True, exist_ok=True)
            return given
        return temporary or Path(tempfile.mkdtemp(prefix="weft-logs-"))
    except OSError as error:
        raise StorageError(
            f"cannot make the folder for logs, {given or 'a temporary one'}: {error.strerror}"
        ) from error


def read_log(path: str | os.PathLike[str], most: int | None = None) -> str:
    """The text of a log; what is no UTF-8 is shown as it is written in Python. Empty where it cannot be read.

    Args:
        path: of the log.
        most: so many bytes of its end. Default: all.
    """
    try:
        with open(path, "rb") as log:
            if most is not None:
                log.seek(max(0, os.fstat(log.fileno()).st_size - most))
            return log.read().decode("utf-8", errors="backslashreplace")
    except OSError:
        return ""


def snippet(path: str | os.PathLike[str], *, full: bool = False) -> list[str]:
    """The lines of a log to show for a failure.

    Those with one of the words exception, error, warning, notice, deprecated, and two lines around each; ``...`` stands
    for what is left out between them. Where there are none, the last 16 lines. `full`: all lines.
    """
    lines = read_log(path, None if full else MOST).splitlines()
    if full:
        return lines
    shown: dict[int, None] = {}
    for number, line in enumerate(lines):
        if WORDS.search(line):
            shown.update(dict.fromkeys(range(max(0, number - AROUND), min(len(lines), number + AROUND + 1))))
    if not shown:
        return lines[-LAST:]
    found: list[str] = []
    before = -1
    for number in sorted(shown):
        if found and number > before + 1:
            found.append("...")
        found.append(lines[number])
        before = number
    return found
