"""A batch system on this machine, whichever it is: up, down, and parts of it stopped and started."""

from __future__ import annotations

import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onemachine import network
from onemachine.folder import Folder
from onemachine.keeper import Keeper
from onemachine.processes import Daemon, tail
from onemachine.trouble import Trouble


class Daemons(ABC):
    """Those that the files of a folder speak of. ``all``: by name, each after those that it needs."""

    all: Mapping[str, Daemon]

    def named(self, names: Sequence[str]) -> list[Daemon]:
        for name in names:
            if name not in self.all:
                raise Trouble(f"no daemon is called {name!r}; there are: {', '.join(self.all)}")
        return [self.all[name] for name in names]

    def running(self) -> list[str]:
        return [name for name, daemon in self.all.items() if daemon.process()]

    def check(self) -> None:
        """Trouble when one of them does not run."""
        for name, daemon in self.all.items():
            if not daemon.process():
                said = "\n".join(tail(file) for file in {self.log(name), daemon.output})
                raise Trouble(f"{name} has ended. The end of its log:\n{said}")

    @abstractmethod
    def log(self, name: str) -> Path:
        """What it writes."""

    @abstractmethod
    def start(self, name: str) -> bool:
        """Start one, and wait until what others need of it is there; whether it had to be started."""

    @abstractmethod
    def stop(self, number: int, keep: Sequence[str] = ()) -> None:
        """End all by this signal, but not those to keep."""

    def stop_one(self, name: str, number: int) -> None:
        """End one by this signal."""
        self.all[name].stop(number)


class Cluster(ABC):
    """The batch system of a folder. ``say`` is told what is done."""

    folder: Folder

    def __init__(self, folder: Folder, say: Callable[[str], None]):
        self.folder = folder
        self._say = say
        self._keeper = Keeper(folder / "run")

    # What each batch system has of its own.

    @abstractmethod
    def daemons(self) -> Daemons:
        """Those that its files speak of."""

    @abstractmethod
    def overview(self) -> str:
        """What its own command says of its nodes; empty: it does not answer."""

    @abstractmethod
    def exports(self) -> list[str]:
        """Lines of shell for those who want to use it."""

    @abstractmethod
    def _invocation(self, command: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str]]:
        """How one of its commands is called, and with which environment."""

    @abstractmethod
    def _had_port(self) -> int:
        """The first of the ports that its files speak of."""

    @abstractmethod
    def _start(self) -> bool:
        """Start what does not run, and wait until all nodes take jobs; whether anything had to be started."""

    @abstractmethod
    def _cancel_jobs(self) -> None:
        """Cancel all jobs, and wait for them to end as long as they may take."""

    @abstractmethod
    def _kill_leftovers(self) -> bool:
        """Kill all that is of the cluster in this folder, which may have been removed; whether there was anything."""

    def _kept(self, texts: Mapping[str, str]) -> Sequence[str]:
        """Daemons that may run on when these become its configuration files."""
        return ()

    # What is common to all.

    def ask(self, *command: str, check: bool = True) -> str:
        """What one of its commands prints."""
        words, environ = self._invocation(command)
        typed = " ".join(command)
        try:
            ended = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=60, cwd="/")
        except subprocess.TimeoutExpired:
            raise Trouble(f"{typed} does not end; see the logs in {self.folder / 'log'}") from None
        if check and ended.returncode:
            raise Trouble(f"{typed} has failed: {ended.stderr.strip() or ended.returncode}")
        return ended.stdout

    def start(self, names: Sequence[str]) -> None:
        """Start these daemons."""
        with self.folder.locked():
            daemons = self.daemons()
            for daemon in daemons.named(names):
                daemons.start(daemon.name)

    def stop(self, names: Sequence[str], number: int) -> None:
        """End these daemons by this signal."""
        with self.folder.locked():
            daemons = self.daemons()
            for daemon in daemons.named(names):
                daemons.stop_one(daemon.name, number)

    def down(self, *, wipe: bool) -> bool:
        """Cancel all jobs and stop all daemons; with wipe, forget everything; whether there was anything."""
        if not self.folder.exists():
            # Somebody may have removed the folder from under it.
            return self._kill_leftovers()
        with self.folder.locked():
            daemons = self.daemons()
            ran = daemons.running()
            self._keeper.stop()
            if ran and not wipe:
                self._cancel_jobs()
            daemons.stop(signal.SIGKILL if wipe else signal.SIGTERM)
            self._kill_leftovers()
            if ran:
                self._say(f"stopped: {' '.join(ran)}")
            if wipe:
                self._wipe()
        return bool(ran) or wipe

    def _bring_up(
        self,
        texts: Callable[[int], Mapping[str, str]],
        address: str,
        count: int,
        port: int | None,
        owner: int | None,
    ) -> bool:
        """Have all of it run; whether anything had to be done.

        Parameters
        ----------
        texts
            Its configuration files, by the first of its ports.
        address, count
            Where it listens, and at how many ports in a row.
        port
            The first of its ports; None: those that it had, or any that are free.
        owner
            A process: when that ends, in whatever way, the cluster goes down and its folder goes away.
        """
        self.folder.make()
        with self.folder.locked() as lock:
            owner = owner or self._keeper.owner()
            ports = self._configure(texts, address, count, port)
            try:
                if owner and not self._keeper.process():
                    self._keeper.start(owner, ports, lock, lambda: self.down(wipe=True))
                return self._start()
            finally:
                for held in ports:
                    held.close()

    def _configure(
        self, texts: Callable[[int], Mapping[str, str]], address: str, count: int, port: int | None
    ) -> list[socket.socket]:
        """Write its files where they change, and first stop what has read them; returns its ports, held for it.

        What runs on files that do not change has its ports: none is held then.
        """
        had = self._had_port() if self.folder.exists() else None
        if had is not None:
            daemons = self.daemons()
            wanted = texts(port or had)
            if wanted == self.folder.written():
                if daemons.running() or self._keeper.process():
                    return []
            else:
                self._keeper.stop()
                daemons.stop(signal.SIGTERM, self._kept(wanted))
                self._say("stopped what ran with other settings")
        ports = network.hold_ports(address, count, port or had, only=port is not None)
        self.folder.write(texts(ports[0].getsockname()[1]))
        return ports

    def _wipe(self) -> None:
        self.folder.remove()
        self._say(f"removed: {self.folder.path}")
