"""What runs for a pool, and how each daemon is started.

There is no condor_master. It would start again what somebody stops to see what happens, and takes a second or two. What
it gives to its children they have from us: the secret by which they know each other.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from onemachine import cluster, network
from onemachine.condor import conf, identity
from onemachine.condor.folder import Folder
from onemachine.condor.programs import Programs
from onemachine.processes import Daemon, Process, descendants, program


class Daemons(cluster.Daemons):
    """Those that the file of a folder speaks of."""

    def __init__(self, folder: Folder, programs: Programs):
        self._folder = folder
        self._programs = programs
        text = folder.conf.read_text()
        self._port = conf.port(text)
        self.nodes = conf.node_names(text)
        self.all = {name: self._daemon(name) for name in [*conf.CENTRAL, *self.nodes]}

    def log(self, name: str) -> Path:
        return self._folder / "log" / (f"startd.{name}.log" if name in self.nodes else f"{name}.log")

    def address(self, name: str) -> str:
        """Where it listens, such as ``<127.0.0.1:15920``; empty: it has not said so yet."""
        try:
            return self._address_file(name).read_text().partition("?")[0]
        except FileNotFoundError:
            return ""

    def start(self, name: str) -> bool:
        """Start one, and wait for collector and schedd to take connections.

        The others tell the collector of themselves once, and then seldom; users ask the schedd.
        """
        daemon = self.all[name]
        if daemon.process():
            return False
        self._address_file(name).unlink(missing_ok=True)
        if name in self.nodes:
            (self._folder / "execute" / name).mkdir(exist_ok=True)
        daemon.start()
        if name == "collector":
            daemon.ready(lambda: any(self._port == port for _, port, _ in network.listeners()))
        if name == "schedd":
            daemon.ready(lambda: self.address(name))
        return True

    def stop(self, number: int, keep: Sequence[str] = ()) -> None:
        """Nodes first, all at once. Those that are to end by SIGTERM do not wait for jobs that do not listen."""
        number = signal.SIGQUIT if number == signal.SIGTERM else number
        for name in self.nodes:
            if process := self.all[name].process():
                process.send(number)
        for name in [*self.nodes, *reversed(conf.CENTRAL)]:
            if name not in keep:
                self.stop_one(name, number)

    def stop_one(self, name: str, number: int) -> None:
        process = self.all[name].process()
        helpers = _helpers(process) if process and number == signal.SIGKILL else []
        super().stop_one(name, number)
        # As when a machine dies: shadows that went on would fight with those of the next schedd, and starters would
        # still tell of jobs. What the jobs themselves have started goes on.
        for helper in helpers:
            helper.end(signal.SIGKILL)

    def _address_file(self, name: str) -> Path:
        return self._folder / "run" / f"{name}.address"

    def _daemon(self, name: str) -> Daemon:
        own = {"CONDOR_PRIVATE_INHERIT": conf.family(self._folder.secret(), self._programs.version)}
        if name in self.nodes:
            own.update(conf.node_environ(self._folder.path, name))
        kind = "startd" if name in self.nodes else name
        words = {"collector": ["-p", str(self._port)], "startd": ["-local-name", name]}.get(kind, [])
        return Daemon(
            name=name,
            argv=[*identity.words(), self._programs.daemon(kind), "-f", *words],
            record=self._folder / "run" / f"{name}.pid",
            output=self._folder / "run" / f"{name}.out",
            environ={**environ(self._folder, self._programs), **own},
        )


def _helpers(process: Process) -> list[Process]:
    """HTCondor's own processes that a daemon has started."""
    found = []
    for pid in descendants([process.pid]):
        with contextlib.suppress(OSError):  # it has ended
            if os.path.basename(program(pid)).startswith("condor_") and (helper := Process.at(pid)):
                found.append(helper)
    return found


def environ(folder: Folder, programs: Programs) -> dict[str, str]:
    """What HTCondor's programs need to find this pool."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("CONDOR", "_CONDOR"))}
    return {
        **kept,
        "PATH": os.pathsep.join([str(programs.commands), os.environ.get("PATH", os.defpath)]),
        "CONDOR_CONFIG": str(folder.conf),
        "LC_ALL": "C",
    }
