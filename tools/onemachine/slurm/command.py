"""What a user types: ``tools/slurm up``, and its own options."""

from __future__ import annotations

import argparse
from pathlib import Path

from onemachine import packages
from onemachine.commandline import Tool, Up, say
from onemachine.slurm.cluster import Cluster
from onemachine.slurm.conf import SETTINGS, Shape
from onemachine.slurm.daemons import needed
from onemachine.slurm.folder import SYSTEM

ABOUT = f"""\
A real Slurm on this machine: munge, slurmctld, and a slurmd for each of several
nodes, which say that they have 8 CPUs each. It listens on loopback only.

  tools/slurm up                   for everybody on this machine. For root, on
                                   Debian: installs what is missing. It is in
                                   {SYSTEM}
  tools/slurm up --rootless DIR    for yourself alone, all of it in one folder.
                                   Needs no root, and is up in half a second
  tools/slurm status               what runs
  tools/slurm down                 cancels all jobs, stops everything
  tools/slurm down --wipe          and forgets all jobs; the folder is removed

Each may be said twice: the second time changes nothing. All take --rootless DIR.
What a cluster needs in the environment is all that goes to standard output, so:

  eval "$(tools/slurm up --rootless /tmp/mine)"
  sbatch --wrap 'hostname; sleep 5'
  squeue
"""
EXAMPLES = """\
examples:
  tools/slurm up --nodes 8 --accounting        with sacct: slurmdbd and MariaDB
  tools/slurm up --rootless /tmp/a MinJobAge=9  jobs that ended are soon forgotten
  tools/slurm up --rootless /tmp/b --while $$  goes away when this shell ends
  tools/slurm stop n3 --kill                   what do my jobs do when a node dies?
  tools/slurm start n3

"""


class SlurmTool(Tool):
    """``tools/slurm``."""

    name = "tools/slurm"
    about = ABOUT
    examples = EXAMPLES + SETTINGS.told()
    place = "the cluster that is in this folder, all of it yours (default: the one for everybody on this machine)"
    setting = "a line of slurm.conf, such as KillWait=30"
    shape = Shape()

    def cluster(self, path: Path | None) -> Cluster:
        return Cluster(path, say)

    def add_up(self, up: argparse.ArgumentParser) -> None:
        up.add_argument(
            "--accounting", action="store_true", help="slurmdbd and MariaDB too, for sacct and limits of users"
        )

    def up(self, options: argparse.Namespace) -> Up:
        settings = SETTINGS.read(options.settings)
        shape = Shape(options.nodes, options.cpus, options.memory, settings, options.accounting)
        cluster = self.cluster(options.rootless)
        started = cluster.up(shape, options.port, options.owner)
        return Up(cluster, started, shape, cluster.ask("sinfo", "--version").strip())

    def add_install(self, install: argparse.ArgumentParser) -> None:
        install.add_argument("--accounting", action="store_true", help="those of slurmdbd and MariaDB too")

    def install(self, options: argparse.Namespace) -> None:
        packages.require(needed(accounting=options.accounting), say)

    def lacks(self, options: argparse.Namespace) -> str:
        names = packages.missing(needed(accounting=options.accounting))
        return packages.obstacle(names) or (f"not installed: {' '.join(names)}" if names else "")


main = SlurmTool().main
