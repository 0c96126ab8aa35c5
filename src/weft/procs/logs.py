"""What of a log tells most about a failure. Nothing is shown here."""

from __future__ import annotations

import os
import re

__all__ = ["read_log", "snippet"]

WORDS = re.compile(r"\b(?:exception|error|warning|notice|deprecated)\b", re.IGNORECASE)
AROUND = 2  # lines before and after one that has such a word
LAST = 16  # lines, where none has
MOST = 1024 * 1024  # bytes of the end of a log that are looked at


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
