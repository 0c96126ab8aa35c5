"""The folder of a cluster: its parts, whose they are, and who changes something in it.

::

    FOLDER/etc       slurm.conf, gres.conf, cgroup.conf, slurmdbd.conf
           munge     the key, the socket
           run       which process each daemon is; what it has said before it had a log
           log       their logs; jobcomp.log: each job that has ended
           state     the controller's memory
           spool     one folder for each node
           database  MariaDB's, used with accounting only
           lock      held by a command that changes something
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from onemachine.slurm import conf
from onemachine.trouble import Trouble

SYSTEM = Path("/var/lib/weft-slurm")  # the cluster for everybody on this machine
PARTS = {
    "etc": None,
    "munge": "munge",
    "run": None,
    "log": "slurm",
    "state": "slurm",
    "spool": None,
    "database": "slurm",
}
PRIVATE = ("state", "database")


class Folder:
    """Where a cluster is. ``path``: of somebody's own one; None: of the one for everybody."""

    def __init__(self, path: Path | None):
        self.system_wide = path is None
        self.path = Path(os.path.abspath(path or SYSTEM))
        conf.check_folder(self.path)

    def __truediv__(self, part: str) -> Path:
        return self.path / part

    @property
    def conf(self) -> Path:
        return self / "etc" / "slurm.conf"

    def exists(self) -> bool:
        """Whether there is a cluster in it, running or not."""
        return is_ours(self.conf)

    def user(self, name: str) -> str | None:
        """The user that Debian's packages bring, for the cluster for everybody; None: as we are."""
        return name if self.system_wide else None

    def give(self, path: Path, name: str) -> None:
        """To this user, where it is the cluster for everybody."""
        if user := self.user(name):
            os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(user).gr_gid)

    def make(self) -> None:
        """Have all its parts; never in a folder that is used for something else, since ``remove`` removes them."""
        if self.path.is_dir() and set(os.listdir(self.path)) - {*PARTS, "lock"}:
            raise Trouble(f"{self.path} has other things in it: name a folder that is empty, or not there")
        mode = 0o755 if self.system_wide else 0o700
        self.path.mkdir(parents=True, exist_ok=True)
        if self.path.stat().st_uid != os.geteuid():
            raise Trouble(f"{self.path} is somebody else's: name a folder of your own, or one that is not there")
        self.path.chmod(mode)
        for part, user in PARTS.items():
            (self / part).mkdir(exist_ok=True)
            (self / part).chmod(0o700 if part in PRIVATE else mode)
            if user:
                self.give(self / part, user)

    def written(self) -> dict[str, str]:
        """The configuration files, by name."""
        return {file.name: file.read_text() for file in (self / "etc").iterdir()}

    def write(self, texts: Mapping[str, str]) -> None:
        """Write configuration files, and have no others."""
        for name in set(self.written()) - set(texts):
            (self / "etc" / name).unlink()
        for name, text in texts.items():
            file = self / "etc" / name
            if name == "slurmdbd.conf":
                file.touch(mode=0o600)  # or slurmdbd refuses it
                self.give(file, "slurm")
            file.write_text(text)
        # In a folder that has been moved the cluster has a new name, which the controller's memory would refuse.
        name_file = self / "state" / "clustername"
        if name_file.exists() and name_file.read_text().strip() != conf.value(texts["slurm.conf"], "ClusterName"):
            name_file.unlink()

    def remove(self) -> None:
        """All parts of it, and the folder itself unless somebody has put something there."""
        for part in PARTS:
            shutil.rmtree(self / part, ignore_errors=True)
        (self / "lock").unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:
            pass

    @contextmanager
    def locked(self) -> Iterator[int]:
        """While one command changes something, others wait. Gives the descriptor that holds the lock."""
        lock = os.open(self / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)


def is_ours(file: Path) -> bool:
    """Whether it is a configuration file that was written here."""
    try:
        return file.read_text().startswith(conf.HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return False
