"""Processes that are not children: who they are, whether they live, how they end; and daemons, which a folder owns."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from onemachine.trouble import Trouble

PATIENCE = 20  # seconds for a daemon to come up, or to end after SIGTERM


class Process(NamedTuple):
    """One process. Its number alone may belong to another one by now; with the time of its start it does not."""

    pid: int
    born: int  # clock ticks since boot

    @classmethod
    def at(cls, pid: int) -> Process | None:
        """The process that has this number now. A zombie is none: it does nothing any more."""
        stat = _stat(pid)
        return cls(pid, int(stat[19])) if stat and stat[0] not in "ZX" else None

    @classmethod
    def read(cls, record: Path) -> Process | None:
        """The process that a file tells of, if it lives."""
        try:
            pid, born = record.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        process = cls(int(pid), int(born))
        return process if process.alive() else None

    def write(self, record: Path) -> None:
        record.write_text(f"{self.pid} {self.born}\n")

    def alive(self) -> bool:
        return Process.at(self.pid) == self

    def send(self, number: int) -> None:
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send it this signal, and SIGKILL where it does not end; return when it has."""
        self.send(number)
        if not self.ended(PATIENCE):
            self.send(signal.SIGKILL)
            self.ended(PATIENCE)

    def ended(self, timeout: float | None = None) -> bool:
        """Whether it ends within so many seconds; None waits for as long as it takes."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:  # a kernel that does not have it
            return reached(lambda: not self.alive(), timeout, pause=0.05)
        try:
            # It may have ended, and its number be another's, before the number was opened.
            return not self.alive() or bool(select.select([fd], [], [], timeout)[0])
        finally:
            os.close(fd)


@dataclass(frozen=True)
class Daemon:
    """A process that goes on when the command that started it has ended; ``record`` says which one it is."""

    name: str
    argv: Sequence[str]
    record: Path
    output: Path  # what it writes before it has a log, and why it could not start
    environ: Mapping[str, str]
    user: str | None = None  # None: as we are

    def process(self) -> Process | None:
        """The one that runs."""
        return Process.read(self.record)

    def start(self) -> bool:
        """Whether it had to be started."""
        if self.process():
            return False
        with open(self.output, "wb") as output:
            child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environ,
                cwd="/",
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        if process := Process.at(child.pid):
            process.write(self.record)
        child.returncode = 0  # it is to outlive us, which Popen would complain about
        return True

    def ready(self, answers: Callable[[], object]) -> None:
        """Wait until it answers; Trouble, with what it has said, when it ends before or takes too long."""
        if not reached(lambda: answers() or not self.process()) or not self.process():
            why = "does not answer" if self.process() else "has ended"
            raise Trouble(f"{self.name} {why}. The end of {self.output}:\n{tail(self.output)}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, with SIGKILL where it does not listen."""
        if process := self.process():
            process.end(number)
        self.record.unlink(missing_ok=True)


def reached(holds: Callable[[], object], timeout: float | None = PATIENCE, pause: float = 0.005) -> bool:
    """Whether it holds at last: of what sends no word."""
    end = None if timeout is None else time.monotonic() + timeout
    while not holds():
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def kill_all(find: Callable[[], Iterable[Process]]) -> bool:
    """Kill what ``find`` finds until it finds nothing, since that may have started more; whether there was anything."""
    for again in range(10):
        found = list(find())
        if not found:
            return again > 0
        for process in found:
            process.send(signal.SIGKILL)
        for process in found:
            process.ended(PATIENCE)
    return True


def pids() -> Iterator[int]:
    """Of all processes that run now."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def descendants(roots: Iterable[int]) -> set[int]:
    """These and their children, and so on."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        if stat := _stat(pid):
            children.setdefault(int(stat[1]), []).append(pid)
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def families(mine: Callable[[int], bool]) -> list[Process]:
    """The processes that are ``mine``, and what they have started."""
    roots = []
    for pid in pids():
        try:
            if mine(pid):
                roots.append(pid)
        except OSError:  # it has ended, or is nobody's whom we may ask
            continue
    return [process for pid in descendants(roots) if (process := Process.at(pid))] if roots else []


def program(pid: int) -> str:
    """The file that a process runs."""
    return os.readlink(f"/proc/{pid}/exe")


def environ(pid: int) -> dict[str, str]:
    """What a process was started with."""
    text = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
    return {name: value for name, sign, value in (entry.partition("=") for entry in text.split("\0")) if sign}


def open_files(pid: int) -> Iterator[str]:
    """What a process has open: paths, and what the kernel calls those that have none."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue


def tail(file: Path, lines: int = 8) -> str:
    """Its last lines, indented."""
    try:
        text = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        text = []
    return "\n".join(f"    {line}" for line in text[-lines:]) or "    (nothing)"


def _stat(pid: int) -> list[str]:
    """The fields from /proc that follow the name; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
