"""What Python itself charges: hand-written ready queues over an executor, without any comfort.

Each contender is a context manager that gives a function `run(shape)`. It builds the graph, returns when
the last task has ended, and hands back what a user would hold by then, so that the clock of the caller
stops before that is freed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeAlias

from shapes import Shape

WORKERS = 2

Run: TypeAlias = Callable[[Shape], object]


def noop() -> None:
    """The task of all measurements."""


def invert(shape: Shape) -> tuple[list[list[int]], list[int]]:
    """Give the children of each task, and for how many parents it waits."""
    children: list[list[int]] = [[] for _ in shape]
    for index, parents in enumerate(shape):
        for parent in parents:
            children[parent].append(index)
    return children, [len(parents) for parents in shape]


def ready_queue(shape: Shape, submit: Callable[[int], Future[Any]]) -> None:
    """Run a graph with counters, lists and a queue; one thread, not the caller's, makes every submit.

    That is the Scheduler's promise to a user's submit function, so the floor keeps it. It hands out no
    futures, looks at no outcome and takes no task once it runs.
    """
    children, waits_for = invert(shape)
    ended: SimpleQueue[int] = SimpleQueue()

    def start(index: int) -> None:
        submit(index).add_done_callback(lambda _: ended.put(index))

    def submit_all() -> None:
        for index, parents in enumerate(shape):
            if not parents:
                start(index)
        for _ in shape:
            start_ready(children[ended.get()])

    def start_ready(candidates: list[int]) -> None:
        for index in candidates:
            waits_for[index] -= 1
            if not waits_for[index]:
                start(index)

    thread = Thread(target=submit_all)
    thread.start()
    thread.join()


@contextmanager
def floor() -> Iterator[Run]:
    """The floor: a ready queue over threads, without any comfort."""
    with ThreadPoolExecutor(WORKERS) as executor:
        yield lambda shape: ready_queue(shape, lambda _: executor.submit(noop))


@contextmanager
def floor_direct() -> Iterator[Run]:
    """The floor without the promise of one submitting thread: a done task submits its children itself."""
    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> None:
            children, waits_for = invert(shape)
            lock = Lock()
            all_done = Event()
            unfinished = len(shape)

            def submit(index: int) -> None:
                executor.submit(noop).add_done_callback(lambda _: finish(index))

            def finish(index: int) -> None:
                nonlocal unfinished
                with lock:
                    ready = [child for child in children[index] if count_down(child)]
                    unfinished -= 1
                    if not unfinished:
                        all_done.set()
                for child in ready:
                    submit(child)

            def count_down(index: int) -> bool:
                waits_for[index] -= 1
                return not waits_for[index]

            for index, parents in enumerate(shape):
                if not parents:
                    submit(index)
            all_done.wait()

        yield run


class Handed(Future[None]):
    """A future that knows who waits for it, and for how many it waits itself."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Handed] = []
        self.waits_for = 0
        self.ended = False


class HandingFloor:
    """The floor with the two things that make it of use: tasks come one by one, each as a real future."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self._lock = Lock()
        self._inbox: SimpleQueue[Handed | tuple[Handed, Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._loop)
        self._thread.start()

    def submit(self, parents: list[Handed]) -> Handed:
        task = Handed()
        with self._lock:
            for parent in parents:
                if not parent.ended:
                    parent.children.append(task)
                    task.waits_for += 1
            ready = not task.waits_for
        if ready:
            self._inbox.put(task)
        return task

    def shutdown(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while (item := self._inbox.get()) is not None:
            if isinstance(item, Handed):
                self._start(item)
            else:
                self._finish(*item)

    def _start(self, task: Handed) -> None:
        self._executor.submit(noop).add_done_callback(lambda work: self._inbox.put((task, work)))

    def _finish(self, task: Handed, work: Future[None]) -> None:
        task.set_result(work.result())
        with self._lock:
            task.ended = True
            for child in task.children:
                child.waits_for -= 1
        for child in task.children:
            if not child.waits_for:
                self._start(child)
        task.children = []


@contextmanager
def floor_futures() -> Iterator[Run]:
    """The floor that hands out futures: what the Scheduler's contract costs at the very least."""
    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> list[Handed]:
            scheduler = HandingFloor(executor)
            futures: list[Handed] = []
            for parents in shape:
                futures.append(scheduler.submit([futures[parent] for parent in parents]))
            wait_for_all(futures)
            scheduler.shutdown()
            return futures

        yield run


@contextmanager
def plain() -> Iterator[Run]:
    """`executor.submit` alone: the base per task. It knows no dependencies."""
    with ThreadPoolExecutor(WORKERS) as executor:

        def run(shape: Shape) -> list[Future[None]]:
            futures = [executor.submit(noop) for _ in shape]
            wait_for_all(futures)
            return futures

        yield run


def wait_for_all(futures: Sequence[Future[Any]]) -> None:
    """Wait from the last to the first: forwards, the caller would be woken once per link of a chain.

    The schedulers are measured here, not how often their caller wakes up.
    """
    for future in reversed(futures):
        future.result()


@contextmanager
def hand_overs() -> Iterator[Run]:
    """Python's limit for a chain: two threads that wake each other once per link, and do nothing else."""

    def run(shape: Shape) -> None:
        there: SimpleQueue[None] = SimpleQueue()
        back: SimpleQueue[None] = SimpleQueue()

        def answer() -> None:
            for _ in shape:
                there.get()
                back.put(None)

        thread = Thread(target=answer)
        thread.start()
        for _ in shape:
            there.put(None)
            back.get()
        thread.join()

    yield run
