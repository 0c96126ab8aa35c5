"""Executors come and go, and leave nothing behind."""

import gc
import os
import threading
from collections import Counter
from pathlib import Path

import numpy
import pytest

from contract.stage import eventually
from executors import zoo
from hand import PATIENCE
from weft.errors import WorkerDied
from weft.executors import LocalExecutor
from weft.executors.launch import KEEPER

MARK = "WEFT_TEST_MARK"  # an environment variable that all workers of a test have


def open_files() -> list[str]:
    """What this process holds open, without the numbers."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}").partition(":[")[0])
        except FileNotFoundError:
            pass  # the one that listed them
    return sorted(found)


def marked_processes(mark: str) -> set[int]:
    """All processes, wherever they are in the tree, that were started with this mark."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
            except OSError:
                pass  # it has ended, or is somebody else's
    return found


def children() -> set[int]:
    """The children of this process, those that nobody has waited for included.

    Without the one that all executors share: it leaves when it is idle, and comes again.
    """
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(pid for pid in map(int, (task / "children").read_text().split()) if pid != KEEPER._pid)
        except FileNotFoundError:
            pass  # a thread that has ended
    return found


def memory_files() -> set[str]:
    return set(os.listdir("/dev/shm"))


def held() -> Counter[object]:
    gc.collect()
    return Counter([*open_files(), *children(), *threading.enumerate(), *memory_files()])


@pytest.fixture
def nothing_stays(tmp_path, start):
    """Nothing is there after the test that was not there before it. What others have left may go meanwhile."""
    with LocalExecutor(1, start=start) as executor:  # what is made once and kept, such as a forkserver
        executor.submit(zoo.same, 1).result(PATIENCE)
    mark = str(tmp_path)
    before = held()
    yield mark

    def is_as_before():
        return held() <= before and not marked_processes(mark)

    assert eventually(is_as_before), (held() - before, marked_processes(mark))


def once(mark: str, start: str) -> None:
    with LocalExecutor(1, start=start, env={MARK: mark}) as executor:
        assert executor.submit(zoo.same, 1).result(PATIENCE) == 1


def test_an_executor_that_is_shut_down_leaves_nothing(nothing_stays, start):
    for _ in range(5):
        once(nothing_stays, start)


def test_an_executor_that_is_forgotten_leaves_nothing(nothing_stays, start):
    for _ in range(5):
        executor = LocalExecutor(2, start=start, env={MARK: nothing_stays})
        assert executor.submit(zoo.same, 1).result(PATIENCE) == 1
        del executor


def test_an_executor_that_did_nothing_leaves_nothing(nothing_stays, start):
    for _ in range(5):
        LocalExecutor(2, start=start, env={MARK: nothing_stays}).shutdown()
        LocalExecutor(2, start=start, env={MARK: nothing_stays})


def test_crashes_leave_nothing(nothing_stays, start):
    with LocalExecutor(2, start=start, env={MARK: nothing_stays}) as executor:
        futures = [executor.submit(zoo.leave, 3) for _ in range(10)]
        assert all(type(future.exception(PATIENCE)) is WorkerDied for future in futures)


def test_kills_and_timeouts_leave_nothing(nothing_stays, start, tmp_path):
    from contract.stage import Gate

    gate = Gate(tmp_path / "gate")
    with LocalExecutor(2, start=start, env={MARK: nothing_stays}) as executor:
        for _ in range(5):
            future = executor.submit(gate.wait)
            gate.arrived()
            future.kill()
        future = executor.using(time=0.1).submit(gate.wait)
        assert future.exception(PATIENCE)
    gate.close()


@pytest.mark.parametrize("output", ["capture", "files"])
def test_captured_output_leaves_no_open_file(nothing_stays, start, tmp_path, output):
    where = output if output == "capture" else tmp_path / "logs"
    with LocalExecutor(2, start=start, env={MARK: nothing_stays}, output=where) as executor:
        futures = [executor.submit(print, number) for number in range(50)]
        for number, future in enumerate(futures):
            future.result(PATIENCE)
            text = future.output if output == "capture" else Path(future.output_path).read_text()
            assert text == f"{number}\n"
        del future, futures


def test_large_values_leave_no_memory(nothing_stays, start):
    large = numpy.arange(1_000_000)
    with LocalExecutor(2, start=start, env={MARK: nothing_stays}) as executor:
        for _ in range(5):
            assert (executor.submit(zoo.same, large).result(PATIENCE) == large).all()
        crashed = executor.submit(zoo.same, [large, zoo.WhenUnpacked(os._exit, 3)])
        assert type(crashed.exception(PATIENCE)) is WorkerDied
        del crashed


def test_an_executor_that_breaks_leaves_nothing(nothing_stays, start):
    executor = LocalExecutor(2, start=start, env={MARK: nothing_stays}, initializer=os._exit, initargs=(3,))
    assert executor.submit(zoo.same, 1).exception(PATIENCE)
    executor.shutdown()


@pytest.mark.slow(60)
@pytest.mark.timeout(600)
def test_a_thousand_executors_leave_nothing(nothing_stays, start):
    # Those that need a new interpreter for each worker have the same code in the parent; fewer will do.
    for _ in range(100 if start == "spawn" else 1000):
        once(nothing_stays, start)
