"""A worker as its executor sees it: the process, the wire to it, what it was sent, and what it has written down."""

from __future__ import annotations

import math
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any

from weft.executors.ledger import DELAY, LIMIT, NO_LIMIT, SINCE, STARTED, Ledger
from weft.executors.tasks import along
from weft.executors.wire import Wire
from weft.executors.worker import FORGET

if TYPE_CHECKING:
    from weft.executors.console import Output
    from weft.executors.launch import Child
    from weft.executors.pool import Delivery
    from weft.executors.tasks import Part
    from weft.executors.terms import Terms

__all__ = ["LOOK", "Handle", "Kind"]

LOOK = 0.0015  # seconds of silence after which a worker that has several tasks is looked at
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
        self.late: list[Delivery] = []  # outcomes that are told when it is gone
        ledger.cells[LIMIT] = NO_LIMIT

    # What it works at ----------------------------------------------------------------------------------------

    def add(self, part: Part, now: float) -> None:
        """Note what it is about to be sent."""
        part.worker = self
        part.first = self.next
        # Before the part is there to be seen: after a Ctrl-C, numbers may be left out, but none must come twice.
        self.next += part.size
        self.total += part.size
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

    def started(self) -> int:
        """Number of the task that it has begun last, or was about to."""
        return self.ledger.cells[STARTED]

    def limit(self) -> int:
        """The number of the first task that it will not begin."""
        return self.ledger.cells[LIMIT]

    def since(self) -> float:
        """When that was, by `time.monotonic`."""
        return self.ledger.cells[SINCE] / 1e9

    def written(self, part: Part) -> list[Any]:
        """Outcomes of a part that have been written down and not been delivered."""
        outcomes = []
        half = self.ledger.halves[part.half]
        for index in range(part.delivered, part.size):
            if not half.kinds[index]:
                break
            try:
                outcomes.append(half.read(index))
            except LookupError:  # it is on its way
                break
        return outcomes

    # When it is to be looked at -------------------------------------------------------------------------------

    def next_look(self, now: float) -> float:
        """When it has to be looked at, if nothing is heard of it; infinity: not at all."""
        if not self.parts or self.condemned or self.lost:
            return math.inf
        part = self.parts[0]
        when = math.inf
        if part.size - part.delivered > 1 or (len(self.parts) > 1 and self.parts[1].size):
            when = self.quiet_since + (LOOK if self.noted < 0 else DELAY)
        if self.doomed:
            when = min(when, self.quiet_since + DELAY if self.noted >= 0 else now)
        if part.terms.time is not None:
            since = max(self.since(), part.sent_at) if self.started() >= part.first else part.sent_at
            when = min(when, max(since + part.terms.time, self.quiet_since + DELAY))
        return when

    def time_out(self, part: Part, started: int, now: float) -> None:
        """Doom the task that has been begun last, if it has run for too long."""
        limit = part.terms.time
        index = started - part.first
        if limit is None or not part.delivered <= index < part.size or started in self.doomed:
            return
        if now >= self.since() + limit:
            from weft.errors import TaskTimeout

            text = f"{part.name(index)} ran longer than its time limit of {limit:g} s and was stopped"
            self.doomed[started] = TaskTimeout(text, seconds=limit)

    # Up to where it may go ------------------------------------------------------------------------------------

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

    def forget(self) -> None:
        """In the child of a fork: let go of it, and leave to the parent what it has written."""
        self.output.drop()
        self.close()

    def close(self) -> None:
        """Let go of all that belongs to it."""
        self.wire.close()
        self.child.close()
        self.output.close()
        self.ledger.close()
