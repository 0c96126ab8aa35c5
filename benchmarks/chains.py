"""Very long chains: that they end at all, and each link in the right state."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any

from floor import WORKERS, noop

# Once all is submitted and the executor is shut down, the last states may still be on their way.
PATIENCE_S = 10


class LinkError(Exception):
    """What the first link fails with."""


def long_chain(case: str, n: int) -> dict[str, float]:
    """Run one case: the time per link, building and checking it included."""
    start = perf_counter()
    CASES[case](n)
    return {"us": (perf_counter() - start) / n * 1e6}


def check(holds: bool, claim: str) -> None:
    """An assertion that survives `python -O`."""
    if not holds:
        raise AssertionError(f"not true: {claim}")


class GatedChain:
    """A scheduled chain that is complete before its first link may start: the hardest case for recursion."""

    def __init__(self, n: int, first: Callable[[], None] = noop) -> None:
        from weft.futures import Scheduler

        self.submitted = 0
        self._first = first
        self._gate: Future[None] = Future()
        self._executor = ThreadPoolExecutor(WORKERS)
        self._scheduler = Scheduler(self._submit)
        self.links: list[Future[Any]] = [self._scheduler.submit((0,), dependencies=[self._gate])]
        for index in range(1, n):
            self.links.append(self._scheduler.submit((index,), dependencies=[self.links[-1]]))

    def _submit(self, index: int) -> Future[None]:
        self.submitted += 1
        return self._executor.submit(noop if index else self._first)

    def run(self) -> None:
        self._gate.set_result(None)
        self._scheduler.shutdown()
        self._executor.shutdown()


def succeeds(n: int) -> None:
    chain = GatedChain(n)
    chain.run()
    check(chain.submitted == n, "each link was submitted once")
    check(all(link.result(PATIENCE_S) is None for link in chain.links), "each link succeeded")


def first_fails(n: int) -> None:
    error = LinkError("the first link")

    def fail() -> None:
        raise error

    chain = GatedChain(n, first=fail)
    chain.run()
    check(chain.submitted == 1, "only the first link was submitted")
    check(all(link.exception(PATIENCE_S) is error for link in chain.links), "each link has its error")


def middle_cancelled(n: int) -> None:
    chain = GatedChain(n)
    middle = chain.links[n // 2]
    check(middle.cancel(), "a waiting link can be cancelled")
    chain.run()
    check(middle.cancelled(), "the middle link stays cancelled")
    check(chain.submitted == n - 1, "all but the middle link were submitted")
    others = [link for link in chain.links if link is not middle]
    check(all(link.result(PATIENCE_S) is None for link in others), "all other links succeeded")


def wait_futures(n: int) -> None:
    first, links = wait_chain(n)
    first.set_result(0)
    check(all(link.result(PATIENCE_S) == index + 1 for index, link in enumerate(links)), "each link counted")


def wait_futures_fail(n: int) -> None:
    first, links = wait_chain(n)
    error = LinkError("the first link")
    first.set_exception(error)
    check(all(link.exception(PATIENCE_S) is error for link in links), "each link has its error")


def wait_chain(n: int) -> tuple[Future[int], list[Future[Any]]]:
    from weft.futures import WaitGraph

    graph = WaitGraph()
    first: Future[int] = Future()
    links: list[Future[Any]] = [graph.submit([first], add_one)]
    for _ in range(n - 1):
        links.append(graph.submit([links[-1]], add_one))
    return first, links


def add_one(count: int) -> int:
    return count + 1


CASES: dict[str, Callable[[int], None]] = {
    "success": succeeds,
    "failure in the first link": first_fails,
    "cancel in the middle": middle_cancelled,
    "WaitFutures on WaitFutures": wait_futures,
    "WaitFutures, the first fails": wait_futures_fail,
}
