"""Tiny tasks travel in batches; nobody can tell from outside, except by the speed."""

import random
import threading
from concurrent.futures import CancelledError, wait

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.stage import eventually
from executors import zoo
from hand import PATIENCE

MANY = 400


def teach(executor, function, *arguments) -> None:
    """Let the executor learn that this function takes no time, so that it sends many calls at once."""
    for _ in range(3):
        wait([executor.submit(function, *arguments) for _ in range(MANY)], PATIENCE)


@pytest.fixture
def pair(stage):
    return stage.executor(2)


# Behind a task that blocks


@pytest.mark.parametrize("at", [0, 1, MANY // 2, MANY - 2, MANY - 1])
def test_nothing_waits_behind_a_task_that_blocks_while_a_worker_is_idle(pair, stage, at):
    gate = stage.gate()
    teach(pair, zoo.wait_at_some, -1, {at}, gate)
    futures = [pair.submit(zoo.wait_at_some, number, {at}, gate) for number in range(MANY)]
    gate.arrived()
    others = [future for number, future in enumerate(futures) if number != at]
    assert [future.result(PATIENCE) for future in others] == [number for number in range(MANY) if number != at]
    assert not futures[at].done()
    gate.open()
    assert futures[at].result(PATIENCE) == at


def test_nothing_waits_behind_a_task_of_a_map_that_blocks(pair, stage):
    gate, ledger = stage.gate(), stage.ledger()
    list(pair.map(zoo.note_and_wait_at, range(MANY), [-1] * MANY, [gate] * MANY, [stage.ledger()] * MANY))
    results = pair.map(zoo.note_and_wait_at, range(MANY), [100] * MANY, [gate] * MANY, [ledger] * MANY)
    gate.arrived()
    assert [next(results) for _ in range(100)] == list(range(100))
    assert eventually(lambda: len(ledger.lines()) == MANY)
    gate.open()
    assert list(results) == list(range(100, MANY))
    assert sorted(map(int, ledger.lines())) == list(range(MANY))


@pytest.mark.usefixtures("hurried")
def test_nothing_waits_behind_a_task_that_holds_the_interpreter_in_c_code(pair, stage):
    gate, at = stage.gate(), MANY // 2
    teach(pair, zoo.hang_in_c_at, -1, at, gate)
    futures = [pair.submit(zoo.hang_in_c_at, number, at, gate) for number in range(MANY)]
    gate.arrived()
    others = [future for number, future in enumerate(futures) if number != at]
    assert [future.result(PATIENCE) for future in others] == [number for number in range(MANY) if number != at]
    assert not futures[at].done()
    futures[at].kill()
    wait([futures[at]], PATIENCE)
    assert futures[at].cancelled()


def test_tasks_submitted_while_one_blocks_are_done(pair, stage):
    gate = stage.gate()
    teach(pair, zoo.wait_at_some, -1, {0}, gate)
    blocked = pair.submit(zoo.wait_at_some, 0, {0}, gate)
    gate.arrived()
    for _ in range(3):
        futures = [pair.submit(zoo.wait_at_some, number, set(), gate) for number in range(1, MANY)]
        assert [future.result(PATIENCE) for future in futures] == list(range(1, MANY))
    assert not blocked.done()
    gate.open()
    blocked.result(PATIENCE)


def test_two_tasks_of_one_batch_that_block_use_both_workers(pair, stage):
    gate, at = stage.gate(), {50, 51}
    teach(pair, zoo.wait_at_some, -1, at, gate)
    futures = [pair.submit(zoo.wait_at_some, number, at, gate) for number in range(MANY)]
    gate.arrived(2)
    gate.open()
    assert [future.result(PATIENCE) for future in futures] == list(range(MANY))


def test_tasks_that_wait_for_each_other_meet(stage):
    """Each of four lets the next one go: none may be stuck behind another in a message."""
    executor, gate = stage.executor(4), stage.gate()
    teach(executor, zoo.wait_at_some, -1, set(), gate)
    futures = [executor.submit(zoo.wait_at_some, number, {10, 11, 12, 13}, gate) for number in range(100)]
    gate.arrived(4)
    gate.open()
    assert [future.result(PATIENCE) for future in futures] == list(range(100))


# Early results


def test_early_results_of_a_batch_arrive_while_a_later_task_blocks(stage):
    executor, gate, at = stage.executor(1), stage.gate(), MANY // 2
    teach(executor, zoo.wait_at_some, -1, {at}, gate)
    futures = [executor.submit(zoo.wait_at_some, number, {at}, gate) for number in range(MANY)]
    assert [future.result(PATIENCE) for future in futures[:at]] == list(range(at))
    gate.arrived()
    assert not any(future.done() for future in futures[at:])
    gate.open()
    assert [future.result(PATIENCE) for future in futures] == list(range(MANY))


@pytest.mark.slow
def test_early_results_arrive_while_a_later_task_holds_the_interpreter_in_c_code(stage):
    executor, gate, at = stage.executor(1), stage.gate(), MANY // 2
    teach(executor, zoo.hang_in_c_at, -1, at, gate)
    futures = [executor.submit(zoo.hang_in_c_at, number, at, gate) for number in range(MANY)]
    assert [future.result(PATIENCE) for future in futures[:at]] == list(range(at))
    futures[at].kill()
    assert [future.result(PATIENCE) for future in futures[at + 1 :]] == list(range(at + 1, MANY))


def test_early_results_of_a_batch_survive_the_crash_of_a_later_task(stage):
    executor, ledger = stage.executor(1), stage.ledger()
    teach(executor, zoo.note, stage.ledger(), 0)
    futures = [executor.submit(zoo.note, ledger, number) for number in range(MANY)]
    crash = executor.submit(zoo.leave, 3)
    futures += [executor.submit(zoo.note, ledger, number) for number in range(MANY, 2 * MANY)]
    assert [future.result(PATIENCE) for future in futures] == list(range(2 * MANY))
    assert crash.exception(PATIENCE).exitcode == 3
    assert sorted(map(int, ledger.lines())) == list(range(2 * MANY))


# Cancelling, killing, shutting down amidst a batch


def test_what_waits_behind_a_blocker_in_its_batch_can_be_cancelled(stage):
    executor, gate, ledger = stage.executor(1), stage.gate(), stage.ledger()
    teach(executor, zoo.note_and_wait_at, -1, 0, gate, stage.ledger())
    futures = [executor.submit(zoo.note_and_wait_at, number, 10, gate, ledger) for number in range(MANY)]
    gate.arrived()
    cancelled = set(range(11, MANY, 2))
    assert all(futures[number].cancel() for number in cancelled)
    gate.open()
    wait(futures, PATIENCE)
    left = [number for number in range(MANY) if number not in cancelled]
    assert [futures[number].result(PATIENCE) for number in left] == left
    assert list(map(int, ledger.lines())) == left


def test_a_kill_in_the_middle_of_a_batch_harms_no_other_task_of_it(stage):
    executor, gate, ledger = stage.executor(1), stage.gate(), stage.ledger()
    teach(executor, zoo.note_and_wait_at, -1, 0, gate, stage.ledger())
    futures = [executor.submit(zoo.note_and_wait_at, number, 10, gate, ledger) for number in range(MANY)]
    gate.arrived()
    futures[10].kill()
    others = futures[:10] + futures[11:]
    assert [future.result(PATIENCE) for future in others] == [*range(10), *range(11, MANY)]
    assert futures[10].cancelled()
    assert sorted(map(int, ledger.lines())) == list(range(MANY))


def test_cancel_futures_reaches_into_the_batch_of_a_blocked_worker(stage):
    executor, gate, ledger = stage.unkept_executor(1), stage.gate(), stage.ledger()
    teach(executor, zoo.note_and_wait_at, -1, 0, gate, stage.ledger())
    futures = [executor.submit(zoo.note_and_wait_at, number, 10, gate, ledger) for number in range(MANY)]
    gate.arrived()
    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()
    wait(futures, PATIENCE)
    assert [future.result(PATIENCE) for future in futures[:11]] == list(range(11))
    assert all(future.cancelled() for future in futures[11:])
    executor.shutdown()
    assert list(map(int, ledger.lines())) == list(range(11))


# Order


def test_a_single_worker_starts_in_the_order_of_submission_whatever_the_batches(stage):
    executor, ledger, rng = stage.executor(1), stage.ledger(), random.Random(1)
    futures = []
    for number in range(1000):
        seconds = rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0001, 0.0001, 0.002])
        futures.append(executor.submit(zoo.spend, seconds, ledger, number))
        if rng.random() < 0.01:
            futures[rng.randrange(len(futures))].result(PATIENCE)
    assert [future.result(PATIENCE) for future in futures] == list(range(1000))
    assert list(map(int, ledger.lines())) == list(range(1000))


@pytest.mark.parametrize("end", [zoo.leave, zoo.hang])
def test_what_comes_back_from_a_worker_that_ended_keeps_its_place(stage, end):
    executor, ledger = stage.executor(1), stage.ledger()
    teach(executor, zoo.note, stage.ledger(), 0)
    first = [executor.submit(zoo.note, ledger, number) for number in range(MANY)]
    bad = executor.submit(zoo.leave, 3) if end is zoo.leave else executor.using(time=0.2).submit(zoo.hang)
    later = [executor.submit(zoo.note, ledger, number) for number in range(MANY, 2 * MANY)]
    wait([*first, bad, *later], PATIENCE)
    assert list(map(int, ledger.lines())) == list(range(2 * MANY))


# Anything mixed with anything

KINDS = ["fast", "slow", "fail", "crash", "cancel", "large", "map", "result", "blocked", "kill"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(kinds=st.lists(st.sampled_from(KINDS + ["fast"] * 20), min_size=1, max_size=150))
def test_every_task_of_any_mix_ends_as_it_should_and_runs_at_most_once(executor, stage, kinds):
    gate, ledger = stage.gate(), stage.ledger()
    expected, mapped, blocked = [], [], []
    for number, kind in enumerate(kinds):
        match kind:
            case "fast" | "cancel" | "result":
                future = executor.submit(zoo.note, ledger, number)
                if kind == "result":
                    assert future.result(PATIENCE) == number
                ran = not (kind == "cancel" and future.cancel())
                expected.append((future, number, ran))
            case "slow":
                expected.append((executor.submit(zoo.spend, 0.003, ledger, number), number, True))
            case "large":
                expected.append((executor.submit(len, bytes(200_000)), 200_000, None))
            case "fail":
                expected.append((executor.submit(zoo.fail), LookupError, None))
            case "crash":
                expected.append((executor.submit(zoo.leave, 3), Exception, None))
            case "map":
                mapped.append(executor.map(abs, range(-10, 0)))
            case "blocked" | "kill" if len(blocked) < 1:
                # One of two workers: the other has to go on.
                future = executor.submit(zoo.note_and_wait_at, number, number, gate, ledger)
                gate.arrived()
                blocked.append((future, number, kind))
    for results in mapped:
        assert list(results) == list(range(10, 0, -1))
    notes = set()
    for future, outcome, ran in expected:
        if ran is False:
            assert future.cancelled()
        elif isinstance(outcome, type):
            assert isinstance(future.exception(PATIENCE), outcome)
        else:
            assert future.result(PATIENCE) == outcome
            notes |= {outcome} if ran else set()
    for future, number, kind in blocked:
        assert not future.done()
        if kind == "kill":
            future.kill()
            with pytest.raises(CancelledError):
                future.result(PATIENCE)
        else:
            gate.open(1)
            assert future.result(PATIENCE) == number
        notes.add(number)
    assert sorted(map(int, ledger.lines())) == sorted(notes)


def test_threads_that_submit_cancel_and_kill_at_random_lose_nothing(pair, stage):
    ledger, problems = stage.ledger(), []

    def play(seed):
        rng, futures = random.Random(seed), {}
        try:
            for step in range(150):
                number = 1000 * seed + step
                futures[number] = pair.submit(zoo.note, ledger, number)
                if rng.random() < 0.1:
                    rng.choice(list(futures.values())).cancel()
                if rng.random() < 0.02:
                    rng.choice(list(futures.values())).kill()
                if rng.random() < 0.02:
                    assert pair.submit(zoo.leave, 3).exception(PATIENCE).exitcode == 3
            for number, future in futures.items():
                wait([future], PATIENCE)
                assert future.cancelled() or future.result(0) == number
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    lines = ledger.lines()
    assert len(lines) == len(set(lines))
