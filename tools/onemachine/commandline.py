"""What a user types, whichever batch system it is: verbs, options, settings, and how trouble is told."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from onemachine.cluster import Cluster
from onemachine.settings import Shape
from onemachine.trouble import Trouble


class Up(NamedTuple):
    """What ``up`` has come to."""

    cluster: Cluster
    started: bool  # whether anything had to be done
    shape: Shape
    program: str  # with its version


class Tool(ABC):
    """A command such as ``tools/slurm``.

    Attributes
    ----------
    name, about
        What it is called, and what its ``--help`` says.
    examples
        What ``up --help`` says at its end.
    place
        What ``--rootless DIR`` means, and what holds without it.
    setting
        What a setting is, with an example.
    shape
        The one of a cluster of which nothing is said.
    """

    name: str
    about: str
    examples: str
    place: str
    setting: str
    shape: Shape

    @abstractmethod
    def cluster(self, path: Path | None) -> Cluster:
        """The one of this folder, or of none that was named."""

    def add_up(self, up: argparse.ArgumentParser) -> None:
        """Its own options of ``up``."""
        return

    @abstractmethod
    def up(self, options: argparse.Namespace) -> Up:
        """Have it run."""

    def add_install(self, install: argparse.ArgumentParser) -> None:
        """Its own options of ``install``."""
        return

    @abstractmethod
    def install(self, options: argparse.Namespace) -> None:
        """Have its programs."""

    @abstractmethod
    def lacks(self, options: argparse.Namespace) -> str:
        """What is missing of its programs, and how it comes here; empty: nothing."""

    def main(self, arguments: list[str] | None = None) -> int:
        """Do what the arguments say; returns the exit code."""
        options = self._parser().parse_args(arguments)
        try:
            return int(options.run(options))
        except Trouble as trouble:
            print(f"{self.name}: error: {trouble}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"{self.name}: error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted; what was started runs on: say up again, or down", file=sys.stderr)
            return 130

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=self.name, description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        verbs = parser.add_subparsers(metavar="VERB", required=True)

        up = self._verb(verbs, "up", self._up, "have it run; start what does not")
        up.epilog = self.examples
        up.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=self.setting)
        for name, metavar, about in (
            ("nodes", None, "how many"),
            ("cpus", None, "that each node says it has"),
            ("memory", "MB", "that each node has"),
        ):
            default = getattr(self.shape, name)
            up.add_argument(
                f"--{name}", type=count, default=default, metavar=metavar, help=f"{about} (default: {default})"
            )
        self.add_up(up)
        up.add_argument("--port", type=count, metavar="FIRST", help="first of its ports in a row (default: any free)")
        up.add_argument(
            "--while",
            type=count,
            dest="owner",
            metavar="PID",
            help="down --wipe when this process ends, even by kill -9",
        )

        self._verb(verbs, "status", self._status, "what runs, and how to use it; exit code 0 if all of it runs")
        down = self._verb(verbs, "down", self._down, "cancel all jobs and stop everything")
        down.add_argument("--wipe", action="store_true", help="at once, and remove all that is left of it")

        start = self._verb(verbs, "start", self._start, "start single daemons again; status names them")
        start.add_argument("names", nargs="+", metavar="DAEMON")
        stop = self._verb(verbs, "stop", self._stop, "stop single daemons, to see what happens")
        stop.add_argument("names", nargs="+", metavar="DAEMON")
        stop.add_argument("--kill", action="store_true", help="by kill -9, as when a machine dies")

        install = verbs.add_parser("install", help="bring Debian's packages, and start nothing")
        install.set_defaults(run=self._install)
        install.add_argument("--check", action="store_true", help="only say what is missing; exit 1 if anything is")
        self.add_install(install)
        return parser

    def _verb(self, verbs, name: str, run, about: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
        verb: argparse.ArgumentParser = verbs.add_parser(
            name, help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        verb.set_defaults(run=run)
        verb.add_argument("--rootless", type=Path, metavar="DIR", help=self.place)
        return verb

    def _up(self, options: argparse.Namespace) -> int:
        began = time.monotonic()
        cluster, started, shape, program = self.up(options)
        was = "is up" if started else "was up already"
        say(f"{program} {was}: {shape} ({time.monotonic() - began:.1f} s)")
        say(f"folder: {cluster.folder.path}")
        if exports := cluster.exports():
            how = "without" if exports[0].startswith("unset ") else "by"
            say(f"Commands find it {how} {'this variable' if len(exports) == 1 else 'these variables'}:")
            print("\n".join(exports), flush=True)
        say(f"Stop it with: {self._typed(options, 'down')}")
        return 0

    def _status(self, options: argparse.Namespace) -> int:
        cluster = self._there(options)
        daemons = cluster.daemons()
        for name, daemon in daemons.all.items():
            process = daemon.process()
            print(f"{name:<10} {f'running, pid {process.pid}' if process else 'stopped'}")
        print("\n".join([cluster.overview().rstrip("\n"), *cluster.exports()]).lstrip("\n"))
        return 0 if daemons.running() == list(daemons.all) else 1

    def _down(self, options: argparse.Namespace) -> int:
        if not self.cluster(options.rootless).down(wipe=options.wipe):
            say("nothing was running")
        return 0

    def _start(self, options: argparse.Namespace) -> int:
        self._there(options).start(options.names)
        return 0

    def _stop(self, options: argparse.Namespace) -> int:
        self._there(options).stop(options.names, signal.SIGKILL if options.kill else signal.SIGTERM)
        return 0

    def _install(self, options: argparse.Namespace) -> int:
        if not options.check:
            self.install(options)
            return 0
        if lacks := self.lacks(options):
            print(lacks)
        return 1 if lacks else 0

    def _there(self, options: argparse.Namespace) -> Cluster:
        cluster = self.cluster(options.rootless)
        if not cluster.folder.exists():
            raise Trouble(
                f"there is no cluster in {cluster.folder.path}; bring one up with:\n\n    {self._typed(options, 'up')}"
            )
        return cluster

    def _typed(self, options: argparse.Namespace, verb: str) -> str:
        where = f" --rootless {shlex.quote(str(options.rootless))}" if options.rootless else ""
        return f"{self.name} {verb}{where}"


def count(text: str) -> int:
    """A number of something, above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return int(text)


def say(text: str) -> None:
    """Tell the user. Standard output is for the shell."""
    print(text, file=sys.stderr)
