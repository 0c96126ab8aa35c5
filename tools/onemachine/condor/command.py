"""What a user types: ``tools/condor up``, and its own options."""

from __future__ import annotations

import argparse
from pathlib import Path

from onemachine.commandline import Tool, Up, say
from onemachine.condor import identity, programs
from onemachine.condor.cluster import Cluster
from onemachine.condor.conf import SETTINGS
from onemachine.settings import Shape

ABOUT = """\
A real HTCondor on this machine: collector, negotiator, schedd, and a startd for
each of several nodes, which say that they have 8 CPUs each. It listens on
loopback only. All of it is yours, in one folder, and needs no root.

  tools/condor up                  brings HTCondor's programs where they are not
                                   here yet (once, 40 MB; nothing is installed)
  tools/condor status              what runs
  tools/condor down                removes all jobs, stops everything
  tools/condor down --wipe         and forgets all jobs; the folder is removed

Each may be said twice: the second time changes nothing. All take --rootless DIR.
What a pool needs in the environment is all that goes to standard output, so:

  eval "$(tools/condor up --rootless /tmp/mine)"
  condor_submit executable=/bin/sleep arguments=5 -queue 3
  condor_q
"""
EXAMPLES = """\
examples:
  tools/condor up --nodes 4 NEGOTIATOR_INTERVAL=60   as slow as on a large pool
  tools/condor up --rootless /tmp/b --while $$  goes away when this shell ends
  tools/condor stop n2 --kill                   what do my jobs do when a node dies?
  tools/condor start n2

"""


class CondorTool(Tool):
    """``tools/condor``."""

    name = "tools/condor"
    about = ABOUT
    examples = EXAMPLES + SETTINGS.told()
    place = "the pool that is in this folder (default: ~/.local/state/weft/condor)"
    setting = "a line of condor_config, such as NEGOTIATOR_INTERVAL=60"
    shape = Shape(nodes=2)

    def cluster(self, path: Path | None) -> Cluster:
        return Cluster(path, say)

    def up(self, options: argparse.Namespace) -> Up:
        shape = Shape(options.nodes, options.cpus, options.memory, SETTINGS.read(options.settings))
        cluster = self.cluster(options.rootless)
        started = cluster.up(shape, options.port, options.owner)
        return Up(cluster, started, shape, f"HTCondor {programs.require(say).version}")

    def install(self, options: argparse.Namespace) -> None:
        programs.require(say)

    def lacks(self, options: argparse.Namespace) -> str:
        if why := identity.obstacle() or programs.obstacle():
            return why
        return (
            "" if programs.found() else "not here: HTCondor's programs.\nBring them with:\n\n    tools/condor install"
        )


main = CondorTool().main
