import logging

import pytest

from hand import PATIENCE, Hand, done
from weft.errors import ArgumentError
from weft.futures import Scheduler, State


def test_each_change_of_state_is_told_once_and_in_order():
    events = []
    with Scheduler(lambda x: done(x), observers=[events.append]) as scheduler:
        a = scheduler.submit([1], name="a")
        b = scheduler.submit([2], dependencies=[a], name="b")
        b.result()
    told = [(event.name, event.state) for event in events]
    for name in "ab":
        assert [s for n, s in told if n == name] == [State.WANTED, State.RUNNING, State.SUCCEEDED]
    assert told.index(("a", State.SUCCEEDED)) < told.index(("b", State.RUNNING))
    assert {event.task for event in events} == {a, b}
    assert all(earlier.time <= later.time for earlier, later in zip(events, events[1:], strict=False))


def test_the_end_is_recorded_before_it_is_published():
    recorded = []
    with Scheduler(lambda: done(1), observers=[lambda e: recorded.append((e.state, e.task.done()))]) as scheduler:
        scheduler.submit().result()
    assert recorded[-1] == (State.SUCCEEDED, False)


def test_a_failure_is_told_with_its_reason():
    events = []
    with Scheduler(lambda: done(error=ValueError("no data")), observers=[events.append]) as scheduler:
        a = scheduler.submit(name="a")
        b = scheduler.submit(dependencies=[a], condition="success", name="b")
        b.exception()
    ends = {event.name: (event.state, event.detail) for event in events if event.state.is_end}
    assert ends["a"] == (State.FAILED, "ValueError: no data")
    assert ends["b"][0] is State.UNREACHABLE
    assert "'b' needs the success of 'a', which failed" in ends["b"][1]


def test_an_observer_that_raises_is_logged_once_and_the_others_go_on(caplog):
    events = []

    def broken(event):
        raise RuntimeError("observer is ill")

    with (
        caplog.at_level(logging.ERROR, logger="weft"),
        Scheduler(lambda: done(1), observers=[broken, events.append]) as scheduler,
    ):
        assert scheduler.submit().result() == 1
    assert len(events) == 3
    assert len([r for r in caplog.records if "not called any more" in r.message]) == 1


def test_an_exception_that_cannot_be_printed_is_told_by_its_type():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    events = []
    with Scheduler(lambda: done(error=Odd()), observers=[events.append]) as scheduler:
        assert isinstance(scheduler.submit().exception(), Odd)
    assert events[-1].detail == "Odd"


def test_observe_returns_its_own_undo():
    hand, events = Hand(), []
    with Scheduler(hand) as scheduler:
        undo = scheduler.observe(events.append)
        first = scheduler.submit(["first"])
        hand.finish()
        first.result()
        undo()
        second = scheduler.submit(["second"])
        hand.finish()
        second.result()
    assert {event.name for event in events} == {first.name}


def test_a_log_filter_that_raises_ends_no_thread():
    def odd(record):
        raise RuntimeError("filter")

    logger = logging.getLogger("weft")
    logger.addFilter(odd)
    try:
        with Scheduler(lambda: done(1), observers=[lambda event: 1 / 0]) as scheduler:
            assert scheduler.submit().result(PATIENCE) == 1
            assert scheduler.submit().result(PATIENCE) == 1
    finally:
        logger.removeFilter(odd)


def test_one_of_two_equal_observers_can_go():
    events = []
    with Scheduler(lambda: done(1), observers=[events.append]) as scheduler:
        undo = scheduler.observe(events.append)
        undo()
        undo()
        scheduler.submit(name="once").result(PATIENCE)
    assert len(events) in (0, 3)


def test_something_that_cannot_be_called_is_no_observer():
    with pytest.raises(ArgumentError, match="cannot be called"):
        Scheduler(done, observers=["log.txt"])
