"""Graphs of jobs on a real HTCondor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hand import PATIENCE, eventually
from weft import Run, State, after, job, schedule
from weft.errors import JobFailed, WorkflowError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", ["pi.py", "dynamic.py"])
def test_examples_give_the_same_on_a_pool(condor, tmp_path, script):
    said, left = {}, {}
    for backend in ("local", "condor"):
        folder = tmp_path / backend
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, EXAMPLES / script, "--backend", backend],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        said[backend] = [line for line in done.stdout.splitlines() if not line.startswith(("run ", "estimate "))]
        files = [path for path in folder.rglob("*") if path.is_file() and ".weft" not in path.parts]
        left[backend] = {str(path.relative_to(folder)): path.read_text() for path in files}
    assert said["condor"] == said["local"]
    assert left["condor"] == left["local"]


def test_what_waits_for_something_has_a_driver_which_says_why_it_stays(condor, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    @job(array=3)
    def square(i):
        return i * i

    @after(square, status="any")
    @job
    def count():
        return len(list(tmp_path.iterdir()))

    run = schedule(count, backend="condor", poll_interval=0.3)
    assert run.wait(PATIENCE)
    assert set(run.states.values()) == {State.SUCCEEDED}
    assert "condor cannot do it all: what count waits for" in capfd.readouterr().err


def test_what_waits_for_nothing_goes_on_alone(condor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @job(array=4)
    def square(i):
        assert i != 2
        print("square", i)
        return i * i

    run = schedule(square, backend="condor", wait=False)
    assert condor.ask("condor_q", "-af", "ClusterId")
    del run
    run = Run.load("-1")
    with pytest.raises(WorkflowError) as caught:
        run.wait(PATIENCE)
        run.results
    assert isinstance(caught.value.exceptions[0], JobFailed)
    assert eventually(lambda: not condor.ask("condor_q", "-af", "ClusterId"))


def test_a_run_is_cancelled_from_elsewhere(condor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = tmp_path / "begun"

    @job
    def hang():
        import time

        begun.touch()
        time.sleep(1000)

    schedule(hang, backend="condor", wait=False)
    assert eventually(begun.exists)
    weft = [sys.executable, "-m", "weft"]
    status = subprocess.run([*weft, "status", "-1"], capture_output=True, text=True, check=True).stdout
    assert "backend condor" in status
    subprocess.run([*weft, "cancel", "-1"], capture_output=True, text=True, check=True, env={**os.environ})
    assert eventually(lambda: not condor.ask("condor_q", "-af", "ClusterId"))
    assert Run.load("-1").states["hang"] is State.CANCELLED
