"""A cluster: up, down, and parts of it stopped and started."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from onemachine import network, packages
from onemachine.keeper import Keeper
from onemachine.processes import reached, tail
from onemachine.slurm import conf
from onemachine.slurm.conf import Place, Shape
from onemachine.slurm.daemons import Daemons, environ, needed
from onemachine.slurm.folder import Folder, is_ours
from onemachine.slurm.leftovers import kill_leftovers
from onemachine.trouble import Trouble

SYSTEM_CONF = Path("/etc/slurm/slurm.conf")  # where Slurm's commands look when SLURM_CONF says nothing
GOOD = {"idle", "mixed", "allocated", "completing", "planned", "reserved"}  # nodes that take jobs, or will


class Cluster:
    """The Slurm of a folder. ``say`` is told what is done."""

    def __init__(self, folder: Folder, say: Callable[[str], None]):
        self.folder = folder
        self._say = say
        self._keeper = Keeper(folder / "run")

    def ask(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's commands prints."""
        words = " ".join(command)
        try:
            ended = subprocess.run(
                command, env=environ(self.folder), capture_output=True, text=True, check=False, timeout=60, cwd="/"
            )
        except subprocess.TimeoutExpired:
            raise Trouble(f"{words} does not end; see the logs in {self.folder / 'log'}") from None
        if check and ended.returncode:
            raise Trouble(f"{words} has failed: {ended.stderr.strip() or ended.returncode}")
        return ended.stdout

    def up(self, shape: Shape, port: int | None = None, owner: int | None = None) -> bool:
        """Have all of it run, as the shape says; whether anything had to be done.

        Parameters
        ----------
        port
            The first of its ports; None: those that it had, or any that are free.
        owner
            A process: when that ends, in whatever way, the cluster goes down and its folder goes away.
        """
        if self.folder.system_wide:
            self._check_system()
        packages.require(needed(accounting=shape.accounting), self._say)
        address = network.loopback(self._say)
        self.folder.make()
        with self.folder.locked() as lock:
            owner = owner or self._keeper.owner()
            ports = self._configure(shape, address, port)
            try:
                if owner and not self._keeper.process():
                    self._keeper.start(owner, ports, lock, lambda: self.down(wipe=True))
                started = self._start()
            finally:
                for held in ports:
                    held.close()
            if self.folder.system_wide:
                self._link()
            return started

    def start(self, names: list[str]) -> None:
        """Start these daemons."""
        with self.folder.locked():
            daemons = Daemons(self.folder)
            for daemon in daemons.named(names):
                daemons.start(daemon.name)

    def stop(self, names: list[str], number: int) -> None:
        """End these daemons by this signal."""
        with self.folder.locked():
            for daemon in Daemons(self.folder).named(names):
                daemon.stop(number)

    def down(self, *, wipe: bool) -> bool:
        """Cancel all jobs and stop all daemons; with wipe, forget everything; whether there was anything."""
        if not self.folder.exists():
            # Somebody may have removed the folder from under it.
            return kill_leftovers(self.folder.path)
        with self.folder.locked():
            daemons = Daemons(self.folder)
            ran = daemons.running()
            self._keeper.stop()
            if "slurmctld" in ran and not wipe:
                self._cancel_jobs()
            daemons.stop(signal.SIGKILL if wipe else signal.SIGTERM)
            kill_leftovers(self.folder.path)
            if ran:
                self._say(f"stopped: {' '.join(ran)}")
            if wipe:
                self._wipe()
        return bool(ran) or wipe

    def _check_system(self) -> None:
        beside = "or have one for yourself beside it: tools/slurm up --rootless DIR"
        if os.geteuid() != 0:
            raise Trouble("a cluster for everybody on this machine is for root to start;\n" + beside)
        if SYSTEM_CONF.exists() and not is_ours(SYSTEM_CONF):
            raise Trouble(f"{SYSTEM_CONF} is not from here: this machine has a Slurm already. Use that one,\n" + beside)

    def _configure(self, shape: Shape, address: str, port: int | None) -> list[socket.socket]:
        """Write its files where they change, and first stop what has read them; returns its ports, held for it.

        What runs on files that do not change has its ports: none is held then.
        """
        count = shape.nodes + 2
        had = int(conf.value(self.folder.conf.read_text(), "SlurmctldPort")) if self.folder.exists() else None
        if had is not None:
            daemons = Daemons(self.folder)
            if port in (None, had) and self._texts(shape, address, had) == self.folder.written():
                if daemons.running() or self._keeper.process():
                    return []
            else:
                self._keeper.stop()
                daemons.stop(keep=("munged", "mariadbd") if shape.accounting else ("munged",))
                self._say("stopped what ran with other settings")
        ports = network.hold_ports(address, count, port or had, only=port is not None)
        self.folder.write(self._texts(shape, address, ports[0].getsockname()[1]))
        return ports

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
        """Start what does not run, and wait until all nodes take jobs; whether anything had to be started."""
        daemons = Daemons(self.folder)
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
        return bool(started)

    def _register(self) -> None:
        """Have the accounts know this cluster."""
        name = conf.value(self.folder.conf.read_text(), "ClusterName")
        if name not in self.ask("sacctmgr", "-nP", "list", "cluster", "format=cluster").split():
            self.ask("sacctmgr", "-i", "add", "cluster", name)

    def _all_good(self, daemons: Daemons) -> bool:
        """Whether all nodes take jobs. Those that somebody has set down are set up."""
        for name, daemon in daemons.all.items():
            if not daemon.process():
                said = "\n".join(tail(file) for file in {daemons.log(name), daemon.output})
                raise Trouble(f"{name} has ended. The end of its log:\n{said}")
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
        # Those that wait first, so that none of them starts in place of one that ends.
        for state in "PENDING", "RUNNING", "SUSPENDED":
            self.ask("scancel", "--quiet", f"--state={state}", check=False)
        patience = int(conf.value(self.folder.conf.read_text(), "KillWait")) + 2
        reached(lambda: not self.ask("squeue", "-h", check=False).strip(), patience, pause=0.05)

    def _wipe(self) -> None:
        if self.folder.system_wide:
            network.forget_repairs()
            if is_ours(SYSTEM_CONF):
                SYSTEM_CONF.unlink()
        self.folder.remove()
        self._say(f"removed: {self.folder.path}")
