"""What Python itself charges for processes: minimal programs over bare pipes, and over shared memory.

They hand out no futures, and an exception in a task ends them.
"""

import mmap
import os
import pickle
import select
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from floor import WORKERS, invert
from pool import Graph, Pool, Task
from shapes import fan_out
from tasks import ARRAY_BYTES

MOST_PER_MESSAGE = 500
READ_BYTES = 65_536
PREFIX_BYTES = 4


class Worker:
    """A forked process that answers one message after the other, and the pipes to it and back."""

    def __init__(self, answer: Callable[[Any], Any], others: Sequence["Worker"] = ()) -> None:
        reads, self.inbox = os.pipe()
        self.outbox, writes = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            for pipe in (self.inbox, self.outbox, *(other.inbox for other in others)):
                os.close(pipe)
            serve(answer, reads, writes)
        os.close(reads)
        os.close(writes)

    def ask(self, message: Any) -> None:
        send(self.inbox, message)

    def answer(self) -> Any:
        return receive(self.outbox)

    def end(self) -> None:
        os.close(self.inbox)
        os.close(self.outbox)
        os.waitpid(self._pid, 0)


def serve(answer: Callable[[Any], Any], reads: int, writes: int) -> None:
    """Be the other end of the pipes until they are closed; this does not return."""
    try:
        while True:
            send(writes, answer(receive(reads)))
    finally:
        os._exit(0)


def send(pipe: int, message: Any) -> None:
    packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    left = memoryview(len(packed).to_bytes(PREFIX_BYTES, "little") + packed)
    while left:
        left = left[os.write(pipe, left) :]


def receive(pipe: int) -> Any:
    """Read one message; there is never a second one behind it, since each waits for its answer."""
    got = os.read(pipe, READ_BYTES)
    if not got:
        raise EOFError("the other end of the pipe is closed")
    missing = PREFIX_BYTES + int.from_bytes(got[:PREFIX_BYTES], "little") - len(got)
    while missing > 0:
        got += os.read(pipe, READ_BYTES)
        missing = PREFIX_BYTES + int.from_bytes(got[:PREFIX_BYTES], "little") - len(got)
    return pickle.loads(memoryview(got)[PREFIX_BYTES:])


class Pipes(Pool):
    """A ready queue that sends what is ready in batches, one batch per idle worker."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def call(self, task: Task, arg: Any) -> Any:
        """Make one round trip, the limit for a chain of calls."""
        self._workers[0].ask((task, [[arg]]))
        return self._workers[0].answer()[0]

    def submit_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        return self.run_queue(Graph(task, fan_out(len(items)), items, range(len(items))))

    def map_all(self, task: Task, items: Sequence[Any]) -> list[Any]:
        return self.submit_all(task, items)

    def run_queue(self, graph: Graph) -> list[Any]:
        children, waits_for = invert(graph.shape)
        results: list[Any] = [None] * len(graph.shape)
        ready = deque(index for index, parents in enumerate(graph.shape) if not parents)
        idle = list(self._workers)
        busy: dict[int, tuple[Worker, list[int]]] = {}
        poll = select.poll()
        for worker in idle:
            poll.register(worker.outbox, select.POLLIN)

        def hand_out() -> None:
            share = min(MOST_PER_MESSAGE, -(-len(ready) // len(idle)))
            batch = [ready.popleft() for _ in range(share)]
            worker = idle.pop()
            worker.ask((graph.task, [graph.inputs(index, results.__getitem__) for index in batch]))
            busy[worker.outbox] = worker, batch

        def take_back(pipe: int) -> None:
            worker, batch = busy.pop(pipe)
            idle.append(worker)
            for index, result in zip(batch, worker.answer(), strict=True):
                results[index] = result
                for child in children[index]:
                    waits_for[child] -= 1
                    if not waits_for[child]:
                        ready.append(child)

        while ready or busy:
            while ready and idle:
                hand_out()
            for pipe, _ in poll.poll():
                take_back(pipe)
        return [results[index] for index in graph.wanted]


def call_each(message: tuple[Task, list[list[Any]]]) -> list[Any]:
    task, calls = message
    return [task(*args) for args in calls]


@contextmanager
def pipes() -> Iterator[Pool]:
    workers: list[Worker] = []
    for _ in range(WORKERS):
        workers.append(Worker(call_each, workers))
    try:
        yield Pipes(workers)
    finally:
        for worker in workers:
            worker.end()


class Shared(Pool):
    """Arrays in memory that both processes see: the worker reads one half, and writes the other."""

    def __init__(self, halves: Sequence[Any], worker: Worker) -> None:
        self._halves = halves
        self._worker = worker

    def call(self, task: Task, arg: Any) -> Any:
        return self._run(task, arg, 1)

    def run_graph(self, graph: Graph) -> list[Any]:
        """Run a chain: only its first input and its last result are copied by the parent."""
        return [self._run(graph.task, graph.roots[0], len(graph.shape))]

    def _run(self, task: Task, first: Any, times: int) -> Any:
        self._halves[0][:] = first
        for link in range(times):
            self._worker.ask((task, link % 2))
            self._worker.answer()
        return self._halves[times % 2].copy()


@contextmanager
def shared() -> Iterator[Pool]:
    import numpy as np

    halves = [np.frombuffer(mmap.mmap(-1, ARRAY_BYTES), dtype=np.float64) for _ in range(2)]

    def apply(message: tuple[Task, int]) -> None:
        task, half = message
        halves[1 - half][:] = task(halves[half])

    worker = Worker(apply)
    try:
        yield Shared(halves, worker)
    finally:
        worker.end()
