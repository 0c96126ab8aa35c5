"""The backend that runs nothing: what would be run, in which order, and what would stop it first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import WeftError
from weft.jobs.backends import check_options, is_batch, open_backend
from weft.jobs.bind import with_results
from weft.jobs.call import INSTEAD, JobCall
from weft.jobs.conditions import check
from weft.jobs.node import Job
from weft.jobs.prune import Plan, Planned
from weft.jobs.records import Record
from weft.payload import pack, unpackable_arguments

if TYPE_CHECKING:
    from weft.jobs.cluster.register import Submission

__all__ = ["Dry", "Where", "predict"]

AnyJob = Job[..., Any]

LISTED = 200  # jobs that are shown
ENDS = 3  # jobs of a long path that are shown at either end
USUAL = 1001  # elements of an array that a batch system takes, where nobody has said otherwise


class Dry:
    """In the place of a run that goes on: this one is over, and nothing has happened."""

    path: Path | None = None
    ids: Mapping[str, str] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def refresh(self) -> None:
        """There is nothing new."""

    def wait(self, timeout: float | None) -> bool:
        """It is over."""
        return True

    def cancel(self) -> None:
        """There is nothing to cancel."""

    def log_path(self, record: Record, place: int | None) -> Path | None:
        """Nothing was written."""
        return None


class Where:
    """Where jobs would run.

    Args:
        backend: of those that do not say so themselves; ``"dry"``: nowhere in particular.
        options: of that backend.

    Raises what `check_options` does.
    """

    def __init__(self, backend: Any, options: Mapping[str, Any]) -> None:
        check_options("schedule", backend, options)
        self._backend = backend
        self._options = options
        self._opened: list[tuple[Any, Any]] = []
        if is_batch(backend):
            self._cluster(backend)

    def of(self, job: AnyJob) -> Any:
        """The backend of a job: its `Cluster`, where it is a batch system, else as it was given."""
        backend = self._backend if job.spec.backend is None else job.spec.backend
        return self._cluster(backend) if is_batch(backend) else backend

    def _cluster(self, backend: Any) -> Any:
        for known, cluster in self._opened:
            if known is backend or (isinstance(known, str) and known == backend):
                return cluster
        cluster = open_backend(backend, self._options if backend is self._backend else {})
        self._opened.append((backend, cluster))
        return cluster


def predict(plan: Plan, records: Mapping[AnyJob, Record], script: str | None, where: Where) -> str:
    """What a plan would do, as text."""
    parts = [part for part in plan if part.state is State.WANTED]
    paths = _Paths(parts)
    done = sum(part.state is State.UP_TO_DATE for part in plan)
    never = [part for part in plan if part.state is State.UNREACHABLE]
    idle = sum(part.state is State.IDLE for part in plan)
    elements = sum(len(part.places) for part in parts)
    lines = [
        f"dry run{'' if script is None else f' of {Path(script).name}'}: {_count(len(parts), 'job')} would run, "
        f"with {_count(elements, 'call')}; {done} done" + (f", {idle} not needed" if idle else "")
    ]
    rows: list[tuple[str, ...]] = [("order", "job", "calls", "asks for", "after")]
    rows += [_row(part, records, paths.level[part.job]) for part in sorted(parts, key=lambda p: paths.level[p.job])]
    lines += _table(rows[: LISTED + 1])
    if len(rows) > LISTED + 1:
        lines.append(f"  and {len(rows) - LISTED - 1} more")
    lines += [f"  never: {part.why}" for part in never[:LISTED]]
    if parts:
        lines.append(f"peak: {_count(paths.peak(), 'cpu')}, if there are as many")
        lines.append(f"longest path: {_path([records[job].name for job in paths.longest()])}")
    lines += _submissions(plan, records, {part.job: where.of(part.job) for part in parts})
    lines.append(f"first problem: {_problem(parts, records, where) or 'none found'}")
    return "\n".join(lines)


class _Paths:
    """How far each job is from the start, if all that can start does so, and each takes as long."""

    def __init__(self, parts: Sequence[Planned]) -> None:
        self._parts = parts
        self.level: dict[AnyJob, int] = {}
        self._before: dict[AnyJob, AnyJob | None] = {}
        for part in parts:  # each after those that it waits for
            waits = [dep for dep in (*part.edges, *part.job.arguments.takes) if dep in self.level]
            # One that waits for any of several starts after the first.
            pick = min if part.wait_for == "any" and not part.job.arguments.takes else max
            last = pick(waits, key=self.level.__getitem__, default=None)
            self.level[part.job] = 1 if last is None else self.level[last] + 1
            self._before[part.job] = last

    def peak(self) -> int:
        """The most cpus that are asked for at a time."""
        asked: dict[int, int] = {}
        for part in self._parts:
            count = min(len(part.places), part.job.spec.throttle or len(part.places))
            level = self.level[part.job]
            asked[level] = asked.get(level, 0) + count * (part.job.spec.resources.cpus or 1)
        return max(asked.values())

    def longest(self) -> list[AnyJob]:
        """The longest path, from its beginning."""
        job: AnyJob | None = max(self.level, key=self.level.__getitem__)
        path = []
        while job is not None:
            path.append(job)
            job = self._before[job]
        return path[::-1]


def _row(part: Planned, records: Mapping[AnyJob, Record], level: int) -> tuple[str, ...]:
    job = part.job
    record = records[job]
    calls = "1"
    if job.elements is not None:
        calls = f"{len(part.places)} of {len(record.places)}"
    words = job.spec.resources.words()
    asks = [_count(value, word) for word in ("cpu", "gpu") if (value := words.get(f"{word}s"))]
    asks += [_memory(words["memory"])] if "memory" in words else []
    asks += [f"{words['time']:g} s"] if "time" in words else []
    takes = [records[dep].name for dep in job.arguments.takes]
    waits = [
        f"{records[dep].name}" + ("" if edge.status == "success" else f" ({edge.status})")
        for dep, edge in part.edges.items()
        if dep not in job.arguments.takes
    ]
    after = (" or " if part.wait_for == "any" else ", ").join(waits)
    if takes:
        after = "; ".join(filter(None, [after, f"result of {', '.join(takes)}"]))
    return str(level), record.name, calls, ", ".join(asks) or "-", after or "-"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows] if len(rows) > 1 else []


def _path(names: list[str]) -> str:
    shown = names if len(names) <= 2 * ENDS else [*names[:ENDS], "...", *names[-ENDS:]]
    return f"{' -> '.join(shown)} ({_count(len(names), 'job')})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def _memory(amount: int) -> str:
    for unit, size in (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024)):
        if amount >= size:
            return f"{amount / size:.4g} {unit}"
    return f"{amount} bytes"


# What a batch system would be told --------------------------------------------------------------------------


def _submissions(plan: Plan, records: Mapping[AnyJob, Record], places: Mapping[AnyJob, Any]) -> list[str]:
    """The submissions that a plan comes to, where a batch system runs it alone; or why it does not."""
    from weft.executors.cluster.system import Busy
    from weft.jobs.cluster.launch import laid_out, why_elsewhere
    from weft.jobs.cluster.layout import Unsayable
    from weft.jobs.cluster.place import Cluster
    from weft.jobs.cluster.register import Register

    systems = [place.system for place in places.values() if isinstance(place, Cluster)]
    if not systems:
        return []
    system = systems[0]
    try:
        size = system.limits().array
    except Busy:  # such as where it is not to be had: that is the first problem then
        size = USUAL
    try:
        why = why_elsewhere(records, places)
        made = [] if why else list(laid_out(plan, records, Register(None), size, system))
    except Unsayable as said:
        why = str(said)
    if why:
        return [f"{system.name} cannot do it all, and this process would have to stay: {why}"]
    rows: list[tuple[str, ...]] = [("submission", "array", "dependency")]
    rows += [_submission_row(record, sub) for record, sub in made]
    lines = [f"on {system.name}: {_count(len(made), 'submission')}", *_table(rows[: LISTED + 1])]
    return lines if len(made) <= LISTED else [*lines, f"  and {len(made) - LISTED} more"]


def _submission_row(record: Record, sub: Submission) -> tuple[str, ...]:
    from weft.executors.cluster.slurm import AFTER
    from weft.executors.cluster.slurm_text import spans

    array = ""
    if len(sub.indices) > 1 and sub.role == "call":
        throttle = None if record.job is None else record.job.spec.throttle
        array = ",".join(spans(sub.indices, steps=True)) + (f"%{throttle}" if throttle else "")
    waits = [
        f"{AFTER[how]}:{_named(dep)}"
        if isinstance(how, str)
        else f"{AFTER['success']}:{_named(dep)}_{dep.index_of(how)}"
        for dep, how in sub.after
    ]
    return _named(sub), array or "-", ("?" if sub.any else ",").join(dict.fromkeys(waits)) or "-"


def _named(sub: Submission) -> str:
    return sub.key if sub.role == "call" else f"{sub.key} ({sub.role})"


# What would stop it -----------------------------------------------------------------------------------------


def _problem(parts: Sequence[Planned], records: Mapping[AnyJob, Record], where: Where) -> str | None:
    """The first thing that is certain to go wrong."""
    from weft.executors.terms import Machine

    machine = Machine(None)
    calls: dict[Any, JobCall] = {}
    for part in parts:
        try:
            _try(part, where.of(part.job), machine, calls)
        except WeftError as error:
            return f"{records[part.job].name}: {str(error).removeprefix(f'{part.job.name}: ')}"
    return None


def _try(part: Planned, place: Any, machine: Any, calls: dict[Any, JobCall]) -> None:
    job = part.job
    if not part.edges and not job.arguments.takes:  # what others have to make first cannot be missed now
        check(job.conditions, "before", job.name)
        if job.elements is not None:
            for index in part.places:
                check(job.conditions, "before", job.name, job.elements[index])
    from weft.jobs.cluster.place import Cluster

    if place in ("local", "dry") or isinstance(place, Cluster):
        key = (id(job.function), *(id(condition.function) for condition in job.conditions))
        call = calls.setdefault(key, JobCall(job.function, job.conditions))
        if isinstance(place, Cluster):
            place.check(job, call)
        else:
            machine.terms(job.spec.resources)
            call.packed()
        _try_arguments(job)


def _try_arguments(job: AnyJob) -> None:
    args, kwargs = with_results(job.arguments, lambda _: None)
    try:
        pack((args, dict(kwargs)))
    except Exception as error:
        raise unpackable_arguments(job.function_name, args, kwargs, error, instead=INSTEAD) from error
