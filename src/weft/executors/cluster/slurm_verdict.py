"""What an element died of, as far as Slurm and its log tell."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from weft.errors import ending
from weft.executors.cluster.system import Phase, Seen

__all__ = ["Fate", "verdict"]

Fate: TypeAlias = Literal["memory", "timeout", "infrastructure", "cancelled", "died", "held"]
"""What became of an element without an outcome. The first three, and "died", are causes that retries know."""

UNABLE = 53  # What stands for a signal where slurmd could not start the script, or open its log.
NO_COMMAND = {126: "as of a shell that may not run a command", 127: "as of a shell that does not find a command"}
MOST = 128  # A shell adds it to the number of the signal that ended what it ran.


def verdict(seen: Seen, log: str) -> tuple[Fate, str]:
    """What an element that left no outcome died of, and how that is told.

    Args:
        seen: what Slurm says of it.
        log: the end of its log, in which Slurm notes why it ended it.

    Returns:
        A word, and a sentence without its full stop that has the element for its "it".
    """
    says = f"{seen.state}, {seen.reason}" if seen.reason else seen.state
    if seen.phase is not Phase.ENDED:
        return _waiting(seen, says)
    return _by_state(seen, says) or _by_log(seen, log) or _by_status(seen, says)


def _waiting(seen: Seen, says: str) -> tuple[Fate, str]:
    if HELD.search(seen.reason) or seen.state in ("REQUEUE_HOLD", "SPECIAL_EXIT"):
        return "held", f"it will not run by itself any more ({says})"
    return "died", f"it left no outcome, though Slurm does not say that it has ended ({says})"


# Whoever has held a job of their own ("JobHeldUser") knows about it, and may release it.
HELD = re.compile(r"JobHeldAdmin|launch failed requeued held|job requeued in held state|DependencyNeverSatisfied")

STATES: dict[str, tuple[Fate, str]] = {
    "OUT_OF_MEMORY": ("memory", "it used more memory than it had asked for"),
    "TIMEOUT": ("timeout", "it ran longer than its time limit"),
    "DEADLINE": ("timeout", "it could not end before its deadline"),
    "NODE_FAIL": ("infrastructure", "it ran on a node that failed"),
    "BOOT_FAIL": ("infrastructure", "it was to run on a node that could not be booted"),
    "PREEMPTED": ("infrastructure", "it had to make way for a job of higher priority"),
    "LAUNCH_FAILED": ("infrastructure", "it could not be started on its node"),
    "RECONFIG_FAIL": ("infrastructure", "it was to run on a node that could not be set up for it"),
    "REVOKED": ("infrastructure", "it was left to another cluster of the federation"),
}


def _by_state(seen: Seen, says: str) -> tuple[Fate, str] | None:
    if seen.state in STATES:
        fate, text = STATES[seen.state]
        return fate, f"{text} ({says})"
    if seen.signal == UNABLE:
        return "infrastructure", f"it could not be started on its node, or its log not be opened there ({says})"
    return None


# What slurmstepd writes into the log of whatever it ends early, such as
# slurmstepd-n3: error: *** JOB 17 ON n3 CANCELLED AT 2026-11-25T10:38:37 DUE TO TIME LIMIT ***
FROM_SLURM = re.compile(r"^slurmstepd\b.*", re.MULTILINE)
NOTES: dict[str, tuple[Fate, str]] = {
    "DUE TO TIME LIMIT": ("timeout", "it ran longer than its time limit"),
    "DUE TO NODE FAILURE": ("infrastructure", "it ran on a node that failed"),
    "DUE TO PREEMPTION": ("infrastructure", "it had to make way for a job of higher priority"),
}
PROLOG = re.compile(r"^Error running slurm prolog: \d+\s*\Z", re.MULTILINE)  # slurmd's own words, at the end
MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom[-_ ]?kill|out[ -]of[ -]memory", re.IGNORECASE)


def _by_log(seen: Seen, log: str) -> tuple[Fate, str] | None:
    if seen.state == "COMPLETED":
        return None
    notes: list[str] = FROM_SLURM.findall(log)
    # Words of anybody else count only where they explain a kill: programs may speak of memory as they like.
    if any(map(MEMORY.search, notes)) or (_killed(seen, 9) and MEMORY.search(log)):
        return "memory", f"it used more memory than it had asked for, by its log ({seen.state})"
    # A job that must not be run again is cancelled by its node where that fails; the script was never started.
    if seen.state == "CANCELLED" and seen.signal is None and PROLOG.search(log):
        return (
            "infrastructure",
            f"it could not be started, as its node failed to make ready for it, by its log ({seen.state})",
        )
    if seen.state == "CANCELLED" or _killed(seen, 9) or _killed(seen, 15):
        last = next((note for note in reversed(notes) if "CANCELLED AT" in note), "")  # others may be of earlier tries
        for words, (fate, text) in NOTES.items():
            if words in last:
                return fate, f"{text}, by its log ({seen.state})"
    return None


def _killed(seen: Seen, signal: int) -> bool:
    """Itself, or what its shell ran; of whose exit code sacct keeps only what is left without 128."""
    return seen.signal == signal or seen.exitcode in (signal, MOST + signal)


def _by_status(seen: Seen, says: str) -> tuple[Fate, str]:
    if seen.state == "CANCELLED":
        return "cancelled", f"it was cancelled ({says})"
    if seen.signal is not None:
        return "died", f"it {ending(-seen.signal)} ({seen.state})"
    if seen.exitcode is None:
        return "died", f"it left no outcome ({says})"
    if seen.exitcode > MOST:
        return "died", f"it {ending(seen.exitcode)}, or what it ran {ending(MOST - seen.exitcode)} ({seen.state})"
    hint = f", {NO_COMMAND[seen.exitcode]}" if seen.exitcode in NO_COMMAND else ""
    return "died", f"it {ending(seen.exitcode)}{hint}, and left no outcome ({seen.state})"
