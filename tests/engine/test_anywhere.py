"""Schedulers whose submits may come from anywhere: the thread in which a work ends goes on with what comes after it."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from hand import PATIENCE, Hand, cancelled, done, eventually
from weft.errors import DeadlockError
from weft.futures import Limit, Scheduler, State


@pytest.fixture
def hand():
    return Hand()


def elsewhere(function, *args):
    """Do it in a thread of its own, and return when it is over."""
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def asleep(scheduler):
    """Return when the scheduler's own thread has nothing more to do."""
    dispatcher = scheduler._dispatcher
    dispatcher.flushed().wait(PATIENCE)
    assert eventually(lambda: dispatcher._asleep and not dispatcher._hand.locked())


def test_the_thread_in_which_a_work_ends_submits_what_comes_after_it():
    works, threads = [], []

    def submit():
        works.append(Future())
        threads.append(threading.get_ident())
        return works[-1]

    with Scheduler(submit, anywhere=True) as scheduler:
        a = scheduler.submit()
        b = scheduler.submit(dependencies=[a])
        asleep(scheduler)
        here = []

        def end():
            here.append(threading.get_ident())
            works[0].set_result(1)
            # All of it has happened by now.
            assert (a.result(0), b.state, len(works)) == (1, State.RUNNING, 2)

        elsewhere(end)
        assert threads == [scheduler._dispatcher.thread.ident, *here]
        elsewhere(works[1].set_result, 2)
        assert b.result(0) == 2


def test_the_main_thread_never_does():
    threads = []

    def submit():
        threads.append(threading.get_ident())
        return Future()

    with Scheduler(submit, anywhere=True) as scheduler:
        root = Future()
        a = scheduler.submit(dependencies=[root])
        asleep(scheduler)
        root.set_result(None)
        asleep(scheduler)
        b = scheduler.submit(dependencies=[a])
        a._work.set_result(None)
        asleep(scheduler)
        assert a.done()
        b._work.set_result(None)
        assert threading.get_ident() not in threads
        b.result(PATIENCE)


@pytest.mark.parametrize("length", [3_000])
@pytest.mark.parametrize("ends", ["well", "badly", "cancelled"])
def test_a_long_chain_ends_without_recursion(length, ends):
    with ThreadPoolExecutor(2) as pool, Scheduler(pool.submit, anywhere=True) as scheduler:
        start = Future()
        first = {"well": [int], "badly": [divmod, 1, 0], "cancelled": [int]}[ends]
        tasks = [scheduler.submit(first, dependencies=[start])]
        for _ in range(length - 1):
            tasks.append(scheduler.submit([int], dependencies=[tasks[-1]], condition="success"))
        if ends == "cancelled":
            tasks[0].cancel()
        start.set_result(None)
        wait(tasks, PATIENCE)
        states = {task.state for task in tasks[1:]}
    assert states == {State.SUCCEEDED if ends == "well" else State.UNREACHABLE}


def test_never_are_there_two_at_a_time_and_events_come_in_order():
    within, most, events = [0], [0], []

    def submit(seconds):
        within[0] += 1
        most[0] = max(most[0], within[0])
        time.sleep(0.0001)  # somebody else would come in between
        within[0] -= 1
        return pool.submit(time.sleep, seconds)

    def observe(event):
        within[0] += 1
        most[0] = max(most[0], within[0])
        events.append(event)
        within[0] -= 1

    draw = random.Random(0)
    with ThreadPoolExecutor(4) as pool, Scheduler(submit, observers=[observe], anywhere=True) as scheduler:
        tasks = []
        for number in range(300):
            deps = draw.sample(tasks[-20:], min(len(tasks), draw.choice([0, 1, 1, 2])))
            tasks.append(scheduler.submit([draw.choice([0, 0, 0.001])], dependencies=deps, name=str(number)))
        assert not wait(tasks, PATIENCE).not_done
    assert most == [1]
    told = [(event.name, event.state) for event in events]
    assert len(told) == len(set(told)) == 3 * len(tasks)
    assert all(earlier.time <= later.time for earlier, later in zip(events, events[1:], strict=False))
    place = {one: index for index, one in enumerate(told)}
    for task in tasks:
        states = (State.WANTED, State.RUNNING, State.SUCCEEDED)
        assert [place[task.name, state] for state in states] == sorted(place[task.name, state] for state in states)


def test_waiting_for_a_task_where_it_would_have_to_be_submitted_is_refused():
    caught = []

    def submit():
        return works.pop()

    works = [Future(), Future(), Future()]
    first = works[-1]
    with Scheduler(submit, anywhere=True) as scheduler:
        a = scheduler.submit()
        b = scheduler.submit(dependencies=[a])

        def look(_):
            with pytest.raises(DeadlockError, match="waiting for 'task-2' here would never end"):
                b.result()
            scheduler.shutdown()  # this does not hang either
            caught.append(threading.get_ident())

        a.add_done_callback(look)
        asleep(scheduler)
        elsewhere(first.set_result, None)
        assert len(caught) == 1
        assert caught != [scheduler._dispatcher.thread.ident]
        elsewhere(b._work.set_result, None)


def test_what_goes_wrong_there_is_told_and_stops_nothing_else(caplog, monkeypatch):
    works = []

    def submit(fails):
        if fails:
            raise SystemExit(3)
        works.append(Future())
        return works[-1]

    with Scheduler(submit, anywhere=True) as scheduler:
        a = scheduler.submit([False])
        bad = scheduler.submit([True], dependencies=[a])
        good = scheduler.submit([False], dependencies=[a])
        asleep(scheduler)
        with monkeypatch.context() as patch:

            def broken(self, task, work):
                patch.undo()
                raise RuntimeError("a mistake of ours")

            patch.setattr(type(scheduler._dispatcher), "_finish", broken)
            elsewhere(works[0].set_result, None)
        assert "unexpected error" in caplog.text
        a.cancel()
        assert isinstance(bad.exception(PATIENCE), SystemExit)
        asleep(scheduler)
        elsewhere(works[1].set_result, 5)
        assert good.result(PATIENCE) == 5


def test_a_gate_is_passed_and_left_there(hand):
    gate = Limit(1)
    with Scheduler(hand, gates=[gate], anywhere=True) as scheduler:
        tasks = [scheduler.submit([number]) for number in range(3)]
        for number in range(3):
            (args, work) = hand.next()
            assert args == (number,)
            asleep(scheduler)
            elsewhere(work.set_result, number)
        assert [task.result(PATIENCE) for task in tasks] == [0, 1, 2]


def test_a_work_that_is_done_already_needs_no_message():
    with Scheduler(lambda: done(5), anywhere=True) as scheduler:
        tasks = [scheduler.submit()]
        tasks += [scheduler.submit(dependencies=[tasks[0]]) for _ in range(5)]
        assert [task.result(PATIENCE) for task in tasks] == [5] * 6
    with Scheduler(cancelled, anywhere=True) as scheduler:
        task = scheduler.submit()
        wait([task], PATIENCE)
        assert task.state is State.CANCELLED


@pytest.mark.parametrize("repetition", range(20))
def test_who_waits_at_a_shutdown_is_told_wherever_the_last_task_is_submitted(repetition):
    with ThreadPoolExecutor(3) as pool:
        scheduler = Scheduler(pool.submit, anywhere=True)
        tasks = [scheduler.submit([int])]
        for number in range(1, 30):
            tasks.append(scheduler.submit([int], dependencies=tasks[max(0, number - 2) :]))
        scheduler.shutdown()
        assert all(task.state in (State.RUNNING, State.SUCCEEDED) for task in tasks)
        assert not wait(tasks, PATIENCE).not_done
        thread = scheduler._dispatcher.thread
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("repetition", range(20))
def test_cancels_that_cross_with_ends_lose_nothing(repetition):
    draw = random.Random(repetition)
    with ThreadPoolExecutor(3) as pool, Scheduler(pool.submit, anywhere=True) as scheduler:
        tasks = [scheduler.submit([int])]
        for _ in range(100):
            tasks.append(scheduler.submit([int], dependencies=[draw.choice(tasks)], condition="any"))
        elsewhere(lambda: [draw.choice(tasks).cancel() for _ in range(20)])
        assert not wait(tasks, PATIENCE).not_done


def test_an_idle_thread_ends_and_comes_back(monkeypatch):
    monkeypatch.setattr("weft.engine.actor.IDLE", 0.01)
    with ThreadPoolExecutor(1) as pool, Scheduler(pool.submit, anywhere=True) as scheduler:
        for _ in range(3):
            a = scheduler.submit([int])
            assert scheduler.submit([int], dependencies=[a]).result(PATIENCE) == 0
            thread = scheduler._dispatcher.thread
            if thread is not None:
                thread.join(PATIENCE)
                assert not thread.is_alive()


def test_whoever_listens_only_later_is_not_told_that_tasks_were_accepted(hand):
    all_events, later = [], []
    with Scheduler(hand, observers=[all_events.append]) as scheduler:
        undo = scheduler.observe(later.append, early=False)
        task = scheduler.submit()
        hand.finish()
        task.result(PATIENCE)
        undo()
        scheduler.submit()
        hand.finish()
    states = [State.WANTED, State.RUNNING, State.SUCCEEDED]
    assert [event.state for event in all_events] == states * 2
    assert [event.state for event in later] == states[1:]
