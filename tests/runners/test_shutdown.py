import logging
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hand import PATIENCE, eventually, forgive
from runners.zoo import add, describe, fail
from weft import ConcurrentRunner, task
from weft.errors import ArgumentError, ClosedError, DeadlockError

EVERYWHERE = pytest.mark.parametrize("executor", [None, "threads"], ids=["processes", "threads"])


@pytest.fixture(params=[False, True], ids=["direct", "scheduled"])
def schedule(request):
    return request.param


def test_shutdown_waits_for_everything(schedule):
    hold, ended = threading.Event(), []

    def slow() -> int:
        assert hold.wait(PATIENCE)
        ended.append(True)
        return 1

    run = ConcurrentRunner(schedule, "threads")
    result = run(slow)
    parts = run(describe, 1)
    threading.Timer(0.02, hold.set).start()
    run.shutdown()
    assert ended == [True]
    assert result.done()
    assert all(f.done() for f in (parts["mean"], *parts["range"], parts["pair"], parts["nothing"]))


def test_shutdown_without_failures_raises_nothing(schedule):
    run = ConcurrentRunner(schedule)
    run(add, 1)
    run.shutdown()
    run.shutdown()


@EVERYWHERE
def test_one_failure_is_raised_as_itself_and_once(schedule, executor):
    run = ConcurrentRunner(schedule, executor)
    run(add, 1)
    error = run(fail, 1).exception(PATIENCE)
    with pytest.raises(ValueError, match="no 1") as caught:
        run.shutdown()
    assert caught.value is error
    run.shutdown()


@EVERYWHERE
def test_several_failures_are_raised_as_a_group(schedule, executor):
    run = ConcurrentRunner(schedule, executor)
    futures = [run(fail, 1), run(add, 1), run(fail, 2)]
    errors = [f.exception(PATIENCE) for f in futures]
    with pytest.raises(ExceptionGroup, match="2 of 3 calls failed") as caught:
        run.shutdown()
    assert set(map(id, caught.value.exceptions)) == {id(errors[0]), id(errors[2])}


@EVERYWHERE
def test_a_failure_that_went_on_down_the_graph_counts_once(executor):
    run = ConcurrentRunner(schedule=True, executor=executor)
    first = run(fail, 1)
    for _ in range(3):
        first = run(add, first)
    run(describe, first)
    with pytest.raises(ValueError, match="no 1"):
        run.shutdown()


def test_cancelled_calls_are_no_failures():
    run = ConcurrentRunner(schedule=True)
    waiting = run(add, Future())
    after = run(add, waiting)
    parts = run(describe, after)
    assert waiting.cancel()
    run.shutdown()
    assert parts["mean"].done()


def test_leaving_the_context_raises_the_failures(schedule):
    with pytest.raises(ValueError, match="no 1"), ConcurrentRunner(schedule) as run:
        run(fail, 1)


def test_an_exception_on_its_way_is_not_replaced_and_everything_is_waited_for(schedule, caplog):
    hold, ended = threading.Event(), []

    def slow() -> int:
        assert hold.wait(PATIENCE)
        ended.append(True)
        raise OSError("late")

    with (
        caplog.at_level(logging.WARNING, "weft"),
        pytest.raises(KeyError),
        ConcurrentRunner(schedule, "threads") as run,
    ):
        run(slow)
        threading.Timer(0.02, hold.set).start()
        raise KeyError("mine")
    assert ended == [True]
    assert caplog.messages == ["1 of 1 calls failed as well; one: OSError('late')"]


def test_the_failure_itself_on_its_way_is_not_told_twice(caplog):
    with pytest.raises(ValueError, match="no 1"), ConcurrentRunner(schedule=True) as run:
        run(fail, 1).result(PATIENCE)
    assert caplog.messages == []


def test_a_keyboard_interrupt_cancels_what_has_not_started_and_waits_for_what_runs(schedule, caplog):
    hold, started = threading.Event(), threading.Event()

    def block() -> int:
        started.set()
        assert hold.wait(PATIENCE)
        return 1

    told = "calls that had not started are cancelled; waiting for those that run"
    cancelled = []

    def release() -> None:
        # Not sooner: a call that has ended by then is none of those that run.
        eventually(lambda: told in caplog.text)
        cancelled.extend(f.cancelled() for f in queued + waiting)
        hold.set()

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt), ConcurrentRunner(schedule, pool) as run:
            running = run(block)
            assert started.wait(PATIENCE)
            queued = [run(add, i) for i in range(5)]
            waiting = [run(add, Future())] if schedule else []
            threading.Thread(target=release).start()
            raise KeyboardInterrupt
        assert running.result(0) == 1
        assert cancelled == [True] * len(queued + waiting)
    assert told in caplog.text


@pytest.mark.parametrize("schedule", ["False", "True"])
def test_an_interrupt_during_shutdown_cancels_the_rest_and_goes_on_its_way(schedule):
    script = """if True:
        import signal, sys, threading, time
        from concurrent.futures import ThreadPoolExecutor
        from weft import ConcurrentRunner

        signal.signal(signal.SIGINT, signal.default_int_handler)
        started, hold = threading.Event(), threading.Event()

        def block() -> int:
            started.set()
            hold.wait(30)
            return 1

        def interrupt():
            started.wait(30)
            while not run._closed:
                time.sleep(0.001)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while not all(future.cancelled() for future in queued):
                time.sleep(0.001)
            hold.set()

        pool = ThreadPoolExecutor(1)
        run = ConcurrentRunner(sys.argv[1] == "True", pool)
        first, queued = run(block), [run(block) for _ in range(3)]
        threading.Thread(target=interrupt).start()
        try:
            run.shutdown()
        except KeyboardInterrupt:
            print("interrupted", first.result(0))
    """
    ended = subprocess.run(
        [sys.executable, "-c", script, schedule], timeout=60, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "interrupted 1\n"
    assert "calls that had not started are cancelled" in ended.stderr


def test_a_late_call_is_refused_while_others_still_run(schedule):
    hold = threading.Event()

    def slow() -> int:
        assert hold.wait(PATIENCE)
        return 1

    run = ConcurrentRunner(schedule, "threads")
    result = run(slow)
    closing = threading.Thread(target=run.shutdown)
    closing.start()
    while not run._closed:
        pass
    with pytest.raises(ClosedError):
        run(add, 1)
    hold.set()
    closing.join(PATIENCE)
    assert result.result(0) == 1


def test_an_exit_in_a_thread_is_a_failure_like_any_other(schedule):
    def leave() -> int:
        raise SystemExit(3)

    run = ConcurrentRunner(schedule, "threads")
    run(leave)
    run(task(leave))
    with pytest.raises(BaseExceptionGroup, match="2 of 2") as caught:
        run.shutdown()
    assert [type(e) for e in caught.value.exceptions] == [SystemExit, SystemExit]


@EVERYWHERE
@pytest.mark.parametrize("schedule", ["False", "True"])
def test_a_script_that_forgets_shutdown_still_ends_and_runs_everything(schedule, executor):
    script = """if True:
        import sys
        from weft import ConcurrentRunner
        run = ConcurrentRunner(sys.argv[1] == "True", eval(sys.argv[2]))
        def step(x: int) -> int:
            return x + 1
        result = 0
        for _ in range(100):
            result = run(step, result)
        result.add_done_callback(lambda f: print(f.result()))
    """
    command = [sys.executable, "-c", script, schedule, repr(executor)]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True, check=True)
    assert ended.stdout == "100\n"


@pytest.mark.parametrize("schedule", [False, True])
def test_inside_a_call_it_is_refused_instead_of_hanging(schedule):
    with ConcurrentRunner(schedule, "threads") as run:
        outcome = run(lambda: run.shutdown()).exception(PATIENCE)
        assert isinstance(outcome, DeadlockError)
        with pytest.raises(DeadlockError, match="shut the runner down where it was made"):
            run.shutdown()


@pytest.mark.parametrize("schedule", [False, True])
def test_a_call_in_a_process_cannot_take_its_runner_along(schedule):
    with ConcurrentRunner(schedule) as run:
        with pytest.raises(ArgumentError, match=r"variable 'run' .*: a ConcurrentRunner cannot travel"):
            run(lambda: run.shutdown()).result(PATIENCE)
        forgive(run)
