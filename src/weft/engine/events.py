"""The event stream: one record for each change of a task's state, told to whoever listens.

The live display, a run's ``events.jsonl``, the report, the tests and a user's observer read this stream and
nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from weft.engine.complain import complain
from weft.engine.states import WANTED, State
from weft.errors import ArgumentError

if TYPE_CHECKING:
    from weft.engine.task import ScheduledFuture

__all__ = ["Event", "EventStream", "Observer"]


class Event(NamedTuple):
    """One change of state."""

    time: float  #: Seconds since the epoch, as `time.time()` gives them.
    task: ScheduledFuture[Any]  #: The task itself; do not wait for it inside an observer.
    name: str  #: The task's name.
    state: State  #: The state that it has now.
    detail: str  #: Why, in a few words, where there is something to say: an exception, a missing dependency.


_made = tuple.__new__

Observer: TypeAlias = Callable[[Event], object]


class EventStream:
    """The one place where events are made, and the observers that are told.

    All events of a scheduler are emitted by one thread, in the order in which things happened; so an observer is
    never called twice at a time. An observer that raises is logged once with its traceback and not called again:
    observers cannot break a run.
    """

    def __init__(self, observers: Iterable[Observer] = (), clock: Callable[[], float] = time.time) -> None:
        #: Those who listen; where there are none, an event need not be made.
        self.observers: tuple[Observer, ...] = ()
        #: Those of them who are also told that a task has been accepted.
        self.early: tuple[Observer, ...] = ()
        #: Functions that are called when no further event follows for the moment: for observers that gather.
        self.pauses: tuple[Callable[[], object], ...] = ()
        self._clock = clock
        if callable(observers):
            raise ArgumentError("observers must be a list of functions, got one function: write observers=[function]")
        for observer in observers:
            self.subscribe(observer)

    def subscribe(self, observer: Observer, *, early: bool = True) -> Callable[[], None]:
        """Tell `observer` of every event from now on; returns a function that undoes this.

        Args:
            observer: is called with each.
            early: also with the first of each task, that it has been accepted.
        """
        if not callable(observer):
            raise ArgumentError(
                f"observer {observer!r} cannot be called: give a function that takes one event, "
                "such as lambda event: print(event.name, event.state.name)"
            )
        # A new tuple each time: an emit that is under way goes on with the old one.
        self.observers = (*self.observers, observer)
        if early:
            self.early = (*self.early, observer)

        return lambda: self._remove(observer)

    def emit(self, task: ScheduledFuture[Any], state: State, detail: str = "") -> None:
        """Tell all observers that `task` is now in `state`."""
        # Without the detour through the Python code of a named tuple: there are three of these for each task.
        event = _made(Event, (self._clock(), task, task.name, state, detail))
        for observer in self.early if state is WANTED else self.observers:
            try:
                observer(event)
            except BaseException:  # noqa: BLE001
                complain("observer %r raised at %s; it is not called any more", observer, event.name)
                self._remove(observer)

    def pause(self) -> None:
        """Tell those who gather that there is nothing more for the moment."""
        for gatherer in self.pauses:
            try:
                gatherer()
            except BaseException:  # noqa: BLE001
                complain("%r raised; it is not called any more", gatherer)
                self.pauses = tuple(other for other in self.pauses if other is not gatherer)

    def _remove(self, observer: Observer) -> None:
        """One of it, where it was given several times; none is no mistake."""
        self.observers = _without(observer, self.observers)
        self.early = _without(observer, self.early)


def _without(one: Observer, observers: tuple[Observer, ...]) -> tuple[Observer, ...]:
    left = list(observers)
    if one in left:
        left.remove(one)
    return tuple(left)
