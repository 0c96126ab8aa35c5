"""Programs that use an executor, each in an interpreter of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

from hand import PATIENCE

TESTS = Path(__file__).parent.parent
HEAD = """\
import sys
from pathlib import Path

from contract.executors import candidate

folder = Path(sys.argv[2])
"""
# The exit hook of the standard pool of processes may write into a pipe that its thread is just closing. It says so,
# and nothing else comes of it: CPython gh-125451.
NOISE = re.compile(
    r"Exception ignored in: <module 'threading' .*\n"
    r"Traceback .*\n(?:  .*\n)*  File \".*process\.py\", line \d+, in _python_exit\n(?:  .*\n)*OSError: .*\n"
)
MAKE = "executor = candidate(sys.argv[1]).make(2)\n"


def write_script(folder: Path, body: str, *, guard: bool = True) -> Path:
    """A script with an ``executor`` and a ``folder``, whose body is guarded as standard process pools need it."""
    body = MAKE + dedent(body)
    script = folder / "script.py"
    script.write_text(HEAD + ('\nif __name__ == "__main__":\n' + indent(body, "    ") if guard else body))
    return script


def start(candidate, folder: Path, *command, **options) -> subprocess.Popen:
    """Start Python with this command line, followed by the names of candidate and folder."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    strict = ["-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]
    return subprocess.Popen(
        [sys.executable, *strict, *command, candidate.name, folder],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen, text: str | None = None) -> subprocess.CompletedProcess:
    try:
        stdout, stderr = process.communicate(text, PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, without_noise(stderr))


def without_noise(stderr: str) -> str:
    """What a program has said on stderr, without what is known to be wrong with the standard library's pools."""
    return NOISE.sub("", stderr)


def run_script(candidate, folder: Path, body: str, *, guard: bool = True) -> subprocess.CompletedProcess:
    return finish(start(candidate, folder, write_script(folder, body, guard=guard)))


def run_typed(candidate, folder: Path, body: str) -> subprocess.CompletedProcess:
    """The same as lines that come through standard input, as in an interpreter: there is no file to import."""
    return finish(start(candidate, folder, "-", stdin=subprocess.PIPE), HEAD + MAKE + dedent(body))
