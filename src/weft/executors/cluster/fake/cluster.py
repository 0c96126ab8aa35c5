"""A cluster in memory."""

from __future__ import annotations

import _thread
import atexit
import math
import os
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.fake.directives import Wants, read_script, read_words
from weft.executors.cluster.fake.faults import Faults
from weft.executors.cluster.fake.jobs import HOWS, Edge, Element, Job, gathered
from weft.executors.cluster.fake.nodes import Node
from weft.executors.cluster.fake.queue import Rules
from weft.executors.cluster.fake.site import Site
from weft.executors.cluster.slurm_options import PASSES, command_line, refuse_mistakes
from weft.executors.cluster.slurm_script import script_of
from weft.executors.cluster.slurm_verdict import verdict
from weft.executors.cluster.system import Busy, Clock, Limits, Order, Phase, Refused, Seen, Sheet
from weft.resources import Resources
from weft.rundir.place import safe_name

__all__ = ["FakeCluster"]

FAILED = "sbatch: error: Batch job submission failed: "
IMPOSSIBLE = FAILED + "Requested node configuration is not available"
FULL = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    + FAILED
    + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
LATE = 1.0  # seconds from the end of an element until the accounting knows of it at all,
RIGHT = 4.0  # and until it knows that it has ended


class FakeCluster(Faults):
    """A batch system in memory, for tests: it behaves as Slurm does, and fails as Slurm does, when it is told to.

    ::

        clock = VirtualClock()
        with FakeCluster(nodes=2, cpus=8, clock=clock) as cluster, ClusterExecutor(cluster) as executor:
            future = executor.submit(train, 3)
            clock.until(future.running)
            cluster.node_down(cluster.node_of(future.job_id))

    Scripts are run by what their first line says, with the environment and the directory that Slurm gives them, and
    their ``#SBATCH`` lines count: array, throttle, cpus, memory, gpus, time, output and so on. Elements start when
    there is room, in order of submission. All times (limits, delays, what is forgotten when) are those of the clock.

    Beyond the questions of a `BatchSystem` there are the faults, `calls` and `on_call` (see `Faults`), and `wait_for`.
    Everything may be called by any thread. `close()`, the end of a ``with`` block, garbage collection and the end of
    the interpreter kill all that runs, with all that it has started.

    Args:
        nodes: how many; they are called ``n1``, ``n2`` and so on.
        cpus, memory, gpus: what each of them has.
        array: most elements of one submission.
        most: most elements that may wait and run at once, an attribute, too; more are refused as ``Busy(full=True)``.
            None: no limit.
        time: what a job may ask for at most; one that asks for more waits for ever. None: no limit.
        partitions: their names; the first is the default.
        clock: default: the real one.
        accounting: whether records are kept of what the controller has forgotten. They are late, and first wrong.
        remembers: seconds for which the controller knows of what has ended.
        requeue: whether jobs that do not say so are run again when a node fails.
        requeue_delay: seconds until something is run again.
        kill_wait: seconds from SIGTERM to SIGKILL.
        node_timeout: seconds until a node that does not answer counts as down.

    Raises:
        ArgumentError: (a TypeError) an option of the wrong kind.
        ChoiceError: (a ValueError) an option with a value that cannot be.
    """

    name = "fake"
    passes = PASSES
    shares_files = True
    orders = True

    def __init__(
        self,
        nodes: int = 2,
        cpus: int = 8,
        *,
        memory: int | str = "16GB",
        gpus: int = 0,
        array: int = 1001,
        most: int | None = None,
        time: float | str | None = None,
        partitions: Sequence[str] = ("debug",),
        clock: Clock | None = None,
        accounting: bool = True,
        remembers: float = 300.0,
        requeue: bool = True,
        requeue_delay: float = 121.0,
        kill_wait: float = 30.0,
        node_timeout: float = 300.0,
    ) -> None:
        _check_count(nodes=nodes, array=array)
        each = Resources.read("FakeCluster", cpus=cpus, memory=memory, gpus=gpus, time=time)
        if isinstance(partitions, str) or not partitions:
            raise ArgumentError(f"partitions must be names, at least one, got {partitions!r:.60}")
        rules = Rules(
            array=array,
            accounting=accounting,
            remembers=remembers,
            requeue=requeue,
            requeue_delay=requeue_delay,
            kill_wait=kill_wait,
            node_timeout=node_timeout,
            longest=math.inf if each.time is None else each.time,
            partitions=tuple(partitions),
            cpus=each.cpus or 0,
        )
        self.clock = clock or Clock()
        self.most = most
        site = Site(
            [Node(f"n{number + 1}", (each.cpus or 0, each.memory or 0, each.gpus or 0)) for number in range(nodes)],
            rules,
            self.clock,
        )
        super().__init__(site)
        _living.add(site)
        self._finalizer = weakref.finalize(self, _let_go, site)
        self._finalizer.atexit = False

    def close(self) -> None:
        """End everything. What had not ended counts as cancelled, and nothing more is taken."""
        self._finalizer.detach()
        self._site.close(wait=True)

    def __enter__(self) -> FakeCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wait_for(self, job: str, *states: str, place: int | None = None, patience: float = 30.0) -> None:
        """Return when each element of a job, or this one, is in one of these states, such as ``"RUNNING"``.

        For what processes bring; time of a `VirtualClock` does not pass by this.

        Raises:
            TimeoutError: that is not so after `patience` real seconds.
        """
        with self._site.lock:
            elements = self._elements(job, place)
            if not self._site.changed.wait_for(
                lambda: all(element.state in states for element in elements), timeout=patience
            ):
                found = ", ".join(sorted({element.state for element in elements}))
                raise TimeoutError(f"job {job} is {found} and not {' or '.join(states)} after {patience:g} seconds")

    def states(self, job: str) -> dict[int, str]:
        """The state of each element of a job, also of those that everybody else has forgotten."""
        with self._site.lock:
            return {element.place: element.state for element in self._elements(job, None)}

    # The questions --------------------------------------------------------------------------------------------

    def check(self, sheet: Sheet) -> None:
        refuse_mistakes(sheet)
        words = command_line(sheet)
        try:
            read_words(words)
        except Refused as error:
            raise ChoiceError(f"sbatch does not take {' '.join(words)!r:.200}: {error}") from error

    def limits(self) -> Limits:
        self._answer("limits")
        return Limits(self._site.rules.array)

    def files(self, sheet: Sheet, path: str) -> dict[str, str]:
        return {path: script_of(sheet)}

    def submit(self, order: Order) -> str:
        self._answer("submit")
        environ, directory = dict(os.environ), _here()
        try:
            with open(order.script, "rb") as file:
                text = file.read()
        except OSError as error:
            raise Refused(f"sbatch: error: Unable to open file {order.script}") from error
        with self._site.lock:
            if self._refusals:
                raise Refused(self._refusals.popleft())
            wants = read_script(text.decode(errors="surrogateescape"))
            self._check_order(order, wants)
            lost = self._lost.popleft() if self._lost else None
            if lost is False:
                raise Busy(FAILED + "Socket timed out on send/recv operation", unsure=True)
            number = self._site.number()
            job = Job(
                number,
                wants.name or order.name,
                wants,
                self._site.spool(number, text),
                order.places,
                environ,
                directory,
                self._edges(order),
                order.any,
                wants.kill_invalid is not False,
            )
            self._site.add(job)
        if lost:
            raise Busy(FAILED + "Socket timed out on send/recv operation", unsure=True)
        return job.id

    def find(self, name: str) -> str | None:
        self._answer("find")
        names = name, safe_name(name)  # by hand, and as a script of weft's has it
        with self._site.lock:
            for job in reversed(self._site.queue.jobs.values()):
                if job.name in names and self._is_known(job):
                    return job.id
            return None

    def look(self, jobs: Collection[str]) -> list[Seen]:
        self._answer("look")
        with self._site.lock:
            return gathered(
                (element, element.phase, element.state, self._site.queue.reason(element, self.clock.now()))
                for element in self._all(jobs)
                if element.ended is None and not self._overlooks(element)
            )

    def inquire(self, jobs: Collection[str]) -> list[Seen]:
        self._answer("inquire")
        with self._site.lock:
            return gathered(told for element in self._all(jobs) if (told := self._told(element)) is not None)

    def verdict(self, end: Seen, tail: str) -> tuple[str, str]:
        """What an element died of."""
        return verdict(end, tail)

    def element(self, job: str, places: Sequence[int], place: int) -> str:
        return job if len(places) == 1 else f"{job}_{place}"

    def cancel(self, places: Mapping[str, Collection[int] | None]) -> None:
        self._answer("cancel")
        with self._site.lock:
            for job, wanted in places.items():
                known = self._site.queue.jobs.get(job)
                for element in known.chosen(wanted) if known is not None else ():
                    self._site.cancel(element, by_name=wanted is not None)

    # ----------------------------------------------------------------------------------------------------------

    def _check_order(self, order: Order, wants: Wants) -> None:
        """Raise what is to be said against a submission."""
        site = self._site
        if site.closed:
            raise Refused(FAILED + "the fake cluster has been closed")
        if wants.partition and wants.partition not in site.rules.partitions:
            raise Refused(
                f"sbatch: error: invalid partition specified: {wants.partition}\n"
                + FAILED
                + "Invalid partition name specified"
            )
        count = len(order.places)
        if not count or count > site.rules.array or max(order.places) >= site.rules.array or min(order.places) < 0:
            raise Refused(FAILED + "Invalid job array specification")
        if any(how not in HOWS for _, how in order.after):
            raise Refused(FAILED + "Job dependency problem")
        if not site.could_run(wants):
            site.number()  # it is found out after the job has got its id
            raise Refused(IMPOSSIBLE)
        if self.most is not None:
            queued = sum(job.left for job in site.queue.jobs.values())
            if queued + count > self.most:
                raise Busy(FULL, full=True)

    def _edges(self, order: Order) -> list[Edge]:
        """What it waits for. A job that the controller does not know, or has forgotten, counts as over and well."""
        edges = []
        now = self.clock.now()
        for job, how in order.after:
            number, _, place = job.partition("_")
            parent = self._site.queue.jobs.get(number)
            named = parent.chosen([int(place)] if place else None) if parent is not None else []
            if parent is not None and any(self._site.queue.remembers(element, now) for element in named):
                edges.append(Edge(parent, how, int(place) if place else None))
            elif order.any:
                return []  # one is enough
        return edges

    def _all(self, jobs: Collection[str]) -> Iterator[Element]:
        for number in dict.fromkeys(jobs):
            job = self._site.queue.jobs.get(number)
            if job is not None:
                yield from job.elements.values()

    def _overlooks(self, element: Element) -> bool:
        if not element.overlooked:
            return False
        element.overlooked -= 1
        return True

    def _is_known(self, job: Job) -> bool:
        """By the controller, or by the accounting."""
        return self._site.queue.knows(job, self.clock.now()) or any(map(self._record, job.elements.values()))

    def _told(self, element: Element) -> tuple[Element, Phase, str, str] | None:
        """What is told of one that has ended."""
        if element.ended is None:
            return None
        if self._site.queue.remembers(element, self.clock.now()):
            return element, element.phase, element.state, element.reason
        record = self._record(element)
        return None if record is None else (element, *record)

    def _record(self, element: Element) -> tuple[Phase, str, str] | None:
        """What the accounting knows of one that has ended."""
        if not self._site.rules.accounting or element.by_dependency or element.forgotten == 2 or element.ended is None:
            return None
        age = self.clock.now() - element.ended
        if age < LATE:
            return None
        return (Phase.PENDING, "PENDING", "") if age < RIGHT else (Phase.ENDED, element.state, "")

    def __reduce__(self) -> Any:
        raise TypeError("a FakeCluster cannot travel to another process; make one there")

    def __repr__(self) -> str:
        with self._site.lock:
            left = sum(job.left for job in self._site.queue.jobs.values())
            return f"<FakeCluster of {len(self._site.nodes)} nodes, {left} elements that wait or run>"


def _check_count(**counts: Any) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise ArgumentError(f"FakeCluster({name}=...) must be a whole number, got {count!r:.60}")
        if count < 1:
            raise ChoiceError(f"FakeCluster({name}=...) must be at least 1, got {count}")


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "/"


# What becomes of clusters that nobody closed ---------------------------------------------------------------

_living: weakref.WeakSet[Site] = weakref.WeakSet()


def _let_go(site: Site) -> None:
    # By the garbage collector, perhaps, in a thread that holds any lock: so another does it, started without a lock.
    _thread.start_new_thread(site.close, (), {"wait": False})


@atexit.register
def _end_all() -> None:
    for site in list(_living):
        site.close(wait=False)
