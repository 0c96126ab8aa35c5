"""Moments that come rarely, made to come often."""

import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, wait

import pytest

from contract.stage import ended
from executors import zoo
from hand import PATIENCE
from weft.errors import ClosedError
from weft.executors import LocalExecutor, keeper, supervisor
from weft.executors.tasks import LocalFuture


@pytest.fixture
def brisk():
    """Threads take turns more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("wait_at_once", [True, False])
@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.slow(30))])
def test_what_was_accepted_while_the_executor_was_being_shut_down_ends(times, wait_at_once, brisk):
    rng = random.Random(3)
    for _ in range(times):
        executor, accepted, refused = LocalExecutor(2), [], []

        def flood(executor=executor, accepted=accepted, refused=refused):
            try:
                while True:
                    accepted.append(executor.submit(zoo.same, len(accepted)))
            except ClosedError as error:
                refused.append(error)

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(rng.randrange(1, 10)):
            executor.submit(zoo.same, None).result(PATIENCE)
        executor.shutdown(wait=wait_at_once)
        for thread in threads:
            thread.join(PATIENCE)
        assert len(refused) == len(threads)
        done, late = wait(accepted, PATIENCE)
        assert not late
        assert all(type(future.result(0)) is int for future in done)
        executor.shutdown()


@pytest.mark.timeout(60, method="thread")  # the other method has the same signal
def test_signal_handlers_that_raise_in_the_middle_of_submits_and_cancels_cost_nothing(stage, monkeypatch):
    executor, futures, interrupted, rng = stage.executor(2), [], 0, random.Random(5)
    executor.submit(zoo.same, 0).result(PATIENCE)

    methods = (LocalExecutor.submit, LocalFuture.result, LocalFuture.cancel, LocalFuture.kill)
    ours = [method.__code__ for method in methods]

    class Struck(BaseException):  # as KeyboardInterrupt is one
        pass

    def strike(_, frame):
        while frame is not None:
            if frame.f_code in ours:
                raise Struck
            frame = frame.f_back

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # it may strike in a finalizer
    before = signal.signal(signal.SIGALRM, strike)
    try:
        while interrupted < 500:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00005, 0.002), 0.002)
                while True:
                    futures.append(executor.submit(zoo.same, len(futures)))
                    chance = rng.random()
                    if chance < 0.02:  # let the workers be idle now and then
                        futures[-1].result(PATIENCE)
                    elif chance < 0.06:
                        rng.choice(futures[-20:]).cancel()
                    elif chance < 0.065:
                        futures[-1].kill()
            except Struck:
                interrupted += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
            except CancelledError:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    wait(futures, PATIENCE)
    assert all(future.cancelled() or future.result(0) == number for number, future in enumerate(futures))
    gate = stage.gate()  # both workers are still of use
    last = [executor.submit(zoo.wait_at_some, number, {0, 1}, gate) for number in range(2)]
    gate.arrived(2)
    gate.open()
    assert [future.result(PATIENCE) for future in last] == [0, 1]


def test_a_submit_that_a_shutdown_overtakes_is_refused(stage, monkeypatch):
    executor, gate = stage.executor(1), stage.gate()
    running = executor.submit(zoo.wait_at_some, 0, {0}, gate)
    gate.arrived()
    backlog = executor._pool._backlog
    append = backlog.append

    def overtaken(task):
        executor.shutdown(wait=False)
        gate.open()
        executor.shutdown()
        append(task)

    monkeypatch.setattr(backlog, "append", overtaken)
    with pytest.raises(ClosedError):
        executor.submit(zoo.same, 1)
    assert running.result(PATIENCE) == 0


@pytest.mark.forks
@pytest.mark.parametrize("initializer", [None, time.sleep])
def test_a_fork_that_is_stuck_is_ended_and_another_one_takes_its_place(initializer, tmp_path, monkeypatch):
    """As one is that has been forked while another thread held a lock that it needs."""
    become = keeper.become_worker

    def stick_once(*files, **options):
        try:
            (tmp_path / "stuck").touch(exist_ok=False)
        except FileExistsError:
            become(*files, **options)
        (tmp_path / "pid").write_text(str(os.getpid()))
        signal.pause()

    monkeypatch.setattr(keeper, "become_worker", stick_once)
    monkeypatch.setattr(supervisor, "FORK_GRACE", 0.5)
    # An initializer takes as long as it takes.
    with LocalExecutor(1, start="fork", initializer=initializer, initargs=(1.0,) if initializer else ()) as executor:
        assert executor.submit(zoo.same, 1).result(PATIENCE) == 1
        assert ended(int((tmp_path / "pid").read_text()))
