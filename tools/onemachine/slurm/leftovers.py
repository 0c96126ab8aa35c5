"""What a cluster has left behind: what its jobs have started, and daemons that no record tells of any more."""

from __future__ import annotations

import os
from pathlib import Path

from onemachine.processes import Process, descendants, kill_all, open_files, pids
from onemachine.slurm import conf

PROGRAMS = ("slurm", "munged", "mariadbd")  # with Debian they end in -wlm


def kill_leftovers(folder: Path) -> bool:
    """Kill all that is of the cluster in this folder, which may have been removed; whether there was anything."""
    return kill_all(lambda: _leftovers(folder))


def _leftovers(folder: Path) -> list[Process]:
    mark = f"SLURM_CLUSTER_NAME={conf.cluster_name(folder)}".encode()
    roots = []
    for pid in pids():
        try:
            if _is_program(pid):
                # Its log or output; not just anything below, where another cluster may be.
                mine = any(os.path.dirname(path) in (f"{folder}/log", f"{folder}/run") for path in open_files(pid))
            else:
                # On a node: somebody's own shell with an allocation has no such name, and is not ours to kill.
                entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                mine = mark in entries and any(entry.startswith(b"SLURMD_NODENAME=") for entry in entries)
        except OSError:
            continue
        if mine:
            roots.append(pid)
    return [process for pid in descendants(roots) if (process := Process.at(pid))] if roots else []


def _is_program(pid: int) -> bool:
    return os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith(PROGRAMS)
