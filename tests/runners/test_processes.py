import multiprocessing
import os
import subprocess
import sys
import threading
import traceback
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from hand import PATIENCE, done
from runners.zoo import (
    add,
    break_out,
    describe,
    fail,
    lock,
    picky,
    take,
    unpackable,
    vanish,
    where,
    wrong_shape,
    wrong_type,
)
from weft import ConcurrentRunner, LocalExecutor, task
from weft.errors import ArgumentError, ResultError, TaskError
from weft.runners.remote import RemoteFuture

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(params=[False, True], ids=["direct", "scheduled"])
def schedule(request):
    return request.param


@pytest.fixture(scope="module", params=["bytes", "objects"])
def shared_pool(request):
    """An executor that is given bytes, and one that packs objects by itself."""
    if request.param == "objects":
        with LocalExecutor(2) as executor:
            yield executor
        return
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield pool


@pytest.fixture
def run(schedule, shared_pool):
    return ConcurrentRunner(schedule, shared_pool)


def test_calls_run_in_other_processes(run):
    assert run(where).result(PATIENCE) != os.getpid()
    assert run(add, run(add, 1)).result(PATIENCE) == 3
    parts = run(describe, 4)
    assert [p.result(PATIENCE) for p in parts["range"]] == [4, 5]
    run.shutdown()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_lambdas_nested_functions_and_local_classes_travel(method, schedule):
    class Box:
        def __init__(self, x):
            self.x = x

    def nested(box: Box) -> Box:
        return Box(box.x + 1)

    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool, ConcurrentRunner(schedule, pool) as run:
        assert run(lambda x: [x], 1).result(PATIENCE) == [1]
        result = run(nested, run(nested, Box(1))).result(PATIENCE)
    assert type(result) is Box
    assert result.x == 3


@pytest.mark.parametrize("schedule", ["False", "True"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_and_classes_of_a_script_travel(method, schedule, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""if True:
        import multiprocessing, sys
        from concurrent.futures import ProcessPoolExecutor
        from dataclasses import dataclass
        from weft import ConcurrentRunner, task

        @dataclass
        class Point:
            x: int

        class Bad(Exception):
            pass

        @task
        def move(p: Point, by: int = 1) -> Point:
            return Point(p.x + by)

        @task
        def complain(p: Point) -> int:
            raise Bad(p.x)

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                run = ConcurrentRunner(sys.argv[2] == "True", pool)
                point = run(move, run(move, Point(1)))
                error = run(complain, point).exception()
                print(type(point.result()) is Point, point.result().x, type(error) is Bad, error)
    """)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:.*fork:DeprecationWarning", script, method, schedule],
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("True 3 True 3\n", "")


def test_failures_arrive_with_the_traceback_of_the_worker(run):
    error = run(fail, 7).exception(PATIENCE)
    assert (type(error), str(error)) == (ValueError, "no 7")
    text = "".join(traceback.format_exception(error))
    assert "zoo.py" in text
    assert 'raise ValueError(f"no {x}")' in text
    with pytest.raises(ValueError, match="no 7"):
        run.shutdown()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wrong_type, "^result of wrong_type: expected int"),
        (wrong_shape, "^result of wrong_shape: expected a list of 2"),
    ],
)
def test_a_wrong_result_arrives_through_the_outcome(run, function, message):
    result = run(function, 1)
    future = result[0] if isinstance(result, list) else result
    with pytest.raises(ResultError, match=message):
        future.result(PATIENCE)


TAKE = (
    r"^take cannot be sent to another process: argument 'thing': cannot pickle '_thread.lock' object; make or open it "
    r'inside the function, or let the runner use threads: ConcurrentRunner\(executor="threads"\)$'
)
USES = r"^uses cannot be sent .*: the function uses, variable 'held' that it closes over: cannot pickle '_thread.lock'"


def test_an_argument_that_cannot_travel_fails_that_call_only(run, schedule):
    with pytest.raises(ArgumentError, match=TAKE):
        result = run(take, threading.Lock())
        if schedule:
            result.result(PATIENCE)
    assert run(add, 1).result(PATIENCE) == 2


def test_a_function_that_cannot_travel_fails_that_call_only(run, schedule):
    held = threading.Lock()

    def uses() -> bool:
        return held.locked()

    with pytest.raises(ArgumentError, match=USES):
        result = run(uses)
        if schedule:
            result.result(PATIENCE)
    assert run(add, 1).result(PATIENCE) == 2


def test_a_result_that_cannot_travel_fails_that_call_only(run):
    with pytest.raises(TaskError, match=r"cannot be sent back: .*cannot pickle '_thread.lock' object"):
        run(lock).result(PATIENCE)
    assert run(add, 1).result(PATIENCE) == 2


def test_an_exception_that_cannot_be_rebuilt_fails_that_call_only(run):
    with pytest.raises(TaskError, match="cannot be sent back as it is: Picky: 1 and 1") as caught:
        run(picky, 1).result(PATIENCE)
    assert "zoo.py" in str(caught.value.__cause__)
    assert run(add, 1).result(PATIENCE) == 2


@pytest.mark.parametrize("number", range(3))
def test_an_exception_that_wants_to_break_the_pool_fails_that_call_only(run, number):
    neighbour = run(add, 1)
    assert isinstance(run(break_out, number).exception(PATIENCE), (TaskError, SystemExit))
    assert neighbour.result(PATIENCE) == 2
    assert run(add, 2).result(PATIENCE) == 3


def test_a_result_that_ends_badly_when_it_is_unpacked_fails_that_call_only(run):
    assert isinstance(run(unpackable).exception(PATIENCE), (TaskError, SystemExit))
    assert run(add, 1).result(PATIENCE) == 2


def test_a_worker_that_dies_fails_what_the_pool_had_and_nothing_hangs(schedule):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        run = ConcurrentRunner(schedule, pool)
        with pytest.raises(BrokenProcessPool):
            run(vanish, 1).result(PATIENCE)
        with pytest.raises(BrokenExecutor):
            late = run(add, 1)
            if schedule:
                late.result(PATIENCE)
        if schedule:
            assert isinstance(run(describe, done(1))["mean"].exception(PATIENCE), BrokenExecutor)
        with pytest.raises((BrokenExecutor, ExceptionGroup)):
            run.shutdown()


def test_what_is_done_later_to_an_argument_is_not_seen(run):
    xs = [1, 2]
    result = run(lambda xs: sum(xs), xs)
    xs.append(100)
    assert result.result(PATIENCE) == 3


def test_a_task_with_a_mock_function_travels(run):
    made = task(mock=lambda n: [0] * n)(lambda n: list(range(n)))
    assert [f.result(PATIENCE) for f in run(made, 3)] == [0, 1, 2]


# The future of a packed call


def test_a_remote_future_runs_and_is_cancelled_as_the_one_below():
    packed = Future()
    future = RemoteFuture(packed)
    assert not future.running()
    assert future.cancel()
    assert future.cancelled()
    assert packed.cancelled()

    packed = Future()
    future = RemoteFuture(packed)
    packed.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    packed.set_exception(OSError("broken"))
    assert not future.running()
    assert not future.cancel()
    with pytest.raises(OSError, match="broken"):
        future.result(0)


def test_a_remote_future_is_cancelled_with_the_one_below():
    packed = Future()
    future = RemoteFuture(packed)
    seen = []
    future.add_done_callback(seen.append)
    packed.cancel()
    assert future.cancelled()
    assert seen == [future]


def test_bytes_that_mean_nothing_fail_the_future_and_do_not_hang():
    packed = Future()
    future = RemoteFuture(packed)
    packed.set_result(b"nonsense")
    assert future.exception(0) is not None
