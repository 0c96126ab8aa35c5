"""Commands of a batch system that a test can count, and twist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hand import PATIENCE

# Each command goes through this: it notes the call, and may be twisted by a test.
WRAPPER = """\
#!/bin/sh
REAL={real}
printf '%s\\0' "{name} $*" >>"{folder}/calls"
{lines}
"""


def run_tool(path: Path, *arguments: object, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Run one of our tools, which must end with this code."""
    command = [sys.executable, str(path), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, **options)
    assert ended.returncode == code, f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended


class Counted:
    """The commands of a batch system, in a folder of their own for a PATH. ``path`` is where the real ones are."""

    def __init__(self, folder: Path, names: Iterable[str], path: str):
        self._bin = folder
        self._names = tuple(names)
        self._real_path = path

    @property
    def path(self) -> str:
        """A PATH on which each command is counted."""
        return f"{self._bin}{os.pathsep}{self._real_path}"

    def calls(self) -> list[str]:
        """The command lines that programs with our ``environ`` have typed, in order: ``"squeue -h --me"``."""
        try:
            return (self._bin / "calls").read_text().split("\0")[:-1]
        except FileNotFoundError:
            return []

    def forget_calls(self) -> None:
        (self._bin / "calls").unlink(missing_ok=True)

    def twist(self, command: str, lines: str) -> None:
        """Have programs with our ``environ`` find these lines of shell as this command; ``"$REAL"`` is the real one.

        ``twist("sbatch", '"$REAL" "$@" >/dev/null; echo no answer >&2; exit 1')``: accepted, but nobody is told.
        """
        wrapper = self._bin / command
        real = shutil.which(command, path=self._real_path)
        text = WRAPPER.format(real=real, name=command, folder=self._bin, lines=lines)
        if wrapper.exists() and wrapper.read_text() == text:
            return
        beside = wrapper.with_suffix(".new")  # somebody may just be running it
        beside.write_text(text)
        beside.chmod(0o755)
        beside.replace(wrapper)

    def straighten(self, command: str) -> None:
        """Have it be itself again."""
        self.twist(command, 'exec "$REAL" "$@"')

    def straighten_all(self) -> None:
        self._bin.mkdir(exist_ok=True)
        for name in self._names:
            self.straighten(name)
