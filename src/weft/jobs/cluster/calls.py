"""The file with what a submission runs: the job once, and each element by itself.

    HEAD | where each record begins, and where the last ends | elements, in the order of their places | the job
    a record is: signature, of its number as well | pickle

The worker reads it, so it imports next to nothing; each element reads what it needs and no more.
"""

from __future__ import annotations

import os
from pickle import loads

from weft.executors.cluster.formats import HEAD, MAGIC, OFFSET
from weft.rundir.signer import SIZE, Signer

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["CallFile", "packed_calls"]


def packed_calls(purpose: str, elements: Sequence[bytes], job: bytes) -> bytes:
    """The contents of such a file.

    Args:
        purpose: what it is for, and nothing else.
        elements: pickles.
        job: another one, of what they have in common.
    """
    sign = Signer(purpose)
    parts = [sign(OFFSET.pack(index) + body) + body for index, body in enumerate((*elements, job))]
    head = HEAD.pack(MAGIC, len(elements), 1, 1)
    at = len(head) + OFFSET.size * (len(parts) + 1)
    offsets = []
    for part in parts:
        offsets.append(OFFSET.pack(at))
        at += len(part)
    return b"".join((head, *offsets, OFFSET.pack(at), *parts))


class CallFile:
    """Reads it. Everything raises OSError, or TamperedError."""

    def __init__(self, path: str, purpose: str) -> None:
        self._path = path
        self._purpose = purpose
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._count = HEAD.unpack(os.pread(self._file, HEAD.size, 0))[1]

    def job(self) -> Any:
        """What all elements have in common."""
        return loads(self._record(self._count))

    def element(self, number: int) -> Any:
        """One of them, by its number in their order."""
        return loads(self._record(number))

    def _record(self, index: int) -> bytes:
        at = HEAD.size + OFFSET.size * index
        begin, end = (OFFSET.unpack(os.pread(self._file, OFFSET.size, at + k * OFFSET.size))[0] for k in (0, 1))
        data = b""
        while len(data) < end - begin and (part := os.pread(self._file, end - begin - len(data), begin + len(data))):
            data += part
        if Signer(self._purpose)(OFFSET.pack(index) + data[SIZE:]) == data[:SIZE]:
            return data[SIZE:]
        from weft.errors import TamperedError

        raise TamperedError(f"{self._path} is not what weft wrote there: its signature does not fit; it is not read")
