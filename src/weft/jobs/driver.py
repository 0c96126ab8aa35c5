"""Runs a plan: each job, or element of an array, is a task of the engine, started once what it comes after allows it.

    plan ─> weave: a task for each element, one that joins the elements of an array, one at the very end
    scheduler's thread: launch ─> backend.submit ... ─> observe: record what became of it, tell, write it down

The thread of the scheduler fills in the records. Others read them, and may ask to cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from threading import Event as ThreadEvent
from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.engine.events import Event
from weft.engine.light import LightFuture, outcome
from weft.engine.states import CANCELLED, FAILED, SUCCEEDED, UNREACHABLE, WANTED
from weft.errors import JobFailed, told
from weft.jobs.bind import with_results
from weft.jobs.call import AskCall, JobCall
from weft.jobs.conditions import NO_ELEMENT
from weft.jobs.site import Unrecorded
from weft.jobs.weave import Unit, Weave

if TYPE_CHECKING:
    from weft.engine.states import State
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan
    from weft.jobs.records import Record
    from weft.jobs.scribe import Scribe

__all__ = ["Driver"]


class Driver:
    """Runs what a plan says.

    Args:
        plan: what is to run.
        records: of all jobs of the plan.
        places: the backend of each job that runs.
        calls: what is sent there for it.
        marks: fingerprint of each place of a job.
        scribe: keeps what happens.
        name: of the run.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[Job[..., Any], Record],
        places: Mapping[Job[..., Any], Any],
        calls: Mapping[Job[..., Any], JobCall],
        marks: Callable[[Job[..., Any], int | None], bytes],
        scribe: Scribe,
        name: str,
    ) -> None:
        self.over = ThreadEvent()
        #: Called, in the scheduler's thread, when all is over, with why before its time, if so.
        self.at_end: Callable[[str | None], object] = str
        self._stopped: str | None = None
        self._is_cut = False  # the end of all has come before the rest
        self._records = records
        self._places = places
        self._calls = calls
        self._marks = marks
        self._scribe = scribe
        self._context = copy_context()  # jobs find the context variables of where the run was started
        self._weave = Weave(plan, records, places, self._launch, self._observe, name)
        self._weave.scheduler.at_pauses(scribe.flush)

    # From the thread that starts the run ----------------------------------------------------------------------

    def start(self) -> None:
        """Make all tasks, and let them go."""
        self._weave.make()
        self._weave.begin()

    def cancel(self, *, interrupted: bool = False) -> None:
        """Cancel all that is not over; what runs is stopped, as far as that can be done."""
        if not self.over.is_set():
            self._stopped = self._stopped or ("interrupted" if interrupted else "cancelled")
        # The last ones first: what comes after a cancelled job is cancelled, too, and not merely unreachable. What only
        # puts things together ends by itself, and after what it waits for; so the end of all stays the last.
        for future, unit in reversed(list(self._weave.units.items())):
            if unit.role in ("call", "before") or (unit.role == "after" and unit.work is not None):
                future.cancel()

    # In the scheduler's thread: starting ----------------------------------------------------------------------

    def _launch(self, unit: Unit) -> Future[Any]:
        role = unit.role
        if role == "call":
            start = self._call
        elif role == "before" or (role == "after" and unit.record is not None and unit.record.end().is_success):
            start = self._ask
        else:
            return self._join(unit)
        try:
            unit.work = self._context.run(start, unit)
        except BaseException as error:
            unit.error = error
            raise
        return unit.work

    def _call(self, unit: Unit) -> Future[Any]:
        record, place = unit.record, unit.place
        assert record is not None
        job = record.job
        assert job is not None
        mark = self._marks(job, place)
        arguments = job.arguments
        given, kwargs = with_results(arguments, self._result) if arguments.takes else arguments[:2]
        args: tuple[Any, ...]
        if job.elements is None:
            args = (record.name, record.key, None, mark)
            if given or kwargs:
                args += (NO_ELEMENT, given, kwargs)
        else:
            args = (record.name, record.key, place, mark, record.element(place))
            if given or kwargs:
                args += (given, kwargs)
        work: Future[Any] = self._places[job].submit(self._calls[job], args, job)
        return work

    def _ask(self, unit: Unit) -> Future[Any]:
        record = unit.record
        assert record is not None
        job = record.job
        assert job is not None
        conditions = tuple(c for c in job.conditions if c.when == unit.role and not c.per_element)
        work: Future[Any] = self._places[job].submit(
            AskCall(None, conditions, record.name), (record.name, unit.role), job
        )
        return work

    def _result(self, job: Job[..., Any]) -> Any:
        return self._records[job].known()

    def _join(self, unit: Unit) -> Future[Any]:
        """What the end of all that it waits for makes of an array. A gate, and the end of all, are merely reached.

        Of an array that has not succeeded nobody asks what holds after it: it has failed, or was not reached, as it is.
        """
        done: LightFuture[Any] = LightFuture()
        record = unit.record
        if unit.role not in ("join", "after") or record is None:
            done._conclude(None, None)
            return done
        end = record.end()
        if end is CANCELLED:
            done.cancel()
        elif end is FAILED:
            done._conclude(None, record.failed()[0])
        else:
            done._conclude(None, None if end.is_success else record.reason())
        return done

    # In the scheduler's thread: what has happened -------------------------------------------------------------

    def _observe(self, event: Event) -> None:
        time, task, name, state, detail = event
        units = self._weave.units
        unit = None if state is WANTED else units.get(task)
        if unit is None:
            return
        if state.is_end:
            del units[task]
        try:
            if unit.role == "call":
                self._note_call(unit, task, state, time, detail)
            else:
                self._note(unit, task, state, time, detail)
        except BaseException:  # noqa: BLE001 - a run goes on whatever becomes of the notes about it
            complain("cannot keep what became of %s", name)
        if not state.is_end:
            return
        is_last = unit.role == "end"
        if is_last and state is CANCELLED and units:
            # By a Ctrl-C while the interpreter waits at exit, which cancels all that waits. What runs follows.
            self._is_cut = True
            self.cancel(interrupted=True)
        elif is_last or (self._is_cut and not units):
            self._end()
        else:
            self._weave.look()

    def _note_call(self, unit: Unit, task: Future[Any], state: State, time: float, detail: str) -> None:
        """Of an element, or of a job without an array."""
        record, place = unit.record, unit.place
        assert record is not None
        assert place is not None
        if state is SUCCEEDED:
            assert unit.work is not None
            value = outcome(unit.work)[0]
            record.values[place] = self._scribe.result(record, place, value) if type(value) is Unrecorded else value
        elif state is FAILED:
            self._fail(unit, record, detail)
        elif state is UNREACHABLE and record.why is None:
            record.why = task
        record.states[place] = state
        if record.elements is None:
            record.whole = state
        self._scribe.state(time, record, place, state, detail)

    def _note(self, unit: Unit, task: Future[Any], state: State, time: float, detail: str) -> None:
        """Of an array as a whole."""
        record = unit.record
        if record is None or unit.role == "gate":
            return
        if state is FAILED and (unit.work is not None or unit.error is not None):  # else it is its elements that failed
            self._fail(unit, record, detail)
        if not state.is_end or self._weave.ends[record.job] is not task:  # type: ignore[index]
            return
        record.whole = record.end() if record.states else state
        if state is UNREACHABLE and record.why is None:
            record.why = task
        if state is CANCELLED and record.whole is SUCCEEDED:
            record.whole = state  # while its conditions were asked
        self._scribe.state(time, record, None, record.whole, detail)

    def _fail(self, unit: Unit, record: Record, detail: str) -> None:
        error = unit.error if unit.work is None else outcome(unit.work)[1]
        text = f"{record.title(unit.place)} failed: {detail if error is None else told(error)}"
        failure = JobFailed(text, job=record.job, element=record.element(unit.place))
        failure.__cause__ = error
        record.failures[unit.place] = self._scribe.failed(failure, record, unit.place)

    def _end(self) -> None:
        try:
            self.at_end(self._stopped)
        except BaseException:  # noqa: BLE001 - those who wait are told in any case
            complain("cannot keep the end of a run")
        finally:
            self.over.set()
