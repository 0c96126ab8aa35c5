"""How long a batch system is left alone that would not answer, or take more.

Whoever touches this holds the book's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.executors.cluster.system import Clock

__all__ = ["Backoff"]

LONGEST = 15.0  # seconds before somebody who does not answer is asked again


class Backoff:
    """See above. Longer each time, as long as nothing is answered, or taken."""

    def __init__(self, clock: Clock, first: float) -> None:
        self._clock = clock
        self._first = first
        self._times = 0
        self.until = 0.0  #: Before that, it is not asked.

    def __bool__(self) -> bool:
        return self._times > 0

    def again(self) -> None:
        """It did not answer."""
        self._times += 1
        self.until = self._clock.now() + min(LONGEST, self._first * 1.5 ** min(self._times, 12))

    def over(self) -> None:
        """It has."""
        self._times, self.until = 0, 0.0
