"""How a proc in another process asks its manager for something.

The manager listens at a socket in a folder of its own, and a proc connects when it asks for the first time; so a proc
that asks for nothing costs nothing, and what is started by whichever executor on this machine can ask. (A pipe for
each proc, inherited by fork, would cost two files each, and only work for forks.) Each proc that has connected has a
thread here, since `wait` and `get_input` may take any time.

Messages are pickled: ``(proc, verb, words)`` there, ``(True, value)`` or ``(False, failure)`` back.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from weft.engine.complain import complain
from weft.errors import UnknownValueError
from weft.payload import pack, pack_failure, unpack, unpack_failure

__all__ = ["Channel", "Far", "Near"]

Answer = Callable[..., Any]


class Near:
    """The parent of a proc in a thread of this process."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def ask(self, proc_name: str, verb: str, *words: Any) -> Any:
        return self._answer(proc_name, verb, *words)


class Far:
    """The parent of a proc in another process."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: Connection[Any, Any] | None = None
        self._lock: Any = None

    def ask(self, proc_name: str, verb: str, *words: Any) -> Any:
        if self._lock is None:
            self._lock = threading.Lock()
        with self._lock:  # threads of the proc take turns
            try:
                if self._connection is None:
                    self._connection = _connect(self._address)
                self._connection.send_bytes(pack((proc_name, verb, words)))
                is_value, data = unpack(self._connection.recv_bytes())
            except (OSError, EOFError) as error:
                raise UnknownValueError(
                    f"{proc_name!r} cannot ask its manager ({error}); it is gone, or on another machine"
                ) from error
        if not is_value:
            raise unpack_failure(data)
        return data

    def __reduce__(self) -> tuple[Any, ...]:
        return Far, (self._address,)


class Channel:
    """The manager's end.

    Args:
        answer: called with proc, verb and words, in a thread of each proc that asks.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._folder = tempfile.mkdtemp(prefix="weft-procs-")  # for this user alone, and so is the socket in it
        self.address = os.path.join(self._folder, "socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(128)
        self._closed = False
        self._removed = weakref.finalize(self, _remove, self._folder, os.getpid())
        threading.Thread(target=self._listen, name="weft-procs-channel", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        if self._closed:
            return
        self._closed = True
        try:
            _connect(self.address).close()  # so that the thread wakes up
        except OSError:
            pass
        self._listener.close()
        self._removed()

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection = Connection(self._listener.accept()[0].detach())
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="weft-procs-asked", daemon=True).start()

    def _serve(self, connection: Connection[Any, Any]) -> None:
        with connection:
            while True:
                try:
                    request = connection.recv_bytes()
                except (OSError, EOFError):  # it has ended
                    return
                reply = self._reply(request)
                try:
                    connection.send_bytes(reply)
                except OSError:
                    return

    def _reply(self, request: bytes) -> bytes:
        try:
            proc_name, verb, words = unpack(request)
            return pack((True, self._answer(proc_name, verb, *words)))
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
            try:
                return pack((False, pack_failure(error)))
            except BaseException:  # noqa: BLE001
                complain("cannot answer a proc")
                return b""


def _connect(address: str) -> Connection[Any, Any]:
    # Without multiprocessing's Client and Listener, which see to the file of the socket in their own way at exit.
    with socket.socket(socket.AF_UNIX) as connecting:
        connecting.connect(address)
        return Connection(connecting.detach())


def _remove(folder: str, pid: int) -> None:
    if pid == os.getpid():  # and not in a fork of the manager's process
        shutil.rmtree(folder, ignore_errors=True)
