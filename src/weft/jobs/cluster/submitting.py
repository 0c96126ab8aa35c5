"""Submits a plan to a batch system: parents first, each submission written down before it is made."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pickle import dumps
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeVar

from weft.engine.states import State
from weft.errors import SubmitError, WeftError, told
from weft.executors.cluster.system import Busy, Order, Refused, Sheet
from weft.jobs.call import AskCall, JobCall
from weft.jobs.cluster.calls import packed_calls
from weft.jobs.cluster.layout import Layout, Never
from weft.jobs.cluster.results import taken_out
from weft.jobs.scribe import CANCEL, say
from weft.payload import pack, unpackable_arguments
from weft.resources import Resources, Retries
from weft.rundir import Journal, RunFolder, make_folder, task_folder, write_atomic

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.cluster.register import Submission
    from weft.jobs.cluster.survey import Survey
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan, Planned
    from weft.jobs.records import Record

__all__ = ["Submitter"]

T = TypeVar("T")

FRESH = 1.0  # seconds for which what the batch system has said is taken to be so; it forgets nobody sooner
LONGEST = 60.0  # seconds between two tries, when it does not answer, or has no room
GIVE_UP = 300.0  # seconds without an answer


class _Cancelled(Exception):  # noqa: N818 - an answer
    """Somebody has asked for the end of the run meanwhile."""


class Submitter:
    """Submits what is missing of a run.

    Args:
        folder: of the run; its driver is this process.
        plan, records: what is to run.
        places: the batch system, with what each job asks for.
        calls: what is run for each job.
        marks: fingerprint of each place of a job.
        survey: of the run.
        lives: for each job, which of its elements are in the queue, and in which submission.
        size: most elements of one submission.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        records: Mapping[Job[..., Any], Record],
        places: Mapping[Job[..., Any], Cluster],
        calls: Mapping[Job[..., Any], JobCall],
        marks: Callable[[Job[..., Any], int], bytes],
        survey: Survey,
        lives: Mapping[Job[..., Any], Mapping[int, Submission]],
        size: int,
    ) -> None:
        self.made: list[Submission] = []
        self._folder = folder
        self._plan = plan
        self._records = records
        self._places = places
        self._calls = calls
        self._marks = marks
        self._survey = survey
        self._register = survey.standing.register
        self._system: BatchSystem = next(iter(places.values())).system
        fate, pieces = survey.standing.fate, getattr(self._system, "pieces", None)
        self._layout = Layout(plan, records, self._register, size, lives, fate, pieces)
        self._goes_on = any(lives.values())
        self._left = ""  # what could not be taken back
        self._journal = Journal(folder.journal)
        self._looked = self._system.clock.now()
        self._told = False
        self._packed: dict[Any, bytes] = {}
        try:
            self._cwd = os.getcwd()
        except OSError:  # it has been deleted
            self._cwd = os.sep

    def submit(self) -> None:
        """Submit everything, or, with an exception, nothing.

        Raises:
            SubmitError: the batch system refuses something, or does not answer for minutes.
            StorageError: something cannot be written down.
            ArgumentError: an argument that cannot be sent.
        """
        self._note(run="started")
        make_folder(self._folder.path / "outcomes")
        write_atomic(self._folder.path / "worker.py", _launcher(self._folder).encode(errors="surrogateescape"))
        try:
            for part in self._plan:
                if part.state is State.WANTED:
                    self._submit(part)
            self._cancel_stale()
        except BaseException as error:  # noqa: BLE001 - it is raised again, or what the user is told instead
            self._take_back(error)
            raise self._error(error) from (error if isinstance(error, WeftError) else error.__cause__)
        else:
            self._note(run="submitted")
        finally:
            self._register.close()
            self._journal.close()

    def _submit(self, part: Planned) -> None:
        record = self._records[part.job]
        self._look()
        try:
            subs = self._layout.lay(part)
        except Never:  # whoever looks at the run finds out the same
            return
        self._reset(record, [place for sub in subs if sub.role == "call" for place in sub.places])
        for sub in subs:
            self._look()
            try:
                self._make(part.job, record, sub)
            except Never:
                self._layout.lose(part.job)
                return
            except (Refused, Busy) as error:
                raise _NotTaken(record, error) from None

    def _look(self) -> None:
        """See what has ended meanwhile, unless that was done just now."""
        if (self._folder.path / CANCEL).exists():
            raise _Cancelled
        if self.made and self._system.clock.now() - self._looked > FRESH:
            self._looked = self._system.clock.now()
            self._survey.look()

    def _reset(self, record: Record, places: list[int]) -> None:
        """What has failed before, and is submitted anew, waits again."""
        again = [place for place in places if record.states[place].is_end]
        for place in again:
            self._note(job=record.key, **({} if record.elements is None else {"i": place}), state="wanted")
        if places and record.elements is not None and record.whole.is_end:
            self._note(job=record.key, state="wanted")
        self._survey.standing.catch_up()

    # One submission -------------------------------------------------------------------------------------------

    def _make(self, job: Job[..., Any], record: Record, sub: Submission) -> None:
        self._layout.settle(sub)
        self._write(job, record, sub)
        self._register.begins(sub)
        self.made.append(sub)
        self._register.made(sub, self._patiently(lambda: self._order(sub), sub.name))

    def _order(self, sub: Submission) -> str:
        try:
            self._layout.settle(sub)
        except Never:
            self._register.gone(sub)
            self.made.remove(sub)
            raise
        after = tuple(
            (str(dep.id), how) if isinstance(how, str) else (str(dep.id_of(how)), "success") for dep, how in sub.after
        )
        return self._system.submit(Order(sub.name, str(sub.script(self._folder.path)), sub.indices, after, sub.any))

    def _patiently(self, ask: Callable[[], str], name: str) -> str:
        """An answer. While there is none, or no room, ask again. Raises Busy when nobody has answered for long."""
        clock, pause, since = self._system.clock, 1.0, self._system.clock.now()
        unsure = False
        while True:
            try:
                if unsure:  # it may have been taken
                    found = self._system.find(name)
                    if found is not None:
                        return found
                    unsure = False
                return ask()
            except Busy as busy:
                unsure = unsure or busy.unsure
                if not busy.full and clock.now() - since > GIVE_UP:
                    raise
                if busy.full:
                    since = clock.now()
                self._tell(busy)
            condition = Condition()
            with condition:
                clock.wait(condition, pause)
            pause = min(LONGEST, pause * 1.5)
            self._look()

    def _tell(self, busy: Busy) -> None:
        if not self._told:
            self._told = True
            what = "has no room" if busy.full else "does not answer"
            count = len(self.made) - 1
            say(f"weft: {self._system.name} {what}; {count} submissions are made, trying again: {busy}")

    # What it runs ---------------------------------------------------------------------------------------------

    def _write(self, job: Job[..., Any], record: Record, sub: Submission) -> None:
        run = self._folder.path
        make_folder(task_folder(run, record.key, None))
        for place in sub.places:
            self._make_log_folder(sub, place)
        file, proofs = sub.call_file(run), make_folder(sub.proofs(run))
        facts = {
            "number": sub.number,
            "name": record.name,
            "role": sub.role,
            "array": sub.array,
            "base": sub.base,
            "places": sub.places,
            "proofs": proofs.name,
            "seconds": self._places[job].terms(job).resources.time if sub.role == "call" else None,
            "takes": [self._records[dep].key for dep in job.arguments.takes],
            **self._what(job, record, sub),
        }
        elements = [self._element(job, record, sub, place) for place in sub.places]
        purpose = f"call {run.name} {record.key} {file.name}"
        write_atomic(file, packed_calls(purpose, elements, dumps(facts, 5)))
        script = self._system.script(self._sheet(job, sub, file.name))
        write_atomic(sub.script(run), script.encode(errors="surrogateescape"))

    def _what(self, job: Job[..., Any], record: Record, sub: Submission) -> dict[str, Any]:
        if sub.role != "call":
            conditions = tuple(c for c in job.conditions if c.when == sub.role and not c.per_element)
            return {"call": pack(AskCall(None, conditions, record.name)), "arguments": None, "takes": []}
        arguments = job.arguments
        if not (arguments.args or arguments.kwargs):
            return {"call": self._packed_call(job), "arguments": None}
        args, kwargs = taken_out(arguments, self._records)
        try:
            packed = pack((args, kwargs))
        except Exception as error:
            raise unpackable_arguments(job.function_name, args, kwargs, error) from error
        return {"call": self._packed_call(job), "arguments": packed}

    def _packed_call(self, job: Job[..., Any]) -> bytes:
        """The function with its conditions; what the user's code raises is tried again where it was raised."""
        call, retries = self._calls[job], job.spec.resources.retries
        key = (call, retries)
        if key not in self._packed:
            by_cause = () if retries is None else tuple(one for one in retries.by_cause if one[0] == "user")
            self._packed[key] = pack(call.alike(env=(), retries=Retries(None, by_cause) if by_cause else None))
        return self._packed[key]

    def _element(self, job: Job[..., Any], record: Record, sub: Submission, place: int) -> bytes:
        if sub.role != "call":
            return dumps((b"", b""), 5)
        if not sub.array:
            return dumps((self._marks(job, place), b""), 5)
        element = record.element(place)
        try:
            return dumps((self._marks(job, place), pack(element)), 5)
        except Exception as error:
            raise unpackable_arguments(job.function_name, (element,), {}, error) from error

    def _make_log_folder(self, sub: Submission, place: int) -> None:
        """Batch systems make files for logs, but no folders."""
        run = self._folder.path
        folder = make_folder(task_folder(run, sub.of(place), None))
        if sub.base:  # it has another number there
            link = sub.log_of(run, place).parent
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)

    def _sheet(self, job: Job[..., Any], sub: Submission, file: str) -> Sheet:
        place = self._places[job]
        terms, run = place.terms(job), self._folder.path
        python = os.path.abspath(place.python or sys.executable)
        return Sheet(
            name=sub.name,
            places=sub.indices,
            command=(python, str(run / "worker.py"), sub.key, file),
            log=sub.log(run),
            directory=self._cwd,
            resources=terms.resources if sub.role == "call" else Resources(),
            setup=terms.setup,
            env=terms.env,
            options=terms.options,
            throttle=job.spec.throttle if sub.role == "call" else None,
            proof=str(sub.proofs(run) / "{place}.{try}"),
        )

    # Taking it back -------------------------------------------------------------------------------------------

    def _cancel_stale(self) -> None:
        """What waits for something that is submitted anew was submitted anew itself."""
        stale = self._layout.stale
        if stale:
            self._cancel({str(sub.id): [sub.index_of(place) for place in places] for sub, places in stale})
            for sub, places in stale:
                if len(places) == len(sub.places):
                    self._register.gone(sub)

    def _take_back(self, error: BaseException) -> None:
        """Cancel what has been submitted, since not everything could be."""
        jobs: dict[str, None] = {}
        for sub in self.made:
            if sub.id is None and not isinstance(error, _NotTaken):  # interrupted just then: it may have been taken
                try:
                    sub.id = self._system.find(sub.name)
                except Busy:
                    pass
            if sub.id is not None:
                jobs[sub.id] = None
        self._left = self._cancel(jobs) if jobs else ""
        for sub in self.made:
            self._register.gone(sub)
        if not self._goes_on:
            self._survey.give_up()

    def _cancel(self, jobs: Mapping[str, Any]) -> str:
        """Cancel these; what cannot be, as text."""
        clock, condition, since = self._system.clock, Condition(), self._system.clock.now()
        while True:
            try:
                self._system.cancel(dict(jobs))
            except Busy as busy:
                if clock.now() - since > LONGEST:
                    return f"; {', '.join(jobs)} could not be cancelled: {busy}"
            else:
                return ""
            with condition:
                clock.wait(condition, 1.0)

    def _error(self, error: BaseException) -> BaseException:
        if isinstance(error, _Cancelled):
            return SubmitError(f"run {self._folder.name} was cancelled while it was submitted", said="")
        if not isinstance(error, _NotTaken):
            return error
        text = f"{error.record.name} was not taken by {self._system.name}: {error.said}"
        if any(sub.id is not None for sub in self.made):
            text += f"; what was submitted before it is cancelled{self._left}"
        return SubmitError(text, said=error.said)

    def _note(self, **facts: Any) -> None:
        if "run" in facts:
            facts |= {"pid": os.getpid(), "host": socket.gethostname()}
        self._journal.write(t=time.time(), **facts)


class _NotTaken(Exception):  # noqa: N818 - an answer
    def __init__(self, record: Record, why: BaseException) -> None:
        super().__init__(told(why))
        self.record = record
        self.said = str(why)


def _launcher(folder: RunFolder) -> str:
    """The program that scripts start. It finds weft, and what jobs import, where this process does."""
    here = os.getcwd()
    entries = [os.path.join(here, entry) for entry in sys.path]
    key = os.environ.get("WEFT_KEY_FILE")
    lines = [
        "# Started by the scripts of this run, with the name of a job, a file with what it is to do, and a number:",
        "# runs the job, or that element of its array, and writes down what became of it.",
        "import os",
        "import sys",
        "",
        f"sys.path[:] = {entries!r}",
        *([] if key is None else [f"os.environ.setdefault('WEFT_KEY_FILE', {os.path.abspath(key)!r})"]),
        "from weft.jobs.cluster.work import main",
        "",
        "key, file, place = sys.argv[1:4]",
        f"sys.argv[:] = {sys.argv!r}",
        f"main({str(folder.path)!r}, key, file, place)",
    ]
    return "\n".join(lines) + "\n"
