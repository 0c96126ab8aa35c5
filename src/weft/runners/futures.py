"""What runners that give futures have in common; a subclass says how one call is started."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from typing import Any

from weft.calls.closure import Closure
from weft.errors import ArgumentError
from weft.futures import Gate, Observer, Scheduler, WaitGraph
from weft.runners.base import Runner
from weft.runners.tracker import Tracker
from weft.tree import get_tree, transform_tree

__all__ = ["FuturesRunner"]

LOGGER = logging.getLogger("weft")


class FuturesRunner(Runner):
    """Gives a future for each leaf of the result. A subclass defines `submit_ready`, and `release` where needed.

    Args:
        schedule: whether a call returns at once and is started when the futures among its arguments are done.
            Otherwise the caller waits for them, and its call raises what they raise.
        gates, observers, name: for the scheduler, so with ``schedule=True`` only; see `weft.futures.Scheduler`.

    **Results.** What a call returns has the shape of the function's mock, with a future at each leaf; tuples, None and
    scalars are one future, and so is everything where only the return annotation is known. An empty list or dict is
    itself. Cancelling the future of a whole result cancels the call; one that runs is stopped where its executor can do
    that and ``schedule=True``, and goes on otherwise. Cancelling one of several parts cancels that part alone.

    **Checks.** What can be checked without waiting is checked at the call and raises there. Arguments and result are
    checked again where the function runs; what is wrong there arrives through the futures.
    """

    def __init__(
        self,
        schedule: bool = False,
        *,
        gates: Iterable[Gate] = (),
        observers: Iterable[Observer] = (),
        name: str | None = None,
    ) -> None:
        if not isinstance(schedule, bool):
            raise ArgumentError(
                f"schedule must be True or False, got {schedule!r:.60}; an executor is given by name: executor=..."
            )
        gates, observers = tuple(gates), tuple(observers)
        if not schedule and (gates or observers):
            raise ArgumentError("gates and observers are the scheduler's; give schedule=True with them")
        self._calls = Tracker()  # what was handed out
        self._works = Tracker()  # what was started; still under way, perhaps, when the call has been cancelled
        self._interrupted = False  # by Ctrl-C: nothing is to go on
        self._wait_graph = WaitGraph()
        self._scheduler = (
            Scheduler(self._start, self._wait_graph, gates=gates, observers=observers, name=name) if schedule else None
        )

    @abstractmethod
    def submit_ready(self, closure: Closure) -> Future[Any]:
        """Start a call; the future is the outcome of ``closure.validated_call()``, wherever that is made.

        The futures among the closure's arguments are done: ``closure.resolved()`` does not wait. It is always called
        from one thread with ``schedule=True``, else from the callers' threads. What it raises is the call's outcome,
        or is raised to the caller, respectively.
        """

    def release(self) -> None:
        """Shut down what this runner made for itself; called once, when nothing is under way."""

    def run(self, closure: Closure) -> Any:
        if self._scheduler is None:
            closure = closure.resolved()
        closure.validate_parameters()
        # First, because the shape may turn out to be unknown: then nothing has been started.
        api = closure.get_result_api()
        if self._scheduler is None:
            outcome = self._start(closure)
        else:
            outcome = self._scheduler.submit((closure,), None, closure.futures, name=closure.describe())
        self._calls.add(outcome)
        return transform_tree(lambda path, _: self._part(outcome, path), api)

    def shutdown(self) -> None:
        """Wait for everything, then raise: one failure as itself, several as an ExceptionGroup.

        A failure that went on to dependent calls counts once; a cancelled call is none. Called again, it raises
        nothing. Interrupted by Ctrl-C, it cancels what has not started, stops what runs in processes that can be
        stopped, and waits for what still runs.
        """
        self._finish()
        failures = self._calls.take_failures()
        try:
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {self._calls.count} calls failed", failures)
        finally:
            del failures  # this frame is in their tracebacks

    def abandon(self, exception: BaseException) -> None:
        """Wait for everything; after Ctrl-C cancel it first, as far as that can be done. Log failures."""
        if isinstance(exception, KeyboardInterrupt):
            self._cancel()
        self._finish()
        failures = [error for error in self._calls.take_failures() if error is not exception]
        if failures:
            LOGGER.warning("%d of %d calls failed as well; one: %r", len(failures), self._calls.count, failures[0])

    def _start(self, closure: Closure) -> Future[Any]:
        work = self.submit_ready(closure)
        if not isinstance(work, Future):
            raise ArgumentError(f"{type(self).__name__}.submit_ready must return a future, got {work!r:.60}")
        self._works.add(work)
        if self._interrupted:  # meanwhile: it may have come too late to be among those that were stopped
            _stop(work)
        return work

    def _part(self, outcome: Future[Any], path: tuple[Any, ...]) -> Future[Any]:
        if not path:
            return outcome
        part = self._wait_graph.submit([outcome], _Part(outcome, path))
        self._calls.add(part, calls=0)
        return part

    def _finish(self) -> None:
        already = self._closed
        try:
            super().shutdown()
            self._wait()
        except KeyboardInterrupt:
            self._cancel()
            self._wait()
            raise
        finally:
            if not already:
                self.release()

    def _wait(self) -> None:
        if self._scheduler is not None:
            self._scheduler.shutdown()
        self._works.wait()
        self._calls.wait()

    def _cancel(self) -> None:
        self._interrupted = True
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False, cancel_futures=True)
        stopped = sum(_stop(work) for work in self._works.pending())
        told = "interrupted: calls that had not started are cancelled"
        if stopped:
            told += f"; {stopped} that ran {'was' if stopped == 1 else 'were'} stopped"
        if self._works.pending():
            told += "; waiting for those that run"
        LOGGER.warning(told)


def _stop(work: Future[Any]) -> bool:
    """Cancel it, even if it runs, where that can be done; whether it ran and has been stopped."""
    kill = getattr(work, "kill", None)
    if kill is None:
        work.cancel()
        return False
    ran = work.running()
    return bool(kill()) and ran


class _Part:
    """Digest: one leaf of a result."""

    __slots__ = ("outcome", "path")

    def __init__(self, outcome: Future[Any], path: tuple[Any, ...]) -> None:
        self.outcome = outcome
        self.path = path

    def __call__(self, result: Any) -> Any:
        if self.outcome.cancelled():
            raise CancelledError("the call was cancelled")
        return get_tree(result, self.path)
