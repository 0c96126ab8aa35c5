import os
import threading
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor

import pytest

from contract.stage import ended
from hand import PATIENCE, cancelled, done
from runners.zoo import Point, add, describe, fail, move, spread, take, total, where, wrong_shape, wrong_type
from weft import ConcurrentRunner, LocalExecutor, State, task
from weft.errors import ArgumentError, ChoiceError, ClosedError, UnknownValueError
from weft.futures import Limit
from weft.runners import FuturesRunner


@pytest.fixture(params=[False, True], ids=["direct", "scheduled"])
def schedule(request):
    return request.param


@pytest.fixture(scope="module", params=[LocalExecutor, ThreadPoolExecutor], ids=["processes", "threads"])
def place(request):
    with request.param(2) as executor:
        yield executor


@pytest.fixture
def run(schedule, place):
    with ConcurrentRunner(schedule, place) as runner:
        yield runner


class Recorder(Executor):
    """Runs nothing; keeps what was submitted, and with which resources."""

    shares_memory = True

    def __init__(self):
        self.submitted = []
        self.asked = []

    def submit(self, function, *args):
        self.submitted.append(function)
        return Future()

    def using(self, **resources):
        self.asked.append(resources)
        return self


# What a call returns


def test_the_result_has_the_shape_of_the_mock_with_a_future_at_each_leaf(run):
    result = run(describe, 3)
    assert list(result) == ["mean", "range", "pair", "nothing", "empty"]
    assert result["mean"].result(PATIENCE) == 3.0
    assert [future.result(PATIENCE) for future in result["range"]] == [3, 4]
    assert result["pair"].result(PATIENCE) == (3, 3)
    assert result["nothing"].result(PATIENCE) is None
    assert result["empty"] == []
    assert all(isinstance(f, Future) for f in (result["mean"], *result["range"], result["pair"], result["nothing"]))


@pytest.mark.parametrize("mock", [1.5, (1, [2]), None, "text"])
def test_scalars_tuples_and_none_are_one_future(run, mock):
    function = task(mock=mock)(lambda: mock) if mock is not None else lambda: None
    assert run(function).result(PATIENCE) == mock


@pytest.mark.parametrize("mock", [[], {}])
def test_an_empty_list_or_dict_is_itself(run, mock):
    assert run(task(mock=mock)(lambda: mock)) == mock


def test_a_list_annotation_is_one_future(run):
    def g() -> list[int]:
        return [1, 2]

    assert run(g).result(PATIENCE) == [1, 2]


def test_the_shape_may_depend_on_known_arguments(run):
    assert [future.result(PATIENCE) for future in run(spread, 3)] == [0, 1, 2]


def test_cancelling_one_part_leaves_the_others_alone():
    hold = threading.Event()

    @task(mock=[0, 0])
    def slow() -> list[int]:
        assert hold.wait(PATIENCE)
        return [1, 2]

    with ConcurrentRunner(executor="threads") as run:
        first, second = run(slow)
        assert first.cancel()
        hold.set()
        assert second.result(PATIENCE) == 2


# Futures among the arguments


def test_futures_anywhere_in_the_arguments_become_their_results(run):
    assert run(total, [done(1), 2]).result(PATIENCE) == 3
    assert run(move, Point(done(2.0))).result(PATIENCE) == 3.0
    assert run(add, done(1), b=done(5)).result(PATIENCE) == 6


def test_direct_the_caller_waits_for_futures():
    later = Future()
    threading.Timer(0.01, later.set_result, [1]).start()
    with ConcurrentRunner() as run:
        result = run(add, later)
        assert later.done()
    assert result.result() == 2


def test_direct_a_failed_future_raises_in_the_caller_and_nothing_is_submitted():
    error = ValueError("no")
    executor = Recorder()
    with ConcurrentRunner(executor=executor) as run:
        with pytest.raises(ValueError, match="no") as caught:
            run(add, done(error=error))
        assert caught.value is error
        with pytest.raises(CancelledError):
            run(add, cancelled())
    assert executor.submitted == []


def test_scheduled_a_call_returns_at_once_and_is_submitted_when_its_futures_are_done():
    executor = Recorder()
    run = ConcurrentRunner(schedule=True, executor=executor)
    first, second = Future(), Future()
    result = run(add, first, b=second)
    first.set_result(1)
    assert not result.done()
    assert executor.submitted == []
    second.set_result(2)
    with ConcurrentRunner(schedule=True) as other:
        assert other(add, first, b=second).result(PATIENCE) == 3
    result.cancel()
    run.shutdown()


def test_scheduled_a_failed_future_fails_the_outcome_and_the_function_never_runs():
    called = []

    def g(x: int) -> int:
        called.append(x)
        return x

    run = ConcurrentRunner(schedule=True, executor="threads")
    broken = run(fail, 1)
    child = run(g, broken)
    parts = run(describe, child)
    error = broken.exception(PATIENCE)
    assert child.exception(PATIENCE) is error
    assert parts["range"][1].exception(PATIENCE) is error
    assert called == []
    with pytest.raises(ValueError, match="no 1"):
        run.shutdown()


def test_scheduled_a_cancelled_future_cancels_what_needs_its_value():
    with ConcurrentRunner(schedule=True) as run:
        result = run(add, cancelled())
        with pytest.raises(CancelledError):
            result.result(PATIENCE)


def test_a_cancelled_call_gives_no_part():
    with ConcurrentRunner(schedule=True) as run:
        never = Future()
        first = run(add, never)
        parts = run(describe, first)
        first.cancel()
        with pytest.raises(CancelledError):
            parts["mean"].result(PATIENCE)


def test_scheduled_calls_have_names_events_and_states():
    events = []
    with ConcurrentRunner(schedule=True, observers=[events.append], gates=[Limit(1)], name="mine") as run:
        result = run(add, run(add, 1))
    assert [e.name for e in events if e.state is State.SUCCEEDED] == ["add", "add"]
    assert result.name == "add"


def test_calls_do_not_disturb_each_other_through_a_shared_result(run):
    @task
    def make() -> list[int]:
        return [1]

    @task
    def change(xs: list[int]) -> list[int]:
        xs.append(2)
        return xs

    shared = run(make)
    assert run(change, shared).result(PATIENCE) == [1, 2]
    assert run(change, shared).result(PATIENCE) == [1, 2]
    assert shared.result() == [1]


# Checks


def test_the_type_of_a_future_result_is_checked_in_the_worker():
    run = ConcurrentRunner(schedule=True)
    result = run(add, done("x"))
    with pytest.raises(ArgumentError, match=r"^argument 'a': expected int, got str 'x'"):
        result.result(PATIENCE)
    with pytest.raises(ArgumentError):
        run.shutdown()


def test_direct_the_type_of_a_future_result_is_checked_at_the_call():
    with ConcurrentRunner() as run, pytest.raises(ArgumentError, match=r"^argument 'a': expected int, got str 'x'"):
        run(add, done("x"))


def test_known_arguments_beside_a_future_are_checked_at_the_call():
    with ConcurrentRunner(schedule=True) as run, pytest.raises(ArgumentError, match=r"^argument 'xs' at \[1\]"):
        run(total, [Future(), "x"])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wrong_type, "^result of wrong_type: expected int, got str '1'"),
        (wrong_shape, "^result of wrong_shape: expected a list of 2, got a list of 1"),
    ],
)
def test_a_wrong_result_arrives_through_the_outcome(schedule, function, message):
    run = ConcurrentRunner(schedule)
    result = run(function, 1)
    future = result[1] if isinstance(result, list) else result
    with pytest.raises(TypeError, match=message):
        future.result(PATIENCE)
    with pytest.raises(TypeError, match=message):
        run.shutdown()


def test_a_mock_that_needs_a_pending_value_is_refused_before_anything_is_submitted():
    executor = Recorder()
    with (
        ConcurrentRunner(schedule=True, executor=executor) as run,
        pytest.raises(UnknownValueError, match=r"mock of spread needs the value of 'n'.*n.result\(\)"),
    ):
        run(spread, Future())
    assert executor.submitted == []


def test_a_mock_that_passes_a_pending_value_through_is_refused():
    passing = task(mock=lambda n: [n])(lambda n: [n])
    with ConcurrentRunner(schedule=True) as run, pytest.raises(UnknownValueError, match="'n'"):
        run(passing, Future())


# Executors


def test_any_executor_will_do_and_stays_the_users(schedule):
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        with ConcurrentRunner(schedule, pool) as run:
            name = run(lambda: threading.current_thread().name).result(PATIENCE)
        assert name.startswith("mine")
        assert pool.submit(int).result(PATIENCE) == 0


def test_threads_of_its_own_end_with_the_runner(schedule):
    with ConcurrentRunner(schedule, "threads") as run:
        thread = run(lambda: threading.current_thread()).result(PATIENCE)
        assert thread.name.startswith("weft")
    assert not thread.is_alive()


def test_processes_of_its_own_are_the_default_and_end_with_the_runner(schedule):
    with ConcurrentRunner(schedule) as run:
        pid = run(where).result(PATIENCE)
        assert pid != os.getpid()
    assert ended(pid)


def test_no_thread_is_started_before_the_first_call():
    before = threading.active_count()
    run = ConcurrentRunner()
    assert threading.active_count() == before
    run.shutdown()


def test_resources_reach_an_executor_that_has_using(schedule):
    executor = Recorder()
    run = ConcurrentRunner(schedule, executor)
    big, small = task(cpus=4, memory="8GB")(lambda: 1), task(lambda: 1)
    results = [run(big), run(small)]
    if schedule:
        run._scheduler.shutdown()
    assert executor.asked == [{"cpus": 4, "memory": 8 * 2**30}]
    assert len(executor.submitted) == 2
    for result in results:
        result.cancel()


def test_resources_of_others_are_passed_over(run):
    assert run(task(cpus=4)(lambda: 1)).result(PATIENCE) == 1


def test_an_executor_that_shares_no_memory_gets_bytes(schedule):
    class Inline(Executor):
        def submit(self, function, *args):
            self.args = args
            future = Future()
            future.set_result(function(*args))
            return future

    executor = Inline()
    with ConcurrentRunner(schedule, executor) as run:
        assert run(add, 1).result(PATIENCE) == 2
    (packed,) = executor.args
    assert isinstance(packed, bytes)


def test_an_executor_that_was_shut_down_fails_the_call(schedule):
    pool = ThreadPoolExecutor(1)
    run = ConcurrentRunner(schedule, pool)
    assert run(add, 1).result(PATIENCE) == 2
    pool.shutdown()
    if schedule:
        late = run(add, 1)
        with pytest.raises(RuntimeError, match="after shutdown"):
            late.result(PATIENCE)
        with pytest.raises(RuntimeError, match="after shutdown"):
            run.shutdown()
    else:
        with pytest.raises(RuntimeError, match="after shutdown"):
            run(add, 1)
        run.shutdown()


def test_an_executor_that_cancels_what_waits_cancels_the_calls(schedule):
    hold, started = threading.Event(), threading.Event()

    def block() -> int:
        started.set()
        assert hold.wait(PATIENCE)
        return 1

    pool = ThreadPoolExecutor(1)
    run = ConcurrentRunner(schedule, pool)
    first = run(block)
    assert started.wait(PATIENCE)
    parts = run(describe, 1)
    if schedule:
        run._scheduler.shutdown()
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        parts["mean"].result(PATIENCE)
    hold.set()
    assert first.result(PATIENCE) == 1
    run.shutdown()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConcurrentRunner(ThreadPoolExecutor(1)), "schedule must be True or False.*executor=..."),
        (
            lambda: ConcurrentRunner(executor=ThreadPoolExecutor),
            r"got <class .*give an instance: ThreadPoolExecutor\(\)",
        ),
        (lambda: ConcurrentRunner(executor=4), "executor must be a concurrent.futures.Executor, got 4"),
        (lambda: ConcurrentRunner(executor="processes"), 'write executor="threads", give an executor such as'),
        (lambda: ConcurrentRunner(gates=[Limit(1)]), "give schedule=True"),
        (lambda: ConcurrentRunner(observers=[print]), "give schedule=True"),
        (lambda: ConcurrentRunner(True, gates=[4]), "gate"),
    ],
)
def test_a_runner_made_in_a_wrong_way_is_refused(make, message):
    with pytest.raises((ArgumentError, ChoiceError), match=message):
        make()


def test_a_call_through_a_runner_that_is_shutting_down_elsewhere_is_refused():
    run = ConcurrentRunner(schedule=True)
    run._scheduler.shutdown()
    with pytest.raises(ClosedError):
        run(add, 1)
    run.shutdown()


def test_a_runner_of_ones_own_says_only_how_a_call_is_started():
    class Here(FuturesRunner):
        def submit_ready(self, closure):
            return done(closure.validated_call())

    with Here() as run:
        assert run(add, 1).result() == 2
    with Here(schedule=True) as run:
        assert run(add, run(add, 1)).result(PATIENCE) == 3


def test_a_runner_that_returns_no_future_is_told():
    class Wrong(FuturesRunner):
        def submit_ready(self, closure):
            return 3

    with Wrong() as run, pytest.raises(ArgumentError, match=r"Wrong.submit_ready must return a future, got 3"):
        run(add, 1)


def test_where_threads_run_is_this_process(schedule):
    with ConcurrentRunner(schedule, "threads") as run:
        assert run(where).result(PATIENCE) == os.getpid()
        assert run(take, threading.Lock()).result(PATIENCE) == "lock"
