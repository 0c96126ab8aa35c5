"""What a pool has left behind: what its jobs have started, and daemons that no record tells of any more."""

from __future__ import annotations

import os
from pathlib import Path

from onemachine.processes import environ, families, kill_all, open_files, program

# Those that go on by themselves; and not a condor_wait that somebody has typed.
DAEMONS = ("collector", "negotiator", "schedd", "startd", "starter", "shadow", "procd", "dagman", "gridmanager")


def kill_leftovers(folder: Path) -> bool:
    """Kill all that is of the pool in this folder, which may have been removed; whether there was anything."""
    return kill_all(lambda: families(lambda pid: _is_of(folder, pid)))


def _is_of(folder: Path, pid: int) -> bool:
    name = os.path.basename(program(pid)).removesuffix(" (deleted)")
    if name.startswith("condor_"):
        return name.removeprefix("condor_") in DAEMONS and (
            environ(pid).get("CONDOR_CONFIG") == f"{folder}/etc/condor_config"
            or any(path.startswith(f"{folder}/log/") for path in open_files(pid))
        )
    return environ(pid).get("_CONDOR_SCRATCH_DIR", "").startswith(f"{folder}/execute/")
