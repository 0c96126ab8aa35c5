"""How times and numbers are written for people."""

from __future__ import annotations

import sys

__all__ = ["age", "counted", "cut", "duration", "run_name", "size"]

RUN = 38  # characters of the name of a run, on a terminal

STEPS = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def duration(seconds: float) -> str:
    """Such as ``0.3s``, ``12s``, ``3m05s``, ``2h10m``, ``4d06h``."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, smaller, its in STEPS:
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller:02d}{its}"
    return f"{whole}s"


def age(seconds: float) -> str:
    """Such as ``3m05s ago``."""
    return f"{duration(seconds)} ago"


def counted(count: int, what: str) -> str:
    """Such as ``1 job``, ``3 jobs``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def size(count: float) -> str:
    """Such as ``312 B``, ``4.2 KB``, ``1.0 GB``."""
    if count < 1000:
        return f"{count:.0f} B"
    power = 1 + (count >= 999_950) + (count >= 999_950_000)
    return f"{count / 1000**power:,.1f} {'BKMG'[power]}B"


def cut(text: str, most: int) -> str:
    """A text for one line of a table: not too long, and without what disturbs a terminal."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return text if len(text) <= most else text[: most - 3] + "..."


def run_name(name: str) -> str:
    """On a terminal as much of it as fits the line, which tells it apart all the same: it begins with the time."""
    return cut(name, RUN) if sys.stdout.isatty() else name
