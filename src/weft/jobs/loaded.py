"""A run as it is written down, for whoever comes later or from another process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.engine.states import State
from weft.errors import DeadlockError, DependencyNeverSatisfied, JobFailed, told
from weft.jobs.facts import records_told
from weft.jobs.past import Past, is_over
from weft.jobs.records import Record
from weft.payload import unpack_failure
from weft.rundir import Outcome, RunFolder, log_path, read_journal

__all__ = ["Loaded", "failure_of", "take"]

LOOK = 0.1  # seconds between looks at a run of another process


class Loaded:
    """Reads a run; what has been read is as of that moment, until `wait` or `cancel` read it again."""

    ids: Mapping[str, str] = {}

    def __init__(self, folder: RunFolder) -> None:
        self.name = folder.name
        self.path: Path | None = folder.path
        self._folder = folder
        self.records = records_told(folder.facts())
        self._read()

    def refresh(self) -> None:
        """As above: it is not read again."""

    def wait(self, timeout: float | None) -> bool:
        """Return when the run is over, or False after so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not is_over(self._folder):
            if not self._folder.is_live() and not is_over(self._folder):
                raise DeadlockError(
                    f"run {self.name} does not go on: its driver is gone; run its script again, and it is taken over"
                )
            left = LOOK if end is None else end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(LOOK, left))
        self._read()
        return True

    def cancel(self) -> None:
        """Have its driver cancel what is not over; return when the run is. Raises RunInUse where that cannot be."""
        from weft.jobs.stop import stop

        stop(self._folder)
        self._read()

    def log_path(self, record: Record, place: int | None) -> Path | None:
        """The file with what a job or an element wrote, if it wrote anything."""
        path = log_path(self._folder.path, record.key, record.where(place))
        return path if path.exists() else None

    def _read(self) -> None:
        """Put into the records what has happened."""
        past = Past(self._folder)
        by_key = {record.key: record for record in self.records}
        for event in read_journal(self._folder.journal):
            record = by_key.get(event.get("job", ""))
            if record is not None:
                take(record, event)
        for record in self.records:
            self._recorded(record, past)

    def _recorded(self, record: Record, past: Past) -> None:
        """What was recorded of a job: results, failures, and ends that its driver did not live to hear of."""
        record.past = lambda place: past.value(record.key, record.where(place))
        for place in (None, *record.places) if record.elements is not None else (0,):
            outcome = past.outcomes.get((record.key, record.where(place) if place is not None else None))
            if outcome is None:
                continue
            if outcome.ok and place is not None and not record.states[place].is_end:
                record.states[place] = State.SUCCEEDED
                if record.elements is None:
                    record.whole = State.SUCCEEDED
            elif not outcome.ok and place not in record.failures:
                state = record.whole if place is None else record.states[place]
                if state is State.FAILED:
                    record.failures[place] = failure_of(record, place, outcome, self.log_path(record, place))
        if record.elements is not None and record.whole is State.WANTED and record.places:
            ended = all(state.is_end for state in record.states.values())
            record.whole = record.end() if ended else record.whole


def failure_of(record: Record, place: int | None, outcome: Outcome, log: Path | None) -> JobFailed:
    """The failure of a job, or of an element, from what was recorded of it."""
    try:
        error: BaseException = unpack_failure(outcome.read())
    except Exception as obstacle:  # noqa: BLE001 - a tampered file is told where it is asked for
        error = obstacle
    failure = JobFailed(
        f"{record.title(place)} failed: {told(error)}",
        job=record.name if record.job is None else record.job,
        element=record.element(place),
        log=log,
    )
    failure.__cause__ = error
    return failure


def take(record: Record, event: dict[str, Any]) -> None:
    """One event of a job."""
    if "state" not in event:
        return
    state = State(event["state"])
    place = event.get("i")
    if record.elements is None:
        record.whole = record.states[0] = state
    elif place is None:
        record.whole = state
    else:
        record.states[place] = state
    if state is State.WANTED:  # again: what was said of an earlier try of it is of no interest any more
        record.why = None
        record.failures.pop(0 if record.elements is None else place, None)
    elif state is State.UNREACHABLE and record.why is None:
        detail = str(event.get("detail", ""))
        record.why = DependencyNeverSatisfied(detail.removeprefix("DependencyNeverSatisfied: "))
