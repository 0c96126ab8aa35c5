"""What a Slurm has left behind: what its jobs have started, and daemons that no record tells of any more."""

from __future__ import annotations

import os
from pathlib import Path

from onemachine.processes import environ, families, kill_all, open_files, program
from onemachine.slurm import conf

PROGRAMS = ("slurm", "munged", "mariadbd")  # with Debian they end in -wlm


def kill_leftovers(folder: Path) -> bool:
    """Kill all that is of the cluster in this folder, which may have been removed; whether there was anything."""
    return kill_all(lambda: families(lambda pid: _is_of(folder, pid)))


def _is_of(folder: Path, pid: int) -> bool:
    if os.path.basename(program(pid)).startswith(PROGRAMS):
        # Its log or output; not just anything below, where another cluster may be.
        return any(os.path.dirname(path) in (f"{folder}/log", f"{folder}/run") for path in open_files(pid))
    # On a node: somebody's own shell with an allocation has no such name, and is not ours to kill.
    values = environ(pid)
    return values.get("SLURM_CLUSTER_NAME") == conf.cluster_name(folder) and "SLURMD_NODENAME" in values
