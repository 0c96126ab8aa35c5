"""One batch of tasks in a worker: begin one after the other, write each down, send outcomes in time.

Outcomes that are tuples::

    (FAILED, failure)                 a packed exception
    (PARCEL, first, count, parcel)    a large value, in so many of the files that come with the message
    (WROTE, outcome, text)            any outcome of a task whose output is captured
"""

from __future__ import annotations

from pickle import dumps, loads
from time import monotonic_ns

from weft.executors.ledger import FLOAT, INT, ITEM, LIMIT, NONE, SENT, SINCE, SPACE, STARTED
from weft.executors.streams import flush_streams
from weft.payload import pack_apart, pack_failure, unpack

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from weft.executors.segments import Segment
    from weft.executors.worker import Worker

__all__ = ["FAILED", "PARCEL", "SMALL", "WROTE", "Batch", "packed_value", "unpacked"]

FAILED, PARCEL, WROTE = range(3)

SMALL = 64 * 1024  # bytes; what is larger travels apart
HELD = 1_000_000  # nanoseconds that an outcome may wait for others to travel with
BIG_INT = 2**63
PLAIN = (bool, str, bytes)


class Batch:
    """The tasks of one message."""

    def __init__(self, worker: Worker, number: int, half: int, segments: Sequence[Segment]) -> None:
        self._worker = worker
        self._number = number  # of the first task whose outcome has not been sent
        self._next = number  # of the next task
        self._row = 0
        self._segments = segments
        self._half = worker.ledger.halves[half]
        self._used = 0  # bytes of the half's space
        self._outcomes: list[Any] = []  # not sent yet
        self._scalar = True  # whether all of these are numbers or None
        self._large: list[Segment] = []  # that go with them
        self._urgent = False  # there is an outcome that the ledger does not have
        self._sent = monotonic_ns()

    def run(self, runs: Sequence[tuple[int, int, bool, Sequence[Any]]]) -> None:
        """Run them all, or up to the limit that the executor has set meanwhile."""
        for function, setting, plain, calls in runs:
            if not self._run(function, setting, plain, calls):
                break
        if self._worker.sink is None:
            flush_streams()
        self._flush(self._next, monotonic_ns(), ended=True)

    def _run(self, function_id: int, setting_id: int, plain: bool, calls: Sequence[Any]) -> bool:  # noqa: C901, PLR0912, PLR0915
        # Each step of this loop is paid by each of a million tiny tasks; hence one long function, and names of its own.
        worker = self._worker
        function, setting = worker.functions[function_id], worker.settings[setting_id]
        new_context = worker.contexts[setting_id].copy  # what a task sets in it is not for the next one
        if worker.setting is not setting:
            worker.enter(setting)
        sink = worker.sink
        cells, kinds, ints, floats = worker.ledger.cells, self._half.kinds, self._half.ints, self._half.floats
        outcomes, number, row = self._outcomes, self._next, self._row
        now = monotonic_ns()
        due = self._sent + HELD
        outcome: Any
        kind: Any
        for call in calls:
            cells[STARTED] = number
            if number >= cells[LIMIT]:
                self._next = number
                return False
            cells[SINCE] = now
            try:
                if sink is not None:
                    sink.begin(function, number)
                if plain:
                    outcome = new_context().run(function, call)
                elif call:
                    args, kwargs = loads(call) if type(call) is bytes else unpacked(call, self._segments)
                    outcome = new_context().run(function, *args, **kwargs)
                    del args, kwargs
                else:
                    outcome = new_context().run(function)
            except BaseException as error:  # noqa: BLE001 - whatever the task raises is its outcome
                if worker.alert:
                    worker.see_to(setting)
                outcome, kind = self._failure(error), FAILED
            else:
                if worker.alert:
                    worker.see_to(setting)
                kind = type(outcome)
            if sink is not None:
                outcome, kind = (WROTE, self._outcome(function, outcome, kind), sink.end(function, number)), WROTE
            if outcome is None:
                kinds[row] = NONE
            elif kind is int and -BIG_INT <= outcome < BIG_INT:
                ints[row] = outcome
                kinds[row] = INT
            elif kind is float:
                floats[row] = outcome
                kinds[row] = FLOAT
            else:
                outcome = self._outcome(function, outcome, kind)
                kinds[row] = self._note(row, outcome)
            outcomes.append(outcome)
            number += 1
            row += 1
            now = monotonic_ns()
            if now > due or self._urgent:
                self._flush(number, now)
                outcomes, due = self._outcomes, now + HELD
        self._next, self._row = number, row
        return True

    def _outcome(self, function: Any, value: Any, kind: Any) -> Any:
        """What is sent for a value; for a failure and for what is wrapped already it is that itself."""
        if value is None or kind is float or kind is FAILED or kind is WROTE:
            return value
        if kind is int and -BIG_INT <= value < BIG_INT:
            return value
        try:
            if kind in PLAIN and (kind is bool or len(value) < SMALL // 4):
                return dumps(value, 5)
            packed, segments = packed_value(value, len(self._large))
        except BaseException as error:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
            return self._unsendable(function, value, error)
        if segments:
            self._large += segments
            return (PARCEL, *packed)
        return packed

    def _failure(self, error: BaseException) -> tuple[int, bytes]:
        try:
            return FAILED, pack_failure(error, show_locals=self._worker.show_locals)
        finally:
            del error

    def _unsendable(self, function: Any, value: Any, error: BaseException) -> tuple[int, bytes]:
        from weft.payload import unsendable_result

        return self._failure(unsendable_result(function, value, error))

    def _note(self, row: int, outcome: Any) -> int:
        """Write it into the ledger; where there is no room, see to it that it is sent at once. The kind of the row."""
        self._scalar = False
        if self._large:
            self._urgent = True
            return SENT
        data = dumps(outcome, 5)
        end = self._used + len(data)
        if end > SPACE:
            self._urgent = True
            return SENT
        self._half.space[self._used : end] = data
        self._half.ints[row] = self._used << 32 | end
        self._used = end
        return ITEM

    def _flush(self, number: int, now: int, ended: bool = False) -> None:
        """Send the outcomes of the tasks before this one."""
        message = (self._number, self._outcomes, self._scalar, now - self._sent, ended)
        large = self._large
        self._outcomes, self._scalar, self._large, self._urgent = [], True, [], False
        self._number, self._sent = number, now
        self._worker.send(message, [segment.fd for segment in large])


def packed_value(value: Any, first: int = 0) -> tuple[Any, list[Segment]]:
    """A value for a message: bytes; or where it lies in files, from number `first` on, and those files.

    Raises what pickling raises.
    """
    chunks, buffers = pack_apart(value, SMALL)
    if not buffers and sum(map(len, chunks)) < SMALL:
        return b"".join(chunks), []
    from weft.executors.segments import wrap

    parcel, segments = wrap(chunks, buffers)
    return (first, len(segments), tuple(parcel)), segments


def unpacked(packed: Any, segments: Sequence[Segment]) -> Any:
    """The value again. Runs code of the user's."""
    if type(packed) is bytes:
        return unpack(packed)
    from weft.executors.segments import Parcel, unwrap

    first, count, parcel = packed
    return unwrap(Parcel(*parcel), list(segments[first : first + count]))
