"""A worker as its executor sees it: the process, the wire to it, what it was sent, and what it has written down."""

from __future__ import annotations

import pickle
from collections import deque
from typing import TYPE_CHECKING, Any

from weft.executors.ledger import LIMIT, NO_LIMIT, SINCE, STARTED, Ledger
from weft.executors.tasks import along
from weft.executors.wire import Wire
from weft.executors.worker import FORGET

if TYPE_CHECKING:
    from weft.executors.console import Output
    from weft.executors.launch import Child
    from weft.executors.tasks import Part
    from weft.executors.terms import Terms

__all__ = ["Handle", "Kind"]

MOST = 1024  # functions and settings that a worker keeps

Kind = tuple[int, tuple[str, ...]]  # for how many cpus its libraries have threads, and the GPUs that it sees


class Handle:
    """One worker. Its fields belong to whoever holds the pool's lock; sending is done without it."""

    def __init__(
        self, child: Child, wire: Wire, ledger: Ledger, kind: Kind, output: Output, inherited: frozenset[int]
    ) -> None:
        self.child = child
        self.wire = wire
        self.ledger = ledger
        self.kind = kind
        self.output = output
        self.known = set(inherited)  # ids of functions and settings that it has been told of
        self._inherited = inherited
        self.ready = False
        self.leaving = False  # it gets no more tasks
        self.parts: deque[Part] = deque()  # sent and not over; the first is the one that it works at
        self.claimed: Terms | None = None  # what is claimed for what it works at
        self.total = 0  # tasks sent so far
        self.next = 1  # number of the next task
        self.quiet_since = 0.0  # when it was sent to, or heard of, last
        self.noted = -1  # STARTED at the last look
        self.held = False  # LIMIT is set, and has not been taken off
        self.holds = 0  # how often it has been
        self.doomed: dict[
            int, BaseException | None
        ] = {}  # tasks to be stopped, and what they end with (None: cancelled)
        self.condemned = False  # SIGTERM has been sent
        self.kill_at = 0.0  # when SIGKILL follows
        self.lost = False  # it cannot be talked to any more
        self.cut_off = False  # it was killed for that
        ledger.cells[LIMIT] = NO_LIMIT

    # What it works at ----------------------------------------------------------------------------------------

    def add(self, part: Part, now: float) -> None:
        """Note what it is about to be sent."""
        part.worker = self
        part.first = self.next
        part.half = (self.parts[-1].half ^ 1) if self.parts else 0
        # Rows tell by their kind that they are complete.
        kinds = self.ledger.halves[part.half].kinds
        if part.size == 1:
            kinds[0] = 0
        else:
            kinds[: part.size] = bytes(part.size)
        part.sent_at = now
        if not self.parts:
            self.quiet_since = now
            self.noted = -1
        self.parts.append(part)
        self.next += part.size
        self.total += part.size

    def send(self, part: Part) -> None:
        """Send what has been noted. Only one thread sends at a time: a part belongs to whoever has noted it."""
        news: list[tuple[int, int, Any]] = []
        files: list[int] = []
        if len(self.known) > MOST:
            self.known = set(self._inherited)
            news.append((FORGET, 0, b""))
        for common in part.news(self.known):
            if common.id not in self.known:
                self.known.add(common.id)
                news.append((common.kind, common.id, along(common.packed, common.segments, files)))
        runs = part.runs(files)
        data = pickle.dumps((part.first, part.half, news, runs), 5)
        try:
            self.wire.send(data, files)
        except OSError:
            self.lost = True  # it has died; its status will say so
        part.sent = True

    def expected(self) -> float:
        """Seconds for which it has work, as far as that can be told."""
        return sum(part.seconds for part in self.parts)

    def started(self) -> int:
        """Number of the task that it has begun last, or was about to."""
        return self.ledger.cells[STARTED]

    def limit(self) -> int:
        """The number of the first task that it will not begin."""
        return self.ledger.cells[LIMIT]

    def since(self) -> float:
        """When that was, by `time.monotonic`."""
        return self.ledger.cells[SINCE] / 1e9

    def written(self, part: Part, index: int) -> bool:
        """Whether the outcome of a task has been written down."""
        return bool(self.ledger.halves[part.half].kinds[index])

    def hold(self, number: int) -> None:
        """Let it begin no task from this number on."""
        self.ledger.cells[LIMIT] = number
        self.held = True

    def release(self) -> None:
        """Let it begin what it is sent."""
        if self.held:
            self.ledger.cells[LIMIT] = NO_LIMIT
            self.held = False
        self.holds += 1

    def close(self) -> None:
        """Let go of all that belongs to it."""
        self.wire.close()
        self.child.close()
        self.output.close()
        self.ledger.close()
