"""What a user holds of a run: its states, results and logs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from weft.errors import ArgumentError, ChoiceError, WorkflowError, told
from weft.jobs.node import Job
from weft.jobs.scribe import one_line

if TYPE_CHECKING:
    from weft.engine.states import State
    from weft.jobs.records import Record

__all__ = ["Run", "Source"]

LISTED = 20  # jobs that a summary names


class Source(Protocol):
    """Where a run goes on, or is written down."""

    name: str
    path: Path | None

    @property
    def ids(self) -> Mapping[str, str]:
        """What the batch system calls each job, by key."""

    def refresh(self) -> None:
        """Bring the records up to date, where nobody else does."""

    def wait(self, timeout: float | None) -> bool:
        """Return when the run is over, or False after so many seconds."""

    def cancel(self) -> None:
        """Cancel what is not over; return when the run is."""

    def log_path(self, record: Record, place: int | None) -> Path | None:
        """The file with what a job or an element wrote, if it wrote anything."""


class Run:
    """What `schedule` returns. ``run[job]`` is the result of a job, which is given as such, or by its name.

    Iterating gives the jobs in topological order (their names, where the run was loaded).
    """

    def __init__(self, records: Sequence[Record], source: Source) -> None:
        self._records = records
        self._source = source
        self._by_job: dict[Any, Record] = {record.job: record for record in records if record.job is not None}
        self._by_name: dict[str, Record] = {}
        for record in records:
            self._by_name[record.name] = record
            self._by_name.setdefault(record.key, record)

    @classmethod
    def load(cls, run: str | os.PathLike[str]) -> Run:
        """A run of another process, or of an earlier time. Its jobs are given by their names.

        Args:
            run: the path of its folder; its name, or a part of it that no other run has in its name; ``"-1"`` for the
                last one.

        Raises:
            ChoiceError: (a ValueError) there is none, or several.
            StorageError: (an OSError) it cannot be read, or not be trusted.
        """
        from weft.jobs.cluster.systems import is_detached
        from weft.jobs.loaded import Loaded
        from weft.rundir import find_run

        folder = find_run(run)
        if is_detached(folder):
            from weft.jobs.cluster.detached import Detached

            detached = Detached.load(folder)
            return cls(detached.records, detached)
        source = Loaded(folder)
        return cls(source.records, source)

    @property
    def name(self) -> str:
        """What it is called in messages, and by `Run.load`."""
        return self._source.name

    @property
    def path(self) -> Path | None:
        """Its folder."""
        return self._source.path

    def __iter__(self) -> Iterator[Any]:
        return (self._shown(record) for record in self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, job: object) -> bool:
        return job in self._by_job or job in self._by_name

    def __getitem__(self, job: Job[..., Any] | str) -> Any:
        """The result of a job; of an array a list, in its order.

        Of a job, or an element, that was pruned it is the result of the run that made it, where that is known, else
        None.

        Raises:
            JobFailed: it failed; the cause is its exception.
            DependencyNeverSatisfied: it was never reached.
            CancelledError: it was cancelled.
            UnknownValueError: (a RuntimeError) it is not over.
            ChoiceError: (a ValueError) the run has no such job.
        """
        return self._fresh(job).result()

    @property
    def results(self) -> dict[Any, Any]:
        """The result of each job that succeeded, or was done before."""
        self._source.refresh()
        return {self._shown(record): record.known() for record in self._records if record.state.is_success}

    @property
    def states(self) -> dict[Any, State]:
        """The state of each job."""
        self._source.refresh()
        return {self._shown(record): record.state for record in self._records}

    def elements(self, job: Job[..., Any] | str) -> dict[Any, State]:
        """The state of each element of a job's array; by its number where elements are no keys, or not all different.

        Empty for a job without an array.
        """
        return self._fresh(job).by_element()

    @property
    def ids(self) -> dict[Any, str]:
        """What the batch system calls each job, such as ``"123"``; empty where a driver runs them."""
        ids = self._source.ids
        return {self._shown(record): ids[record.key] for record in self._records if record.key in ids}

    @property
    def ok(self) -> bool:
        """Whether no job failed and none was cancelled."""
        self._source.refresh()
        return not any(record.state.name in ("FAILED", "CANCELLED") for record in self._records)

    def log(self, job: Job[..., Any] | str, i: Any = None) -> str:
        """What a job has written to stdout and stderr, in order, and its traceback if it failed.

        Args:
            job: of the run.
            i: an element of its array. Default: all of them, one after the other.
        """
        record = self._record(job)
        if record.elements is None or i is not None:
            path = self.log_path(job, i)
            return "" if path is None else path.read_text(encoding="utf-8", errors="replace")
        found = []
        for place in (None, *record.places):
            path = self._source.log_path(record, place)
            if path is not None:
                found.append(f"==> {record.title(place)} <==\n{path.read_text(encoding='utf-8', errors='replace')}")
        return "\n".join(found)

    def log_path(self, job: Job[..., Any] | str, i: Any = None) -> Path | None:
        """The file with what a job, or element `i` of its array, has written; None where it has written nothing."""
        record = self._record(job)
        if record.elements is None:
            if i is not None:
                raise ArgumentError(f"{record.name} has no array; write run.log({record.name!r})")
            return self._source.log_path(record, 0)
        if i is None:
            raise ArgumentError(f"{record.name} has an array, and a log for each element: give an element, as i=...")
        place = record.place_of(i)
        if place is None:
            raise ChoiceError(f"{record.name} has no element {i!r:.60}")
        return self._source.log_path(record, place)

    def wait(self, timeout: float | None = None, raise_on_failure: bool = True) -> Run:
        """Return the run itself when it is over.

        Args:
            timeout: seconds. Default: none.
            raise_on_failure: raise if jobs failed. What a batch system holds for ever, and not for its user, has.

        Raises:
            TimeoutError: it is not over.
            WorkflowError: an ExceptionGroup with one `JobFailed` for each job, or element of an array, that failed.
        """
        if not self._source.wait(timeout):
            left = sum(not record.state.is_end for record in self._records)
            raise TimeoutError(f"run {self.name} is not over after {timeout:g} s: {left} of {len(self)} jobs")
        if raise_on_failure:
            failures = [failure for record in self._records for failure in record.failed()]
            if failures:
                raise WorkflowError(self._headline(), failures)
        return self

    def cancel(self) -> None:
        """Cancel all jobs that are not over, those that run included; return when the run is over."""
        self._source.cancel()

    def summary(self) -> str:
        """How it stands, in a few lines: the jobs by their states, and those that did not succeed by name."""
        self._source.refresh()
        lines = [self._headline()]
        unhappy = [record for record in self._records if not (record.state.is_success or record.state.name == "IDLE")]
        lines += [f"  {record.name}: {_standing(record)}" for record in unhappy[:LISTED]]
        if len(unhappy) > LISTED:
            lines.append(f"  and {len(unhappy) - LISTED} more")
        return "\n".join(lines)

    def _headline(self) -> str:
        counts = Counter(record.state for record in self._records)
        jobs = f"{len(self)} job{'s' * (len(self) != 1)}"
        return f"run {self.name}: {jobs}: {_counted(counts) or 'none'}"

    def _fresh(self, job: Any) -> Record:
        record = self._record(job)
        if not record.whole.is_end:
            self._source.refresh()
        return record

    def _record(self, job: Any) -> Record:
        record = self._by_job.get(job) if isinstance(job, Job) else None
        if record is None:
            record = self._by_name.get(job.name if isinstance(job, Job) and not self._by_job else job)
        if record is None:
            from weft.engine.edges import choose

            choose(str(job), [record.name for record in self._records[:LISTED]], f"a job of run {self.name}")
            raise ChoiceError(f"run {self.name} has no job {job!r:.60}; it has one with the same name")
        return record

    def _shown(self, record: Record) -> Any:
        return record.name if record.job is None else record.job

    def __repr__(self) -> str:
        return f"<Run {self.name!r}>"


def _counted(counts: Counter[State]) -> str:
    return ", ".join(f"{count} {state.value}" for state, count in counts.most_common())


def _standing(record: Record) -> str:
    text = record.state.value
    if record.elements is not None:
        text += f" ({_counted(Counter(record.states.values())) or 'no elements'})"
    failures = record.failed()
    if failures:
        cause = failures[0].__cause__
        text += f": {one_line(str(failures[0]) if cause is None else told(cause))}"
    elif record.state.name == "UNREACHABLE":
        text += f": {one_line(str(record.reason()))}"
    return str(text)
