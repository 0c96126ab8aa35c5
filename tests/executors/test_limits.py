"""What the system has not enough of, and what is gone when it is needed."""

import shutil
import subprocess
import sys

import pytest

from executors import zoo
from hand import PATIENCE
from weft.executors import LocalExecutor

MANY_FILES = """
import os, resource
from weft.executors import LocalExecutor

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if hard < 2000:
    raise SystemExit(77)
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
with LocalExecutor(1) as ex:
    died = ex.submit(os._exit, 3).exception()
    print(type(died).__name__, died.exitcode, ex.submit(abs, -3).result())
"""

NO_FILES = """
import os, resource
from weft.errors import ExecutorBroken
from weft.executors import LocalExecutor

def files():
    return len(os.listdir("/proc/self/fd"))

with LocalExecutor(1) as ex:  # all is imported, and the keeper is there
    ex.submit(abs, -3).result()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
before = files()
for more in range(3, 12):  # enough for the executor itself, too few for its worker: in each place once
    ex = LocalExecutor(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + more - 1, hard))
    error = ex.submit(abs, -3).exception()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ex.shutdown()
    del ex
    assert isinstance(error, ExecutorBroken) and "Too many open files" in str(error), (more, error)
    assert files() <= before, (more, files(), before)
print("ended")
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_an_end_is_seen_in_a_process_with_more_than_1024_files():
    ended = run(MANY_FILES)
    if ended.returncode == 77:
        pytest.skip("this process may not have 2000 files")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("WorkerDied 3 3\n", "", 0)


def test_without_files_for_a_worker_the_future_ends_and_no_file_stays_open():
    ended = run(NO_FILES)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ended\n", "", 0)


def test_a_folder_for_logs_that_has_been_deleted_fails_the_task_and_not_its_worker(tmp_path):
    with LocalExecutor(1, output=tmp_path / "logs") as executor:
        worker = executor.submit(zoo.pid).result(PATIENCE)
        shutil.rmtree(tmp_path / "logs")
        with pytest.raises(FileNotFoundError, match="logs"):
            executor.submit(zoo.same, 1).result(PATIENCE)
        (tmp_path / "logs").mkdir()
        assert executor.submit(zoo.pid).result(PATIENCE) == worker
