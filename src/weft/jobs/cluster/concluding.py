"""What follows, for each job of a run, from what has been asked about it: the events that are new."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from weft.engine.states import State
from weft.errors import StorageError, told
from weft.executors.cluster.death import add_to, died, tail_of
from weft.executors.cluster.formats import EXIT_FAILED
from weft.executors.cluster.system import Phase, Seen
from weft.jobs.loaded import failure_of
from weft.payload import pack_failure
from weft.rundir import Attempt, Outcome, Recorder, read_file

if TYPE_CHECKING:
    from pathlib import Path

    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.cluster.register import Submission
    from weft.jobs.cluster.standing import Standing
    from weft.jobs.records import Record

__all__ = ["Answers", "Concluding"]

LOGGER = logging.getLogger("weft")

GRACE = 30.0  # seconds that an outcome, or the record of an end, may come late


class Answers(NamedTuple):
    """What has been asked about elements that are not over; these are known by submission number and place."""

    asked: bool  #: Whether the batch system has answered.
    live: dict[tuple[int, int], Seen]  #: What waits or runs.
    ends: dict[tuple[int, int], Seen]  #: How those ended that neither wait nor run, as far as it knows.
    files: dict[str, list[tuple[Attempt, str]]]  #: Outcomes, by what they are of.

    def candidates(self, sub: Submission, place: int) -> list[str]:
        """The files with outcomes of an element, that of the last try first.

        One of an earlier try than that which the batch system knows is a ghost's, on a node that was given up.
        """
        line = self.live.get((sub.number, place))
        restarts = 0 if line is None else line.restarts
        return [
            name
            for attempt, name in sorted(self.files.get(sub.of(place), ()), reverse=True)
            if attempt.submission == sub.number and attempt.restarts >= restarts
        ]


class Concluding:
    """Draws conclusions, each job after those that it comes after. The new events are in `events`, and in the records.

    What has left an outcome that does not read is in `torn`: how it ended is to be asked.

    Args:
        standing: what is known.
        system: the batch system.
        answers: what is new.
    """

    def __init__(self, standing: Standing, system: BatchSystem | None, answers: Answers) -> None:
        self.events: list[dict[str, Any]] = []
        self.torn: set[tuple[int, int]] = set()
        self._standing = standing
        self._system = system
        self._answers = answers
        self._edges = standing.edges
        self._run: Path = standing.folder.path

    def conclude(self) -> None:
        """Draw all of them."""
        by_key: dict[str, list[tuple[Submission, list[int]]]] = {}
        for sub, places in self._standing.left():
            by_key.setdefault(sub.key, []).append((sub, places))
        for record in self._standing.records:
            for sub, places in by_key.get(record.key, ()):
                for place in places:
                    self._element(record, sub, place)
            self._never(record)
            if record.elements is not None and record.whole is State.WANTED:
                self._array(record)
        if all(record.whole.is_end or record.whole is State.IDLE for record in self._standing.records):
            self._end("finished")

    def give_up(self) -> None:
        """All that is not over is cancelled."""
        held = self._standing.register.holders()
        for record in self._standing.records:
            if record.whole.is_end or record.whole is State.IDLE:
                continue
            for place, state in record.states.items():
                if not state.is_end:
                    self._event(record, held.get((record.key, place)), place, State.CANCELLED)
            if record.elements is not None:
                self._whole(record, State.CANCELLED)
        self._end("cancelled")

    # One element, or the conditions of an array ---------------------------------------------------------------

    def _element(self, record: Record, sub: Submission, place: int) -> None:
        answers, element = self._answers, (sub.number, place)
        names = answers.candidates(sub, place)
        outcome = self._outcome(names)
        if outcome is not None:
            self._arrive(record, sub, place, outcome)
            return
        if names:
            self.torn.add(element)
        if element in answers.live:
            runs = answers.live[element].phase is Phase.RUNNING
            if sub.role == "call" and runs is (record.states[place] is State.WANTED):
                self._event(record, sub, place, State.RUNNING if runs else State.WANTED)
        elif answers.asked:
            self._miss(record, sub, place, answers.ends.get(element))

    def _outcome(self, names: list[str]) -> Outcome | None:
        for name in names:
            outcomes = read_file(self._run / "outcomes" / name, self._run)
            if outcomes:  # else it is torn, as by a full disk
                return outcomes[-1]
        return None

    def _arrive(self, record: Record, sub: Submission, place: int, outcome: Outcome) -> None:
        detail = ""
        if not outcome.ok:
            where = place if sub.role == "call" else None
            failure = record.failures[where] = failure_of(record, where, outcome, sub.log_of(self._run, place))
            detail = told(failure.__cause__ or failure)
        if sub.role != "call":
            self._asked(sub, good=outcome.ok, at=outcome.time)
            return
        if record.states[place] is State.WANTED and outcome.began is not None:
            self._event(record, sub, place, State.RUNNING, at=outcome.began)
        state = State.SUCCEEDED if outcome.ok else State.FAILED
        self._event(record, sub, place, state, at=outcome.time, detail=detail)

    def _miss(self, record: Record, sub: Submission, place: int, end: Seen | None) -> None:
        """It neither waits nor runs, and has left no outcome."""
        log = sub.log_of(self._run, place)
        tail = tail_of(log)
        end, word, sentence = self._judged(sub, place, end, tail)
        if word == "cancelled":
            self._cancelled(record, sub, place, sentence)
        elif end is None and not self._standing.may_run(sub, place):
            pass  # somebody else's end decides
        elif (end is not None and (end.signal or end.exitcode not in (0, EXIT_FAILED))) or self._is_late(sub, place):
            self._bury(record, sub, place, end, word, sentence, log, tail)
        elif sub.role == "call" and record.states[place] is State.WANTED and self._edges.meets(record, place):
            self._event(record, sub, place, State.RUNNING)  # as far as anybody knows

    def _judged(self, sub: Submission, place: int, end: Seen | None, tail: str) -> tuple[Seen | None, str, str]:
        """How it ended, what it died of, and how that is told."""
        given_up = self._standing.given_up.get((sub.number, place))
        if given_up is not None and (end is None or (end.signal, end.exitcode) == (None, None)):
            # It was taken out of the queue for this, and has not run since.
            end = Seen(str(sub.id), None, Phase.PENDING, *given_up, 0 if end is None else end.restarts)
        if end is None:
            return None, "died", "it has ended, and nobody knows how"
        assert self._system is not None
        return end, *self._system.verdict(end, tail)

    def _is_late(self, sub: Submission, place: int) -> bool:
        """There should be an outcome, or somebody who knows more: whether it has been waited for long enough."""
        element, now = (sub.number, place), time.time()
        missed = self._standing.missed
        if element not in missed:
            self._write({"t": now, "job": sub.key, "i": place, "n": sub.number, "missed": now})
        return now - missed[element] >= GRACE

    def _bury(
        self,
        record: Record,
        sub: Submission,
        place: int,
        end: Seen | None,
        word: str,
        sentence: str,
        log: Path,
        tail: str,
    ) -> None:
        where = place if sub.role == "call" else None
        seconds = self._standing.seconds(record)
        job = sub.id if self._system is None else sub.id_of(place, self._system)
        error = died(record.title(where), job, word, sentence, end, seconds=seconds, log=log, tail=tail)
        if log.exists():
            add_to(log, f"weft: {type(error).__name__}: {record.title(where)} failed in job {job}: {sentence}\n")
        self._record_death(record, sub, place, 0 if end is None else end.restarts, error)
        if sub.role == "call":
            self._event(record, sub, place, State.FAILED, detail=told(error))
        else:
            self._asked(sub, good=False, at=time.time())

    def _cancelled(self, record: Record, sub: Submission, place: int, sentence: str) -> None:
        """By somebody; or by the batch system, because it can no longer run: that is found out from its edges."""
        before = self._standing.register.asked(record.key).get("before")
        if sub.role == "after":
            self._asked(sub, good=False, at=time.time())
        elif self._edges.meets(record, place if sub.role == "call" else None) is not True:
            return
        elif sub.role == "before":
            self._asked(sub, good=False, at=time.time())
        elif before is None or self._standing.fate(before, 0):
            self._event(record, sub, place, State.CANCELLED, detail=sentence)

    def _record_death(self, record: Record, sub: Submission, place: int, restarts: int, error: BaseException) -> None:
        """Write it down as the worker would have."""
        at = place if sub.role == "call" else None
        where, payload = (record.where(place) if at is not None else None), pack_failure(error)
        recorder = Recorder(self._run, sub.of(place), Attempt(sub.number, restarts))
        try:
            recorder.record(record.key, where, ok=False, payload=payload)
        except StorageError as obstacle:
            LOGGER.warning("the failure of %s is not recorded: %s", record.title(at), obstacle)
        recorder.close()
        outcome = Outcome(record.key, where, time.time(), ok=False, stamp=b"", payload=payload, run=self._run)
        record.failures[at] = failure_of(record, at, outcome, sub.log_of(self._run, place))

    # Jobs -----------------------------------------------------------------------------------------------------

    def _never(self, record: Record) -> None:
        """What can no longer come to run."""
        waiting = [place for place, state in record.states.items() if state is State.WANTED]
        held: Mapping[Any, Submission] | None = None
        for place in waiting:
            if self._edges.meets(record, place) is not False:
                if not self._edges.each(record):
                    break  # they are all alike
                continue
            held = self._standing.register.holders() if held is None else held
            sub = held.get((record.key, place))
            line = None if sub is None else self._answers.live.get((sub.number, place))
            if line is None or line.phase is not Phase.RUNNING:
                self._event(record, sub, place, State.UNREACHABLE, detail=self._edges.why(record, place))

    def _array(self, record: Record) -> None:
        """What its elements, and its conditions, make of an array."""
        asked = self._standing.register.asked(record.key)
        before = asked.get("before")
        if before is not None and self._standing.fate(before, 0) is False:
            self._unmet(record)
            return
        if not record.places:
            met = self._edges.meets(record, None)
            if met is not None:
                self._whole(record, State.SUCCEEDED if met else State.UNREACHABLE, self._edges.why(record, None))
            return
        if not all(state.is_end for state in record.states.values()):
            return
        end = record.end()
        if end.is_success and "after" in self._standing.asks(record) and "call" in asked:
            after = asked.get("after")
            good = None if after is None else self._standing.fate(after, 0)
            if good is None:
                return
            if not good:
                end = State.FAILED if None in record.failures else State.CANCELLED
        self._whole(record, end)

    def _unmet(self, record: Record) -> None:
        """What must hold before the array does not."""
        held = self._standing.register.holders()
        for place, state in record.states.items():
            if not state.is_end:
                sub = held.get((record.key, place))
                self._event(record, sub, place, State.UNREACHABLE, detail="its precondition does not hold")
        self._whole(record, State.FAILED if None in record.failures else State.CANCELLED)

    # Events ---------------------------------------------------------------------------------------------------

    def _event(
        self,
        record: Record,
        sub: Submission | None,
        place: int,
        state: State,
        *,
        at: float | None = None,
        detail: str = "",
    ) -> None:
        event: dict[str, Any] = {"t": time.time() if at is None else at, "job": record.key}
        if record.elements is not None:
            event["i"] = place
        event["state"] = state.value
        if sub is not None:
            event["n"] = sub.number
        if detail:
            event["detail"] = detail
        self._write(event)

    def _whole(self, record: Record, state: State, detail: str = "") -> None:
        failure = record.failures.get(None)
        if state is State.FAILED and failure is not None:
            detail = told(failure.__cause__ or failure)
        event = {"t": time.time(), "job": record.key, "state": state.value}
        self._write({**event, "detail": detail} if detail else event)

    def _asked(self, sub: Submission, *, good: bool, at: float) -> None:
        """The conditions of an array have been asked, or never will be."""
        self._write({"t": at, "job": sub.key, "role": sub.role, "n": sub.number, "good": good})

    def _end(self, how: str) -> None:
        # It ended with its last job, and not when somebody noticed that.
        at = self._standing.latest if how == "finished" else time.time()
        self._write({"t": at, "run": how, "pid": os.getpid(), "host": socket.gethostname()})

    def _write(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._standing.take(event)
