"""A pool: what it takes to have it up, and down."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onemachine import cluster
from onemachine.condor import conf, identity, programs
from onemachine.condor.conf import ADDRESS, Place
from onemachine.condor.daemons import Daemons, environ
from onemachine.condor.folder import Folder
from onemachine.condor.leftovers import kill_leftovers
from onemachine.condor.programs import Programs
from onemachine.processes import reached
from onemachine.settings import Shape
from onemachine.trouble import Trouble

GRACE = 3  # seconds that jobs have to end when the pool goes down


class Cluster(cluster.Cluster):
    """The pool of a folder."""

    folder: Folder

    def __init__(self, path: Path | None, say: Callable[[str], None]):
        super().__init__(Folder(path), say)

    def daemons(self) -> Daemons:
        return Daemons(self.folder, self._programs())

    def overview(self) -> str:
        return self.ask("condor_status", check=False)

    def exports(self) -> list[str]:
        return [
            f"export CONDOR_CONFIG={shlex.quote(str(self.folder.conf))}",
            f'export PATH={shlex.quote(str(self._programs().commands))}:"$PATH"',
        ]

    def up(self, shape: Shape, port: int | None = None, owner: int | None = None) -> bool:
        """Have all of it run, as the shape says; whether anything had to be done.

        ``port`` and ``owner`` are those of ``Cluster._bring_up``.
        """
        release = programs.require(self._say).release

        def texts(port: int) -> dict[str, str]:
            place = Place(self.folder.path, release, port, identity.name())
            return {"condor_config": conf.condor_config(place, shape)}

        return self._bring_up(texts, ADDRESS, 1, port, owner)

    def _programs(self) -> Programs:
        found = programs.found()
        if not found:
            raise Trouble("HTCondor's programs are not here any more; bring them with: tools/condor install")
        return found

    def _invocation(self, command: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str]]:
        programs = self._programs()
        file = programs.folder / "commands" / command[0]
        return [*identity.words(), str(file), *command[1:]], environ(self.folder, programs)

    def _had_port(self) -> int:
        return conf.port(self.folder.conf.read_text())

    def _start(self) -> bool:
        daemons = self.daemons()
        started = [name for name in daemons.all if daemons.start(name)]
        if started:
            self._say(f"started: {' '.join(started)}")
        if not reached(lambda: self._all_good(daemons), pause=0.05):
            raise Trouble(f"not all nodes take jobs; see the logs in {self.folder / 'log'}\n{self.overview()}")
        return bool(started)

    def _all_good(self, daemons: Daemons) -> bool:
        """Whether the collector knows those that run now, and not only those that did."""
        daemons.check()
        known = self.ask("condor_status", "-any", "-af", "MyType", "MyAddress", check=False)
        kinds = {"schedd": "Scheduler", "negotiator": "Negotiator", **dict.fromkeys(daemons.nodes, "Machine")}
        return all(f"{kind} {daemons.address(name)}?" in known for name, kind in kinds.items())

    def _cancel_jobs(self) -> None:
        if self.daemons().all["schedd"].process():
            self.ask("condor_rm", "-all", check=False)
            reached(lambda: not self.ask("condor_q", "-af", "ClusterId", check=False).strip(), GRACE, pause=0.1)

    def _kill_leftovers(self) -> bool:
        return kill_leftovers(self.folder.path)
