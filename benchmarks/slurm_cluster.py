"""The cluster that `slurm.py` measures on: a Slurm of its own, without root, on this machine."""

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from slurm_calls import put_before

TOOL = Path(__file__).parents[1] / "tools" / "slurm"
COMMANDS = "WEFT_BENCH_SLURM"  # the environment variable with the folder of Slurm's commands
MOST_JOBS = 50_000  # that the controller keeps in mind, those that ended in the last minutes included
LOOK_S = 0.2
PATIENCE_S = 120.0


class NoClusterError(Exception):
    """There is no Slurm to measure on."""


@contextmanager
def cluster(folder: Path | None) -> Iterator[None]:
    """Have a cluster, for this process and all that it starts, whose commands are counted.

    It lives in a folder: in a new one, and only as long as it is needed; or in one that is given, where it stays up.
    """
    with TemporaryDirectory(prefix="weft-bench-", ignore_cleanup_errors=True) as own:
        home = folder.absolute() if folder else Path(own, "cluster")
        os.environ["SLURM_CONF"] = str(home / "etc" / "slurm.conf")
        # Its own one goes away with this process, even by kill -9.
        until = [] if folder else ["--while", str(os.getpid())]
        try:
            if not is_up():
                # With the short SlurmdTimeout of the tool the controller asks after nodes so often that slurmd, which
                # then tidies up, now and then deletes the script of a job that it is just starting.
                run_tool("up", "--rootless", str(home), *until, f"MaxJobCount={MOST_JOBS}", "SlurmdTimeout=300")
            count_commands(Path(own))
            yield
        finally:
            if not folder:
                run_tool("down", "--rootless", str(home), "--wipe")


def run_tool(*words: str) -> None:
    """Call tools/slurm, which says on stderr what it does."""
    if not TOOL.exists():
        raise NoClusterError(f"no {TOOL}, which starts a cluster")
    if subprocess.run([sys.executable, TOOL, *words], stdout=subprocess.DEVNULL, check=False).returncode:
        raise NoClusterError(f"tools/slurm {words[0]} has failed")


def is_up() -> bool:
    if not Path(os.environ["SLURM_CONF"]).exists() or not shutil.which("scontrol"):
        return False
    ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, check=False)
    return "is UP" in ping.stdout


def count_commands(folder: Path) -> None:
    found = shutil.which("sbatch")
    if not found:
        raise NoClusterError("no sbatch on PATH")
    os.environ[COMMANDS] = str(Path(found).parent)
    counted = folder / "counted"
    counted.mkdir()
    put_before(Path(found).parent, counted)
    os.environ["PATH"] = os.pathsep.join([str(counted), os.environ["PATH"]])


# What the benchmark itself asks, which does not count -----------------------------------------------------


def ask(name: str, *args: str) -> str:
    command = [os.path.join(os.environ[COMMANDS], name), *args]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if ended.returncode:
        raise RuntimeError(f"{name}: {ended.stderr.strip()}")
    return ended.stdout


def clean() -> None:
    """Cancel what is queued or runs, and wait until all nodes are idle."""
    ask("scancel", "--user", getpass.getuser())
    wait_until(is_idle, "the cluster to be idle")


def is_idle() -> bool:
    return not ask("squeue", "-h", "-o", "%i") and set(ask("sinfo", "-h", "-o", "%t").split()) == {"idle"}


def occupy() -> None:
    """Give all nodes to one job, so that all others wait."""
    nodes = len(set(ask("sinfo", "-h", "-N", "-o", "%N").split()))
    script = ["--output=/dev/null", "--wrap", "exec sleep 100000"]
    job = ask("sbatch", "--parsable", "--exclusive", f"--nodes={nodes}", *script).strip()
    wait_until(lambda: bool(ask("squeue", "-h", "-t", "RUNNING", "-o", "%i", "-j", job)), "a job to have all nodes")


def waiting_jobs() -> int:
    """Count what waits in the queue; each element of an array counts."""
    return len(ask("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i").split())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    patience = perf_counter() + PATIENCE_S
    while not condition():
        if perf_counter() > patience:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        sleep(LOOK_S)


def version() -> str:
    """Say which Slurm this is, and how large."""
    name = ask("sinfo", "--version").strip()
    nodes = ask("sinfo", "-h", "-N", "-o", "%N %c").split("\n")
    return f"{name}, {len(set(nodes) - {''})} nodes"
