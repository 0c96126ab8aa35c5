"""What a user types: ``tools/slurm up``, and what is printed."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from onemachine import packages
from onemachine.slurm import conf
from onemachine.slurm.cluster import Cluster
from onemachine.slurm.conf import SETTINGS, Shape
from onemachine.slurm.daemons import Daemons, needed
from onemachine.slurm.folder import SYSTEM, Folder
from onemachine.trouble import Trouble

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


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except Trouble as trouble:
        print(f"tools/slurm: error: {trouble}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tools/slurm: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tools/slurm: interrupted; what was started runs on: say up again, or down", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/slurm", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    up = _verb(verbs, "up", _up, "have it run; start what does not")
    up.epilog = EXAMPLES + _told(SETTINGS)
    up.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="a line of slurm.conf, such as KillWait=30")
    up.add_argument("--nodes", type=_count, default=Shape.nodes, help="how many (default: %(default)s)")
    up.add_argument("--cpus", type=_count, default=Shape.cpus, help="that each node says it has (default: %(default)s)")
    up.add_argument(
        "--memory", type=_count, default=Shape.memory, metavar="MB", help="that each node has (default: %(default)s)"
    )
    up.add_argument("--accounting", action="store_true", help="slurmdbd and MariaDB too, for sacct and limits of users")
    up.add_argument("--port", type=_count, metavar="FIRST", help="first of its ports in a row (default: any free ones)")
    up.add_argument(
        "--while", type=_count, dest="owner", metavar="PID", help="down --wipe when this process ends, even by kill -9"
    )

    _verb(verbs, "status", _status, "what runs; exit code 0 if all of it does")
    down = _verb(verbs, "down", _down, "cancel all jobs and stop everything")
    down.add_argument("--wipe", action="store_true", help="at once, and remove all that is left of it")

    start = _verb(verbs, "start", _start, "start single daemons again: slurmctld, n3, ...")
    start.add_argument("names", nargs="+", metavar="DAEMON")
    stop = _verb(verbs, "stop", _stop, "stop single daemons, to see what happens")
    stop.add_argument("names", nargs="+", metavar="DAEMON")
    stop.add_argument("--kill", action="store_true", help="by kill -9, as when a machine dies")

    install = verbs.add_parser("install", help="bring Debian's packages, and start nothing")
    install.set_defaults(run=_install)
    install.add_argument("--accounting", action="store_true", help="those of slurmdbd and MariaDB too")
    install.add_argument("--check", action="store_true", help="only say what is missing, and exit 1 if anything is")
    return parser


def _verb(verbs, name: str, run, about: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verb.set_defaults(run=run)
    verb.add_argument(
        "--rootless",
        type=Path,
        metavar="DIR",
        help="the cluster that is in this folder, all of it yours (default: the one for everybody on this machine)",
    )
    return verb


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return int(text)


def _told(settings: dict[str, str]) -> str:
    lines = [f"  {key}={value}" for key, value in settings.items() if len(value) < 40]
    return "settings, as they are when you say nothing:\n" + "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _cluster(options: argparse.Namespace) -> Cluster:
    return Cluster(Folder(options.rootless), _say)


def _there(options: argparse.Namespace) -> Cluster:
    cluster = _cluster(options)
    if not cluster.folder.exists():
        raise Trouble(
            f"there is no cluster in {cluster.folder.path}; bring one up with:\n\n    {_typed(options, 'up')}"
        )
    return cluster


def _typed(options: argparse.Namespace, verb: str) -> str:
    where = f" --rootless {shlex.quote(str(options.rootless))}" if options.rootless else ""
    return f"tools/slurm {verb}{where}"


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    shape = Shape(options.nodes, options.cpus, options.memory, options.accounting, conf.read_settings(options.settings))
    cluster = _cluster(options)
    was = "is up" if cluster.up(shape, options.port, options.owner) else "was up already"
    version = cluster.ask("sinfo", "--version").strip()
    _say(
        f"{version} {was}: {shape.nodes} nodes of {shape.cpus} CPUs and {shape.memory} MB"
        f"{', with accounting' if shape.accounting else ''} ({time.monotonic() - began:.1f} s)"
    )
    _say(f"folder: {cluster.folder.path}")
    if options.rootless:
        _say("Commands find it by this variable:")
        print(f"export SLURM_CONF={shlex.quote(str(cluster.folder.conf))}", flush=True)
    elif "SLURM_CONF" in os.environ:
        _say("Commands find it without this variable:")
        print("unset SLURM_CONF", flush=True)
    _say(f"Stop it with: {_typed(options, 'down')}")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = _there(options)
    daemons = Daemons(cluster.folder)
    for name, daemon in daemons.all.items():
        process = daemon.process()
        print(f"{name:<10} {f'running, pid {process.pid}' if process else 'stopped'}")
    if daemons.all["slurmctld"].process():
        print(cluster.ask("sinfo", check=False), end="")
    return 0 if daemons.running() == list(daemons.all) else 1


def _down(options: argparse.Namespace) -> int:
    if not _cluster(options).down(wipe=options.wipe):
        _say("nothing was running")
    return 0


def _start(options: argparse.Namespace) -> int:
    _there(options).start(options.names)
    return 0


def _stop(options: argparse.Namespace) -> int:
    _there(options).stop(options.names, signal.SIGKILL if options.kill else signal.SIGTERM)
    return 0


def _install(options: argparse.Namespace) -> int:
    wanted = needed(accounting=options.accounting)
    if not options.check:
        packages.require(wanted, _say)
        return 0
    names = packages.missing(wanted)
    if names:
        print(packages.obstacle(names) or f"not installed: {' '.join(names)}")
    return 1 if names else 0
