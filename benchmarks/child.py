"""Each measurement runs in a process of its own, with a time limit: a peer that hangs takes nothing with it.

`in_child` is the end that asks; run as a script, this file is the end that answers, with one line of JSON.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter, sleep
from typing import Any

# Module and function: a child imports nothing but what it measures.
MEASUREMENTS = {
    "race": "race:time_per_task",
    "chain": "chains:long_chain",
    "pending": "memory:pending",
    "runner": "memory:runner_chain",
    "closure": "costs:closure",
    "imports": "costs:imports",
    "workload": "workloads:measure",
    "jobs": "job_graphs:measure",
    "slurm": "slurm_workloads:measure",
}

GRACE_S = 3.0
MOST_TOLD = 1_000  # characters of an error


@dataclass(frozen=True)
class Outcome:
    """The numbers of one measurement, or why there are none."""

    numbers: dict[str, float] = field(default_factory=dict)
    problem: str = ""


def in_child(measurement: str, limit_s: float, **params: object) -> Outcome:
    command = [sys.executable, __file__, measurement, json.dumps(params)]
    # Files, not pipes: what a peer leaves running could hold a pipe open for ever.
    with (
        TemporaryFile("w+") as said,
        TemporaryFile("w+") as complained,
        TemporaryDirectory(prefix="weft-", ignore_cleanup_errors=True) as folder,
    ):
        child = subprocess.Popen(
            command, stdout=said, stderr=complained, env=environment(folder), start_new_session=True
        )
        try:
            child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return Outcome(problem=f"no end within {limit_s:.0f} s")
        finally:
            end_session(child)
        last_line = text_of(said).strip().rpartition("\n")[2]
        if not last_line.startswith("{"):
            return Outcome(problem=f"died with exit code {child.returncode}: {text_of(complained)[-200:].strip()}")
        return Outcome(**json.loads(last_line))


def in_words(problem: str) -> str:
    """Say without Python's names what is no error of a contender."""
    if problem.startswith("ModuleNotFoundError: "):
        return "not installed: " + problem.rpartition("named ")[2].strip("'")
    return problem.removeprefix("CannotError: ")


def environment(folder: str) -> dict[str, str]:
    """Let the workers of all peers find the modules here, and the scripts that came with a peer."""
    found_in = {"PYTHONPATH": Path(__file__).parent, "PATH": Path(sys.executable).parent}
    paths = {name: os.pathsep.join(filter(None, [str(path), os.environ.get(name)])) for name, path in found_in.items()}
    return {**os.environ, **paths, "TMPDIR": folder}


def end_session(child: subprocess.Popen[bytes]) -> None:
    """End the child and whoever it left running, in whatever process group.

    First by SIGTERM, for which trackers of shared memory do not care: they clean up behind the others.
    """
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(child.pid, sign)
        for pid in session_of(child):
            with suppress(OSError):
                os.kill(pid, sign)
        patience = perf_counter() + GRACE_S
        while (child.poll() is None or session_of(child)) and perf_counter() < patience:
            sleep(0.01)


def session_of(child: subprocess.Popen[bytes]) -> list[int]:
    """Give those of the child's session; none where the system does not list processes under /proc."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(entry.name)) == child.pid:
                members.append(int(entry.name))
    return members


def text_of(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def answer(measurement: str, params: dict[str, Any]) -> dict[str, object]:
    module, _, function = MEASUREMENTS[measurement].partition(":")
    try:
        return {"numbers": getattr(import_module(module), function)(**params)}
    except Exception as error:
        traceback.print_exc()
        told = " ".join(str(error).split())
        return {"problem": f"{type(error).__name__}: {told}"[:MOST_TOLD]}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1], json.loads(sys.argv[2]))), flush=True)
    # Not `sys.exit`: a scheduler that failed may have left threads behind that never end.
    os._exit(0)
