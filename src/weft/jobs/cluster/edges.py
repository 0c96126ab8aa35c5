"""Whether what a job comes after has come, by the states of the jobs of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weft.engine.states import State

if TYPE_CHECKING:
    from weft.jobs.records import Record

__all__ = ["Edges"]


class Edges:
    """What the jobs of a run come after.

    Args:
        facts: what the run says of its jobs, by key.
        records: theirs, by key.
    """

    def __init__(self, facts: Mapping[str, Mapping[str, Any]], records: Mapping[str, Record]) -> None:
        self._facts = facts
        self._records = records

    def each(self, record: Record) -> Collection[str]:
        """The jobs that it comes after element by element."""
        found: Collection[str] = self._facts[record.key].get("each", ())
        return found

    def meets(self, record: Record, place: int | None) -> bool | None:
        """Whether a job, or an element, may run: None: it is not known yet; False: it never will."""
        facts = self._facts[record.key]
        takes = facts.get("takes", ()) if facts.get("wait_for") == "any" else ()
        alike = [self._met(dep, status, record, place) for dep, status in self._of(record) if dep not in takes]
        needed = [self._met(dep, "success", record, place) for dep in takes]
        if facts.get("wait_for") == "any" and alike:
            needed.append(True if True in alike else None if None in alike else False)
        else:
            needed += alike
        return False if False in needed else None if None in needed else True

    def why(self, record: Record, place: int | None) -> str:
        """What it is that will not come, where `meets` says False; as the engine says it."""
        for dep, status in self._of(record):
            if self._met(dep, status, record, place) is False:
                state = self._state(dep, record, place)
                how = {State.FAILED: "failed", State.CANCELLED: "was cancelled", State.UNREACHABLE: "was never reached"}
                before = self._records[dep]
                name = before.title(place) if dep in self.each(record) else before.name
                return (
                    f"DependencyNeverSatisfied: {record.title(place)!r} needs the {status} of {name!r}, which "
                    f"{how.get(state, 'succeeded')}"
                )
        return ""

    def _of(self, record: Record) -> Sequence[tuple[str, str]]:
        return [(dep, status) for dep, status in self._facts[record.key].get("edges", ()) if dep in self._records]

    def _met(self, dep: str, status: str, record: Record, place: int | None) -> bool | None:
        state = self._state(dep, record, place)
        if not state.is_end:
            return None
        if status == "any":
            return True
        return state.is_success if status == "success" else state is State.FAILED

    def _state(self, dep: str, record: Record, place: int | None) -> State:
        before = self._records[dep]
        if place is not None and dep in self.each(record):
            return before.states.get(place, State.UP_TO_DATE)  # one that was done before is not among them
        return before.whole
