"""What both ends know of the files between them. The worker reads this, so it imports next to nothing."""

from __future__ import annotations

import struct

__all__ = [
    "ALL_GOOD",
    "EXIT_EMPTY",
    "EXIT_FAILED",
    "HEAD",
    "MAGIC",
    "OFFSET",
    "call_purpose",
    "outcome_purpose",
    "read_index",
    "shared_purpose",
]

#: The exit code of a worker whose outcome is a failure. With 0 it is a good one; otherwise there is none. One that
#: programs seldom have of their own: who ends with it, and leaves no outcome, is taken for one whose outcome is late.
EXIT_FAILED = 97

#: That of a script whose worker has ended with 0 and left no outcome, as `os._exit` in a task makes it do.
EXIT_EMPTY = 98

#: How the name of a file begins that says that all calls of an element went well.
ALL_GOOD = "all-"

MAGIC = b"weft1\0"
HEAD = struct.Struct("<6sIII")  # magic; how many calls; how many shared records; calls of an element
OFFSET = struct.Struct("<Q")

# The file of calls is:  HEAD | where each record begins, and where the last ends | calls | shared records
# and a record is:       signature | pickle


def read_index(data: bytes, count: int) -> list[tuple[int, int]]:
    """Where each of the records of a file of calls begins and ends. Raises ValueError, struct.error."""
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin as it should")
    offsets = [at for (at,) in OFFSET.iter_unpack(data[HEAD.size : HEAD.size + OFFSET.size * (count + 1)])]
    if len(offsets) != count + 1 or offsets != sorted(offsets) or offsets[-1] > len(data):
        raise ValueError("it is cut short")
    return [(offsets[index], offsets[index + 1]) for index in range(count)]


def call_purpose(folder: str, group: int, index: int) -> str:
    """What the signature of a call is for."""
    return f"call {folder} {group} {index}"


def shared_purpose(folder: str, group: int, index: int) -> str:
    """What the signature of a function or setting is for."""
    return f"shared {folder} {group} {index}"


def outcome_purpose(folder: str, group: int, index: int, restarts: int) -> str:
    """What the signature of an outcome is for."""
    return f"outcome {folder} {group} {index} {restarts}"
