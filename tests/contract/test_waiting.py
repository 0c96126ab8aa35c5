"""wait(), as_completed() and asyncio work on the futures."""

import asyncio
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, as_completed, wait

import pytest

from contract.payloads import add, complain, same, wait_at
from hand import PATIENCE


def test_wait_for_all(executor):
    futures = [executor.submit(same, 1), executor.submit(complain, "no")]
    done, waiting = wait(futures, PATIENCE, ALL_COMPLETED)
    assert (done, waiting) == (set(futures), set())


def test_wait_for_the_first(executor, stage):
    gate = stage.gate()
    slow, quick = executor.submit(wait_at, gate), executor.submit(same, 1)
    assert wait([slow, quick], PATIENCE, FIRST_COMPLETED) == ({quick}, {slow})
    assert wait([slow, quick], PATIENCE, FIRST_COMPLETED) == ({quick}, {slow})
    gate.open()


def test_wait_for_the_first_exception(executor, stage):
    gate = stage.gate()
    slow, quick, bad = executor.submit(wait_at, gate), executor.submit(same, 1), executor.submit(complain, "no")
    done, waiting = wait([slow, quick, bad], PATIENCE, FIRST_EXCEPTION)
    assert bad in done
    assert slow in waiting
    gate.open()


def test_wait_for_the_first_exception_when_there_is_none_is_for_all(executor):
    futures = [executor.submit(same, number) for number in range(10)]
    assert wait(futures, PATIENCE, FIRST_EXCEPTION).not_done == set()


def test_a_cancelled_future_counts_as_done(executor, stage):
    gate = stage.gate()
    blockers = [executor.submit(wait_at, gate) for _ in range(2)]
    gate.arrived(2)
    waiting = [executor.submit(same, number) for number in range(8)]
    assert waiting[-1].cancel()
    gate.open()
    assert wait([*blockers, *waiting], PATIENCE).not_done == set()
    assert waiting[-1] in list(as_completed([*blockers, *waiting], PATIENCE))


def test_wait_times_out_without_an_exception(executor, stage):
    gate = stage.gate()
    slow = executor.submit(wait_at, gate)
    for timeout in 0, 0.01:
        assert wait([slow], timeout) == (set(), {slow})
    gate.open()


def test_as_completed_gives_each_once_as_it_is_done(executor, stage):
    gate = stage.gate()
    slow, quick = executor.submit(wait_at, gate, "slow"), executor.submit(same, "quick")
    completed = as_completed([slow, quick, slow], PATIENCE)
    assert next(completed) is quick
    gate.open()
    assert list(completed) == [slow]


def test_as_completed_times_out(executor, stage):
    gate = stage.gate()
    slow, quick = executor.submit(wait_at, gate), executor.submit(same, 1)
    quick.result(PATIENCE)
    completed = as_completed([slow, quick], 0.01)
    assert next(completed) is quick
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(completed)
    gate.open()


def test_futures_of_several_executors_are_waited_for_together(executor):
    with ThreadPoolExecutor(1) as other:
        futures = [pool.submit(same, number) for number in range(10) for pool in (executor, other)]
        assert wait(futures, PATIENCE).not_done == set()
        assert sorted(future.result(0) for future in as_completed(futures)) == sorted([*range(10)] * 2)


# asyncio


def test_asyncio_wraps_the_futures(executor):
    async def main():
        wrapped = [asyncio.wrap_future(executor.submit(add, number)) for number in range(20)]
        with pytest.raises(Exception, match="no"):
            await asyncio.wrap_future(executor.submit(complain, "no"))
        return await asyncio.wait_for(asyncio.gather(*wrapped), PATIENCE)

    assert asyncio.run(main()) == list(range(1, 21))


def test_asyncio_runs_in_the_executor(executor):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, add, number, 2) for number in range(5)))

    assert asyncio.run(main()) == [2, 3, 4, 5, 6]


def test_asyncio_cancels_what_waits(executor, stage):
    gate = stage.gate()

    async def main():
        blockers = [executor.submit(wait_at, gate) for _ in range(2)]
        gate.arrived(2)
        waiting = [executor.submit(same, number) for number in range(8)]
        wrapped = asyncio.wrap_future(waiting[-1])
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        for _ in range(3):  # the loop passes it on when it gets to it
            await asyncio.sleep(0)
        assert waiting[-1].cancelled()
        gate.open()
        wait([*blockers, *waiting], PATIENCE)

    asyncio.run(main())
