"""Messages over a stream socket between two processes of one machine: bytes, and open files beside them.

A message is a header (how many bytes, how many files) and the bytes. Files travel as ancillary data (SCM_RIGHTS, see
unix(7)); the kernel never joins bytes of two sends in one receive where files lie between them, so they come in order.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
from collections import deque

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Wire", "pair", "readable"]

HEADER = struct.Struct("<II")
FILES_AT_ONCE = 200  # the kernel takes 253 (SCM_MAX_FD)
ROOM = socket.CMSG_SPACE(FILES_AT_ONCE * 4)
READ = 64 * 1024  # more would not come from the heap of malloc, but be mapped and unmapped each time
BUFFER = 1024 * 1024  # bytes; what is under way at once is kept far below, so that nobody blocks on a send


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets with room for all that is ever under way; neither is inherited by other programs."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return ends


def readable(file: int | Wire, seconds: float = 0) -> bool:
    """Whether there is something to read, or comes so many seconds from now at most. Unlike select(), for any file."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Wire:
    """One end. Several threads may send if they take turns; one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._bytes = bytearray()
        self._files: deque[int] = deque()

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, data: bytes, files: Sequence[int] = ()) -> None:
        """Send a message. Raises OSError where the other end is gone."""
        header = HEADER.pack(len(data), len(files))
        if not files:
            self.sock.sendall(header + data)
            return
        pieces = [header]
        for start in range(0, len(files), FILES_AT_ONCE):
            rights = array.array("i", files[start : start + FILES_AT_ONCE])
            # Files can only travel with at least one byte.
            piece = header if not start else data[start // FILES_AT_ONCE - 1 : start // FILES_AT_ONCE]
            self.sock.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            pieces.append(piece)
        self.sock.sendall(data[len(pieces) - 2 :])

    def receive(self) -> Iterator[tuple[bytes, list[int]]]:
        """Read what is there, or wait for something; yields whole messages, perhaps none.

        Raises EOFError where the other end is gone.
        """
        try:
            data, ancillary, _, _ = self.sock.recvmsg(READ, ROOM, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        except OSError as error:
            raise EOFError(str(error)) from None
        if not data:
            raise EOFError("the other end has been closed")
        for _, kind, rights in ancillary:
            if kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(rights[: len(rights) // found.itemsize * found.itemsize])
                self._files.extend(found)
        if not self._bytes and len(data) >= HEADER.size:
            # By far the most common case: exactly one message, without a copy.
            length, files = HEADER.unpack_from(data)
            if len(data) == HEADER.size + length and len(self._files) == files:
                yield data[HEADER.size :], self._take(files)
                return
        self._bytes += data
        while len(self._bytes) >= HEADER.size:
            length, files = HEADER.unpack_from(self._bytes)
            end = HEADER.size + length
            if len(self._bytes) < end or len(self._files) < files:
                return
            message = bytes(self._bytes[HEADER.size : end])
            del self._bytes[:end]
            yield message, self._take(files)

    def _take(self, count: int) -> list[int]:
        return [self._files.popleft() for _ in range(count)]

    def close(self) -> None:
        self.sock.close()
        while self._files:
            os.close(self._files.popleft())
