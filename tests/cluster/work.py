"""What tests on a real cluster run there, and how they look at it. Workers import this, too."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from hand import PATIENCE, eventually
from weft import job

WEIRD = 'it\'s "a"\nfolder $HOME %j ü'
LONG = 2 * PATIENCE


# Calls


def square(x):
    return x * x


def variable(name):
    return os.environ.get(name)


def hang(path="started"):
    Path(path).touch()
    time.sleep(600)


def hog():
    much = bytearray(400_000_000)
    time.sleep(600)
    return much


# Looking


def started(path="started"):
    """Whether `hang` is there at last."""
    return eventually(Path(path).exists)


def asked(slurm, command):
    """The command lines with this command that were typed."""
    return [call for call in slurm.calls() if call.split()[0] == command]


# Executors


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from weft import SlurmExecutor

def hang(path):
    Path(path).touch()
    time.sleep(600)

def quick(x):
    return x * 10

if __name__ == "__main__":
"""


def script(tmp_path, body, **options):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + textwrap.indent(textwrap.dedent(body), "    "))
    return subprocess.Popen([sys.executable, path], cwd=tmp_path, stderr=subprocess.PIPE, text=True, **options)


# Jobs


def call(function, **options):
    return job(**options)(function)


def named(run):
    """The state of each job, by its name."""
    return {made if isinstance(made, str) else made.name: state for made, state in run.states.items()}


def ended(run):
    """The run, once it is over."""
    return run.wait(LONG, raise_on_failure=False)


#: A script that submits three jobs, of which the first waits for a file.
PIPELINE = """
@job
def first():
    print("begun", flush=True)
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.05)
    return 5

@job
def second(x):
    return x + 1

@job(array=2)
def third(i):
    return i

if __name__ == "__main__":
    schedule(second.bind(first), third, backend="slurm")
"""
