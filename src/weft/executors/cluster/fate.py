"""What an element without an outcome died of, as far as that is told alike by all batch systems."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from weft.errors import ending
from weft.executors.cluster.formats import EXIT_EMPTY
from weft.executors.cluster.system import Seen

__all__ = ["MEMORY", "Fate", "by_status", "was_killed"]

Fate: TypeAlias = Literal["memory", "timeout", "infrastructure", "cancelled", "died", "held", "unstarted"]
"""What became of an element without an outcome. The first three, and "died", are causes that retries know."""

#: What is said in a log of an end for too much memory.
MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom[-_ ]?kill|out[ -]of[ -]memory", re.IGNORECASE)
NO_COMMAND = {126: "as of a shell that may not run a command", 127: "as of a shell that does not find a command"}
MOST = 128  # A shell adds it to the number of the signal that ended what it ran.


def was_killed(seen: Seen, signal: int) -> bool:
    """Itself, or what its shell ran; of whose exit code sacct keeps only what is left without 128."""
    return seen.signal == signal or seen.exitcode in (signal, MOST + signal)


def by_status(seen: Seen, says: str) -> tuple[Fate, str]:
    """By how its process ended; `says`: what the system says, in its own words."""
    if seen.signal is not None:
        return "died", f"it {ending(-seen.signal)} ({seen.state})"
    if seen.exitcode is None:
        return "died", f"it left no outcome ({says})"
    if seen.exitcode > MOST:
        return "died", f"it {ending(seen.exitcode)}, or what it ran {ending(MOST - seen.exitcode)} ({seen.state})"
    if seen.exitcode == EXIT_EMPTY:
        return "died", f"it ended with exit code 0, as if all were well, and left no outcome ({seen.state})"
    hint = f", {NO_COMMAND[seen.exitcode]}" if seen.exitcode in NO_COMMAND else ""
    return "died", f"it {ending(seen.exitcode)}{hint}, and left no outcome ({seen.state})"
