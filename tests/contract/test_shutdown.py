"""shutdown(), with, the end of the interpreter, and executors that nobody shuts down."""

import gc
import threading
from concurrent.futures import CancelledError, as_completed, wait

import pytest

from contract.executors import needs
from contract.payloads import add, same, wait_at, wait_if, whoami
from contract.scripts import run_script
from contract.stage import eventually, threads, worker_ended
from hand import PATIENCE


def test_nothing_can_be_submitted_after_shutdown(stage):
    executor = stage.executor()
    assert executor.submit(add, 1).result(PATIENCE) == 2
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        executor.submit(add, 1)
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        executor.map(add, [1])


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_shutdown_may_be_called_again(stage, first, second):
    executor = stage.executor()
    future = executor.submit(add, 1)
    executor.shutdown(wait=first)
    executor.shutdown(wait=second, cancel_futures=True)
    executor.shutdown()
    assert future.cancelled() or future.result(PATIENCE) == 2


def test_an_executor_that_did_nothing_is_shut_down(stage):
    for wait_for_it in True, False:
        stage.executor().shutdown(wait=wait_for_it)
    with stage.executor() as executor:
        pass
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        executor.submit(add, 1)


def test_with_gives_the_executor_and_waits_for_everything(candidate, stage):
    made, many = stage.unkept_executor(), candidate.many(50)
    with made as executor:
        assert executor is made
        futures = [executor.submit(same, number) for number in range(many)]
    assert all(future.done() for future in futures)
    assert [future.result(0) for future in futures] == list(range(many))


def test_an_exception_comes_out_of_with_after_everything_is_done(candidate, stage):
    futures, many = [], candidate.many(50)
    with pytest.raises(LookupError, match="of the block"), stage.unkept_executor() as executor:
        futures += [executor.submit(same, number) for number in range(many)]
        raise LookupError("of the block")
    assert [future.result(0) for future in futures] == list(range(many))


def test_shutdown_waits_for_what_runs_and_what_waits(stage):
    executor, gate = stage.executor(), stage.gate()
    futures = [executor.submit(wait_at, gate, number) for number in range(6)]
    gate.arrived(2)
    threading.Thread(target=gate.open).start()
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(6))


def test_shutdown_without_waiting_returns_and_lets_everything_end(stage):
    executor, gate = stage.unkept_executor(), stage.gate()
    futures = [executor.submit(wait_at, gate, number) for number in range(6)]
    gate.arrived(2)
    executor.shutdown(wait=False)
    assert not futures[0].done()
    gate.open()
    assert [future.result(PATIENCE) for future in futures] == list(range(6))


@pytest.mark.parametrize("wait_for_it", [True, False])
def test_cancel_futures_cancels_what_waits_and_nothing_that_runs(stage, wait_for_it):
    executor, gate = stage.unkept_executor(), stage.gate()
    running = [executor.submit(wait_at, gate, number) for number in range(2)]
    gate.arrived(2)
    waiting = [executor.submit(wait_at, gate, number) for number in range(20)]
    # So that shutdown can return: what runs goes on when what waits has been cancelled.
    waiting[-1].add_done_callback(lambda future: gate.open())
    executor.shutdown(wait=wait_for_it, cancel_futures=True)
    gate.open()
    assert [future.result(PATIENCE) for future in running] == [0, 1]
    assert all(future.cancelled() or future.result(PATIENCE) == number for number, future in enumerate(waiting))
    assert sum(future.cancelled() for future in waiting) > 10


@needs("takes back")
def test_cancel_futures_cancels_all_that_waits(stage):
    executor, gate = stage.unkept_executor(), stage.gate()
    running = [executor.submit(wait_at, gate) for _ in range(2)]
    gate.arrived(2)
    waiting = [executor.submit(wait_at, gate) for _ in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    gate.open()
    wait(running, PATIENCE)


@needs("wait sees shutdown")
def test_wait_and_as_completed_see_what_shutdown_cancelled(stage):
    executor, gate = stage.unkept_executor(1), stage.gate()
    futures = [executor.submit(wait_at, gate)]
    gate.arrived()
    futures += [executor.submit(wait_at, gate) for _ in range(20)]
    gate.open()
    executor.shutdown(cancel_futures=True)
    assert wait(futures, 0).not_done == set()
    assert set(as_completed(futures, 0)) == set(futures)


def test_shutdown_right_after_cancel_ends(stage):
    for _ in range(5):
        executor = stage.unkept_executor(1)
        executor.submit(int).result(PATIENCE)
        executor.submit(int).cancel()
        executor.shutdown()


def test_every_task_accepted_while_another_thread_shuts_down_ends(stage):
    executor, accepted, going = stage.unkept_executor(), [], threading.Event()

    def submit():
        while True:
            try:
                accepted.append(executor.submit(same, len(accepted)))
            except RuntimeError:
                return
            if len(accepted) == 50:
                going.set()

    submitter = threading.Thread(target=submit)
    submitter.start()
    assert going.wait(PATIENCE)
    executor.shutdown(cancel_futures=True)
    submitter.join()
    for number, future in enumerate(accepted):
        try:
            assert future.result(PATIENCE) == number
        except CancelledError:
            pass


def test_shutdown_leaves_no_thread_and_no_worker(stage):
    before = threads()
    executor, gate = stage.unkept_executor(), stage.gate()
    futures = [executor.submit(wait_at, gate) for _ in range(2)]
    workers = [executor.submit(whoami) for _ in range(10)]
    gate.open()
    wait(futures, PATIENCE)
    executor.shutdown()
    assert threads() <= before
    assert all(worker_ended(worker.result(0)) for worker in workers)


# Nobody shuts it down


@pytest.mark.parametrize("tasks", [0, 1, 20])
def test_a_forgotten_executor_ends_its_workers(stage, tasks):
    before = threads()
    executor = stage.unkept_executor()
    workers = {executor.submit(whoami).result(PATIENCE) for _ in range(tasks)}
    del executor
    gc.collect()
    assert all(worker_ended(worker) for worker in workers)
    assert eventually(lambda: threads() <= before)


def test_a_forgotten_executor_does_what_it_accepted(stage):
    executor, gate = stage.unkept_executor(), stage.gate()
    futures = [executor.submit(wait_at, gate, number) for number in range(10)]
    gate.arrived(2)
    del executor
    gc.collect()
    gate.open()
    assert [future.result(PATIENCE) for future in futures] == list(range(10))


def test_results_of_a_forgotten_executor_arrive_through_map(stage):
    results = stage.unkept_executor().map(abs, range(-5, 5))
    gc.collect()
    assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


@needs("takes back")
def test_a_waiting_task_can_be_cancelled_after_shutdown_without_waiting(stage):
    executor, gate = stage.unkept_executor(1), stage.gate()
    running = executor.submit(wait_at, gate, 1)
    gate.arrived()
    waiting = [executor.submit(wait_if, False, gate, number) for number in range(3)]
    executor.shutdown(wait=False)
    assert waiting[1].cancel()
    gate.open()
    assert [running.result(PATIENCE), waiting[0].result(PATIENCE), waiting[2].result(PATIENCE)] == [1, 0, 2]


# The end of the interpreter


def test_the_interpreter_waits_for_what_was_accepted(candidate, tmp_path):
    ended = run_script(
        candidate,
        tmp_path,
        """
        from contract.payloads import note
        from contract.stage import Ledger

        ledger = Ledger(folder / "ledger")
        for number in range(10):
            executor.submit(note, ledger, number)
        print("end of script")
        """,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("end of script\n", "", 0)
    assert sorted(map(int, (tmp_path / "ledger").read_text().split())) == list(range(10))


@needs("leaves in peace")
def test_the_interpreter_waits_after_shutdown_without_waiting(candidate, tmp_path):
    ended = run_script(
        candidate,
        tmp_path,
        """
        from contract.payloads import note
        from contract.stage import Ledger

        ledger = Ledger(folder / "ledger")
        for number in range(10):
            executor.submit(note, ledger, number)
        executor.shutdown(wait=False)
        print("end of script")
        """,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("end of script\n", "", 0)
    assert sorted(map(int, (tmp_path / "ledger").read_text().split())) == list(range(10))


def test_a_submit_while_the_interpreter_ends_is_refused(candidate, tmp_path):
    ended = run_script(
        candidate,
        tmp_path,
        """
        import atexit

        @atexit.register
        def late():
            try:
                executor.submit(id, None)
            except RuntimeError as error:
                print("refused:", bool(str(error)))

        print(executor.submit(abs, -3).result())
        """,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("3\nrefused: True\n", "", 0)


def test_a_failed_script_ends_with_its_own_error(candidate, tmp_path):
    ended = run_script(
        candidate,
        tmp_path,
        """
        executor.submit(abs, -3).result()
        raise LookupError("of the script")
        """,
    )
    assert ended.stderr.endswith("LookupError: of the script\n")
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1
