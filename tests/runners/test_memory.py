import gc
import tracemalloc
import weakref

import pytest

from hand import PATIENCE
from weft import ConcurrentRunner, task

MB = 1_000_000


@task
def link(data: bytes, number: int) -> bytes:
    return bytes([number]) * (10 * MB)


@task(mock=[0.0, None])
def parted(data: bytes, number: int) -> list:
    return [0.0, bytes([number]) * (10 * MB)]


@pytest.fixture(params=[None, "threads"], ids=["processes", "threads"])
def executor(request):
    return request.param


@pytest.mark.parametrize("schedule", [False, True], ids=["direct", "scheduled"])
def test_a_chain_of_20_results_of_10_mb_grows_memory_by_at_most_40_mb(schedule, executor):
    tracemalloc.start()
    try:
        with ConcurrentRunner(schedule, executor) as run:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            result = b""
            for number in range(20):
                result = run(link, result, number)
            assert result.result(PATIENCE)[0] == 19
            _, peak = tracemalloc.get_traced_memory()
        assert peak - before < 40 * MB
    finally:
        tracemalloc.stop()


class Thing:
    pass


@pytest.mark.parametrize("schedule", [False, True], ids=["direct", "scheduled"])
@pytest.mark.parametrize("mock", [None, [None, 0]], ids=["whole", "parts"])
def test_a_result_goes_with_its_last_future(schedule, executor, mock):
    class AnyThing:
        pass

    def make(x: int) -> object:
        return AnyThing() if mock is None else [AnyThing(), 0]

    if mock is not None:
        mock = [AnyThing(), 0]
    with ConcurrentRunner(schedule, executor) as run:
        result = run(task(mock=mock)(make), 1)
        future = result if mock is None else result[0]
        alive = weakref.ref(future.result(PATIENCE))
        # Another call, so that no thread is still in the middle of the first.
        run(link, b"", 1).result(PATIENCE)
        gc.disable()
        try:
            del result, future
            for _ in range(1000):
                if alive() is None:
                    break
                run(lambda: None).result(PATIENCE)
            assert alive() is None
        finally:
            gc.enable()


def test_arguments_go_with_the_call(executor):
    thing = Thing()
    alive = weakref.ref(thing)
    with ConcurrentRunner(schedule=True, executor=executor) as run:
        kept = run(lambda x: None, [thing])
        kept.result(PATIENCE)
        del thing
        for _ in range(1000):
            if alive() is None:
                break
            run(lambda: None).result(PATIENCE)
            gc.collect()
        assert alive() is None
        assert kept.done()
