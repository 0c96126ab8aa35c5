"""What becomes of outcomes: values unpacked, failures tried again or told, futures and maps given what is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.engine.complain import complain
from weft.errors import TaskError, told
from weft.executors.batch import FAILED, PARCEL, WROTE, unpacked
from weft.executors.tasks import Failed, LocalFuture, Part, Singles, Span
from weft.payload import unpack, unpack_failure

if TYPE_CHECKING:
    from weft.executors.handle import Handle
    from weft.executors.pool import Delivery, Pool

__all__ = ["Publisher", "conclude"]


class Publisher:
    """Of one pool; in the supervisor's thread."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def publish(self, delivery: Delivery) -> None:
        """Outcomes that have come, or that have been found in the ledger."""
        segments: list[Any] = []
        if delivery.files:
            from weft.executors.segments import adopt

            segments = [adopt(file) for file in delivery.files]
        part, index = delivery.part, delivery.index
        if isinstance(part, Singles):
            for task, outcome in zip(part.tasks[index:], delivery.outcomes, strict=False):
                kind = type(outcome)
                if kind is not bytes and kind is not tuple:
                    task._pool, task._payload, task._segments = None, b"", ()
                    conclude(task, outcome)
                else:
                    self._end(part, index, self._value(outcome, segments, part, index))
                index += 1
            return
        assert isinstance(part, Span)
        if delivery.scalar:
            part.sweep.put(part.start + index, delivery.outcomes, clean=True)
            return
        values: list[Any] = []
        for outcome in delivery.outcomes:
            value = self._value(outcome, segments, part, index)
            if type(value) is Failed and self._once_more(part, index, value.error):
                part.sweep.put(part.start + index - len(values), values)
                values = []
            else:
                values.append(value)
            index += 1
        part.sweep.put(part.start + index - len(values), values)

    def _value(self, outcome: Any, segments: list[Any], part: Part, index: int) -> Any:
        """The value of an outcome, or `Failed`."""
        kind = type(outcome)
        try:
            if kind is bytes:
                return unpack(outcome)
            if kind is not tuple:
                return outcome
            if outcome[0] == FAILED:
                return Failed(unpack_failure(outcome[1]))
            if outcome[0] == PARCEL:
                return unpacked(outcome[1:], segments)
            assert outcome[0] == WROTE
            if isinstance(part, Singles):
                part.tasks[index]._told().log = self._log(outcome[2])
            return self._value(outcome[1], segments, part, index)
        except BaseException as error:  # noqa: BLE001 - code of the user's runs here, and no future may hang for it
            failure = TaskError(f"the result of {part.name(index)} cannot be unpacked here: {told(error)}")
            failure.__cause__ = error
            return Failed(failure)

    def _log(self, text: str) -> Any:
        if not self._pool.options.capture:
            return text
        from pathlib import Path

        return Path(self._pool.options.capture, text)

    def _end(self, part: Singles, index: int, value: Any) -> None:
        task = part.tasks[index]
        failed = type(value) is Failed
        if failed and self._once_more(part, index, value.error):
            return
        task._pool, task._payload, task._segments = None, b"", ()
        if failed:
            conclude(task, None, value.error)
        else:
            conclude(task, value)

    def fail(self, handle: Handle, part: Part, index: int, error: BaseException) -> None:
        """A task has ended with its worker."""
        if isinstance(part, Singles):
            number, pid = part.first + index, handle.child.pid
            log = handle.output.log(handle.ledger, number, pid)
            part.tasks[index]._told().log = log
            self._end(part, index, Failed(error))
        elif isinstance(part, Span) and not self._once_more(part, index, error):
            part.sweep.put(part.start + index, [Failed(error)])

    def give_up(self, part: Part, error: BaseException) -> None:
        """What of a part has no outcome yet ends with this error."""
        if isinstance(part, Singles):
            for task in part.tasks[part.delivered : part.size]:
                conclude(task, None, error)
        elif isinstance(part, Span):
            part.sweep.put(part.start + part.delivered, [Failed(error)] * (part.size - part.delivered))

    def _once_more(self, part: Part, index: int, error: BaseException) -> bool:
        """Whether a failed task is tried again; it is in the queue then."""
        if part.terms.retries is None:
            return False
        if isinstance(part, Singles) and part.tasks[index]._decided:
            return False
        from weft.resources import cause_of

        return self._pool.once_more(part, index, cause_of(error))


def conclude(task: LocalFuture[Any], result: Any, error: BaseException | None = None) -> None:
    """Publish an outcome, unless somebody has decided otherwise."""
    try:
        task._conclude(result, error)
    except BaseException:  # noqa: BLE001
        complain("a done-callback of %r raised what is meant to end a thread; ignored here", task)
