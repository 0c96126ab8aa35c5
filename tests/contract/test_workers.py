"""How many workers there are, and how each begins."""

import logging
from concurrent.futures import BrokenExecutor, wait

import pytest

from contract.executors import needs
from contract.payloads import (
    add,
    enter_and_leave,
    get_initialized,
    initialize,
    initialize_badly,
    initialize_badly_behind,
    note,
    wait_at,
    wait_at_and_tell,
    whoami,
)
from contract.stage import eventually
from hand import PATIENCE


@needs("workers")
@pytest.mark.parametrize("number", [0, -1])
def test_at_least_one_worker_is_needed(candidate, number):
    with pytest.raises(ValueError, match="max_workers"):
        candidate.make(number)


@needs("workers")
def test_the_number_of_workers_has_a_default(stage):
    assert stage.executor(None).submit(add, 1).result(PATIENCE) == 2


@pytest.mark.parametrize("number", [1, 3])
def test_as_many_tasks_as_workers_run_side_by_side(stage, number):
    executor, gate = stage.executor(number), stage.gate()
    futures = [executor.submit(wait_at, gate) for _ in range(number)]
    gate.arrived(number)
    gate.open()
    wait(futures, PATIENCE)


def test_never_more_tasks_than_workers_run_side_by_side(stage):
    executor, gate, ledger = stage.executor(2), stage.gate(), stage.ledger()
    futures = [executor.submit(wait_at_and_tell, gate, ledger) for _ in range(20)]
    gate.arrived(2)
    gate.open()
    wait(futures, PATIENCE)
    running = highest = 0
    for line in ledger.lines():
        running += 1 if line == "in" else -1
        highest = max(highest, running)
    assert (running, highest) == (0, 2)


def test_one_worker_does_one_thing_at_a_time(candidate, stage):
    executor, ledger, many = stage.executor(1), stage.ledger(), candidate.many(200)
    wait([executor.submit(enter_and_leave, ledger, number) for number in range(many)], PATIENCE)
    lines = ledger.lines()
    assert [line[1:] for line in lines[::2]] == [line[1:] for line in lines[1::2]]
    assert len(lines) == 2 * many


@needs("workers")
def test_workers_are_used_again(stage):
    executor = stage.executor(2)
    assert len({executor.submit(whoami).result(PATIENCE) for _ in range(30)}) <= 2


@needs("renews workers")
def test_a_worker_is_replaced_after_its_number_of_tasks(stage):
    executor = stage.executor(1, max_tasks_per_worker=2)
    workers = [executor.submit(whoami).result(PATIENCE) for _ in range(6)]
    assert workers[::2] == workers[1::2]
    assert len(set(workers)) == 3
    futures = [executor.submit(whoami) for _ in range(20)]
    workers = [future.result(PATIENCE) for future in futures]
    assert workers[::2] == workers[1::2]
    assert len(set(workers)) == 10


# The initializer

initializer = needs("initializer")


@initializer
@pytest.mark.parametrize("arguments", [(), (1, "two")])
def test_each_worker_begins_with_the_initializer_and_its_arguments(stage, arguments):
    executor, gate = stage.executor(2, initializer=initialize, initargs=arguments), stage.gate()
    futures = [executor.submit(get_initialized, gate) for _ in range(2)]
    gate.arrived(2)
    gate.open()
    for future in futures:
        # Workers that were forked from this process know what happened here earlier.
        assert future.result(PATIENCE)[-1] == arguments


@initializer
def test_the_initializer_runs_once_in_a_worker(stage):
    ledger = stage.ledger()
    executor = stage.executor(2, initializer=note, initargs=(ledger, "here"))
    wait([executor.submit(add, number) for number in range(50)], PATIENCE)
    executor.shutdown()
    assert 1 <= len(ledger.lines()) <= 2


@initializer
def test_an_initializer_that_cannot_be_called_is_refused(candidate):
    with pytest.raises(TypeError, match="initializer"):
        candidate.make(1, initializer=123)


@initializer
def test_a_failing_initializer_breaks_the_executor(stage, caplog):
    executor, gate = stage.executor(2, initializer=initialize_badly), stage.gate()
    with caplog.at_level(logging.CRITICAL + 1):
        futures = []
        with pytest.raises(BrokenExecutor):
            while len(futures) < 10_000:
                futures.append(executor.submit(wait_at, gate))
                futures[0].exception(PATIENCE)
        assert futures
        for future in futures:
            assert isinstance(future.exception(PATIENCE), BrokenExecutor)
    for _ in range(2):
        with pytest.raises(BrokenExecutor):
            executor.submit(add, 1)
    with pytest.raises(BrokenExecutor):
        executor.map(add, [1])
    executor.shutdown()


@initializer
def test_an_initializer_that_fails_late_fails_all_that_waits(stage, caplog):
    gate = stage.gate()
    executor = stage.executor(1, initializer=initialize_badly_behind, initargs=(gate,))
    with caplog.at_level(logging.CRITICAL + 1):
        futures = [executor.submit(add, number) for number in range(20)]
        gate.open()
        for future in futures:
            assert isinstance(future.exception(PATIENCE), BrokenExecutor)

        def is_broken():
            try:
                executor.submit(add, 1).cancel()
            except BrokenExecutor:
                return True

        assert eventually(is_broken)
