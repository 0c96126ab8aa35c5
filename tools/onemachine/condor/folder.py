"""The folder of a pool: its parts.

::

    FOLDER/etc      condor_config
           log      logs
           spool    the schedd's queue, and its history
           execute  one folder for each node: where jobs run
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from onemachine import folder
from onemachine.condor import conf

PARTS = ("etc", "run", "log", "spool", "execute")


class Folder(folder.Folder):
    """Where a pool is. ``path``: None is the one of whoever does not name any."""

    def __init__(self, path: Path | None):
        path = Path(os.path.abspath(path or own()))
        conf.check_folder(path)
        super().__init__(path, 0o700, dict.fromkeys(PARTS, 0o700), "condor_config", conf.HEAD)

    def secret(self) -> str:
        """Of its daemons: 112 hexadecimal digits."""
        file = self / "run" / "secret"
        if not file.exists():
            beside = file.with_suffix(".new")
            beside.touch(mode=0o600)
            beside.write_text(secrets.token_hex(56))
            beside.replace(file)
        return file.read_text()


def own() -> Path:
    """Of those who do not name any."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "weft" / "condor"
