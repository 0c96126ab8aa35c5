"""Which futures are under way, and what is worth knowing about those that have ended."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any

__all__ = ["Tracker"]


class Tracker:
    """Futures that are not done. Of those that are, a count and the failures are kept, and no result."""

    def __init__(self) -> None:
        self.count = 0  #: How many calls there have been.
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        # By id: a failure that went on down the graph is one and the same object.
        self._failures: dict[int, BaseException] = {}

    def add(self, future: Future[Any], *, calls: int = 1) -> None:
        """Follow a future that stands for so many calls."""
        with self._lock:
            self.count += calls
            self._pending.add(future)
        future.add_done_callback(self._ended)

    def pending(self) -> list[Future[Any]]:
        """Those that are not done."""
        with self._lock:
            return list(self._pending)

    def wait(self) -> None:
        """Return when all are done, those added meanwhile too."""
        while futures := self.pending():
            for future in futures:
                try:
                    future.exception()
                except CancelledError:
                    pass
                # Its callbacks may still be on their way in another thread.
                self._ended(future)

    def take_failures(self) -> list[BaseException]:
        """The failures so far, each object once; afterwards they are forgotten."""
        with self._lock:
            failures = list(self._failures.values())
            self._failures.clear()
            return failures

    def _ended(self, future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        with self._lock:
            if future not in self._pending:
                return
            self._pending.discard(future)
            if error is not None and not isinstance(error, CancelledError):
                self._failures[id(error)] = error
