"""What a test on a real cluster needs is there, or the test is left out; where nothing may be left out it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def have_programs(tool: Path, system: str, variable: str, *options: str) -> None:
    """Have the programs of a batch system, as its tool can tell. ``variable``: with it, their lack is a failure."""
    command = [sys.executable, tool, "install", "--check", *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        leave_out(f"no {system} here: {(ended.stdout + ended.stderr).splitlines()[0]}", variable)


def leave_out(reason: str, variable: str) -> None:
    """Leave out this test; with this variable in the environment, have it fail."""
    if os.environ.get(variable):
        pytest.fail(f"{reason}\n{variable} is set, so this is a failure", pytrace=False)
    pytest.skip(reason)
