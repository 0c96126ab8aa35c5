"""Ends of processes, and signals to them and to what they have started."""

from __future__ import annotations

import os
import signal
import struct

__all__ = ["STATUS", "UNKNOWN", "bury", "kill_group", "lead_session"]

STATUS = struct.Struct("<q")  # a pid, or a status
UNKNOWN = -1  # the status of a process of which nobody can tell any more how it ended


def bury(pid: int) -> int | None:
    """The status with which a child has ended, None while it lives. What it has left of its process group is killed.

    In this order: as long as the child has not been waited for, its pid, which is also that of the group, is not given
    to another process.
    """
    try:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        kill_group(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:  # somebody else has waited for it
        return UNKNOWN


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a worker and to what it has started."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def lead_session() -> None:
    """Be in a session, and so in a process group, of one's own; out of reach of the terminal."""
    if os.getsid(0) != os.getpid():
        os.setsid()
