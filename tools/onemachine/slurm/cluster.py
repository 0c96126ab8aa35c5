"""A Slurm: what it takes to have it up, and down."""

from __future__ import annotations

import os
import pwd
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onemachine import cluster, network, packages
from onemachine.processes import reached
from onemachine.slurm import conf
from onemachine.slurm.conf import Place, Shape
from onemachine.slurm.daemons import Daemons, environ, needed
from onemachine.slurm.folder import Folder
from onemachine.slurm.leftovers import kill_leftovers
from onemachine.trouble import Trouble

SYSTEM_CONF = Path("/etc/slurm/slurm.conf")  # where Slurm's commands look when SLURM_CONF says nothing
GOOD = {"idle", "mixed", "allocated", "completing", "planned", "reserved"}  # nodes that take jobs, or will


class Cluster(cluster.Cluster):
    """The Slurm of a folder."""

    folder: Folder

    def __init__(self, path: Path | None, say: Callable[[str], None]):
        super().__init__(Folder(path), say)

    def daemons(self) -> Daemons:
        return Daemons(self.folder)

    def overview(self) -> str:
        return self.ask("sinfo", check=False) if self.daemons().all["slurmctld"].process() else ""

    def exports(self) -> list[str]:
        if not self.folder.system_wide:
            return [f"export SLURM_CONF={shlex.quote(str(self.folder.conf))}"]
        return ["unset SLURM_CONF"] if "SLURM_CONF" in os.environ else []

    def up(self, shape: Shape, port: int | None = None, owner: int | None = None) -> bool:
        """Have all of it run, as the shape says; whether anything had to be done. Of ``port``, two and one per node.

        ``port`` and ``owner`` are those of ``Cluster._bring_up``.
        """
        if self.folder.system_wide:
            self._check_system()
        packages.require(needed(accounting=shape.accounting), self._say)
        address = network.loopback(self._say)
        return self._bring_up(lambda port: self._texts(shape, address, port), address, shape.nodes + 2, port, owner)

    def _check_system(self) -> None:
        beside = "or have one for yourself beside it: tools/slurm up --rootless DIR"
        if os.geteuid() != 0:
            raise Trouble("a cluster for everybody on this machine is for root to start;\n" + beside)
        if SYSTEM_CONF.exists() and not self.folder.is_ours(SYSTEM_CONF):
            raise Trouble(f"{SYSTEM_CONF} is not from here: this machine has a Slurm already. Use that one,\n" + beside)

    def _invocation(self, command: Sequence[str]) -> tuple[Sequence[str], Mapping[str, str]]:
        return command, environ(self.folder)

    def _had_port(self) -> int:
        return int(conf.value(self.folder.conf.read_text(), "SlurmctldPort"))

    def _kept(self, texts: Mapping[str, str]) -> Sequence[str]:
        return ("munged", "mariadbd") if "slurmdbd.conf" in texts else ("munged",)

    def _texts(self, shape: Shape, address: str, port: int) -> dict[str, str]:
        host = socket.gethostname().partition(".")[0]  # as Slurm calls it
        try:
            me = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise Trouble(f"user {os.geteuid()} has no name here, and Slurm wants one: see /etc/passwd") from None
        place = Place(self.folder.path, host, address, port, self.folder.user("slurm") or me, me)
        texts = {
            "slurm.conf": conf.slurm_conf(place, shape),
            "gres.conf": conf.gres_conf(shape),
            "cgroup.conf": conf.CGROUP_CONF,
        }
        return {**texts, "slurmdbd.conf": conf.slurmdbd_conf(place)} if shape.accounting else texts

    def _start(self) -> bool:
        daemons = self.daemons()
        started = []
        for name in daemons.all:
            if name == "slurmctld" and daemons.accounting:
                self._register()
            if daemons.start(name):
                started.append(name)
        if started:
            self._say(f"started: {' '.join(started)}")
        if not reached(lambda: self._all_good(daemons), pause=0.01):
            nodes = self.ask("sinfo", "-N", check=False)
            raise Trouble(f"not all nodes take jobs; see the logs in {self.folder / 'log'}\n{nodes}")
        if self.folder.system_wide:
            self._link()
        return bool(started)

    def _register(self) -> None:
        """Have the accounts know this cluster."""
        name = conf.value(self.folder.conf.read_text(), "ClusterName")
        if name not in self.ask("sacctmgr", "-nP", "list", "cluster", "format=cluster").split():
            self.ask("sacctmgr", "-i", "add", "cluster", name)

    def _all_good(self, daemons: Daemons) -> bool:
        """Whether all nodes take jobs. Those that somebody has set down are set up."""
        daemons.check()
        lines = self.ask("sinfo", "-h", "-N", "-p", "debug", "-o", "%N %T", check=False).splitlines()
        states = dict(line.split() for line in lines)
        set_down = [
            node for node, state in states.items() if state in ("down", "drained", "draining", "fail", "failing")
        ]
        if set_down:
            self.ask("scontrol", "update", f"NodeName={','.join(set_down)}", "State=RESUME", check=False)
        return set(states) == set(daemons.nodes) and set(states.values()) <= GOOD

    def _link(self) -> None:
        """Have everybody's commands find it."""
        SYSTEM_CONF.parent.mkdir(parents=True, exist_ok=True)
        if not SYSTEM_CONF.is_symlink() or SYSTEM_CONF.readlink() != self.folder.conf:
            SYSTEM_CONF.unlink(missing_ok=True)
            SYSTEM_CONF.symlink_to(self.folder.conf)

    def _cancel_jobs(self) -> None:
        if not self.daemons().all["slurmctld"].process():
            return
        # Those that wait first, so that none of them starts in place of one that ends.
        for state in "PENDING", "RUNNING", "SUSPENDED":
            self.ask("scancel", "--quiet", f"--state={state}", check=False)
        patience = int(conf.value(self.folder.conf.read_text(), "KillWait")) + 2
        reached(lambda: not self.ask("squeue", "-h", check=False).strip(), patience, pause=0.05)

    def _kill_leftovers(self) -> bool:
        return kill_leftovers(self.folder.path)

    def _wipe(self) -> None:
        if self.folder.system_wide:
            network.forget_repairs()
            if self.folder.is_ours(SYSTEM_CONF):
                SYSTEM_CONF.unlink()
        super()._wipe()
