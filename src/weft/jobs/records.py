"""What has become of the jobs of a run: one record for each, filled in by whoever runs or reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from weft.engine.states import CANCELLED, FAILED, IDLE, RUNNING, SUCCEEDED, UNREACHABLE, UP_TO_DATE, WANTED, State
from weft.errors import DependencyNeverSatisfied, JobFailed, UnknownValueError
from weft.jobs.conditions import titled
from weft.jobs.past import NOT_KNOWN

if TYPE_CHECKING:
    from weft.jobs.node import Job

__all__ = ["Record"]


class Record:
    """One job of a run.

    Attributes:
        job: it; None in a run that was loaded.
        name: unique in the run.
        key: the same, safe for files.
        elements: of its array; None where it has none.
        places: of those of them that belong to the run; a job without an array has the place 0.
        states: by place.
        whole: the state of an array as a whole, and of a job without one; while an array runs, see `state`.
        values: the results that this run has brought, by place.
        past: says what earlier runs know of the result at a place, or NOT_KNOWN.
        failures: by place; under None that of an array as a whole.
        why: it, or one of its places, was never reached; or the future that says so.
    """

    __slots__ = ("elements", "failures", "job", "key", "name", "past", "places", "states", "values", "whole", "why")

    def __init__(
        self, job: Job[..., Any] | None, name: str, key: str, elements: Sequence[Any] | None, places: Sequence[int]
    ) -> None:
        self.job = job
        self.name = name
        self.key = key
        self.elements = elements
        self.places = places
        self.states: dict[int, State] = {}
        self.whole = IDLE
        self.values: dict[int, Any] = {}
        self.past: Callable[[int], Any] | None = None
        self.failures: dict[int | None, JobFailed] = {}
        self.why: BaseException | Future[Any] | None = None

    @property
    def state(self) -> State:
        """Of the job as a whole."""
        if self.elements is not None and self.whole is WANTED:
            waiting = (WANTED, UP_TO_DATE)
            if any(state not in waiting for state in list(self.states.values())):
                return RUNNING
        return self.whole

    def title(self, place: int | None = None) -> str:
        """The name, with an element in brackets."""
        if place is None or self.elements is None:
            return self.name
        return titled(self.name, self.elements[place])

    def element(self, place: int | None) -> Any:
        """The element at a place; None where there is none."""
        return None if place is None or self.elements is None else self.elements[place]

    def by_element(self) -> dict[Any, State]:
        """The state of each element; by place where elements cannot be keys, or are not all different."""
        if self.elements is None:
            return {}
        states = [self.states.get(place, IDLE) for place in self.places]
        try:
            found = dict(zip((self.elements[place] for place in self.places), states, strict=True))
        except TypeError:
            found = {}
        return found if len(found) == len(states) else dict(zip(self.places, states, strict=True))

    def place_of(self, element: Any) -> int | None:
        """Where an element is; the place itself, where elements are not known by their values."""
        keys = list(self.by_element())
        for place, key in zip(self.places, keys, strict=True):
            if key is element or (type(key) is type(element) and key == element):
                return place
        return next((place for place, key in zip(self.places, keys, strict=True) if _same(key, element)), None)

    def end(self) -> State:
        """The state that an array has when all of its elements have ended."""
        if self.failures:
            return FAILED
        ends = set(self.states.values())
        for state in (FAILED, CANCELLED, UNREACHABLE):
            if state in ends:
                return state
        return UP_TO_DATE if ends == {UP_TO_DATE} else SUCCEEDED

    def failed(self) -> list[JobFailed]:
        """Its failures, in the order of its elements."""
        if not self.failures:
            return []
        return [self.failures[place] for place in (None, *self.places) if place in self.failures]

    def result(self) -> Any:
        """The result: of an array a list, in its order; None for what is up to date and not known.

        Raises:
            JobFailed: it failed.
            DependencyNeverSatisfied: it was never reached.
            CancelledError: it was cancelled.
            UnknownValueError: (a RuntimeError) it is not over.
        """
        for failure in self.failed():
            raise failure
        state = self.whole
        if state is UNREACHABLE:
            raise self.reason()
        if state is CANCELLED:
            raise CancelledError(f"{self.name} was cancelled")
        if state in (WANTED, RUNNING):
            raise UnknownValueError(f"{self.name} is not over; write run.wait() first")
        return self.known()

    def reason(self) -> BaseException:
        """Why it was never reached."""
        error = self.why.exception() if isinstance(self.why, Future) else self.why
        return error or DependencyNeverSatisfied(f"{self.name!r} was never reached")

    def known(self) -> Any:
        """What is known of the result, None in the place of what is not."""
        if self.elements is None:
            return self._value(0)
        return [self._value(place) for place in self.places]

    def _value(self, place: int) -> Any:
        if place not in self.values:
            value = NOT_KNOWN if self.past is None else self.past(place)
            self.values[place] = None if value is NOT_KNOWN else value
        return self.values[place]

    def where(self, place: int | None) -> int | None:
        """The place, as the run's folder has it: None for a job without an array."""
        return None if self.elements is None else place


def _same(key: Any, element: Any) -> bool:
    try:
        return bool(key == element)
    except Exception:  # noqa: BLE001 - a comparison is somebody's code
        return False
