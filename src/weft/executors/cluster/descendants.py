"""What a process has started, and what that has started, as /proc tells."""

from __future__ import annotations

import os
import signal
import time

__all__ = ["Processes", "descendants", "end_all"]

GRACE = 2.0  # seconds from SIGTERM to SIGKILL
PAUSE = 0.02  # seconds between two looks; a pidfd would tell at once, but clusters have kernels that know none

Processes = dict[int, bytes]  # pids, each with when it began: by then a pid may be somebody else's


def descendants(pid: int) -> Processes:
    """The processes that descend from one, and run. One whose parent is gone descends from nobody here."""
    children: dict[int, Processes] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (there := _look(int(name))):
            parent, began = there
            children.setdefault(parent, {})[int(name)] = began
    found: Processes = {}
    new = [pid]
    while new:
        below = {child: began for one in new for child, began in children.get(one, {}).items()}
        found.update(below)
        new = list(below)
    return found


def end_all(processes: Processes) -> None:
    """End these, and what else this process has started: SIGTERM, and SIGKILL for what still runs after a while."""
    told: Processes = {}
    until = time.monotonic() + GRACE
    while left := _running(processes | descendants(os.getpid())):
        if time.monotonic() > until:
            _send(left, signal.SIGKILL)
            return
        _send({pid: began for pid, began in left.items() if told.get(pid) != began}, signal.SIGTERM)
        told |= left
        time.sleep(PAUSE)


def _look(pid: int) -> tuple[int, bytes] | None:
    """The parent of a process, and when it began; None: it does not run."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # from the third on, see proc(5)
    except OSError:
        return None
    return None if fields[0] in b"ZX" else (int(fields[1]), fields[19])


def _running(processes: Processes) -> Processes:
    return {pid: began for pid, began in processes.items() if (there := _look(pid)) and there[1] == began}


def _send(processes: Processes, number: int) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
