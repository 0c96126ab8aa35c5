"""How times and numbers are written for people."""

from __future__ import annotations

__all__ = ["age", "counted", "duration"]

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
