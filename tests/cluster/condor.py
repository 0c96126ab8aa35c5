"""A real HTCondor of the tests' own, what can be asked of it, and what can be done to it.

It is brought up by ``tools/condor``, in a folder of its own and by whoever runs the tests, root too. It goes away when
the process that asked for it ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.counted import Counted, run_tool
from hand import PATIENCE, eventually
from onemachine.condor import programs

TOOL = Path(__file__).parents[2] / "tools" / "condor"
COMMANDS = (
    "condor_config_val",
    "condor_history",
    "condor_hold",
    "condor_q",
    "condor_qedit",
    "condor_reconfig",
    "condor_release",
    "condor_rm",
    "condor_status",
    "condor_submit",
    "condor_submit_dag",
    "condor_vacate_job",
    "condor_wait",
)
STATES = ("", "IDLE", "RUNNING", "REMOVED", "COMPLETED", "HELD", "TRANSFERRING", "SUSPENDED")  # by JobStatus


def tool(*arguments: object, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Run ``tools/condor``, which must end with this code."""
    return run_tool(TOOL, *arguments, code=code, **options)


class Condor(Counted):
    """A pool. ``options`` are those of ``tools/condor up``; ``settings``, lines of condor_config.

    Attributes
    ----------
    folder, conf
        Where it is, and its condor_config.
    nodes
        Their names: n1, n2
    environ
        The variables that a program needs to find it: CONDOR_CONFIG, and a PATH on which each command is counted.
    """

    def __init__(self, folder: Path, *options: object, **settings: object):
        self.folder = folder
        self.conf = folder / "etc" / "condor_config"
        self._options = [str(option) for option in options]
        self._settings = {key: str(value) for key, value in settings.items()}
        self._changed = False
        # By what is there now: later, commands on the PATH of the process may be the wrappers.
        path = f"{programs.found().commands}{os.pathsep}{os.environ['PATH']}"
        super().__init__(folder.with_name(f"{folder.name}-bin"), COMMANDS, path)
        self._own = {**os.environ, "PATH": path, "CONDOR_CONFIG": str(self.conf), "LC_ALL": "C"}

    def up(self) -> None:
        self._up(self._settings)
        self.nodes = re.findall(r"^(\S+)\.STARTD_NAME =", self.conf.read_text(), re.MULTILINE)
        self.straighten_all()
        self.environ = {"CONDOR_CONFIG": str(self.conf), "PATH": self.path}
        self._changed = False

    def down(self) -> None:
        tool("down", "--wipe", "--rootless", self.folder)
        shutil.rmtree(self._bin)

    def heal(self) -> None:
        """As it was at first. Where anything is left to undo, jobs too, a new pool takes its place.

        That is quicker than to wait for jobs that do not listen, or for nodes to be found again; ids begin anew.
        """
        if self._changed or (listed := self._run("condor_q", "-af", "ClusterId")).returncode or listed.stdout:
            self.down()
            self.up()
        else:
            self.straighten_all()

    # Asking

    def ask(self, *command: object, **options) -> str:
        """What one of HTCondor's commands prints; its failure is the test's. Not counted."""
        ended = self._run(*command, **options)
        assert ended.returncode == 0, f"{' '.join(ended.args)} ended with {ended.returncode}: {ended.stderr}"
        return ended.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """All that the schedd knows of a job (``12.3``), as it prints it; empty when it has forgotten it."""
        shown = self._run("condor_q", "-l", job).stdout.strip()
        if not shown:
            shown = self._run("condor_history", "-l", "-limit", "1", job).stdout
        return dict(line.split(" = ", 1) for line in shown.splitlines() if " = " in line)

    def state(self, job: str) -> str:
        """A word for its JobStatus, such as IDLE; empty when the schedd has forgotten it."""
        return STATES[int(self.job(job).get("JobStatus", "0"))]

    def comes_to(self, job: str, *states: str) -> bool:
        """Whether it is in one of these states at last. It may be RUNNING a moment before its program is."""
        came = eventually(lambda: self.state(job) in states)
        if not came:
            print(self.job(job))  # pytest shows it
        return came

    def node_of(self, job: str) -> str:
        """Where it runs: n1 or n2; empty: nowhere."""
        found = re.search(r"@(n\d+)@", self.job(job).get("RemoteHost", ""))
        return found[1] if found else ""

    def pids(self, job: str) -> list[int]:
        """The processes of a job that run now: its program and what that has started."""
        folders = {ad.parent for ad in self.folder.glob("execute/*/dir_*/.job.ad") if _is_ad_of(ad, job)}
        wanted = {os.fsencode(f"_CONDOR_SCRATCH_DIR={folder}") for folder in folders}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted & set((process / "environ").read_bytes().split(b"\0")):
                    found.append(int(process.name))
        return sorted(found)

    def log(self, name: str = "schedd", lines: int = 40) -> str:
        """The end of a daemon's log: ``schedd``, ``negotiator``, ``startd.n1``, ``starter.n1.log.slot1_1``."""
        for file in (self.folder / "log" / f"{name}.log", self.folder / "log" / name):
            with contextlib.suppress(FileNotFoundError):
                return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # Jobs

    def submit(self, script: str, **description: object) -> str:
        """Submit these lines of shell; ``queue=3`` makes three of it. Returns the id of the (first) job."""
        count = description.pop("queue", 1)
        lines = {
            "executable": "/bin/sh",
            "arguments": "\"-c '{}'\"".format(script.replace("'", "''").replace('"', '""')),
            "should_transfer_files": "NO",
            **description,
        }
        text = "".join(f"{key} = {value}\n" for key, value in lines.items()) + f"queue {count}\n"
        return self.ask("condor_submit", "-terse", "-", input=text).partition(" ")[0]

    def remove(self, job: str) -> None:
        self.ask("condor_rm", job)

    def hold(self, job: str) -> None:
        self.ask("condor_hold", job)

    def release(self, job: str) -> None:
        self.ask("condor_release", job)

    # Harm; undone by `heal`

    def stop_schedd(self) -> None:
        """What runs goes on: the next schedd finds it again."""
        self._tool("stop", "schedd")

    def stop_negotiator(self) -> None:
        """No job is given a node meanwhile."""
        self._tool("stop", "negotiator")

    def start_schedd(self) -> None:
        self._tool("start", "schedd")

    @contextmanager
    def schedd_stopped(self) -> Iterator[None]:
        """Nobody answers meanwhile."""
        self.stop_schedd()
        try:
            yield
        finally:
            self.start_schedd()

    @contextmanager
    def schedd_hanging(self) -> Iterator[None]:
        """It takes connections meanwhile, and does not answer."""
        self._signal("schedd", signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal("schedd", signal.SIGCONT)

    def kill_node(self, node: str) -> None:
        """kill -9 of its startd and of what that has started, but for the jobs: they go on, as ghosts."""
        self._tool("stop", node, "--kill")

    def stop_node(self, node: str) -> None:
        """What runs there is evicted first, and runs again elsewhere."""
        self._tool("stop", node)

    def start_node(self, node: str) -> None:
        self._tool("start", node)

    def configure(self, **settings: object) -> None:
        """Other lines of condor_config from now on: daemons are restarted, jobs stay in the queue."""
        self._changed = True
        self._up({**self._settings, **{key: str(value) for key, value in settings.items()}})

    def _run(self, *command: object, **options) -> subprocess.CompletedProcess:
        words = [str(word) for word in command]
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=self._own, cwd="/", **options
        )

    def _up(self, settings: dict[str, str]) -> None:
        words = [f"{key}={value}" for key, value in settings.items()]
        tool("up", "--rootless", self.folder, "--while", os.getpid(), *self._options, *words)

    def _tool(self, verb: str, *arguments: object) -> None:
        self._changed = True
        tool(verb, "--rootless", self.folder, *arguments)

    def _signal(self, name: str, number: int) -> None:
        self._changed = True
        os.kill(int((self.folder / "run" / f"{name}.pid").read_text().split()[0]), number)


def _is_ad_of(ad: Path, job: str) -> bool:
    with contextlib.suppress(OSError):
        text = ad.read_text()
        cluster, _, proc = job.partition(".")
        return f"\nClusterId = {cluster}\n" in f"\n{text}" and f"\nProcId = {proc}\n" in f"\n{text}"
    return False
