"""The threads of `backend="threads"`: what runs, beside what, and what becomes of it at the end."""

from __future__ import annotations

import contextvars
import os
import random
import threading
import time
from concurrent.futures import CancelledError, InvalidStateError, wait

import pytest

from hand import PATIENCE, eventually
from weft.errors import ClosedError
from weft.jobs.pool import ThreadPool

COUNT = 3


@pytest.fixture
def pool():
    pool = ThreadPool(COUNT, "test")
    yield pool
    pool.shutdown(wait=True, cancel_futures=True)


def blocked(pool):
    """A call that runs until the event that is returned with it is set."""
    gate, started = threading.Event(), threading.Event()
    work = pool.submit(lambda: started.set() or gate.wait(PATIENCE), ())
    assert started.wait(PATIENCE)
    return work, gate


def test_a_call_is_made_in_another_thread_and_gives_its_result(pool):
    assert pool.submit(divmod, (7, 2)).result(PATIENCE) == (3, 1)
    assert pool.submit(threading.get_ident, ()).result(PATIENCE) != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_call_raises_is_its_outcome_and_the_threads_go_on(pool, error):
    def fail():
        raise error

    works = [pool.submit(fail, ()) for _ in range(2 * COUNT)]
    assert [work.exception(PATIENCE) for work in works] == [error] * len(works)
    assert pool.submit(int, ()).result(PATIENCE) == 0


def test_long_calls_run_side_by_side(pool):
    meeting = threading.Barrier(COUNT, timeout=PATIENCE)
    for _ in range(3):
        works = [pool.submit(meeting.wait, ()) for _ in range(COUNT)]
        assert sorted(work.result(PATIENCE) for work in works) == list(range(COUNT))


def test_there_are_never_more_threads_than_was_said(pool):
    lock, now, most = threading.Lock(), [0], [0]

    def call():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1

    wait([pool.submit(call, ()) for _ in range(20 * COUNT)], PATIENCE)
    assert 1 < most[0] <= COUNT
    assert len(pool._threads) <= COUNT


@pytest.mark.parametrize("before", [0, 50])
def test_nothing_waits_behind_a_long_call_while_there_is_a_thread(pool, before):
    works = [pool.submit(int, ()) for _ in range(before)]
    _, gate = blocked(pool)
    works += [pool.submit(int, ()) for _ in range(200)]
    assert not wait(works, PATIENCE).not_done  # though the first one still runs
    gate.set()


def test_a_long_call_among_short_ones_holds_nobody_up(pool):
    gate = threading.Event()
    works = [pool.submit(gate.wait if number == 10 else int, ()) for number in range(300)]
    assert not wait([work for number, work in enumerate(works) if number != 10], PATIENCE).not_done
    assert works[10].running()
    gate.set()
    assert works[10].result(PATIENCE) is True


def test_one_thread_makes_calls_in_their_order():
    pool = ThreadPool(1, "test")
    made = []
    wait([pool.submit(made.append, (number,)) for number in range(200)], PATIENCE)
    pool.shutdown(wait=True, cancel_futures=False)
    assert made == list(range(200))


def test_calls_find_the_context_of_the_submit_and_leave_it_as_it_was(pool):
    variable = contextvars.ContextVar("variable", default="default")

    def look():
        before = variable.get()
        variable.set("changed by a call")
        return before

    variable.set("mine")
    works = [pool.submit(look, ()) for _ in range(5)]
    variable.set("later")
    assert [work.result(PATIENCE) for work in works] == ["mine"] * 5
    assert variable.get() == "later"


def test_what_waits_can_be_cancelled_and_what_runs_cannot(pool):
    ran = []
    running = [blocked(pool) for _ in range(COUNT)]
    waiting = pool.submit(ran.append, (1,))
    assert (waiting.running(), waiting.cancel(), waiting.cancelled()) == (False, True, True)
    for work, gate in running:
        assert (work.running(), work.cancel()) == (True, False)
        gate.set()
        assert work.result(PATIENCE) is True
        assert (work.running(), work.cancel()) == (False, False)
    with pytest.raises(CancelledError):
        waiting.result()
    pool.shutdown(wait=True, cancel_futures=False)
    assert ran == []


def test_an_outcome_is_not_set_by_hand(pool):
    with pytest.raises(InvalidStateError):
        pool.submit(int, ()).set_result(5)


def test_after_shutdown_what_was_accepted_is_done_and_nothing_more_is_taken(pool):
    _, gate = blocked(pool)
    works = [pool.submit(time.sleep, (0.001,)) for _ in range(10)]
    pool.shutdown(wait=False, cancel_futures=False)
    with pytest.raises(ClosedError, match="the threads of test have been told to end"):
        pool.submit(int, ())
    gate.set()
    pool.shutdown(wait=True, cancel_futures=False)
    assert all(work.done() and not work.cancelled() for work in works)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_a_shutdown_that_cancels_drops_what_waits_and_leaves_what_runs(pool):
    running = [blocked(pool) for _ in range(COUNT)]
    waiting = [pool.submit(int, ()) for _ in range(10)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(work.cancelled() for work in waiting)
    assert all(work.running() for work, _ in running)
    for _, gate in running:
        gate.set()


def test_a_shutdown_that_is_interrupted_and_done_once_more_cancels_all(pool):
    gates = [blocked(pool)[1] for _ in range(COUNT)]
    works = [pool.submit(int, ()) for _ in range(10)]

    def interrupt(_):
        raise KeyboardInterrupt

    works[4].add_done_callback(interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.shutdown(wait=False, cancel_futures=True)
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(work.cancelled() for work in works)
    for gate in gates:
        gate.set()


def test_it_says_when_the_last_call_has_ended(pool):
    told = threading.Event()
    _, gate = blocked(pool)
    pool.shutdown(wait=False, cancel_futures=True)
    pool.when_idle(told.set)
    assert not told.is_set()
    gate.set()
    assert told.wait(PATIENCE)
    again = []
    pool.shutdown(wait=True, cancel_futures=False)
    pool.when_idle(lambda: again.append(1))
    assert again == [1]


def test_a_callback_that_is_meant_to_end_a_thread_ends_none(pool, caplog):
    gate = threading.Event()
    work = pool.submit(gate.wait, ())
    work.add_done_callback(lambda _: exec("raise SystemExit"))
    gate.set()
    assert eventually(lambda: "raised what is meant to end a thread" in caplog.text)
    assert pool.submit(int, ()).result(PATIENCE) == 0


def test_where_no_thread_can_be_started_the_call_is_refused(pool, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(int, ())
    assert pool.submit(int, ()).result(PATIENCE) == 0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert [pool.submit(int, ()).result(PATIENCE) for _ in range(10)] == [0] * 10  # by the one that there is


@pytest.mark.parametrize("seed", range(8))
def test_any_mixture_of_calls_and_cancels_ends_each_call_once(seed):
    draw = random.Random(seed)
    pool = ThreadPool(draw.choice([1, 2, 5]), "test")
    made = []

    def call(number, seconds):
        if seconds:
            time.sleep(seconds)
        made.append(number)
        return number

    def many(numbers):
        for number in numbers:
            works[number] = pool.submit(call, (number, draw.choice([0, 0, 0, 0, 0, 0.0003, 0.002])))
            if draw.random() < 0.1:
                works[draw.choice(numbers[: numbers.index(number) + 1])].cancel()
            if draw.random() < 0.02:
                time.sleep(0.002)

    works = [None] * 400
    submitters = [threading.Thread(target=many, args=(range(start, 400, 2),)) for start in (0, 1)]
    for thread in submitters:
        thread.start()
    for thread in submitters:
        thread.join()
    for work in draw.sample(works, 20):
        work.cancel()
    assert not wait(works, PATIENCE).not_done
    pool.shutdown(wait=True, cancel_futures=False)
    assert sorted(made) == [number for number, work in enumerate(works) if not work.cancelled()]
    assert (pool._near, pool._busy, pool._left, pool._lookout) == (0, 0, 0, None)


@pytest.mark.forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_child_of_a_fork_there_are_no_threads_and_none_is_waited_for(pool):
    _, gate = blocked(pool)
    pid = os.fork()
    if not pid:
        try:
            pool.submit(int, ())
        except ClosedError:
            pool.shutdown(wait=True, cancel_futures=True)
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    gate.set()
