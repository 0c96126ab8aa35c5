"""The site: nodes, a queue, and the thread that starts and ends what is in it.

Everybody else changes what is known, under the lock, and tells the thread. It alone starts processes, outside the lock,
and sees to what time brings: limits, ends that do not come by themselves, nodes that do not answer.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from weft.engine.complain import complain
from weft.executors.cluster.fake.attempts import Attempt, Program, exit_of
from weft.executors.cluster.fake.clock import VirtualClock
from weft.executors.cluster.fake.directives import Wants
from weft.executors.cluster.fake.jobs import Element, Fate, Job
from weft.executors.cluster.fake.nodes import Node
from weft.executors.cluster.fake.queue import Queue, Rules
from weft.executors.cluster.system import Clock

__all__ = ["Site"]


class Site:
    """See above."""

    def __init__(self, nodes: Iterable[Node], rules: Rules, clock: Clock) -> None:
        self.lock = threading.RLock()  # the garbage collector may come with a cluster that nobody holds
        self.changed = threading.Condition(self.lock)
        self.clock = clock
        self.rules = rules
        self.nodes = {node.name: node for node in nodes}
        self.queue = Queue(rules)
        self.away_until = -math.inf  # the controller
        self.launches_to_fail = 0
        self.scripts_to_lose = 0
        self.closed = False
        self._attempts: set[Attempt] = set()
        self._numbers = 1
        self._thread: threading.Thread | None = None
        self._folder: Path | None = None
        self._pid = os.getpid()

    # Submissions ----------------------------------------------------------------------------------------------

    def number(self) -> int:
        """The next id."""
        self._numbers += 1
        return self._numbers - 1

    def spool(self, number: int, text: bytes) -> Path:
        """Keep a script: whoever wrote it may change it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="weft-fake-"))
        path = self._folder / f"{number}.sh"
        path.write_bytes(text)
        path.chmod(0o700)  # for one that names no interpreter, of which the system has something to say
        return path

    def add(self, job: Job) -> None:
        """Put a submission into the queue."""
        self.queue.add(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="weft-fake-cluster", daemon=True)
            if isinstance(self.clock, VirtualClock):
                self.clock.attend(self._thread, host=True)
            self._thread.start()
        self.tell()

    def tell(self) -> None:
        """Something has been changed from outside."""
        self.changed.notify_all()
        if isinstance(self.clock, VirtualClock):
            self.clock.stir()

    def could_run(self, wants: Wants) -> bool:
        """Whether there is a node for it, when nothing else runs."""
        return any(node.could_run(wants) for node in self.nodes.values())

    # Ends -----------------------------------------------------------------------------------------------------

    def cancel(self, element: Element, *, by_name: bool) -> None:
        """Have it end, wherever it stands; `by_name`: it was meant alone, and not its array as a whole."""
        if element.state == "PENDING":
            self.queue.cancel(element, self.clock.now(), by_name=by_name)
            self.tell()
        else:
            self.stop(element, Fate("CANCELLED"))

    def stop(self, element: Element, fate: Fate, why: str | None = "", *, at_once: str = "") -> None:
        """Have the process of one that runs end, and this become of it then.

        Args:
            element: nothing happens where it does not run, or is being ended already.
            fate: what becomes of it.
            why: for a line in its log; None: no line.
            at_once: it is killed without being asked; and other lines for its log.
        """
        attempt = element.attempt
        if attempt is None or element.fate is not None:
            return
        element.fate = fate
        element.state = "COMPLETING"
        if not attempt.node.silent:  # which would not hear of it
            if at_once:
                attempt.note(at_once)
            if why is not None:
                attempt.note(self._words(element, why))
            if at_once:
                attempt.signal(signal.SIGKILL)
            else:
                attempt.end(self.clock.now() + self.rules.kill_wait)
        self.tell()

    def again(self) -> Fate:
        """What becomes of one that is run again."""
        return Fate("PENDING", delay=self.rules.requeue_delay)

    def lose(self, node: Node, *, kill: bool) -> None:
        """A node is down: what ran there is run again, or has failed.

        Args:
            node: that one.
            kill: its processes are ended; else they go on, and nobody knows.
        """
        node.go_down()
        for attempt in [attempt for attempt in self._attempts if attempt.node is node]:
            element = attempt.element
            if element is None:
                continue
            if kill:
                attempt.note(self._words(element, "DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS"))
                attempt.end(self.clock.now() + self.rules.kill_wait)
            else:
                self.vacate(attempt)
            failed = Fate("NODE_FAIL", "NodeDown", (0, None))  # nobody there could tell how it ended
            again = self.queue.may_run_again(element.job)
            self._release(attempt, element, element.fate or (self.again() if again else failed))
        self.tell()

    def _words(self, element: Element, why: str) -> str:
        """What the log of one that is being ended says."""
        assert element.attempt is not None
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        line = f"slurmstepd: error: *** JOB {element.raw} ON {element.attempt.node.name} CANCELLED AT {stamp}"
        return f"{line} {why} ***" if why else f"{line} ***"

    def vacate(self, attempt: Attempt) -> None:
        """Tell the clock that a process is not at work."""
        if attempt.occupies:
            attempt.occupies = False
            if isinstance(self.clock, VirtualClock):
                self.clock.vacate()

    def _release(self, attempt: Attempt, element: Element, fate: Fate) -> None:
        """The element has no process any more, and this becomes of it."""
        attempt.element = element.attempt = None
        attempt.node.give_back(element.job.wants)
        self.queue.stopped(element, fate, self.clock.now())

    # The thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (acts := self._next()) is not None:
                for act in acts:
                    act()
        except BaseException:  # noqa: BLE001 - no thread dies silently, and nobody waits for what it would have done
            complain("unexpected error in the thread of a fake cluster, which is closed")
            self.close(wait=False)
        finally:
            if isinstance(self.clock, VirtualClock):
                self.clock.leave()

    def _next(self) -> list[Callable[[], None]] | None:
        """What is to be done next, once there is something; None: nothing any more."""
        with self.lock:
            while not self.closed:
                now = self.clock.now()
                acts = self._decide(now)
                self.changed.notify_all()
                if acts:
                    return acts
                due = self._due()
                self.clock.wait(self.changed, None if due == math.inf else due - now)
            return None

    def _decide(self, now: float) -> list[Callable[[], None]]:
        for attempt in self._attempts:
            if now >= attempt.kill_at:
                attempt.kill_at = math.inf
                attempt.signal(signal.SIGKILL)
        if now < self.away_until:
            return []
        self._hear()
        for node in self.nodes.values():
            if now >= node.silent_until:
                self.lose(node, kill=False)
        self._limit(now)
        self.queue.drop_hopeless(now)
        return self._start_what_fits(now)

    def _due(self) -> float:
        """When time brings something."""
        live = [attempt for attempt in self._attempts if attempt.status is None]
        due = min((attempt.kill_at for attempt in live), default=math.inf)
        now = self.clock.now()
        if now < self.away_until:
            return min(due, self.away_until)
        for attempt in live:
            if attempt.element is not None and attempt.element.fate is None and not attempt.node.silent:
                due = min(due, attempt.limit_at, attempt.warn_at)
        return min([due, self.queue.due(now), *(node.silent_until for node in self.nodes.values())])

    def _hear(self) -> None:
        """Learn of the ends of processes."""
        for attempt in [attempt for attempt in self._attempts if attempt.status is not None]:
            element = attempt.element
            if element is None:
                self._attempts.discard(attempt)
            elif not attempt.node.silent:
                self._attempts.discard(attempt)
                assert attempt.status is not None
                end = exit_of(attempt.status)
                fate = element.fate or _fate(*end)
                self._release(attempt, element, fate if fate.status else fate._replace(status=end))

    def _limit(self, now: float) -> None:
        """See to those whose time is over, or about to be."""
        for attempt in self._attempts:
            element = attempt.element
            if element is None or element.fate is not None or attempt.node.silent:
                continue
            if now >= attempt.limit_at:
                self.stop(element, Fate("TIMEOUT", "TimeLimit"), "DUE TO TIME LIMIT")
            elif now >= attempt.warn_at:
                attempt.warn_at = math.inf
                assert element.job.wants.warning is not None
                attempt.signal(element.job.wants.warning[0], alone=True)

    def _start_what_fits(self, now: float) -> list[Callable[[], None]]:
        acts: list[Callable[[], None]] = []
        self.queue.head = None
        for element in self.queue.startable(now):
            node = next((node for node in self.nodes.values() if node.can_run(element.job.wants)), None)
            if node is None:
                self.queue.head = element.job
                break
            if self.launches_to_fail:
                self.launches_to_fail -= 1
                self._fail_launch(element, node, now)
            else:
                acts.append(self._start(element, node, now))
        return acts

    def _start(self, element: Element, node: Node, now: float) -> Callable[[], None]:
        job, wants = element.job, element.job.wants
        job.split(element, self.number)
        node.take(wants)
        self.queue.started(element)
        element.attempt = attempt = Attempt(element, node, self.lock, self._process_ended)
        self._attempts.add(attempt)
        if wants.time is not None:
            attempt.limit_at = now + wants.time
            if wants.warning is not None:
                attempt.warn_at = max(now, attempt.limit_at - wants.warning[1])
        if isinstance(self.clock, VirtualClock):
            self.clock.occupy()
        words = (*wants.interpreter, str(job.script))
        if self.scripts_to_lose:
            self.scripts_to_lose -= 1
            words = (str(job.script.with_name("gone") / "slurm_script"),)
        program = Program(
            words,
            job.environment(element, node.name),
            job.directory,
            job.output(element, wants.output, node.name),
            job.output(element, wants.error, node.name) if wants.error else "",
            wants.append,
        )
        return partial(attempt.run, program)

    def _fail_launch(self, element: Element, node: Node, now: float) -> None:
        """The prolog of the node fails. One that must not be run again is cancelled, and its log says why."""
        job = element.job
        if not self.queue.may_run_again(job):
            job.split(element, self.number)
            try:
                with open(job.output(element, job.wants.error or job.wants.output, node.name), "a") as log:
                    log.write("Error running slurm prolog: 1\n")
            except OSError:  # as with the log of any job
                pass
        self.queue.launch_failed(element, now)

    def _process_ended(self, attempt: Attempt) -> None:
        self.changed.notify_all()  # first: the thread has something to do before time passes
        self.vacate(attempt)

    # The end --------------------------------------------------------------------------------------------------

    def close(self, *, wait: bool) -> None:
        """Kill everything.

        Args:
            wait: return when all is gone.
        """
        if os.getpid() != self._pid:  # in the child of a fork nothing of this is ours
            return
        with self.lock:
            self.closed = True
            attempts = list(self._attempts)
            for attempt in attempts:
                attempt.signal(signal.SIGKILL)
                if attempt.element is not None:
                    self._release(attempt, attempt.element, Fate("CANCELLED", status=(None, signal.SIGKILL)))
            waiting = [element for job in self.queue.jobs.values() for element in job.waiting.values()]
            for element in waiting:
                self.queue.end(element, Fate("CANCELLED", status=(0, None)), self.clock.now())
            self.changed.notify_all()
            folder, self._folder = self._folder, None
        if wait:
            _join(self._thread)  # first: it may be about to start another process
            for attempt in attempts:
                _join(attempt.thread)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _fate(exitcode: int | None, number: int | None) -> Fate:
    """What becomes of an element by itself, by how its process ended."""
    if number is not None:
        return Fate("FAILED", "JobLaunchFailure")  # in the words of this release; later ones name the signal
    return Fate("FAILED", "NonZeroExitCode") if exitcode else Fate("COMPLETED")


def _join(thread: threading.Thread | None) -> None:
    if thread is not None and thread is not threading.current_thread():
        thread.join()
