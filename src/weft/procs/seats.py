"""The place among those that run which a proc takes again after it has waited for others."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from weft.engine.light import LightFuture

__all__ = ["Seat"]


class Seat:
    """A task of the engine that asks for a place only, and holds it until the proc ends or waits again."""

    def __init__(self) -> None:
        self._held: LightFuture[Any] = LightFuture()
        self.taken = threading.Event()

    def take(self) -> Future[Any]:
        """In the scheduler's thread: the place is there."""
        self.taken.set()
        return self._held

    def leave(self) -> None:
        """The place is free again."""
        self._held._conclude(None, None)
        self.taken.set()
