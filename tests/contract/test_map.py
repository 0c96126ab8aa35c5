"""map(): like the built-in one, with calls that run side by side."""

import gc
import weakref

import pytest

from contract.executors import needs
from contract.payloads import act, add, complain_about, give, note, same, thing, wait_at, wait_if
from hand import PATIENCE


def test_map_is_the_built_in_map(executor):
    assert list(executor.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(executor.map(same, "abc")) == ["a", "b", "c"]


def endless():
    """Fails for whoever asks for too many, instead of filling the memory."""
    yield from range(1000)
    raise AssertionError("map should have stopped long ago")


def test_map_stops_at_the_shortest(executor):
    assert list(executor.map(add, range(100), [1, 2, 3])) == [1, 3, 5]
    assert list(executor.map(add, endless(), [1, 2, 3])) == [1, 3, 5]
    assert list(executor.map(add, [1, 2, 3], endless())) == [1, 3, 5]


@pytest.mark.parametrize("iterables", [(), ([],), ([1], [])], ids=["none", "empty", "one empty"])
def test_map_over_nothing_is_nothing(executor, iterables):
    assert list(executor.map(give, *iterables)) == []


def test_map_is_its_own_iterator(executor):
    results = executor.map(same, [1])
    assert iter(results) is results
    assert next(results) == 1
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("chunksize", [1, 3, 7, 1000])
def test_results_are_the_same_in_chunks(candidate, executor, chunksize):
    many = candidate.many(50)
    assert list(executor.map(add, range(many), range(many), chunksize=chunksize)) == list(range(0, 2 * many, 2))


@needs("checks chunksize")
@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunksize_below_one_is_refused(executor, chunksize):
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(same, [1], chunksize=chunksize)


def test_many_results_come_in_order(candidate, executor, stage):
    ledger, many = stage.ledger(), candidate.many(1000)
    assert list(executor.map(note, [ledger] * many, range(many))) == list(range(many))
    assert sorted(map(int, ledger.lines())) == list(range(many))


# Time


def test_map_runs_before_anyone_asks_for_results(executor, stage):
    gate = stage.gate()
    results = executor.map(wait_at, [gate] * 2, "ab")
    gate.arrived(2)
    gate.open()
    assert list(results) == ["a", "b"]


def test_map_has_taken_its_arguments_when_it_returns(executor):
    source = iter(range(10))
    results = executor.map(same, source)
    assert next(source, None) is None
    assert list(results) == list(range(10))


def test_an_exception_of_an_iterable_comes_out_of_map(executor):
    def broken():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        executor.map(same, broken())
    assert executor.submit(same, 1).result(PATIENCE) == 1


def test_a_result_comes_when_it_is_there(executor, stage):
    gate = stage.gate()
    results = executor.map(wait_if, [False, True, False], [gate] * 3, "abc", timeout=PATIENCE)
    assert next(results) == "a"
    gate.arrived()
    gate.open()
    assert list(results) == ["b", "c"]


def test_results_come_in_the_order_of_the_arguments_whatever_ends_first(executor, stage):
    gate, ledger = stage.gate(), stage.ledger()
    results = executor.map(wait_if, [True, False, False], [gate] * 3, "abc")
    assert executor.submit(note, ledger, "later").result(PATIENCE) == "later"
    gate.open()
    assert list(results) == ["a", "b", "c"]


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_map_times_out_at_the_result_that_is_late(executor, stage, timeout):
    gate = stage.gate()
    results = executor.map(wait_at, [gate] * 3, timeout=timeout)
    with pytest.raises(TimeoutError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    gate.open()


def test_map_gives_what_is_done_before_it_times_out(executor, stage, candidate):
    gate = stage.gate()
    executor.submit(same, 0).result(PATIENCE)  # a worker is there
    results = executor.map(wait_if, [False, True], [gate] * 2, "ab", timeout=candidate.prompt)
    assert next(results) == "a"
    with pytest.raises(TimeoutError):
        next(results)
    gate.open()


# Failures


def test_an_exception_is_at_its_place_and_ends_the_iteration(executor):
    results = executor.map(complain_about, range(10), [3] * 10)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@needs("fails by item")
@pytest.mark.parametrize("chunksize", [4, 100])
def test_an_exception_is_at_its_place_in_a_chunk(executor, chunksize):
    results = executor.map(complain_about, range(10), [6] * 10, chunksize=chunksize)
    assert [next(results) for _ in range(6)] == list(range(6))
    with pytest.raises(ValueError, match="no 6"):
        next(results)


def give_up_by_close(results):
    results.close()


def give_up_by_forgetting(results):
    pass


@pytest.mark.parametrize("give_up", [give_up_by_close, give_up_by_forgetting])
def test_giving_up_the_iterator_cancels_what_has_not_started(stage, give_up):
    executor, gate, ledger = stage.unkept_executor(1), stage.gate(), stage.ledger()
    results = executor.map(act, range(50), [gate] * 50, [ledger] * 50)
    assert next(results) == 0
    gate.arrived()
    give_up(results)
    del results
    gc.collect()
    gate.open()
    executor.shutdown()
    assert len(ledger.lines()) < 20


@needs("takes back")
def test_giving_up_the_iterator_cancels_all_that_has_not_started(stage):
    executor, gate, ledger = stage.unkept_executor(1), stage.gate(), stage.ledger()
    results = executor.map(act, range(50), [gate] * 50, [ledger] * 50)
    assert next(results) == 0
    gate.arrived()
    results.close()
    gate.open()
    executor.shutdown()
    assert ledger.lines() == []


def test_a_failure_cancels_what_has_not_started(stage):
    executor, gate, ledger = stage.unkept_executor(1), stage.gate(), stage.ledger()
    results = executor.map(act, [-1, *range(1, 50)], [gate] * 50, [ledger] * 50)
    with pytest.raises(ValueError, match="-1"):
        next(results)
    gate.open()
    executor.shutdown()
    assert len(ledger.lines()) < 20


def test_map_lets_go_of_each_result(executor):
    for result in executor.map(thing, range(10)):
        watch = weakref.ref(result)
        del result
        gc.collect()
        assert watch() is None
