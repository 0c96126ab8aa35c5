"""What a job of Slurm died of, by all evidence: the state's word, exit code, signal, reason and the end of its log.

The word alone will not do: a job that used too much memory is OUT_OF_MEMORY where cgroups watch, and FAILED with signal
9 where the memory is polled (https://slurm.schedmd.com/sbatch.html, "JOB STATE CODES").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.executors.cluster.system import Seen

__all__ = ["verdict"]

# What slurmstepd and the kernel write, the latter in its own words.
_MEMORY = re.compile(
    r"oom[-_ ]?kill|out of memory|exceeded (job|step) memory limit|memory cgroup|exceeded memory limit", re.IGNORECASE
)
_TIME = re.compile(r"DUE TO TIME LIMIT", re.IGNORECASE)
_NODE = {
    "BOOT_FAIL": "ended because its node could not be started",
    "NODE_FAIL": "ended because its node failed",
    "PREEMPTED": "had to make room for a more urgent one",
    "REVOKED": "was moved to another cluster",
}


def verdict(end: Seen, tail: str) -> tuple[str, str]:
    """See `BatchSystem.verdict`."""
    state = end.state.partition(" ")[0]  # "CANCELLED by 1000"
    killed = end.signal == 9 or end.exitcode == 137
    # Its reason, JobLaunchFailure, is no evidence: that stands for each end by a signal.
    if state == "OUT_OF_MEMORY" or (killed and (_MEMORY.search(tail) or end.reason == "OutOfMemory")):
        return "memory", "was ended for using more memory than it had asked for"
    if state in ("TIMEOUT", "DEADLINE") or _TIME.search(tail):
        return "timeout", "was ended for running longer than it had asked for"
    if state in _NODE:
        return "infrastructure", _NODE[state]
    if state == "CANCELLED":
        by = re.fullmatch(r"CANCELLED by (\d+)", end.state)
        return "cancelled", "was cancelled" if by is None else f"was cancelled by user {by[1]}"
    if state == "PENDING":
        return "held", "will never run by itself"
    if end.signal is None and not end.exitcode and re.search("launch.*fail", end.reason, re.IGNORECASE):
        return "infrastructure", "could not be launched"
    return "died", _how(end)


def _how(end: Seen) -> str:
    if end.signal:
        from signal import Signals

        try:
            return f"was killed by {Signals(end.signal).name}"
        except ValueError:
            return f"was killed by signal {end.signal}"
    if end.exitcode == 0:
        return "ended as if all were well, and left no outcome"
    if end.exitcode is not None:
        return f"ended with exit code {end.exitcode}"
    return "ended, and nobody knows how"
