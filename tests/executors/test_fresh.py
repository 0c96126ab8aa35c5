"""With fresh=True each task has a worker of its own, and is done when nothing of that is left."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from hand import PATIENCE
from weft import LocalExecutor
from weft.errors import TaskTimeout, WorkerDied


def state(pid):
    """Of a process: Z where it has ended and nobody has asked, also where it is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def leave_a_child():
    return os.getpid(), subprocess.Popen(["sleep", "1000"]).pid


@pytest.fixture(params=["forkserver", pytest.param("fork", marks=pytest.mark.forks)])
def executor(request):
    with LocalExecutor(4, start=request.param, fresh=True) as executor:
        yield executor


def test_each_task_has_a_worker_of_its_own(executor):
    futures = [executor.submit(os.getpid) for _ in range(6)]
    assert len({future.result(PATIENCE) for future in futures}) == 6
    assert sorted(executor.map(abs, [-1, -2, 3])) == [1, 2, 3]


def test_a_task_is_done_when_all_that_it_has_left_is_gone(executor):
    worker, child = executor.submit(leave_a_child).result(PATIENCE)
    assert state(worker) == "Z"
    deadline = time.monotonic() + PATIENCE
    while state(child) not in "ZX":  # SIGKILL has been sent, and is on its way at most
        assert time.monotonic() < deadline


def test_failures_deaths_and_time_limits_are_told_as_ever(executor):
    failing = executor.submit(int, "x")
    dying = executor.submit(os._exit, 3)
    late = executor.using(time=0.2).submit(time.sleep, 1000)
    quick = executor.using(time=1000).submit(abs, -1)
    again = executor.using(retries=2).submit(int, "y")
    assert isinstance(failing.exception(PATIENCE), ValueError)
    assert isinstance(dying.exception(PATIENCE), WorkerDied)
    assert isinstance(late.exception(PATIENCE), TaskTimeout)
    assert isinstance(again.exception(PATIENCE), ValueError)
    assert quick.result(PATIENCE) == 1


def test_all_is_done_at_shutdown():
    with LocalExecutor(2, fresh=True) as executor:
        futures = [executor.submit(abs, -n) for n in range(5)]
    assert [future.result(0) for future in futures] == [0, 1, 2, 3, 4]
