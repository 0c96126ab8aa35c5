"""The folder of a Slurm: its parts, and whose they are.

::

    FOLDER/etc       slurm.conf, gres.conf, cgroup.conf, slurmdbd.conf
           munge     the key, the socket
           log       logs; jobcomp.log: each job that has ended
           state     the controller's memory
           spool     one folder for each node
           database  MariaDB's, used with accounting only
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from onemachine import folder
from onemachine.slurm import conf

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


class Folder(folder.Folder):
    """Where a Slurm is. ``path``: of somebody's own one; None: of the one for everybody."""

    def __init__(self, path: Path | None):
        self.system_wide = path is None
        mode = 0o755 if self.system_wide else 0o700
        parts = {part: 0o700 if part in PRIVATE else mode for part in PARTS}
        super().__init__(Path(os.path.abspath(path or SYSTEM)), mode, parts, "slurm.conf", conf.HEAD)
        conf.check_folder(self.path)

    def user(self, name: str) -> str | None:
        """The user that Debian's packages bring, for the cluster for everybody; None: as we are."""
        return name if self.system_wide else None

    def give(self, path: Path, name: str) -> None:
        """To this user, where it is the cluster for everybody."""
        if user := self.user(name):
            os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(user).gr_gid)

    def make(self) -> None:
        super().make()
        for part, user in PARTS.items():
            if user:
                self.give(self / part, user)

    def write(self, texts: Mapping[str, str]) -> None:
        if "slurmdbd.conf" in texts:
            file = self / "etc" / "slurmdbd.conf"
            file.touch(mode=0o600)  # or slurmdbd refuses it
            self.give(file, "slurm")
        super().write(texts)
        # In a folder that has been moved the cluster has a new name, which the controller's memory would refuse.
        name_file = self / "state" / "clustername"
        if name_file.exists() and name_file.read_text().strip() != conf.value(texts["slurm.conf"], "ClusterName"):
            name_file.unlink()
