"""Each test has a folder, runs and a key of its own, and the command as a function."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from weft.cli.group import _weft


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
