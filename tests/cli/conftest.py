"""Each test has a folder, runs and a key of its own, and the command as a function."""

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from weft.cli.group import _weft

PIPELINE = """
import sys, time

@job(array=3)
def estimate(i):
    print("estimate", i)
    return i

@after(estimate)
@job
def merge():
    print("merged")

@job
def broken():
    print("before")
    raise ValueError("the lamp is off")

@after(broken)
@job(name="never / reached")
def never(): ...

@after(broken, status="failure")
@job
def clean_up(): ...

if __name__ == "__main__":
    schedule(merge, never, clean_up, raise_on_failure="--loud" in sys.argv)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEFT_DIR", raising=False)
    monkeypatch.delenv("WEFT_BACKEND", raising=False)
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "key"))
    return tmp_path


@pytest.fixture
def weft():
    """``weft("status", "-1")``: what it prints; ``code=`` is what it must end with."""

    def weft(*arguments, code=0):
        done = CliRunner().invoke(_weft, [str(argument) for argument in arguments], prog_name="weft")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return weft


@pytest.fixture
def script(folder):
    """``script(text)``: a file with this text; ``script.run(path)`` runs it."""

    def script(text, name="pipe line.py"):
        path = folder / name
        path.write_text("from weft import *\n" + text)
        return path

    def run(path, *arguments, code=0):
        command = [sys.executable, path, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == code, done.stderr
        return done

    script.run = run
    return script


@pytest.fixture(scope="session")
def pipeline_run(tmp_path_factory):
    """A folder in which PIPELINE has been run, with the key."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "pipe line.py").write_text("from weft import *\n" + PIPELINE)
    environ = {name: value for name, value in os.environ.items() if name not in ("WEFT_DIR", "WEFT_BACKEND")}
    subprocess.run(
        [sys.executable, "pipe line.py"],
        cwd=folder,
        env={**environ, "WEFT_KEY_FILE": str(folder / "key")},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def ran(folder, pipeline_run):
    """``ran(2)``: as if PIPELINE had been run twice in the test's folder. Results are the first one's only."""

    def ran(count=1):
        shutil.copy2(pipeline_run / "key", folder / "key")
        shutil.copytree(pipeline_run / ".weft", folder / ".weft")
        (run,) = (folder / ".weft" / "runs").iterdir()
        for number in range(1, count):
            shutil.copytree(run, run.with_name(f"30000101T000000.00{number}Z-pipe_line-000{number}"))

    return ran
