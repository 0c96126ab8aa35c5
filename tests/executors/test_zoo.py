"""Whatever a task does, its future ends, its neighbours do not notice, and the executor goes on."""

import array
import os
import re
import signal
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import numpy
import pytest

from contract.stage import ended, eventually, is_alive
from executors import zoo
from hand import PATIENCE
from weft.errors import ArgumentError, RemoteError, TaskError, TaskExited, TaskTimeout, WorkerDied

pytestmark = pytest.mark.usefixtures("mates")


def failure(future) -> BaseException:
    error = future.exception(PATIENCE)
    assert error is not None
    return error


# Crash

CRASHES = {
    "segfault": (zoo.segfault, (), "SIGSEGV"),
    "segfault in a thread": (zoo.crash_in_thread, (), "SIGSEGV"),
    "abort": (zoo.abort, (), "SIGABRT"),
    "exit 0": (zoo.leave, (0,), 0),
    "exit 3": (zoo.leave, (3,), 3),
    "SIGKILL": (zoo.kill_self, (signal.SIGKILL,), "SIGKILL"),
    "SIGTERM": (zoo.kill_self, (signal.SIGTERM,), "SIGTERM"),
    "SIGHUP": (zoo.kill_self, (signal.SIGHUP,), "SIGHUP"),
    "out of memory": (zoo.be_oom_killed, (), "SIGKILL"),
    "dies when it unpacks its argument": (zoo.same, (zoo.WhenUnpacked(os._exit, 5),), 5),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_fails_the_task_that_ran_and_says_how(executor, crash):
    function, arguments, how = CRASHES[crash]
    error = failure(executor.submit(function, *arguments))
    assert type(error) is WorkerDied
    assert (error.signal, error.exitcode) == ((how, None) if isinstance(how, str) else (None, how))
    assert function.__name__ in error.task
    assert str(how) in str(error)
    assert function.__name__ in str(error)
    assert error.pid != os.getpid()
    assert ended(error.pid)


def test_many_crashes_among_many_tasks_fail_only_themselves(executor, stage):
    ledger = stage.ledger()
    bad, good = [], []
    for number in range(300):
        good.append(executor.submit(zoo.note, ledger, number))
        if number % 30 == 7:
            bad.append(executor.submit(zoo.leave, number))
    assert [future.result(PATIENCE) for future in good] == list(range(300))
    assert [failure(future).exitcode for future in bad] == [number % 256 for number in range(7, 300, 30)]
    assert sorted(map(int, ledger.lines())) == list(range(300))


def test_a_crash_in_map_is_at_its_place_and_the_tasks_around_it_are_done(executor, stage):
    ledger = stage.ledger()
    results = executor.map(zoo.hang_in_c_at, range(20), [-1] * 20, [None] * 20)
    assert list(results) == list(range(20))
    results = executor.map(crash_at, range(20), [5] * 20, [ledger] * 20)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(WorkerDied):
        next(results)


def crash_at(number, at, ledger):
    ledger.note(number)
    return os._exit(3) if number == at else number


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="C recursion ends in a RecursionError")
def test_an_overflow_of_the_stack_fails_its_task_alone(executor):
    error = failure(executor.submit(zoo.overflow_stack))
    assert isinstance(error, WorkerDied)
    assert error.signal == "SIGSEGV"


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("last", [256, 65536])
def test_a_worker_that_closes_its_pipes_fails_its_task_alone(executor, first, last):
    future = executor.submit(zoo.close_pipes, first, last)
    # Unless it did not hit them.
    assert type(future.exception(PATIENCE)) is WorkerDied or future.result() == "closed"


def test_the_last_words_of_a_worker_are_in_the_error(executor, capfd):
    error = failure(executor.submit(zoo.say_last_words))
    assert "last words" in error.stderr
    assert "a word on stdout" not in error.stderr
    assert "last words" in str(error)


def test_a_death_is_seen_while_a_child_holds_the_pipes(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    error = failure(executor.submit(zoo.die_with_child_that_holds_the_pipes, ledger, gate))
    assert (type(error), error.exitcode) == (WorkerDied, 3)


def test_an_idle_worker_that_is_killed_is_replaced(stage):
    executor = stage.executor(1)
    for _ in range(3):
        worker = executor.submit(zoo.pid).result(PATIENCE)
        os.kill(worker, signal.SIGKILL)
        assert ended(worker)
        assert executor.submit(zoo.pid).result(PATIENCE) != worker


# Exit


@pytest.mark.parametrize("code", [None, 0, 3, "text", ("a", 1)], ids=repr)
def test_an_exit_is_an_ordinary_error_and_the_worker_lives(stage, code):
    executor = stage.executor(1)
    worker = executor.submit(zoo.pid).result(PATIENCE)
    error = failure(executor.submit(zoo.exit_with, code))
    assert (type(error), error.code) == (TaskExited, code)
    assert executor.submit(zoo.pid).result(PATIENCE) == worker


def test_an_exit_in_a_thread_ends_that_thread(executor):
    assert executor.submit(zoo.exit_in_thread).result(PATIENCE) == "went on"


def test_a_worker_that_leaves_in_order_runs_its_exit_functions(stage):
    executor, ledger = stage.unkept_executor(1), stage.ledger()
    executor.submit(zoo.exit_at_exit, ledger).result(PATIENCE)
    executor.shutdown()
    assert ledger.lines() == ["left"]


# Hang


def test_a_task_that_is_killed_ends_cancelled(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    future = executor.submit(zoo.clean_up_and_hang, ledger, gate)
    gate.arrived()
    future.kill()
    wait([future], PATIENCE)
    assert future.cancelled()
    assert eventually(lambda: ledger.lines() == ["cleaned up"])


def test_a_task_that_runs_out_of_time_cleans_up(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    error = failure(executor.using(time=0.2).submit(zoo.clean_up_and_hang, ledger, gate))
    assert type(error) is TaskTimeout
    assert ledger.lines() == ["cleaned up"]


STUBBORN = [zoo.hang_stubbornly, zoo.hang_and_swallow, zoo.hang_in_c, zoo.hang_in_regex, zoo.hang_stopped]


@pytest.mark.usefixtures("hurried")
def test_whatever_does_not_listen_is_ended_when_its_time_is_over(stage):
    executor, gate = stage.executor(len(STUBBORN), time=0.3), stage.gate()
    futures = [executor.submit(function, gate) for function in STUBBORN]
    assert [type(failure(future)) for future in futures] == [TaskTimeout] * len(STUBBORN)
    assert executor.submit(zoo.same, 1).result(PATIENCE) == 1


@pytest.mark.usefixtures("hurried")
def test_whatever_does_not_listen_is_killed(stage):
    executor, gate = stage.executor(len(STUBBORN)), stage.gate()
    futures = [executor.submit(function, gate) for function in STUBBORN]
    gate.arrived(len(STUBBORN))
    for future in futures:
        future.kill()
    assert wait(futures, PATIENCE).not_done == set()
    assert all(future.cancelled() for future in futures)
    assert executor.submit(zoo.same, 1).result(PATIENCE) == 1


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("how", ["time", "kill"])
def test_children_and_grandchildren_are_gone_with_their_task(executor, stage, stubborn, how):
    ledger = stage.ledger()
    future = executor.using(time=1 if how == "time" else None).submit(zoo.hang_with_family, ledger, stubborn)
    assert eventually(lambda: len(ledger.lines()) == 2)
    if how == "kill":
        future.kill()
    wait([future], PATIENCE)
    assert future.cancelled() if how == "kill" else isinstance(future.exception(0), TaskTimeout)
    assert [ended(int(pid)) for pid in ledger.lines()] == [True, True]


@pytest.mark.slow
def test_shutdown_with_kills_pending_ends(stage):
    executor, gate = stage.unkept_executor(2), stage.gate()
    futures = [executor.submit(zoo.hang_stubbornly, gate) for _ in range(2)]
    gate.arrived(2)
    for future in futures:
        future.kill()
    executor.shutdown()
    assert all(future.cancelled() for future in futures)


# Fork


def test_a_task_that_returns_twice_has_one_result(executor, stage):
    for _ in range(5):
        worker = executor.submit(zoo.fork_and_both_return).result(PATIENCE)
        assert isinstance(worker, int)
        error = failure(executor.submit(zoo.fork_and_both_raise))
        assert isinstance(error, ValueError)


@pytest.mark.parametrize("code", [0, 3])
def test_a_child_that_exits_inside_a_task_is_no_exit_of_the_task(executor, code):
    assert executor.submit(zoo.fork_and_child_exits, code).result(PATIENCE) != os.getpid()


def test_a_forked_child_that_stays_holds_up_nothing(stage):
    executor, gate, ledger = stage.unkept_executor(1), stage.gate(), stage.ledger()
    worker = executor.submit(zoo.fork_and_child_stays, ledger, gate).result(PATIENCE)
    assert executor.submit(zoo.pid).result(PATIENCE) == worker
    executor.shutdown()
    assert ended(worker)


def test_a_program_that_outlives_its_task_holds_up_nothing(stage):
    executor, ledger = stage.unkept_executor(1), stage.ledger()
    worker = executor.submit(zoo.leave_child, ledger).result(PATIENCE)
    assert executor.submit(zoo.same, 1).result(PATIENCE) == 1
    executor.shutdown()
    assert ended(worker)
    child = int(ledger.lines()[0])
    if is_alive(child):
        os.kill(child, signal.SIGKILL)


# What does not travel


@pytest.mark.parametrize("kind", ["lock", "generator", "file", "frame", "deep", "exits when it is packed"])
def test_a_result_that_cannot_be_packed_fails_its_task_alone(executor, kind):
    error = failure(executor.submit(zoo.make, kind))
    assert isinstance(error, TaskError)
    assert "make" in str(error)


@pytest.mark.parametrize(
    "kind", ["exits when it is unpacked", "interrupts when it is unpacked", "fails when it is unpacked"]
)
def test_a_result_that_cannot_be_unpacked_fails_its_task_alone(executor, kind):
    error = failure(executor.submit(zoo.make, kind))
    assert isinstance(error, TaskError)
    assert "make" in str(error)


@pytest.mark.parametrize(
    "kind", ["exits when it is unpacked", "interrupts when it is unpacked", "fails when it is unpacked"]
)
def test_an_argument_that_cannot_be_unpacked_fails_its_task_alone(executor, kind):
    assert failure(executor.submit(zoo.same, zoo.make(kind)))


@pytest.mark.parametrize("kind", ["lock", "generator", "file", "frame", "deep"])
def test_an_argument_that_cannot_be_packed_is_refused_or_inherited(executor, start, kind):
    argument = zoo.make(kind)
    try:
        if start == "fork":
            assert executor.submit(zoo.kind_of, argument).result(PATIENCE) == type(argument).__name__
        else:
            with pytest.raises(ArgumentError, match="argument 1"):
                executor.submit(zoo.kind_of, argument)
    finally:
        getattr(argument, "close", lambda: None)()


# Large


@pytest.mark.parametrize("size", [10, 1_000_000, 10_000_000, pytest.param(100_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [bytes, bytearray, numpy.zeros, lambda n: array.array("b", bytes(n)), str, list])
def test_values_of_any_size_come_and_go(executor, kind, size):
    if kind is str:
        value = "x" * size
    elif kind is list:
        value = [numpy.full(size // 10, number, "u1") for number in range(10)]
    elif kind is numpy.zeros:
        value = numpy.arange(size // 8)
    else:
        value = kind(size)
    result = executor.submit(zoo.same, value).result(PATIENCE)
    assert type(result) is type(value)
    if kind is list:
        assert all((a == b).all() for a, b in zip(result, value, strict=True))
    elif kind is numpy.zeros:
        assert (result == value).all()
    else:
        assert result == value


def test_a_worker_that_dies_with_a_large_argument_or_result_fails_its_task_alone(executor):
    large = bytes(50_000_000)
    errors = [
        failure(executor.submit(zoo.same, [large, zoo.WhenUnpacked(os._exit, 4)])),
        failure(executor.submit(die_while_packing, large)),
    ]
    assert [(type(error), error.exitcode) for error in errors] == [(WorkerDied, 4), (WorkerDied, 6)]


class DiesWhenPacked:
    def __reduce__(self):
        os._exit(6)


def die_while_packing(large):
    return [large, DiesWhenPacked()]


# Exceptions


@pytest.mark.parametrize("kind", ["picky", "keyword", "holder", "unspeakable"])
def test_an_exception_that_does_not_travel_arrives_as_what_can_be_told_of_it(executor, kind):
    error = failure(executor.submit(zoo.raise_, kind))
    assert isinstance(error, RemoteError)
    name = {"keyword": "KeywordOnly"}.get(kind, kind.capitalize())
    assert error.type_name.endswith(f"zoo.{name}")
    assert f"raise {name}(" in error.traceback
    text = {"picky": "1 and 2", "keyword": "code 7", "holder": "it holds a lock"}.get(kind)
    if text:
        assert error.text == text
        assert text in str(error)


def test_an_exception_with_a_huge_text_arrives_whole(executor):
    assert str(failure(executor.submit(zoo.raise_, "huge"))) == "x" * 10_000_000


@pytest.mark.parametrize("kind", ["chained", "circular", "holds itself", "local"])
def test_exceptions_of_strange_shape_arrive(executor, kind):
    error = failure(executor.submit(zoo.raise_, kind))
    assert type(error).__name__ in ("Deep", "Local")
    assert "raise " in str(error.__cause__)


def test_a_group_with_an_odd_member_arrives_as_what_can_be_told_of_it(executor):
    error = failure(executor.submit(zoo.raise_, "group"))
    assert "1 and 2" in str(error) + str(error.__cause__)


@pytest.mark.parametrize("function", [zoo.raise_keyboard_interrupt, zoo.raise_], ids=["KeyboardInterrupt", "Escape"])
def test_what_is_no_ordinary_exception_fails_its_task_alone(executor, function):
    error = failure(executor.submit(function, *["escape"] * (function is zoo.raise_)))
    assert ("KeyboardInterrupt" if function is zoo.raise_keyboard_interrupt else "Escape") in f"{error!r} {error}"


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (zoo.recur, RecursionError),
        (zoo.want_more_memory_than_there_is, MemoryError),
        (zoo.want_more_memory_than_allowed, MemoryError),
    ],
)
def test_limits_of_the_interpreter_are_ordinary_errors(executor, function, kind):
    assert type(failure(executor.submit(function))) is kind


# A mess

MESSES = re.findall(r'^        case "(.*)":', Path(zoo.__file__).read_text(), re.MULTILINE)


@pytest.mark.parametrize("what", MESSES)
def test_a_mess_in_a_worker_fails_nothing(executor, stage, what):
    here = os.getcwd()
    futures = [executor.submit(zoo.mess_up, what) for _ in range(4)]
    for future in futures:
        error = future.exception(PATIENCE)
        # Cleaning up twice may fail, as it does anywhere.
        assert error is None or isinstance(error, (ValueError, AttributeError, OSError)), error
    assert [executor.submit(zoo.where).result(PATIENCE) for _ in range(4)] == [here] * 4
    # Both workers go with it: other tests start threads in theirs, and the like.
    gate = stage.gate()
    futures = [executor.submit(zoo.leave_at, gate, 3) for _ in range(2)]
    gate.arrived(2)
    gate.open()
    assert [type(failure(future)) for future in futures] == [WorkerDied] * 2


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("what", ["signal handlers", "close fds 0 to 2", "a trace function"])
def test_a_mess_does_not_shield_from_time_limits(stage, what):
    executor = stage.executor(1, time=0.5)
    assert executor.submit(zoo.mess_up, what).result(PATIENCE) == what
    assert isinstance(failure(executor.submit(zoo.hang)), TaskTimeout)
    assert executor.submit(zoo.same, 1).result(PATIENCE) == 1


# Threads and processes of its own


@pytest.mark.parametrize("daemon", [True, False], ids=["daemon", "not daemon"])
def test_threads_of_a_task_hold_up_nothing(stage, daemon):
    executor, gate = stage.unkept_executor(1), stage.gate()
    assert executor.submit(zoo.start_thread, gate, daemon).result(PATIENCE) == "started"
    gate.arrived()
    assert executor.submit(zoo.same, 1).result(PATIENCE) == 1
    gate.open()
    executor.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("daemon", [True, False], ids=["daemon", "not daemon"])
def test_endless_threads_of_a_task_do_not_keep_a_worker(stage, daemon):
    executor = stage.unkept_executor(1)
    worker = executor.submit(zoo.pid).result(PATIENCE)
    assert executor.submit(zoo.start_endless_thread, daemon).result(PATIENCE) == "started"
    executor.shutdown()
    assert ended(worker)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("function", "result"),
    [(zoo.use_pool, [1, 2]), (zoo.use_process, 0), (zoo.use_process_pool, [1, 2]), (zoo.use_local_executor, [1, 2])],
)
def test_a_task_may_use_processes_of_its_own(executor, function, result, method):
    assert executor.submit(function, method).result(PATIENCE) == result


def test_a_task_may_use_the_shell(executor):
    done = executor.submit(zoo.use_shell).result(PATIENCE)
    assert (done.stdout, done.returncode) == ("2\n", 3)


def test_the_executor_has_its_workers_from_any_thread(stage):
    """Workers outlive the thread whose submit started them."""
    executor, results = stage.executor(2), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: results.append(executor.submit(zoo.pid).result(PATIENCE)))
        thread.start()
        thread.join()
    results.append(executor.submit(zoo.pid).result(PATIENCE))
    assert len(set(results)) <= 2
