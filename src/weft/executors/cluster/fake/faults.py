"""What goes wrong on a cluster, at the moment that a test wants it to."""

from __future__ import annotations

import math
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Literal

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.fake.jobs import Element, Fate
from weft.executors.cluster.fake.nodes import Node
from weft.executors.cluster.fake.site import Site
from weft.executors.cluster.system import Busy

__all__ = ["QUESTIONS", "Faults"]

#: What a batch system is asked, with what the command behind it says when the controller is away.
QUESTIONS = {
    "cancel": "scancel: error: Kill job error on job id: ",
    "find": "slurm_load_jobs error: ",
    "inquire": "slurm_load_jobs error: ",
    "limits": "slurm_load_ctl_conf error: ",
    "look": "slurm_load_jobs error: ",
    "submit": "sbatch: error: Batch job submission failed: ",
}
AWAY = "Unable to contact slurm controller (connect failure)"


class Faults:
    """The faults of a `FakeCluster`.

    Elements are named by the id of their job and, where that is an array, their number: ``hold("7")`` holds all of
    job 7, ``hold("7", 2)`` and ``hold("7_2")`` one element. An id that there never was is a ChoiceError. What makes no
    sense for an element where it stands, such as to preempt one that waits, is ignored, as the real thing does.
    """

    def __init__(self, site: Site) -> None:
        #: How often each question was asked, such as ``calls["submit"]``; also those that were not answered.
        self.calls: Counter[str] = Counter()
        #: Called with the name of each question before that is answered, in the thread that asks; it may take its time,
        #: and what it raises is the answer.
        self.on_call: Callable[[str], object] | None = None
        self._site = site
        self._refusals: deque[str] = deque()
        self._unanswered: dict[str, deque[str]] = {question: deque() for question in QUESTIONS}
        self._lost: deque[bool] = deque()

    # Answers --------------------------------------------------------------------------------------------------

    def refuse(self, text: str, times: int = 1) -> None:
        """So many submissions are refused, with this text."""
        with self._site.lock:
            self._refusals.extend([text] * times)

    def busy(self, *questions: str, times: int = 1, text: str = "") -> None:
        """So many times each of these questions is not answered: `Busy`.

        Args:
            questions: such as ``"look"``.
            times: how often.
            text: what is said. Default: that the controller cannot be contacted.
        """
        for question in questions:
            if question not in QUESTIONS:
                raise ChoiceError(f"nobody asks {question!r}; questions: {', '.join(QUESTIONS)}")
        with self._site.lock:
            for question in questions:
                self._unanswered[question].extend([text or QUESTIONS[question] + AWAY] * times)

    def lose_answer(self, *, taken: bool, times: int = 1) -> None:
        """The answer to so many submissions is lost: ``Busy(unsure=True)``.

        Args:
            taken: whether the submission was taken nevertheless.
            times: how often.
        """
        with self._site.lock:
            self._lost.extend([taken] * times)

    def stop_controller(self, seconds: float | None = None) -> None:
        """For so long, or until `start_controller()`, no question is answered.

        What runs goes on. Nothing new is started, no time limit is seen to, and what ends is known afterwards.
        """
        with self._site.lock:
            self._site.away_until = math.inf if seconds is None else self._site.clock.now() + seconds
            self._site.tell()

    def start_controller(self) -> None:
        """It is there again."""
        with self._site.lock:
            self._site.away_until = -math.inf
            self._site.tell()

    def burn(self, count: int = 1) -> None:
        """So many ids are left out, as by submissions that were refused."""
        with self._site.lock:
            for _ in range(count):
                self._site.number()

    def overlook(self, job: str, place: int | None = None, *, times: int = 1) -> None:
        """So many times `look` does not tell of these, though they wait or run."""
        for element in self._elements(job, place):
            element.overlooked += times

    def forget(self, job: str, place: int | None = None, *, records: bool = False) -> None:
        """The controller forgets of these that have ended, as it does after a while.

        Args:
            job, place: which.
            records: the accounting does, too.
        """
        for element in self._elements(job, place):
            if element.ended is not None:
                element.forgotten = max(element.forgotten, 2 if records else 1)

    # Elements -------------------------------------------------------------------------------------------------

    def hold(self, job: str, place: int | None = None, reason: str = "JobHeldUser") -> None:
        """Those of these that wait do not start before `release`; nor, a further time, those that run."""
        with self._site.lock:
            for element in self._elements(job, place):
                element.held = reason
                if _is_one(job, place):
                    element.job.split(element, self._site.number)

    def release(self, job: str, place: int | None = None) -> None:
        """Let them start, also those whose launch had failed."""
        with self._site.lock:
            for element in self._elements(job, place):
                element.held = ""
            self._site.tell()

    def cancel_by_other(self, job: str, place: int | None = None) -> None:
        """Somebody else cancels them."""
        with self._site.lock:
            for element in self._elements(job, place):
                self._site.cancel(element, by_name=_is_one(job, place))

    def requeue(self, job: str, place: int | None = None) -> None:
        """Those that run are stopped, and wait until they are run again; not those that must not be."""
        with self._site.lock:
            for element in self._elements(job, place, state="RUNNING"):
                if self._site.queue.may_run_again(element.job):
                    self._site.stop(element, self._site.again(), "DUE TO JOB REQUEUE")

    def preempt(self, job: str, place: int | None = None, *, mode: Literal["requeue", "cancel"] = "requeue") -> None:
        """Something more urgent takes their place.

        Args:
            job, place: those of these that run.
            mode: they wait until they are run again, or they are over (``PREEMPTED``). Those that may not be run again
                are over in any case.
        """
        if mode not in ("requeue", "cancel"):
            raise ChoiceError(f'mode must be "requeue" or "cancel", got {mode!r}')
        with self._site.lock:
            for element in self._elements(job, place, state="RUNNING"):
                again = mode == "requeue" and self._site.queue.may_run_again(element.job)
                fate = self._site.again() if again else Fate("PREEMPTED")
                self._site.stop(element, fate, "DUE TO PREEMPTION")

    def out_of_memory(self, job: str, place: int | None = None, *, by: Literal["cgroup", "polling"] = "cgroup") -> None:
        """Those that run are killed for want of memory.

        Args:
            job, place: which.
            by: who notices: the kernel (``OUT_OF_MEMORY``), or the cluster itself (``FAILED`` by signal 9, which is
                told in their logs only).
        """
        if by not in ("cgroup", "polling"):
            raise ChoiceError(f'by must be "cgroup" or "polling", got {by!r}')
        with self._site.lock:
            for element in self._elements(job, place, state="RUNNING"):
                step = f"StepId={element.raw}.batch"
                if by == "cgroup":
                    fate = Fate("OUT_OF_MEMORY", "OutOfMemory", (None, None))  # told as 0:125, no signal
                    note = (
                        f"slurmstepd: error: Detected 1 oom_kill event in {step}. Some of the step tasks have been OOM "
                        "Killed."
                    )
                else:
                    fate = Fate("FAILED", "JobLaunchFailure", (None, signal.SIGKILL))
                    most = element.job.wants.memory
                    note = (
                        f"slurmstepd: error: {step} exceeded memory limit ({most + 4096} > {most}), being killed\n"
                        "slurmstepd: error: Exceeded job memory limit"
                    )
                self._site.stop(element, fate, None if by == "cgroup" else "", at_once=note)

    def kill(self, job: str, place: int | None = None, number: int = signal.SIGKILL) -> None:
        """Somebody sends a signal to the processes of those that run; the cluster knows nothing of it."""
        with self._site.lock:
            for element in self._elements(job, place):
                if element.attempt is not None:
                    element.attempt.signal(number)

    def fail_launch(self, times: int = 1) -> None:
        """So many elements cannot be launched: they wait, held, as ``launch failed requeued held``.

        Those that must not be run again are cancelled, and their logs say why.
        """
        with self._site.lock:
            self._site.launches_to_fail += times

    def lose_script(self, times: int = 1) -> None:
        """So many elements find their script gone when they start, as where slurmd has tidied up in that moment."""
        with self._site.lock:
            self._site.scripts_to_lose += times

    def hangs(self, job: str | None = None, place: int | None = None) -> None:
        """The processes of these (None: of all) that run now hang: `VirtualClock.until` does not wait for them."""
        with self._site.lock:
            elements = (
                [element for one in self._site.queue.jobs.values() for element in one.elements.values()]
                if job is None
                else self._elements(job, place)
            )
            for element in elements:
                if element.attempt is not None:
                    self._site.vacate(element.attempt)

    # Nodes and partitions -------------------------------------------------------------------------------------

    def node_of(self, job: str, place: int | None = None) -> str:
        """The name of the node on which one runs; "" where it does not."""
        with self._site.lock:
            attempts = [element.attempt for element in self._elements(job, place)]
            return next((attempt.node.name for attempt in attempts if attempt is not None), "")

    def node_down(self, name: str, *, ghosts: bool = False) -> None:
        """A node fails: what ran there is run again, or ends as ``NODE_FAIL``, if it must not be.

        Args:
            name: of the node, such as ``"n1"``.
            ghosts: it does not answer any more. After `node_timeout` it counts as down; and what runs there goes on
                to its end, while the same elements may run again on other nodes.
        """
        with self._site.lock:
            node = self._node(name)
            if ghosts:
                node.go_silent(self._site.clock.now() + self._site.rules.node_timeout)
            else:
                self._site.lose(node, kill=True)
            self._site.tell()

    def node_up(self, name: str) -> None:
        """It is there again."""
        with self._site.lock:
            self._node(name).come_up()
            self._site.tell()

    def partition_down(self, name: str) -> None:
        """Nothing of this partition is started."""
        with self._site.lock:
            self._site.queue.partitions_down.add(name)

    def partition_up(self, name: str) -> None:
        """It is again."""
        with self._site.lock:
            self._site.queue.partitions_down.discard(name)
            self._site.tell()

    # ----------------------------------------------------------------------------------------------------------

    def _answer(self, question: str) -> None:
        """What there is to say to a question before it is looked at; raises that."""
        if self.on_call is not None:
            self.on_call(question)
        with self._site.lock:
            self.calls[question] += 1
            if self._unanswered[question]:
                raise Busy(self._unanswered[question].popleft())
            if self._site.clock.now() < self._site.away_until:
                raise Busy(QUESTIONS[question] + AWAY)

    def _elements(self, job: str, place: int | None, state: str = "") -> list[Element]:
        if not isinstance(job, str):
            raise ArgumentError(f'a job is named by its id, such as "7" or "7_2", got {job!r:.60}')
        number, _, element = job.partition("_")
        found = self._site.queue.jobs.get(number)
        places: Iterable[int] | None = [int(element)] if element.isdecimal() else None if place is None else [place]
        elements = [] if found is None else found.chosen(places)
        if not elements:
            raise ChoiceError(f"the fake cluster has no element {job if place is None else f'{job}_{place}'}")
        return [element for element in elements if state in ("", element.state)]

    def _node(self, name: str) -> Node:
        if name not in self._site.nodes:
            raise ChoiceError(f"the fake cluster has no node {name!r}; nodes: {', '.join(self._site.nodes)}")
        return self._site.nodes[name]


def _is_one(job: str, place: int | None) -> bool:
    """Whether an element is meant, and not a job."""
    return place is not None or "_" in job
