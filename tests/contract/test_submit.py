"""submit() and the futures that it returns."""

import gc
import logging
import threading
import traceback
import weakref
from concurrent.futures import CancelledError, Future, wait
from functools import partial

import pytest

from contract.executors import needs
from contract.payloads import (
    Dying,
    Odd,
    Thing,
    add,
    complain,
    complain_about,
    complain_because,
    complain_with_notes,
    give,
    note,
    raise_,
    same,
    take,
    thing,
    wait_at,
    wait_if,
)
from contract.stage import eventually
from hand import PATIENCE


def test_a_submitted_call_is_a_future_with_its_result(executor):
    future = executor.submit(add, 2, b=3)
    assert isinstance(future, Future)
    assert future.result(PATIENCE) == 5
    assert future.exception() is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


@pytest.mark.parametrize("value", [None, 0, "", False, [], (), b"", 2**200, {"a": [1, (2, {3})]}, ValueError], ids=repr)
def test_any_value_arrives(executor, value):
    result = executor.submit(same, value).result(PATIENCE)
    assert (type(result), result) == (type(value), value)


def test_an_exception_that_is_returned_is_a_result(executor):
    assert executor.submit(same, ValueError("a value")).result(PATIENCE).args == ("a value",)


def test_keywords_may_have_any_name(executor):
    keywords = {"self": 1, "fn": 2, "args": 3, "kwargs": 4, "timeout": 5, "executor": 6, "function": 7, "task": 8}
    assert executor.submit(give, 0, **keywords).result(PATIENCE) == ((0,), keywords)


def test_the_function_is_positional_and_required(executor):
    with pytest.raises(TypeError):
        executor.submit()
    with pytest.raises(TypeError):
        executor.submit(fn=add, a=1)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (len, ["abc"]),
        ("a-b".split, ["-"]),
        ([1, 2].count, [1]),
        (dict, []),
        (Thing().method, []),
        (partial(add, 1), [2]),
    ],
    ids=["builtin", "method of str", "method of list", "class", "method", "partial"],
)
def test_all_that_can_be_called_is_called(executor, function, arguments):
    assert executor.submit(function, *arguments).result(PATIENCE) == function(*arguments)


# Waiting


@pytest.mark.parametrize("timeout", [0, 0.01])
@pytest.mark.parametrize("ask", ["result", "exception"])
def test_asking_too_early_is_a_timeout_and_harms_nothing(executor, stage, ask, timeout):
    gate = stage.gate()
    future = executor.submit(wait_at, gate, 3)
    with pytest.raises(TimeoutError):
        getattr(future, ask)(timeout)
    gate.open()
    assert future.result(PATIENCE) == 3


def test_a_started_future_is_running_and_not_done(executor, stage):
    gate = stage.gate()
    future = executor.submit(wait_at, gate)
    gate.arrived()
    assert eventually(future.running)
    assert not future.done()
    gate.open()
    future.result(PATIENCE)
    assert not future.running()


def test_many_threads_may_wait_for_one_future(executor, stage):
    gate = stage.gate()
    future = executor.submit(wait_at, gate, 3)
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result(PATIENCE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert results == [3] * 8


# Cancelling


@needs("running goes on")
def test_a_running_future_is_not_cancelled(executor, stage):
    gate = stage.gate()
    future = executor.submit(wait_at, gate, 3)
    gate.arrived()
    assert eventually(future.running)
    assert not future.cancel()
    gate.open()
    assert future.result(PATIENCE) == 3
    assert not future.cancel()
    assert not future.cancelled()


def test_a_cancelled_future_never_runs_and_says_so(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    blockers = [executor.submit(wait_at, gate) for _ in range(2)]
    gate.arrived(2)
    # The standard process pool has a few more in its queue, which it counts as running.
    waiting = [executor.submit(note, ledger, number) for number in range(8)]
    last = waiting[-1]
    assert not last.running()
    assert last.cancel()
    assert last.cancel()
    assert last.cancelled()
    assert last.done()
    for ask in last.result, last.exception:
        with pytest.raises(CancelledError):
            ask(0)
    gate.open()
    wait(blockers + waiting[:-1], PATIENCE)
    assert sorted(ledger.lines()) == [str(number) for number in range(7)]


@needs("takes back")
def test_whatever_has_not_started_can_be_cancelled(candidate, executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    blockers = [executor.submit(wait_at, gate) for _ in range(2)]
    gate.arrived(2)
    waiting = [executor.submit(note, ledger) for _ in range(candidate.many(100))]
    assert all(future.cancel() for future in waiting)
    gate.open()
    wait(blockers, PATIENCE)
    assert executor.submit(add, 1).result(PATIENCE) == 2
    assert ledger.lines() == []


def test_the_others_go_on_when_some_are_cancelled(candidate, executor, stage):
    gate, ledger, many = stage.gate(), stage.ledger(), candidate.many(200)
    blockers = [executor.submit(wait_at, gate) for _ in range(2)]
    futures = [executor.submit(note, ledger, number) for number in range(many)]
    cancelled = {number for number in range(0, many, 3) if futures[number].cancel()}
    gate.open()
    wait(blockers + futures, PATIENCE)
    assert {number for number in range(many) if futures[number].cancelled()} == cancelled
    left = [number for number in range(many) if number not in cancelled]
    assert [futures[number].result(0) for number in left] == left
    assert sorted(map(int, ledger.lines())) == left


@needs("fifo")
def test_one_worker_starts_tasks_in_the_order_of_submission(candidate, stage):
    executor, ledger, many = stage.executor(1), stage.ledger(), candidate.many(300)
    wait([executor.submit(note, ledger, number) for number in range(many)], PATIENCE)
    assert ledger.lines() == [str(number) for number in range(many)]


# Callbacks


def test_callbacks_are_called_in_order_once_with_the_done_future(executor, stage):
    gate, seen, over = stage.gate(), [], threading.Event()
    future = executor.submit(wait_at, gate, 3)
    for name in "abc":
        future.add_done_callback(lambda f, name=name: seen.append((name, f is future, f.done(), f.result(0))))
    future.add_done_callback(lambda f: over.set())
    assert seen == []
    gate.open()
    assert over.wait(PATIENCE)
    assert seen == [(name, True, True, 3) for name in "abc"]


def test_a_callback_is_called_in_the_process_of_the_submitter(executor):
    marker, seen, over = object(), [], threading.Event()
    executor.submit(add, 1).add_done_callback(lambda f: (seen.append(marker), over.set()))
    assert over.wait(PATIENCE)
    assert seen == [marker]


def test_a_callback_on_a_done_future_is_called_at_once(executor):
    future = executor.submit(add, 1)
    future.result(PATIENCE)
    seen = []
    future.add_done_callback(seen.append)
    assert seen == [future]


def test_callbacks_of_failed_and_cancelled_futures_are_called(executor, stage):
    gate, seen, over = stage.gate(), [], threading.Event()
    for _ in range(2):
        executor.submit(wait_at, gate)
    gate.arrived(2)
    waiting = [executor.submit(complain, "no") for _ in range(8)]
    waiting[-1].add_done_callback(seen.append)
    waiting[0].add_done_callback(lambda f: over.set())
    assert waiting[-1].cancel()
    assert seen == [waiting[-1]]
    gate.open()
    assert over.wait(PATIENCE)


def test_an_exception_in_a_callback_is_logged_and_harms_nothing(executor, stage, caplog):
    gate, seen, over = stage.gate(), [], threading.Event()

    def fail(future):
        raise ValueError("a callback that fails")

    future = executor.submit(wait_at, gate, 3)
    for callback in seen.append, fail, seen.append, lambda f: over.set():
        future.add_done_callback(callback)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.open()
        assert over.wait(PATIENCE)
    assert seen == [future, future]
    assert future.result(0) == 3
    assert "a callback that fails" in caplog.text
    assert executor.submit(add, 1).result(PATIENCE) == 2


def test_a_callback_may_submit(candidate, executor):
    results, over, links = [], threading.Event(), candidate.many(20)

    def go_on(future):
        results.append(future.result(0))
        if len(results) == links:
            over.set()
        else:
            executor.submit(add, results[-1]).add_done_callback(go_on)

    executor.submit(add, 0).add_done_callback(go_on)
    assert over.wait(PATIENCE)
    assert results == list(range(1, links + 1))


def test_a_callback_of_a_failed_future_may_submit(executor):
    second, over = [], threading.Event()

    def again(future):
        second.append(executor.submit(add, 1))
        over.set()

    executor.submit(complain, "no").add_done_callback(again)
    assert over.wait(PATIENCE)
    assert second[0].result(PATIENCE) == 2


# Exceptions


def test_an_exception_keeps_type_arguments_text_and_attributes(executor):
    error = executor.submit(complain, "one", 2).exception(PATIENCE)
    assert (type(error), error.args, str(error), error.extra) == (Odd, ("one", 2), "('one', 2)", ["kept"])
    with pytest.raises(Odd) as caught:
        executor.submit(complain, "one").result(PATIENCE)
    assert caught.value.args == ("one",)


def test_notes_on_an_exception_arrive(executor):
    assert executor.submit(complain_with_notes).exception(PATIENCE).__notes__ == ["first", "second"]


@pytest.mark.parametrize(
    "error",
    [KeyError("a key"), OSError(2, "not there", "/a/file"), StopIteration(3), ExceptionGroup("two", [ValueError(1)])],
    ids=repr,
)
def test_exceptions_of_the_language_arrive_as_they_are(executor, error):
    arrived = executor.submit(raise_, error).exception(PATIENCE)
    assert (type(arrived), str(arrived)) == (type(error), str(error))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, BaseException])
def test_what_is_no_ordinary_exception_fails_its_future_alone(executor, kind):
    neighbours = [executor.submit(add, number) for number in range(10)]
    assert executor.submit(raise_, kind("strange")).exception(PATIENCE) is not None
    assert [future.result(PATIENCE) for future in neighbours] == list(range(1, 11))
    assert executor.submit(add, 1).result(PATIENCE) == 2


def test_the_traceback_leads_to_the_function(executor):
    with pytest.raises(Odd) as caught:
        executor.submit(complain, "no").result(PATIENCE)
    text = "".join(traceback.format_exception(caught.value))
    assert "payloads.py" in text
    assert "raise Odd(*args)" in text


@needs("remote traceback")
def test_the_cause_shows_the_traceback_of_the_worker(executor):
    error = executor.submit(complain, "no").exception(PATIENCE)
    assert "raise Odd(*args)" in str(error.__cause__)
    error = executor.submit(complain_because).exception(PATIENCE)
    text = "".join(traceback.format_exception(error))
    assert "KeyError: 'missing'" in text
    assert "The above exception was the direct cause" in text
    assert "ValueError: because" in text


def test_a_failed_task_fails_alone(candidate, executor):
    many = candidate.many(50)
    bad = many // 3
    futures = [executor.submit(complain_about, number, bad) for number in range(many)]
    assert isinstance(futures[bad].exception(PATIENCE), ValueError)
    good = [*range(bad), *range(bad + 1, many)]
    assert [futures[number].result(PATIENCE) for number in good] == good


# Many


def test_each_of_many_tasks_runs_once_and_gets_its_own_result(candidate, executor, stage):
    ledger, many = stage.ledger(), candidate.many(1000)
    futures = [executor.submit(note, ledger, number) for number in range(many)]
    assert [future.result(PATIENCE) for future in futures] == list(range(many))
    assert sorted(map(int, ledger.lines())) == list(range(many))


def test_many_threads_may_submit(candidate, executor):
    results: dict[int, list] = {}
    each = candidate.many(400) // 8

    def submit(start):
        futures = [executor.submit(add, start, number) for number in range(each)]
        results[start] = [future.result(PATIENCE) for future in futures]

    threads = [threading.Thread(target=submit, args=(start,)) for start in range(0, 8000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {start: list(range(start, start + each)) for start in range(0, 8000, 1000)}


def test_a_task_that_waits_holds_up_nobody_else(candidate, executor, stage):
    gate, many = stage.gate(), candidate.many(100)
    slow = executor.submit(wait_at, gate)
    gate.arrived()
    assert [executor.submit(add, number).result(PATIENCE) for number in range(many)] == list(range(1, many + 1))
    assert not slow.done()
    gate.open()
    slow.result(PATIENCE)


def test_tasks_submitted_together_with_one_that_waits_get_done(candidate, executor, stage):
    gate, many = stage.gate(), candidate.many(100)
    slow = many // 2
    futures = [executor.submit(wait_if, number == slow, gate, number) for number in range(many)]
    for number in [*range(slow), *range(slow + 1, many)]:
        assert futures[number].result(PATIENCE) == number
    gate.open()
    assert futures[slow].result(PATIENCE) == slow


# Letting go


def test_the_executor_keeps_no_function_argument_or_result(executor):
    def watched(*_):
        gone.set()

    for submit in lambda x: executor.submit(x.method), lambda x: executor.submit(same, x):
        gone, argument = threading.Event(), Thing()
        watch = weakref.ref(argument, watched)
        submit(argument)
        del argument
        assert gone.wait(PATIENCE)
        assert watch() is None


def test_a_result_lives_as_long_as_its_future(executor):
    future = executor.submit(thing)
    watch = weakref.ref(future.result(PATIENCE))
    assert watch() is not None
    del future

    def is_gone():
        gc.collect()
        return watch() is None

    assert eventually(is_gone)


def test_a_worker_keeps_no_arguments(executor, stage):
    ledger = stage.ledger()
    worker = executor.submit(take, Dying(ledger)).result(PATIENCE)
    assert eventually(lambda: str(worker) in ledger.lines())


@needs("as submitted")
def test_what_is_done_later_to_an_argument_is_not_seen(executor, stage):
    gate, xs = stage.gate(), [1, 2]
    for _ in range(2):
        executor.submit(wait_at, gate)
    gate.arrived(2)
    futures = [executor.submit(same, xs) for _ in range(8)]
    xs.append(100)
    gate.open()
    assert futures[-1].result(PATIENCE) == [1, 2]
