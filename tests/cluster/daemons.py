"""A real Slurm of the tests' own, what can be asked of it, and what can be done to it.

It is brought up by ``tools/slurm``, in a folder of its own and by whoever runs the tests. It goes away when the process
that asked for it ends, in whatever way.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.counted import Counted, run_tool
from hand import PATIENCE, eventually

TOOL = Path(__file__).parents[2] / "tools" / "slurm"
COMMANDS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sdiag", "sinfo", "squeue", "srun")


def tool(*arguments: object, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Run ``tools/slurm``, which must end with this code."""
    return run_tool(TOOL, *arguments, code=code, **options)


class Slurm(Counted):
    """A cluster. ``options`` are those of ``tools/slurm up``; ``settings``, lines of slurm.conf.

    Attributes
    ----------
    folder, conf
        Where it is, and its slurm.conf.
    nodes
        Their names: n1, n2, ...
    environ
        The variables that a program needs to find it: SLURM_CONF, and a PATH on which each command is counted.
    """

    def __init__(self, folder: Path, *options: object, **settings: object):
        self.folder = folder
        self.conf = folder / "etc" / "slurm.conf"
        self._options = [str(option) for option in options]
        self._settings = {key: str(value) for key, value in settings.items()}
        self._changed = False
        # Ours goes by what is there now: later, commands on the PATH of the process may be the wrappers.
        super().__init__(folder.with_name(f"{folder.name}-bin"), COMMANDS, os.environ["PATH"])
        self._own = {**os.environ, "SLURM_CONF": str(self.conf), "LC_ALL": "C"}

    def up(self) -> None:
        self._up(self._settings)
        self.nodes = re.findall(r"^NodeName=(\S+)", self.conf.read_text(), re.MULTILINE)
        self.straighten_all()
        self.environ = {"SLURM_CONF": str(self.conf), "PATH": self.path}
        self._changed = False

    def down(self) -> None:
        tool("down", "--wipe", "--rootless", self.folder, env=self._own)
        shutil.rmtree(self._bin)

    def heal(self) -> None:
        """As it was at first. Where anything is left to undo, jobs too, a new cluster takes its place.

        That is quicker than to wait for jobs that do not listen, or for nodes to be found again; ids begin anew.
        """
        if self._changed or (listed := self._run("squeue", "-h")).returncode or listed.stdout:
            self.down()
            self.up()
        else:
            self.straighten_all()

    # Asking

    def ask(self, *command: object) -> str:
        """What one of Slurm's commands prints; its failure is the test's. Not counted."""
        ended = self._run(*command)
        assert ended.returncode == 0, f"{' '.join(ended.args)} ended with {ended.returncode}: {ended.stderr}"
        return ended.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """All that the controller knows of a job, or of an element (``12_3``); empty when it has forgotten it."""
        shown = self._run("scontrol", "--oneliner", "show", "job", job).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", shown.partition("\n")[0]))

    def state(self, job: str) -> str:
        """The controller's word for it, such as PENDING; empty when it has forgotten it."""
        return self.job(job).get("JobState", "")

    def comes_to(self, job: str, *states: str) -> bool:
        """Whether it is in one of these states at last. It may be RUNNING a moment before its script is."""
        came = eventually(lambda: self.state(job) in states)
        if not came:
            print(self.job(job))  # pytest shows it
        return came

    def node_state(self, node: str) -> str:
        """The controller's word for it, such as idle, mixed, down; with a * when it does not answer."""
        return self.ask("sinfo", "-hN", "-p", "debug", "-n", node, "-o", "%T")

    def pids(self, job: str) -> list[int]:
        """The processes of a job, or of an element, that run now: its script and what that has started."""
        base, _, place = job.partition("_")
        name = "SLURM_ARRAY_JOB_ID" if place else "SLURM_JOB_ID"
        wanted = {f"{name}={base}".encode(), f"SLURM_CLUSTER_NAME={self._cluster_name()}".encode()}
        if place:
            wanted.add(f"SLURM_ARRAY_TASK_ID={place}".encode())
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                    found.append(int(process.name))
            except OSError:
                continue
        return sorted(found)

    def requests(self) -> dict[str, int]:
        """How many of each kind the controller has had, by its own count. ``ask("sdiag", "-r")`` begins anew."""
        counts = re.findall(r"^\t(REQUEST_\w+)\s*\(\s*\d+\) count:(\d+)", self.ask("sdiag"), re.MULTILINE)
        return {name: int(count) for name, count in counts}

    def log(self, name: str = "slurmctld", lines: int = 40) -> str:
        """The end of a daemon's log: ``slurmctld``, ``slurmd.n1``, ``slurmdbd``; and ``jobcomp``."""
        try:
            return "\n".join((self.folder / "log" / f"{name}.log").read_text().splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    # Jobs

    def sbatch(self, script: str, *options: object) -> str:
        """Submit these lines of shell; returns the id."""
        output = [] if any(str(option).startswith(("-o", "--output")) for option in options) else ["--output=/dev/null"]
        return self.ask("sbatch", "--parsable", *output, *options, "--wrap", script)

    def cancel(self, job: str) -> None:
        self.ask("scancel", job)

    def hold(self, job: str) -> None:
        self.ask("scontrol", "hold", job)

    def release(self, job: str) -> None:
        self.ask("scontrol", "release", job)

    def requeue(self, job: str) -> None:
        self.ask("scontrol", "requeue", job)

    def update(self, job: str, **fields: object) -> None:
        """``update(job, TimeLimit=2)``"""
        self.ask("scontrol", "update", f"JobId={job}", *(f"{key}={value}" for key, value in fields.items()))

    def end_time_in(self, job: str, seconds: int) -> None:
        """Have its time limit come then. Slurm looks every 30 seconds: a test waits for half of that on average."""
        self.update(job, EndTime=f"now+{seconds}")

    # Harm; undone by `heal`

    def stop_controller(self) -> None:
        self._tool("stop", "slurmctld")

    def start_controller(self) -> None:
        self._tool("start", "slurmctld")

    @contextmanager
    def controller_stopped(self) -> Iterator[None]:
        """Nobody listens at its port meanwhile."""
        self.stop_controller()
        try:
            yield
        finally:
            self.start_controller()

    @contextmanager
    def controller_hanging(self) -> Iterator[None]:
        """It takes connections meanwhile, and does not answer."""
        self._signal("slurmctld", signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal("slurmctld", signal.SIGCONT)

    def kill_node(self, node: str) -> None:
        """kill -9 of its slurmd. Scripts that run there go on, as ghosts."""
        self._tool("stop", node, "--kill")

    def stop_node(self, node: str) -> None:
        self._tool("stop", node)

    def start_node(self, node: str) -> None:
        self._tool("start", node)

    def set_down(self, node: str) -> None:
        """What runs there is requeued, or ends as NODE_FAIL."""
        self._changed = True
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def set_up(self, node: str) -> None:
        self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        assert eventually(lambda: "*" not in (state := self.node_state(node)) and state != "down"), self.node_state(
            node
        )

    def set_partition(self, partition: str, state: str) -> None:
        """UP, DOWN, DRAIN or INACTIVE."""
        self._changed = True
        self.ask("scontrol", "update", f"PartitionName={partition}", f"State={state}")

    def configure(self, **settings: object) -> None:
        """Other lines of slurm.conf from now on: daemons are restarted, jobs stay."""
        self._changed = True
        self._up({**self._settings, **{key: str(value) for key, value in settings.items()}})

    def limit_submissions(self, count: int) -> None:
        """Have the site allow us so many jobs at a time, with accounting only: AssocMaxSubmitJobLimit."""
        self.configure(AccountingStorageEnforce="limits")
        me = pwd.getpwuid(os.geteuid()).pw_name
        self.ask("sacctmgr", "-i", "modify", "user", "where", f"name={me}", "set", f"MaxSubmitJobs={count}")

    def _run(self, *command: object) -> subprocess.CompletedProcess:
        words = [str(word) for word in command]
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=self._own, cwd="/"
        )

    def _up(self, settings: dict[str, str]) -> None:
        words = [f"{key}={value}" for key, value in settings.items()]
        tool("up", "--rootless", self.folder, "--while", os.getpid(), *self._options, *words, env=self._own)

    def _tool(self, verb: str, *arguments: object) -> None:
        self._changed = True
        tool(verb, "--rootless", self.folder, *arguments, env=self._own)

    def _signal(self, name: str, number: int) -> None:
        self._changed = True
        os.kill(int((self.folder / "run" / f"{name}.pid").read_text().split()[0]), number)

    def _cluster_name(self) -> str:
        return re.findall(r"^ClusterName=(\S+)", self.conf.read_text(), re.MULTILINE)[0]
