"""What stands in ``deps=[...]`` and ``rdeps=[...]`` beside names."""

from __future__ import annotations

from enum import Enum

from weft.errors import ArgumentError

__all__ = ["AFTER_ALL", "NO_FAILURES", "Special", "WhenScheduled", "WhenTargetScheduled"]


class Special(Enum):
    """A dependency on no proc in particular."""

    NO_FAILURES = "NO_FAILURES"
    AFTER_ALL = "AFTER_ALL"

    def __repr__(self) -> str:
        return self.value


NO_FAILURES = Special.NO_FAILURES
"""When a proc could start: only if no proc has failed by then. It waits for nothing."""

AFTER_ALL = Special.AFTER_ALL
"""Wait for every wanted proc that neither says this too, nor comes after the one that does."""


class _Before:
    """Put the declarer before the procs of a pattern."""

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise ArgumentError(f"{type(self).__name__} takes a name or pattern, got {pattern!r:.60}")
        self.pattern = pattern

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pattern!r})"


class WhenScheduled(_Before):
    """In `rdeps`: only when the declarer is scheduled, it runs before the target, and schedules that as well.

    Args:
        pattern: the target; its placeholders are filled from the declarer's parameters.
    """


class WhenTargetScheduled(_Before):
    """In `rdeps`: the declarer is scheduled with each target, and runs before it. So does a plain text.

    Args:
        pattern: of the targets; its placeholders are the declarer's parameters.
    """
