"""What a worker has begun and done, in memory that it shares with its executor.

The worker writes down each task before it begins it, and each small outcome before it goes on. So the executor knows,
without any help of a worker that is stuck in C code, stopped or dead: which task runs, which of its batch have been
done (their outcomes are here), and which have not been begun. And it can say, here, up to where the worker may go.

    cells   STARTED  number of the task that has been begun last          written by the worker only
            LIMIT    the worker begins no task with this number or more   written by the executor only
            SINCE    when it began, in nanoseconds of time.monotonic_ns   written by the worker only
            WROTE    where its output begins, in the file that takes it   written by the worker only
    halves  one for each of the two batches that can be with the worker: a row for each task, and room for outcomes

**The race.** The worker stores STARTED and then loads LIMIT; the executor stores LIMIT and then loads STARTED. A
processor may let such a load overtake the store before it, so that each sees the old value of the other. But a store
becomes visible within microseconds, and the executor looks at STARTED only a millisecond after it stored LIMIT
(`DELAY`): if it has not moved since, no task from LIMIT on has been begun or will be. Rejected: a lock for both (a
system-wide name, and left locked by a worker that is killed), a byte in a pipe for each task (0.9 µs),
and a thread in the worker that answers (it cannot while a task holds the interpreter lock in C).

Rows of one half are only ever appended to until the executor has all of that batch, so it never reads what is being
overwritten.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct

from weft.executors.memory import unnamed_file

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DELAY", "NO_LIMIT", "ROWS", "Half", "Ledger", "make_file"]

DELAY = 0.001  # seconds

STARTED, LIMIT, SINCE, WROTE = range(4)
CELLS = 8
ROWS = 4096  # most tasks in a batch
SPACE = 64 * 1024  # bytes for outcomes that are no numbers, in a half
NO_LIMIT = 2**62

# Kinds of rows. The executor clears them, so that what is not EMPTY is of this batch and complete.
EMPTY, SENT, NONE, INT, FLOAT, ITEM = range(6)
WHERE = struct.Struct("<II")

_HALF = ROWS + 8 * ROWS + SPACE
SIZE = 8 * CELLS + 2 * _HALF


def make_file() -> int:
    """An open file for a ledger."""
    file = unnamed_file("weft-ledger")
    os.ftruncate(file, SIZE)
    return file


class Ledger:
    """The shared memory of one worker. `file` may be closed afterwards."""

    def __init__(self, file: int) -> None:
        self._map = mmap.mmap(file, SIZE)
        whole = memoryview(self._map)
        self.cells = whole[: 8 * CELLS].cast("q")
        self.halves = tuple(Half(whole[8 * CELLS + n * _HALF :][:_HALF]) for n in range(2))

    def close(self) -> None:
        """Let go of the memory at once."""
        for half in self.halves:
            half.close()
        self.cells.release()
        self._map = None  # type: ignore[assignment]


class Half:
    """Rows and outcomes of one batch."""

    def __init__(self, view: memoryview) -> None:
        self.kinds = view[:ROWS]
        numbers = view[ROWS : 9 * ROWS]
        self.ints = numbers.cast("q")
        self.floats = numbers.cast("d")
        self.space = view[9 * ROWS :]

    def read(self, row: int) -> Any:
        """The outcome in a row, as the worker would have sent it; LookupError where it has been sent otherwise."""
        kind = self.kinds[row]
        if kind == NONE:
            return None
        if kind == INT:
            return self.ints[row]
        if kind == FLOAT:
            return self.floats[row]
        if kind == ITEM:
            start, end = divmod(self.ints[row], 2**32)
            return pickle.loads(self.space[start:end])
        raise LookupError(row)

    def close(self) -> None:
        for view in (self.kinds, self.ints, self.floats, self.space):
            view.release()
