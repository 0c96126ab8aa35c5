"""Which submissions a plan comes to, and what each waits for, as far as a batch system can say it.

A job is one submission; a large array several, each of as many elements as the system takes. The conditions that an
array has as a whole are small jobs of their own, before and after it::

    before ──> elements ──> after

An edge becomes one or several of the things that a batch system knows: after the success of a submission or of one
element, after its failure, after its end, and element after element. Who asks for the *failure* of a job asks for more
than a batch system means by that, to which a job that was never reached has not succeeded, either; so it also waits for
what that job waits for. What has ended by the run's own records is not waited for: its id may have been forgotten, and
then it would count as done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from weft.engine.states import State
from weft.jobs.node import Job

if TYPE_CHECKING:
    from weft.jobs.cluster.register import Register, Submission
    from weft.jobs.prune import Plan, Planned
    from weft.jobs.records import Record

__all__ = ["Layout", "Never", "Unsayable"]

AnyJob: TypeAlias = Job[..., Any]
Wait: TypeAlias = "tuple[Submission, str | int]"  # how; or the one element that is waited for


class Unsayable(Exception):  # noqa: N818 - an answer
    """What no batch system can be told; the text says what it is."""


class Never(Exception):  # noqa: N818 - an answer
    """It can no longer run: what it waits for has ended otherwise."""


class Waits(NamedTuple):
    """What a job waits for."""

    deps: list[Wait]
    simple: bool  #: All of these, and all elements of the job alike.


class Layout:
    """Lays out a plan, job by job, parents first.

    Args:
        plan: what is to run.
        records: of all its jobs.
        register: makes submissions.
        size: most elements of one submission.
        lives: for each job, which of its elements wait or run already, and in which submission.
        fate: what became of an element of a submission: True: it is good; False: it is not; None: it is not over.
        pieces: parts elements into as many submissions as it takes to say which they are. Default: one.

    Attributes:
        stale: what waits, and waits for something that will not come any more: submissions and places.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[AnyJob, Record],
        register: Register,
        size: int,
        lives: Mapping[AnyJob, Mapping[int, Submission]],
        fate: Callable[[Submission, int], bool | None],
        pieces: Callable[[Sequence[int]], Sequence[Sequence[int]]] | None = None,
    ) -> None:
        self.stale: list[tuple[Submission, list[int]]] = []
        self._plan = plan
        self._records = records
        self._register = register
        self._size = size
        self._lives = lives
        self._fate = fate
        self._pieces = pieces or (lambda places: [places])
        self._renewed: set[AnyJob] = set()  # of which something is submitted anew
        self._lost: set[AnyJob] = set()  # which, or elements of which, can no longer run
        self._holders: dict[AnyJob, dict[int, Submission]] = {}  # which submission runs an element
        self._ends: dict[AnyJob, list[Wait]] = {}  # what has to succeed so that the job has
        self._waits: dict[AnyJob, Waits] = {}

    def lay(self, part: Planned) -> list[Submission]:
        """The submissions of one job. Raises Unsayable, Never."""
        job, record = part.job, self._records[part.job]
        self._holders[job] = holders = dict(self._lives.get(job, {}))
        self._drop_waiting(part, holders)
        missing = [place for place in part.places if place not in holders]
        try:
            whole, each, one_of = self._edges(part)
        except Never:
            self._lost.add(job)
            raise
        needs = [wait for dep in each for wait in self._ends.get(dep, ())]
        self._waits[job] = Waits([*whole, *needs], simple=not (one_of or each))
        if not part.places:  # an empty array
            return []
        made: list[Submission] = []
        if missing:
            self._renewed.add(job)
            made = self._made(part, missing, whole, each, one_of=one_of)
            for sub in made:
                holders.update(dict.fromkeys(sub.places, sub) if sub.role == "call" else {})
        calls = self._calls(holders)
        if job.spec.throttle is not None and len(dict.fromkeys(sub for sub, _ in calls)) > 1:
            raise Unsayable(f"array_throttle={job.spec.throttle} of {record.name} is for several arrays together")
        self._ends[job] = calls
        if job in self._lost:
            return made
        if job.elements is not None and any(c.when == "after" and not c.per_element for c in job.conditions):
            after = self._after(record, calls, anew=bool(missing))
            made += [] if after in self._register.all else [after]
            self._ends[job] = [(after, "success")]
        return made

    def lose(self, job: AnyJob) -> None:
        """It, or a part of it, can no longer run."""
        self._lost.add(job)

    def settle(self, sub: Submission) -> None:
        """Leave out what it need not wait for any more. Raises Never where it cannot run any more."""
        left: list[Wait] = []
        for wait in sub.after:
            met = self._met(*wait)
            if met is None:
                left.append(wait)
            elif met and sub.any:  # one is enough
                left.clear()
                break
            elif not met and not sub.any:
                raise Never
        else:
            if sub.any and not left:
                raise Never
        sub.after = left
        sub.any = sub.any and len(left) > 1

    def _met(self, sub: Submission, how: str | int) -> bool | None:
        """Whether that for which a submission waits has come; None: it is not known yet."""
        fates = [self._fate(sub, place) for place in ([how] if isinstance(how, int) else sub.places)]
        if None in fates:
            return None
        if how == "any":
            return True
        # What follows element by element has no need to wait when all are good; if some are not, those are waited for.
        if how == "each":
            return True if all(fates) else None
        return all(fates) is (how != "failure")

    def _made(
        self, part: Planned, missing: list[int], whole: list[Wait], each: list[AnyJob], *, one_of: bool
    ) -> list[Submission]:
        job, record = part.job, self._records[part.job]
        array = job.elements is not None
        made: list[Submission] = []
        groups = self._groups(job, missing, each)
        if groups and array and any(c.when == "before" and not c.per_element for c in job.conditions):
            before = self._register.new(record.key, "before", range(1), array=True)
            before.after, before.any = whole, one_of
            whole, one_of = [(before, "success")], False
            made.append(before)
        for base, places, deps in groups:
            call = self._register.new(record.key, "call", places, base, array=array)
            call.after = [*whole, *deps]
            call.any = one_of
            made.append(call)
        return made

    def _after(self, record: Record, calls: list[Wait], *, anew: bool) -> Submission:
        """The one that asks the postconditions of an array; one that waits already, if it waits for all of these."""
        for known in self._register.all:
            if known.key == record.key and known.role == "after" and not known.gone:
                if not anew and self._fate(known, 0) is None:
                    return known
                self.stale.append((known, [0]))
        after = self._register.new(record.key, "after", range(1), array=True)
        after.after = [wait for wait in calls if not self._is(wait[0], good=True)]
        return after

    def _calls(self, holders: Mapping[int, Submission]) -> list[Wait]:
        """What has to succeed so that all these elements have."""
        found: list[Wait] = []
        for sub, places in _by_submission(holders).items():
            # Of an array of which an element has failed, and runs again elsewhere, the others count, one by one.
            if any(self._fate(sub, place) is False for place in sub.places):
                found += [(sub, place) for place in places if self._fate(sub, place) is None]
            else:
                found.append((sub, "success"))
        return found

    def _drop_waiting(self, part: Planned, holders: dict[int, Submission]) -> None:
        """What waits for an earlier submission of what is submitted anew has to wait for that one instead.

        So has, of an array that cannot succeed any more as a whole, what has not begun.
        """
        renewed = any(dep in self._renewed for dep in (*part.edges, *part.job.arguments.takes))
        for sub, places in _by_submission(holders).items():
            if renewed or any(self._fate(sub, place) is False for place in sub.places):
                states = self._records[part.job].states
                waiting = [place for place in places if states[place] is State.WANTED]
                if waiting:
                    self.stale.append((sub, waiting))
                for place in waiting:
                    del holders[place]

    # Elements -------------------------------------------------------------------------------------------------

    def _groups(
        self, job: AnyJob, places: Sequence[int], each: Sequence[AnyJob]
    ) -> list[tuple[int, Sequence[int], list[Wait]]]:
        """Elements that go together: their base, they, and the submissions that they follow element by element."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for place in places:
            try:
                follows = [self._followed(dep, place) for dep in each]
            except Never:
                self._lost.add(job)
                continue
            found.setdefault((place // self._size, *follows), []).append(place)
        groups = []
        for (block, *follows), group in found.items():
            base = block * self._size
            for piece in self._pieces(group):
                deps = [self._each(sub, piece, base) for sub in follows if sub is not None]
                groups.append((base, _run(piece), deps))
        return groups

    def _followed(self, dep: AnyJob, place: int) -> Submission | None:
        """The submission whose element has to come first; None where it has. Raises Never."""
        sub = self._holders.get(dep, {}).get(place)
        fate = True if sub is None else self._fate(sub, place)
        if fate is False:
            raise Never
        return None if fate else sub

    @staticmethod
    def _each(sub: Submission, places: Sequence[int], base: int) -> Wait:
        if len(sub.places) == 1:
            return sub, "success"
        if len(places) == 1:
            return sub, places[0]  # one that is no array cannot follow an array, but an element of it
        if sub.base != base:
            raise Unsayable("the largest array that there may be has changed")
        return sub, "each"

    # Edges ----------------------------------------------------------------------------------------------------

    def _edges(self, part: Planned) -> tuple[list[Wait], list[AnyJob], bool]:
        """What a job waits for as a whole, what element by element, and whether one of these is enough."""
        job, name = part.job, self._records[part.job].name
        each = [dep for dep, edge in part.edges.items() if edge.each]
        for dep in each:
            if part.edges[dep].status != "success":
                raise Unsayable(f"{name} comes after each element of {self._name(dep)}, whether that succeeds or not")
        data: list[Wait] = []
        for dep in job.arguments.takes:
            if self._plan[dep].state is State.WANTED:
                data += self._edge(dep, "success")
        if part.wait_for == "any" and len(part.edges) > 1:
            if data or each:
                raise Unsayable(f"{name} waits for one of several jobs, and for another one as well")
            return self._one_of(part)
        whole = [wait for dep, edge in part.edges.items() if not edge.each for wait in self._edge(dep, edge.status)]
        return list(dict.fromkeys(whole + data)), each, False

    def _one_of(self, part: Planned) -> tuple[list[Wait], list[AnyJob], bool]:
        ways: list[Wait] = []
        for dep, edge in part.edges.items():
            try:
                found = self._edge(dep, edge.status)
            except Never:
                continue
            if not found:  # it has come already
                return [], [], False
            if len(found) > 1:
                raise Unsayable(
                    f"{self._name(part.job)} waits for one of several jobs, and {self._name(dep)} is more than one"
                )
            ways += found
        if not ways:
            raise Never
        return ways, [], len(ways) > 1

    def _edge(self, dep: AnyJob, status: str) -> list[Wait]:
        """What of a job is waited for; nothing where it has come. Raises Never where it cannot come any more."""
        if dep in self._lost and status != "any":
            raise Never
        if dep not in self._ends:
            return self._edge_of_empty(dep, status)
        ends = self._ends[dep]
        if status == "success":
            if any(self._is(sub, good=False) for sub, how in ends if how == "success"):
                raise Never
            return [wait for wait in ends if not self._is(wait[0], good=True)]
        subs = dict.fromkeys((*self._holders[dep].values(), *(sub for sub, _ in ends)))
        over: list[Wait] = [(sub, "any") for sub in subs if not self._is_over(sub)]
        if status == "any":
            return over
        if any(self._is(sub, good=False) for sub, _ in ends):
            return over
        if all(self._is(sub, good=True) for sub, _ in ends):
            raise Never
        if len(ends) > 1:
            raise Unsayable(f"{self._name(dep)} is several arrays, of which one may fail")
        end = ends[0][0]
        return [(end, "failure"), *(wait for wait in over if wait[0] is not end), *self._reached(dep)]

    def _edge_of_empty(self, dep: AnyJob, status: str) -> list[Wait]:
        """An empty array is over when it would begin."""
        if dep in self._lost:
            return []
        if status == "failure":
            raise Unsayable(f"{self._name(dep)} has no elements, and cannot fail")
        return [(sub, how if status == "success" else "any") for sub, how in self._reached(dep)]

    def _reached(self, job: AnyJob) -> list[Wait]:
        """What decides whether a job is reached."""
        waits = self._waits[job]
        if not waits.simple:
            raise Unsayable(f"whether {self._name(job)} is reached depends on one of several, or differs by element")
        return waits.deps

    def _name(self, job: AnyJob) -> str:
        return self._records[job].name

    def _is_over(self, sub: Submission) -> bool:
        return all(self._fate(sub, place) is not None for place in sub.places)

    def _is(self, sub: Submission, *, good: bool) -> bool:
        """Whether it is over, and good; or over, and not."""
        fates = [self._fate(sub, place) for place in sub.places]
        return None not in fates and all(fates) is good


def _by_submission(holders: Mapping[int, Submission]) -> dict[Submission, list[int]]:
    found: dict[Submission, list[int]] = {}
    for place, sub in holders.items():
        found.setdefault(sub, []).append(place)
    return found


def _run(places: Sequence[int]) -> Sequence[int]:
    """The same, as a range where they are one."""
    whole = range(places[0], places[-1] + 1)
    return whole if len(whole) == len(places) else places
