"""A process that puts things away when another one ends, even by kill -9."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from onemachine.processes import Process, tail
from onemachine.trouble import Trouble


class Keeper:
    """Waits for the end of its owner, in a session of its own, and then calls ``put_away``.

    Meanwhile it holds ports open, so that they stay free for daemons that are stopped and started again.
    """

    def __init__(self, folder: Path):
        self._record = folder / "keeper.pid"
        self._owner = folder / "owner.pid"
        self._output = folder / "keeper.out"

    def process(self) -> Process | None:
        return Process.read(self._record)

    def owner(self) -> int | None:
        """The process for which it waits."""
        owner = Process.read(self._owner)
        return owner.pid if owner else None

    def start(self, owner: int, ports: Sequence[socket.socket], lock: int, put_away: Callable[[], object]) -> None:
        """Start it. ``lock``: a descriptor that it must not hold open."""
        watched = Process.at(owner)
        if not watched:
            raise Trouble(f"there is no process {owner} that could own this")
        watched.write(self._owner)
        ready, told = os.pipe()
        pid = os.fork()
        if pid:
            os.close(told)
            if child := Process.at(pid):
                child.write(self._record)
            if not os.read(ready, 1):
                raise Trouble(f"the process that is to wait for {owner} has ended:\n{tail(self._output)}")
            os.close(ready)
            return
        status = 1
        try:
            os.close(lock)
            self._leave()
            os.write(told, b".")
            os.close(told)
            watched.ended()
            self._record.unlink(missing_ok=True)  # so that what is put away does not include this process
            put_away()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()  # nobody else would tell
        finally:
            os._exit(status)

    def stop(self) -> None:
        if process := self.process():
            process.end()
        self._record.unlink(missing_ok=True)
        self._owner.unlink(missing_ok=True)

    def _leave(self) -> None:
        """Hold nothing of the one who started it: not its session, not its folder, not its pipes."""
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for taken, fd in (nothing, 0), (output, 1), (output, 2):
            os.dup2(taken, fd)
        os.close(nothing)
        os.close(output)
