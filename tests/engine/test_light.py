"""The light future must be a Future for everything that works on futures."""

import asyncio
import threading
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    as_completed,
    wait,
)

import pytest

from hand import PATIENCE
from weft.engine.light import LightFuture


def publish(future, result=None, error=None):
    assert future._decide()
    future._publish(result, error)


@pytest.fixture
def future():
    return LightFuture()


def test_a_new_one_is_pending(future):
    assert isinstance(future, Future)
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
    with pytest.raises(TimeoutError):
        future.result(timeout=0)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)


@pytest.mark.parametrize("looked_at", [False, True], ids=["without condition", "with condition"])
class TestOutcome:
    @pytest.fixture(autouse=True)
    def look(self, looked_at, future):
        if looked_at:
            future._condition  # what wait() and friends touch

    def test_result(self, future):
        publish(future, 42)
        assert (future.done(), future.result(), future.exception()) == (True, 42, None)

    def test_exception(self, future):
        error = ValueError("x")
        publish(future, error=error)
        assert future.exception() is error
        with pytest.raises(ValueError, match="x"):
            future.result()

    def test_cancel(self, future):
        assert future.cancel()
        assert future.cancel()
        assert (future.done(), future.cancelled()) == (True, True)
        for ask in future.result, future.exception:
            with pytest.raises(CancelledError):
                ask()

    def test_cancel_comes_too_late_for_a_result(self, future):
        publish(future, 1)
        assert not future.cancel()
        assert future.result() == 1

    def test_only_one_outcome_is_ever_decided(self, future):
        assert future._decide()
        assert not future._decide()
        assert not future.cancel()

    def test_callbacks_are_called_in_order_before_and_after_the_end(self, future):
        called = []
        future.add_done_callback(lambda f: called.append(("first", f)))
        future.add_done_callback(lambda f: called.append(("second", f)))
        publish(future)
        future.add_done_callback(lambda f: called.append(("late", f)))
        assert called == [("first", future), ("second", future), ("late", future)]

    def test_a_callback_that_raises_is_logged_and_the_next_is_called(self, future, caplog):
        called = []
        future.add_done_callback(lambda f: 1 / 0)
        future.add_done_callback(called.append)
        publish(future)
        assert called == [future]
        assert "exception calling callback" in caplog.text

    def test_an_interrupt_in_a_callback_costs_no_other_callback(self, future):
        called = []

        def interrupted(_):
            raise KeyboardInterrupt

        future.add_done_callback(interrupted)
        future.add_done_callback(called.append)
        with pytest.raises(KeyboardInterrupt):
            publish(future)
        assert called == [future]
        assert future.done()


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (publish, FIRST_COMPLETED),
        (LightFuture.cancel, FIRST_COMPLETED),
        (lambda f: publish(f, error=ValueError()), FIRST_EXCEPTION),
    ],
)
def test_wait_wakes_up(end, how, future):
    other = LightFuture()
    found = []
    waiter = threading.Thread(target=lambda: found.append(wait([future, other], PATIENCE, how)))
    waiter.start()
    end(future)
    waiter.join(PATIENCE)
    assert found[0].done == {future}
    assert found[0].not_done == {other}


def test_as_completed_yields_each_in_the_order_of_ends():
    futures = [LightFuture() for _ in range(3)]
    futures[2].cancel()
    completed = as_completed(futures, timeout=PATIENCE)
    assert next(completed) is futures[2]
    publish(futures[1], 1)
    assert next(completed) is futures[1]
    publish(futures[0], error=ValueError())
    assert next(completed) is futures[0]


def test_asyncio_wraps_it(future):
    async def main():
        wrapped = asyncio.wrap_future(future)
        threading.Thread(target=publish, args=(future, "woven")).start()
        return await asyncio.wait_for(wrapped, PATIENCE)

    assert asyncio.run(main()) == "woven"


@pytest.mark.parametrize("repetition", range(5))
def test_waiters_that_come_while_it_ends_are_never_missed(repetition):
    futures = [LightFuture() for _ in range(300)]
    results = []
    start = threading.Barrier(3)

    def end_them():
        start.wait()
        for i, future in enumerate(futures):
            publish(future, i)

    def collect():
        start.wait()
        results.append([future.result(PATIENCE) for future in futures])

    def wait_for_all():
        start.wait()
        results.append(len(wait(futures, PATIENCE).done))

    threads = [threading.Thread(target=t) for t in (end_them, collect, wait_for_all)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert list(range(300)) in results
    assert 300 in results


def test_a_cancel_and_a_result_that_race_have_one_winner():
    for _ in range(300):
        future = LightFuture()
        start = threading.Barrier(2)
        won = []

        def cancel(future=future, start=start, won=won):
            start.wait()
            won.append(future.cancel())

        thread = threading.Thread(target=cancel)
        thread.start()
        start.wait()
        decided = future._decide()
        if decided:
            future._publish(1, None)
        thread.join(PATIENCE)
        assert won == [not decided]
        assert future.cancelled() is not decided
