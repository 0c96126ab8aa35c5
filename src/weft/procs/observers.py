"""Who is told what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from weft.engine.complain import complain
from weft.errors import ArgumentError

if TYPE_CHECKING:
    from weft.procs.running import Happened

__all__ = ["Observer", "Observers"]

Observer: TypeAlias = "Callable[[Happened], object]"


class Observers:
    """The observers of one manager. They are called by one thread, and cannot break a run."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def add(self, observer: Observer) -> Callable[[], None]:
        """One more; returns a function that takes it off again. Raises ArgumentError."""
        if not callable(observer):
            raise ArgumentError(f"observe takes a function of one argument, got {observer!r:.60}")
        self._observers = (*self._observers, observer)
        return lambda: self._remove(observer)

    def tell(self, happened: Happened) -> None:
        """Call them all; one that raises is not called any more."""
        for observer in self._observers:
            try:
                observer(happened)
            except Exception:  # noqa: BLE001 - code of the user's
                complain("observer %r raised; it is not called any more", observer)
                self._remove(observer)

    def _remove(self, observer: Observer) -> None:
        self._observers = tuple(other for other in self._observers if other is not observer)
