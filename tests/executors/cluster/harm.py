"""What befalls a cluster from outside; for the fake one and, with the same words, for a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from weft.executors.cluster.fake import FakeCluster, VirtualClock

__all__ = ["FakeHarm", "Harm"]


class Harm(Protocol):
    """What a fact may do beside the questions of a batch system.

    A real cluster need not be able to do all of it: a fact says what it `needs`, and what a `Harm` has no method for is
    left out. Jobs whose processes wait at a gate have arrived there before harm is done to them.
    """

    capacity: int  #: Elements of one cpu that run at once.
    kill_wait: float  #: Seconds from SIGTERM to SIGKILL.
    leftovers_are_killed: bool  #: With the end of a job's script, whatever they have become.

    def until(self, holds: Callable[[], object]) -> None:
        """Return when this holds; fail when it does not within a long time."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, though processes wait at a gate."""

    def reach_time_limit(self, job: str) -> None:
        """Let the time of a job that asked for one minute be over."""

    def hold(self, job: str) -> None:
        """Its user holds it, while it waits."""

    def release(self, job: str) -> None:
        """And lets it go."""

    def cancel_by_other(self, job: str) -> None:
        """Not through the system that is tested."""

    def forget(self, job: str) -> None:
        """Return when the controller knows nothing of an ended job any more."""

    def requeue(self, job: str) -> None:
        """Somebody has it run again."""

    def preempt(self, job: str) -> None:
        """Something more urgent takes its place; it may be run again."""

    def exceed_memory(self, job: str) -> None:
        """It is found to have taken too much memory, by a cgroup: now, or when it does."""

    def exceed_memory_polled(self, job: str) -> None:
        """The same, found by polling."""

    def let_invalid_dependents_stay(self) -> None:
        """Those that are submitted now wait for ever for what cannot come, where their options say so."""

    def fail_launch(self) -> None:
        """The next launch fails."""

    def node_of(self, job: str) -> str:
        """Where it runs."""

    def node_down(self, node: str) -> None:
        """It is set down."""

    def lose_node(self, node: str) -> None:
        """Its daemon is killed; what runs there goes on."""

    def partition_down(self) -> None:
        """The default partition."""

    def partition_up(self) -> None:
        """The same."""

    def stop_controller(self) -> None:
        """Nobody answers any more."""

    def start_controller(self) -> None:
        """It does again."""

    def limit_submissions(self, most: int | None) -> None:
        """A user may have so many elements in the queue."""

    def lose_answer(self, taken: bool) -> None:
        """The answer to the next submission is lost."""


class FakeHarm:
    """That of a `FakeCluster`."""

    leftovers_are_killed = True

    def __init__(self, cluster: FakeCluster, clock: VirtualClock, capacity: int) -> None:
        self.cluster = cluster
        self.clock = clock
        self.capacity = capacity
        self.kill_wait = 30.0
        self.until = clock.until
        self.sleep = clock.advance
        self.hold = cluster.hold
        self.release = cluster.release
        self.cancel_by_other = cluster.cancel_by_other
        self.forget = cluster.forget
        self.requeue = cluster.requeue
        self.preempt = cluster.preempt
        self.exceed_memory = cluster.out_of_memory
        self.fail_launch = cluster.fail_launch
        self.node_of = cluster.node_of
        self.node_down = cluster.node_down
        self.stop_controller = cluster.stop_controller
        self.start_controller = cluster.start_controller

    def reach_time_limit(self, job):
        self.clock.advance(60)

    def exceed_memory_polled(self, job):
        self.cluster.out_of_memory(job, by="polling")

    def let_invalid_dependents_stay(self):
        pass  # it goes by the options of a script

    def lose_node(self, node):
        self.cluster.hangs()
        self.cluster.node_down(node, ghosts=True)

    def partition_down(self):
        self.cluster.partition_down("debug")

    def partition_up(self):
        self.cluster.partition_up("debug")

    def limit_submissions(self, most):
        self.cluster.most = most

    def lose_answer(self, taken):
        self.cluster.lose_answer(taken=taken)
