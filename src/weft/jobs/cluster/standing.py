"""What is known of a run that a batch system runs, by what is written down of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.jobs.cluster.edges import Edges
from weft.jobs.cluster.register import Register
from weft.jobs.loaded import take
from weft.rundir import JournalReader, RunFolder

if TYPE_CHECKING:
    from weft.jobs.cluster.register import Submission
    from weft.jobs.records import Record

__all__ = ["Standing"]


class Standing:
    """The records of the jobs of a run, kept up to date by its events; and its submissions.

    Args:
        folder: of the run.
        records: of its jobs, in topological order.

    Attributes:
        over: how the run has ended; empty while it goes on.
        latest: when something happened in it last, in seconds since the epoch.
        fates: of elements that are over, by the number of the submission and the place: whether all was well.
        missed: since when, in seconds since the epoch, an element neither waits nor runs and has left no outcome.
        given_up: why an element was taken out of the queue by somebody who waited for the run: the state and the
            reason with which the batch system held it for ever.
    """

    def __init__(self, folder: RunFolder, records: Sequence[Record]) -> None:
        self.over = ""
        self.latest = 0.0
        self.folder = folder
        self.records = records
        self.register = Register(folder.path)
        self.fates: dict[tuple[int, int], bool] = {}
        self.missed: dict[tuple[int, int], float] = {}
        self.given_up: dict[tuple[int, int], tuple[str, str]] = {}
        self._by_key = {record.key: record for record in records}
        self._facts: dict[str, dict[str, Any]] = {job["key"]: job for job in folder.facts().get("jobs", ())}
        self.edges = Edges(self._facts, self._by_key)
        self._reader = JournalReader(folder.journal)
        self.catch_up()

    def catch_up(self) -> bool:
        """Take in what has been written down since; whether there was anything."""
        self.register.read()
        events = self._reader.new()
        for event in events:
            self.take(event)
        return bool(events)

    def take(self, event: dict[str, Any]) -> None:
        """Keep what an event says. It may be one that was taken already."""
        self.latest = max(self.latest, event.get("t", 0.0))
        if "run" in event:
            how = event["run"]
            self.over = how if how in ("finished", "cancelled") else ""
            return
        record = self._by_key.get(event.get("job", ""))
        if record is None:
            return
        element: tuple[int, int] = event.get("n", -1), event.get("i", 0)
        if "missed" in event:
            self.missed[element] = event["missed"]
        elif "held" in event:
            said, why = event["held"]
            self.given_up[element] = said, why
        elif "role" in event:
            self.fates[element] = event["good"]
        elif "state" in event:
            state = State(event["state"])
            if "n" in event and state.is_end:
                self.fates[element] = state.is_success
            if "i" not in event or event["i"] in record.states:
                take(record, event)

    # Questions ------------------------------------------------------------------------------------------------

    def asks(self, record: Record) -> Collection[str]:
        """When an array is asked conditions as a whole: before, after."""
        found: Collection[str] = self._facts[record.key].get("asks", ())
        return found

    def seconds(self, record: Record) -> float | None:
        """The time limit of a job."""
        found: float | None = self._facts[record.key].get("resources", {}).get("time")
        return found

    def fate(self, submission: Submission, place: int) -> bool | None:
        """What became of an element of a submission: True: it is good; False: it is not; None: it is not over."""
        return self.fates.get((submission.number, place))

    def may_run(self, submission: Submission, place: int) -> bool:
        """Whether all that an element of a submission waits for has come, by the run's own records."""
        if submission.role == "after":
            return True
        record, is_call = self._by_key[submission.key], submission.role == "call"
        if is_call and "before" in self.asks(record):
            before = self.register.asked(submission.key).get("before")
            if before is not None and not self.fate(before, 0):
                return False
        return self.edges.meets(record, place if is_call else None) is True

    def left(self) -> list[tuple[Submission, list[int]]]:
        """What is in the queue, as far as is known: submissions, and of each the places that are not over.

        What was submitted anew is no longer of interest where it was before.
        """
        held = self.register.holders()
        last = {(sub.key, sub.role): sub for sub in self.register.all if not sub.gone}
        found = []
        for sub in self.register.all:
            if sub.id is None or sub.gone:
                continue
            places = [place for place in sub.places if (sub.number, place) not in self.fates]
            if sub.role == "call":
                places = [place for place in places if held[sub.key, place] is sub]
            if places and (sub.role == "call" or last[sub.key, sub.role] is sub):
                found.append((sub, places))
        return found

    def not_submitted(self) -> list[Record]:
        """The jobs that may still come to run, of which something is not in the queue."""
        held = self.register.holders()
        return [
            record
            for record in self.records
            if any(
                state is State.WANTED and ((record.key, place) not in held or held[record.key, place].id is None)
                for place, state in record.states.items()
            )
        ]
