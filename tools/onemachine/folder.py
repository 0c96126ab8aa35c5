"""The folder of a cluster: its parts, its configuration files, and who changes something in it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from onemachine.trouble import Trouble


class Folder:
    """Where a cluster is, whatever its batch system.

    ::

        FOLDER/etc   configuration files
               run   which process each daemon is; what it has said before it had a log
               log   their logs
               ...   what else the batch system wants
               lock  held by a command that changes something

    Parameters
    ----------
    path
        Absolute.
    mode
        Its permissions.
    parts
        All folders in it, with their permissions.
    conf
        The main one of its configuration files, in ``etc``.
    head
        The first line of that file, by which we know our own.
    """

    def __init__(self, path: Path, mode: int, parts: Mapping[str, int], conf: str, head: str):
        self.path = path
        self.conf = self / "etc" / conf
        self._mode = mode
        self._parts = parts
        self._head = head

    def __truediv__(self, part: str) -> Path:
        return self.path / part

    def exists(self) -> bool:
        """Whether there is a cluster in it, running or not."""
        return self.is_ours(self.conf)

    def is_ours(self, file: Path) -> bool:
        """Whether it is a configuration file that was written here."""
        try:
            return file.read_text().startswith(self._head)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def make(self) -> None:
        """Have all its parts; never in a folder that is used for something else, since ``remove`` removes them."""
        if self.path.is_dir() and set(os.listdir(self.path)) - {*self._parts, "lock"}:
            raise Trouble(f"{self.path} has other things in it: name a folder that is empty, or not there")
        self.path.mkdir(parents=True, exist_ok=True)
        if self.path.stat().st_uid != os.geteuid():
            raise Trouble(f"{self.path} is somebody else's: name a folder of your own, or one that is not there")
        self.path.chmod(self._mode)
        for part, mode in self._parts.items():
            (self / part).mkdir(exist_ok=True)
            (self / part).chmod(mode)

    def written(self) -> dict[str, str]:
        """The configuration files, by name."""
        return {file.name: file.read_text() for file in (self / "etc").iterdir()}

    def write(self, texts: Mapping[str, str]) -> None:
        """Write configuration files, and have no others."""
        for name in set(self.written()) - set(texts):
            (self / "etc" / name).unlink()
        for name, text in texts.items():
            (self / "etc" / name).write_text(text)

    def remove(self) -> None:
        """All parts of it, and the folder itself unless somebody has put something there."""
        for part in self._parts:
            shutil.rmtree(self / part, ignore_errors=True)
        (self / "lock").unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:
            pass

    @contextmanager
    def locked(self) -> Iterator[int]:
        """While one command changes something, others wait. Gives the descriptor that holds the lock."""
        with locked(self / "lock") as lock:
            yield lock


@contextmanager
def locked(file: Path) -> Iterator[int]:
    """Hold this file's lock; gives its descriptor."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
