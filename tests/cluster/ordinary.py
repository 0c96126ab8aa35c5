"""An ordinary user, for tests that run as root: scripts that run as one, with a cluster of their own."""

from __future__ import annotations

import importlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from cluster.daemons import TOOL
from hand import PATIENCE

NEEDED = ("weft", "click", "cloudpickle", "typeguard", "typing_extensions")


class Ordinary:
    """Runs scripts as ``nobody``, in a folder of theirs; as ourselves where we are no root.

    The folder has copies of weft and of what it needs, and ``python`` may be another one: this checkout and this
    interpreter may be where only root can read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._slurm = folder / "slurm"
        lib = folder / "lib"
        for name in NEEDED:
            source = Path(importlib.import_module(name).__file__)
            if source.name == "__init__.py":
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source.parent, lib / source.parent.name, ignore=ignored)
            else:
                shutil.copy(source, lib / source.name)
        shutil.copytree(TOOL.parent, folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        self.environ = {
            "HOME": str(folder),
            "PATH": os.defpath,
            "PYTHONPATH": str(lib),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SLURM_CONF": str(self._slurm / "etc" / "slurm.conf"),
            "WEFT_KEY_FILE": str(folder / "key"),
        }
        folder.chmod(0o700)
        self._own(folder)
        self.python = self._interpreter()

    def up(self) -> None:
        self._done([self.folder / "tools" / "slurm", "up", "--rootless", self._slurm, "--while", str(os.getpid())])

    def down(self) -> None:
        self._done([self.folder / "tools" / "slurm", "down", "--rootless", self._slurm, "--wipe"])
        shutil.rmtree(self.folder)

    def run(self, script: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess:
        """Run this text as a Python script, which must end with this code."""
        file = self.folder / "script.py"
        file.write_text(script)
        self._own(file)
        return self._done([file, *arguments], code)

    def _interpreter(self) -> str:
        tried = {}
        for python in dict.fromkeys([sys._base_executable, "/usr/bin/python3", "/usr/local/bin/python3"]):
            try:
                ended = self._started([python, "-c", "import sys, weft; sys.exit(sys.version_info < (3, 11))"])
            except OSError as error:
                tried[python] = str(error)
                continue
            if ended.returncode == 0:
                return python
            tried[python] = ended.stderr.strip()[-200:]
        raise LookupError(f"{self.name} has no Python 3.11 or newer here: {tried}")

    def _done(self, command: list, code: int = 0) -> subprocess.CompletedProcess:
        ended = self._started([self.python, *map(str, command)])
        assert ended.returncode == code, f"ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        return ended

    def _started(self, command: list[str]) -> subprocess.CompletedProcess:
        root = os.geteuid() == 0
        user = pwd.getpwnam(self.name)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
            user=user.pw_uid if root else None,
            group=user.pw_gid if root else None,
            extra_groups=[] if root else None,
        )

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(self.name)
            for each in [path, *path.rglob("*")]:
                os.chown(each, user.pw_uid, user.pw_gid)
