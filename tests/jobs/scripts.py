"""Scripts with jobs, each in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from hand import PATIENCE

HEAD = """\
import os, sys, time
from pathlib import Path
from weft import *
"""


def write(folder: Path, body: str, name: str = "script.py") -> Path:
    """A script with this body, which finds the names of `weft`."""
    script = folder / name
    script.write_text(HEAD + dedent(body))
    return script


def start(script: Path, *args: str, **options) -> subprocess.Popen:
    """Run it in its folder."""
    environment = {name: value for name, value in os.environ.items() if name != "WEFT_DIR"}  # it is beside the script
    return subprocess.Popen(
        [sys.executable, "-W", "error", script, *args],
        cwd=script.parent,
        env={**environment, **options.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Its end."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run(folder: Path, body: str, *args: str, **options) -> subprocess.CompletedProcess:
    """Write it, run it, wait for its end."""
    return finish(start(write(folder, body), *args, **options))
