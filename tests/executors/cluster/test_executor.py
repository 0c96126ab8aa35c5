"""ClusterExecutor on a fake cluster: what it makes of each fault, in a fraction of the time of a real one."""

import gc
import os
import signal
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from contract.stage import Gate
from hand import PATIENCE, eventually
from weft import Retry, on_terminate
from weft.errors import (
    ArgumentError,
    ChoiceError,
    ClosedError,
    JobDied,
    OutOfMemory,
    RemoteError,
    RunInUse,
    StorageError,
    SubmitError,
    TamperedError,
    TaskTimeout,
)
from weft.executors import ClusterExecutor, FakeCluster, VirtualClock
from weft.executors.cluster.folder import GroupFolder
from weft.executors.cluster.kept import KeptFolder
from weft.executors.cluster.system import Busy


@pytest.fixture
def cluster():
    with FakeCluster(nodes=2, cpus=4, requeue_delay=0.1, kill_wait=1.0, node_timeout=0.2) as cluster:
        yield cluster


@pytest.fixture
def make(cluster, tmp_path):
    made = []

    def make(**options):
        options = {"poll_interval": 0.05, "directory": tmp_path / f"ex{len(made)}", **options}
        made.append(ClusterExecutor(cluster, **options))
        return made[-1]

    yield make
    for executor in made:
        closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive(), f"shutdown of {executor} hangs"


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


def square(x):
    return x * x


def hang(gate):
    gate.tell()
    time.sleep(600)


def failure(future):
    error = future.exception(PATIENCE)
    assert error is not None
    return error


# What it does


def test_what_comes_together_is_one_submission(cluster, make):
    assert list(make().map(square, range(20))) == [x * x for x in range(20)]
    assert cluster.calls["submit"] == 1


def test_larger_arrays_than_the_site_takes_are_cut(make):
    with FakeCluster(array=8) as small:
        ex = ClusterExecutor(small, poll_interval=0.05, directory=make().directory.with_name("small"))
        assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
        assert small.calls["submit"] == 3
        ex.shutdown()


def test_a_failure_in_map_is_at_its_place_and_cancels_what_follows(make):
    results = make().map(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_option_that_there_is_not_is_refused_with_those_that_there_are(make):
    with pytest.raises(ArgumentError, match=r"no option 'patrition'; did you mean 'partition'\?.*poll_interval=None"):
        make(patrition="debug")
    with pytest.raises(ChoiceError, match="on_exit"):
        make(on_exit="stay")
    with pytest.raises(ArgumentError, match="keep_logs"):
        make(keep_logs="no")
    with pytest.raises(ChoiceError, match="memory"):
        make(memory="4 bananas")


def test_a_view_has_its_own_resources_and_the_executors_for_the_rest(cluster, make):
    ex = make(cpus=2, env={"A": "1"})
    view = ex.using(cpus=3)
    both = [each.submit(lambda: (os.environ["SLURM_CPUS_PER_TASK"], os.environ["A"])) for each in (ex, view)]
    assert [future.result(PATIENCE) for future in both] == [("2", "1"), ("3", "1")]
    assert cluster.calls["submit"] == 2


def test_what_is_submitted_after_shutdown_is_refused(make):
    ex = make()
    ex.shutdown()
    with pytest.raises(ClosedError):
        ex.submit(square, 1)
    with pytest.raises(ClosedError):
        ex.map(square, [1])


@pytest.mark.parametrize("keep", [True, False])
def test_logs_of_what_went_well_are_kept_if_that_is_wanted_and_others_always(make, keep):
    ex = make(keep_logs=keep)
    good, bad = ex.submit(print, "good"), ex.submit(lambda: print("bad") or 1 // 0)
    wait([good, bad], PATIENCE)
    assert good.result(0) is None
    assert eventually(lambda: bad.stdout == "bad\n")
    assert eventually(lambda: good.log.exists() is keep)


def test_with_several_calls_in_a_job_its_log_goes_when_all_have_gone_well(make):
    ex = make(keep_logs=False, tasks_per_job=2)
    with ex._core.book.lock:  # so that they go together, however slow this machine is
        futures = [ex.submit(print, "a"), ex.submit(print, "b"), ex.submit(print, "c"), ex.submit(lambda: 1 // 0)]
    wait(futures, PATIENCE)
    assert eventually(lambda: not futures[0].log.exists())
    assert futures[2].log.read_text() == "c\n"


WEIRD = 'it\'s "a"\nfolder $HOME %j ü'


def test_a_folder_of_any_name_will_do(make, tmp_path, monkeypatch):
    (tmp_path / WEIRD).mkdir()
    monkeypatch.chdir(tmp_path / WEIRD)
    ex = make(directory=tmp_path / WEIRD / "ex")
    futures = [ex.submit(print, "here") for _ in range(3)]
    assert [future.result(PATIENCE) for future in futures] == [None] * 3
    assert eventually(lambda: [future.stdout for future in futures] == ["here\n"] * 3)


def test_ten_thousand_that_wait_are_few_submissions_and_one_question(make):
    with FakeCluster(array=1000) as cluster:
        cluster.partition_down("debug")
        ex = ClusterExecutor(cluster, directory=make().directory.with_name("large"), poll_interval=0.05)
        with ex._core.book.lock:  # they come together
            futures = [ex.submit(square, x) for x in range(10_000)]
        assert eventually(lambda: futures[-1].job_id is not None)
        assert cluster.calls["submit"] == 10
        looks = cluster.calls["look"]
        assert eventually(lambda: cluster.calls["look"] > looks + 2)
        assert eventually(lambda: futures[5000].state == "PENDING")
        ex.shutdown(cancel_futures=True)
        assert cluster.look(map(str, range(1, 11))) == []


class Unwilling(Exception):
    """Cannot be pickled: it has a lock with it."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def unwilling():
    raise Unwilling("with a lock")


def test_what_does_not_pickle_fails_where_it_is_and_nothing_else(cluster, make):
    ex = make()
    with pytest.raises(ArgumentError, match="argument 1"):
        ex.submit(square, threading.Lock())
    with ex._core.book.lock:  # so that they go together, however slow this machine is
        result, error, good = ex.submit(threading.Lock), ex.submit(unwilling), ex.submit(square, 3)
    assert "the result of allocate_lock cannot be sent back" in str(failure(result))
    assert isinstance(failure(error), RemoteError)
    assert (failure(error).type_name.rpartition(".")[2], failure(error).text) == ("Unwilling", "with a lock")
    assert good.result(PATIENCE) == 9
    assert cluster.calls["submit"] == 1


# The batch system's answers


def test_a_refusal_fails_the_tasks_with_its_words_and_leaves_nothing(cluster, make):
    cluster.refuse("invalid partition specified: nowhere")
    ex = make()
    error = failure(ex.submit(square, 2))
    assert (type(error), "invalid partition specified" in error.said) == (SubmitError, True)
    assert list((ex.directory / "groups").iterdir()) == []
    assert ex.submit(square, 2).result(PATIENCE) == 4


def test_a_queue_that_is_full_is_waited_for_and_filled_by_parts(cluster, make):
    cluster.most = 4
    assert list(make().map(square, range(12))) == [x * x for x in range(12)]


def test_no_more_is_queued_than_the_user_wants(cluster, make):
    ex = make(max_queued=4)
    left = []
    cluster.on_call = lambda question: left.append(len(ex._core.book.all_open())) if question == "submit" else None
    assert list(ex.map(square, range(12))) == [x * x for x in range(12)]
    assert len(left) >= 3  # submissions


@pytest.mark.parametrize("question", ["look", "submit", "limits", "inquire", "cancel"])
def test_nobody_who_answers_costs_nothing(cluster, make, gate, question):
    cluster.busy(question, times=3)
    ex = make()
    with ex._core.book.lock:  # so that they go together, however slow this machine is
        futures = [ex.submit(square, 3), ex.submit(os._exit, 5), ex.submit(hang, gate)]
    gate.arrived()
    futures[2].cancel()
    assert futures[0].result(PATIENCE) == 9
    assert failure(futures[1]).exitcode == 5
    ex.shutdown()
    assert eventually(lambda: set(cluster.states("1").values()) == {"COMPLETED", "FAILED", "CANCELLED"})


@pytest.mark.parametrize("taken", [True, False])
def test_a_submission_whose_answer_is_lost_is_made_once(cluster, make, tmp_path, taken):
    cluster.lose_answer(taken=taken)
    runs = tmp_path / "runs"

    def note():
        with runs.open("a") as file:
            file.write("x")

    make().submit(note).result(PATIENCE)
    assert runs.read_text() == "x"
    assert cluster.calls["submit"] == (1 if taken else 2)


def test_the_controller_may_be_away_for_half_a_minute_whatever_is_under_way(tmp_path):
    clock = VirtualClock(patience=PATIENCE)
    with FakeCluster(clock=clock) as cluster:
        ex = ClusterExecutor(cluster, directory=tmp_path / "ex")
        gate = Gate(tmp_path / "gate")
        runs = ex.submit(lambda: gate.wait() or "ran")
        clock.until(runs.running)
        gate.arrived()
        since = clock.now()
        cluster.stop_controller(30)
        gate.open()  # it ends while nobody knows
        late = ex.submit(square, 5)
        clock.until(lambda: runs.done() and late.done())
        assert (runs.result(), late.result()) == ("ran", 25)
        assert clock.now() - since >= 30
        assert cluster.states("2") == {0: "COMPLETED"}
        with clock.flying():
            ex.shutdown()
        gate.close()


def test_an_id_that_cannot_be_written_down_costs_no_job(make, monkeypatch):
    def full(self, job):
        raise StorageError("no space left")

    monkeypatch.setattr(GroupFolder, "submitted", full)
    assert make().submit(square, 4).result(PATIENCE) == 16


def test_one_that_is_overlooked_though_it_runs_has_not_died(cluster, make, gate):
    future = make().submit(lambda: gate.wait() or "lives")
    gate.arrived()
    cluster.overlook(future.job_id, times=5)
    looks = cluster.calls["look"]
    assert eventually(lambda: cluster.calls["look"] > looks + 7)
    assert not future.done()
    gate.open()
    assert future.result(PATIENCE) == "lives"


def test_one_whose_record_has_aged_out_is_given_up_after_the_time_of_grace(cluster, make, gate):
    ex = make()
    ex._core.book.pace = ex._core.book.pace._replace(grace=0.5)
    future = ex.submit(hang, gate)
    gate.arrived()
    cluster.on_call = lambda question: cluster.forget(future.job_id, records=True) if question == "inquire" else None
    cluster.kill(future.job_id)
    assert "nobody knows how" in str(failure(future))


def test_an_outcome_that_comes_late_is_waited_for(cluster, make, monkeypatch):
    arrived, hidden = GroupFolder.arrived, True
    monkeypatch.setattr(GroupFolder, "arrived", lambda folder: [] if hidden else arrived(folder))
    future = make().submit(square, 7)
    assert eventually(lambda: cluster.calls["inquire"])  # it has ended, and is missed
    looks = cluster.calls["look"]
    assert eventually(lambda: cluster.calls["look"] > looks + 3)
    assert not future.done()
    hidden = False
    assert future.result(PATIENCE) == 49


def test_an_outcome_that_is_torn_is_told(make, monkeypatch):
    monkeypatch.setattr("weft.executors.cluster.book.TORN", 0.2)
    ex = make()

    def tear(folder):
        (folder / "groups" / "0" / "outcomes" / "0.0").write_bytes(b"half of it")
        os._exit(0)

    assert isinstance(failure(ex.submit(tear, ex.directory)), TamperedError)


# Deaths


def test_a_killed_process_is_told_with_its_signal(cluster, make, gate):
    future = make().submit(hang, gate)
    gate.arrived()
    cluster.kill(future.job_id)
    assert (failure(future).signal, failure(future).job_id) == ("SIGKILL", future.job_id)


@pytest.mark.parametrize("code", [0, 3, 7])
def test_a_process_that_exits_without_a_word_is_told_at_once(make, code):
    error = failure(make().submit(os._exit, code))
    assert (type(error), error.exitcode) == (JobDied, code)


@pytest.mark.parametrize("by", ["cgroup", "polling"])
def test_too_little_memory_is_told_however_it_is_noticed(cluster, make, gate, by):
    future = make(memory="1GB").submit(hang, gate)
    gate.arrived()
    cluster.out_of_memory(future.job_id, by=by)
    assert isinstance(failure(future), OutOfMemory)
    assert isinstance(failure(future), MemoryError)


def test_one_that_somebody_else_cancels_is_told(cluster, make, gate):
    future = make().submit(hang, gate)
    gate.arrived()
    cluster.cancel_by_other(future.job_id)
    assert failure(future).state.startswith("CANCELLED")


def test_a_job_that_cannot_be_launched_is_told_and_leaves_the_queue(cluster, make):
    cluster.fail_launch()
    future = make(requeue=None).submit(square, 2)
    assert "launch failed requeued held" in str(failure(future))
    assert eventually(lambda: not cluster.look([future.job_id]))


def test_what_has_not_begun_is_submitted_again_unasked(cluster, make, caplog):
    cluster.lose_script(2)
    futures = [make().submit(square, number) for number in range(3)]
    assert [future.result(PATIENCE) for future in futures] == [0, 1, 4]
    assert sum("is submitted again" in message for message in caplog.messages) == 2


def test_what_never_begins_is_told(cluster, make):
    cluster.lose_script(100)
    error = failure(make().submit(square, 2))
    assert "could not be started on its node" in str(error)
    assert cluster.calls["submit"] == 4


def test_a_launch_that_fails_for_good_is_a_reason_to_try_again(cluster, make):
    cluster.fail_launch()
    future = make(retries={"infrastructure": 1}).submit(square, 2)
    assert future.result(PATIENCE) == 4
    assert "as its node failed to make ready for it" in future.tries[0]


def test_one_that_its_user_holds_is_waited_for(cluster, make, gate):
    ex = make(cpus=4)
    first = [ex.submit(lambda: gate.wait()) for _ in range(2)]  # they have all cpus
    gate.arrived(2)
    held = ex.submit(square, 5)
    assert eventually(lambda: held.job_id is not None)
    cluster.hold(held.job_id)
    gate.open()
    wait(first, PATIENCE)
    looks = cluster.calls["look"]
    assert eventually(lambda: cluster.calls["look"] > looks + 3)
    assert not held.done()
    cluster.release(held.job_id)
    assert held.result(PATIENCE) == 25


def test_a_node_that_fails_takes_its_job_along_which_nobody_asked_to_run_again(cluster, make, gate):
    future = make().submit(hang, gate)
    gate.arrived()
    cluster.node_down(cluster.node_of(future.job_id))
    assert failure(future).state == "NODE_FAIL"


def test_of_a_job_that_runs_again_the_last_try_counts_and_not_a_ghost(cluster, make, gate):
    def which():
        mine = os.environ["WEFT_TRY"]
        gate.wait(mine.encode())
        return mine

    future = make(requeue=None).submit(which)
    assert gate.arrived() == b"0"
    cluster.node_down(cluster.node_of(future.job_id), ghosts=True)
    assert gate.arrived() == b"1"  # while the other one goes on
    assert eventually(lambda: future._group.restarts.get(0) == 1)
    gate.open(2)
    assert future.result(PATIENCE) == "1"


def test_one_that_is_preempted_runs_again(cluster, make, gate):
    def which():
        gate.tell()
        if os.environ["WEFT_TRY"] == "0":
            time.sleep(600)
        return os.environ["WEFT_TRY"]

    future = make(requeue=None).submit(which)
    gate.arrived()
    cluster.preempt(future.job_id)
    assert future.result(PATIENCE) == "1"


def test_one_that_is_preempted_and_must_not_run_again_is_told(cluster, make, gate):
    future = make(retries={"infrastructure": 1}).submit(lambda: gate.wait() or "second")
    gate.arrived()
    cluster.preempt(future.job_id)
    gate.arrived()
    gate.open()
    assert future.result(PATIENCE) == "second"
    assert "had to make way for a job of higher priority (PREEMPTED)" in future.tries[0]


def test_one_of_several_calls_in_a_job_that_dies_takes_no_other_along(make, gate):
    ex = make(tasks_per_job=4)
    futures = [ex.submit(square, 1), ex.submit(os.abort), ex.submit(square, 3), ex.submit(square, 4)]
    assert [futures[index].result(PATIENCE) for index in (0, 2, 3)] == [1, 9, 16]
    assert isinstance(failure(futures[1]), JobDied)


def test_a_time_limit_is_kept_by_the_worker(make):
    error = failure(make(time=0.3).submit(time.sleep, 600))
    assert (type(error), error.seconds) == (TaskTimeout, 0.3)


# Further tries


def first_time(path):
    if path.exists():
        return False
    path.touch()
    return True


def test_a_dead_one_is_tried_again_as_often_as_was_asked_and_each_try_is_told(make, tmp_path):
    future = make(retries={"died": 2}).submit(os._exit, 4)
    assert failure(future).exitcode == 4
    assert len(future.tries) == 2
    assert all("exit code 4" in told for told in future.tries)
    assert "try 1 of _exit failed (died)" in (future.log.parents[2] / "0" / "logs" / "0.log").read_text()


def test_other_causes_are_not_tried_again(make):
    future = make(retries={"infrastructure": 3}).submit(lambda: 1 // 0)
    assert isinstance(failure(future), ZeroDivisionError)
    assert future.tries == []


def test_the_next_try_asks_for_what_the_user_says(cluster, make, tmp_path, gate):
    mark = tmp_path / "mark"

    def work():
        if first_time(mark):
            hang(gate)
        return int(os.environ["SLURM_MEM_PER_NODE"])

    future = make(memory="1GB", retries={"memory": Retry(1, memory=2)}).submit(work)
    gate.arrived()
    cluster.out_of_memory(future.job_id)
    assert future.result(PATIENCE) == 2048


def test_a_further_try_that_is_refused_says_what_it_was_for(cluster, make):
    questions = []

    def answer(question):
        questions.append(question)
        if question == "submit" and questions.count("submit") == 2:
            cluster.refuse("too much")

    cluster.on_call = answer
    future = make(retries=1).submit(lambda: 1 // 0)
    error = failure(future)
    assert (type(error), "division" in str(error)) == (SubmitError, True)


# Cancelling


def test_what_runs_is_cancelled_on_the_cluster(cluster, make, gate):
    future = make().submit(hang, gate)
    gate.arrived()
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    assert eventually(lambda: set(cluster.states(future.job_id).values()) == {"CANCELLED"})


def test_one_of_a_thousand_is_cancelled_by_one_word(cluster, make, gate):
    ex = make(cpus=4)
    futures = [ex.submit(hang, gate) for _ in range(1000)]
    gate.arrived(2)
    assert eventually(lambda: all(future.job_id is not None for future in futures))
    futures[500].cancel()
    job, _, place = futures[500].job_id.partition("_")
    assert eventually(lambda: cluster.states(job)[int(place)] == "CANCELLED")
    assert cluster.calls["cancel"] == 1
    ex.shutdown(wait=False)
    for future in futures:
        future.cancel()


def test_who_is_cancelled_before_it_is_submitted_never_is(cluster, make):
    ex = make()
    with ex._core.book.lock:  # nobody submits meanwhile
        futures = [ex.submit(square, x) for x in range(3)]
        assert futures[1].cancel()
    assert [futures[0].result(PATIENCE), futures[2].result(PATIENCE)] == [0, 4]
    assert len(cluster.states("1")) == 2


# Attaching


def test_who_is_refused_leaves_nothing_and_keeps_nobody_out(cluster, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError):
        ClusterExecutor(cluster, patrition="x")
    assert not Path(".weft").exists()
    ex = make(on_exit="leave")
    ex.submit(square, 3).result(PATIENCE)
    ex._core.interrupt()
    ex.shutdown()
    with FakeCluster() as other:
        other.name = "other"
        with pytest.raises(ChoiceError, match="belongs to an executor on fake, not on other"):
            ClusterExecutor.attach(ex.directory, other)
    assert [one.result(PATIENCE) for one in ClusterExecutor.attach(ex.directory, cluster).values()] == [9]


def test_another_client_takes_up_all_that_was_submitted(cluster, make, gate):
    ex = make(on_exit="leave")
    futures = [ex.submit(square, 1), ex.submit(lambda: 1 // 0), ex.submit(lambda: gate.wait() or "late")]
    wait(futures[:2], PATIENCE)
    gate.arrived()
    with pytest.raises(RunInUse, match=rf"the executor in .* goes on: process {os.getpid()} on .* attends to what"):
        ClusterExecutor.attach(ex.directory, cluster)
    ex._core.interrupt()
    ex.shutdown()
    submits = cluster.calls["submit"]
    again = ClusterExecutor.attach(ex.directory, cluster, poll_interval=0.05)
    assert list(again) == ["0", "1", "2"]
    assert again["0"].result(PATIENCE) == 1
    assert isinstance(failure(again["1"]), ZeroDivisionError)
    gate.open()
    assert again["2"].result(PATIENCE) == "late"
    assert cluster.calls["submit"] == submits


@pytest.mark.parametrize("taken", [True, False])
def test_what_was_written_down_and_perhaps_not_submitted_is_submitted_once(cluster, make, tmp_path, taken):
    runs = tmp_path / "runs"

    def note():
        with runs.open("a") as file:
            file.write("x")

    ex = make(on_exit="leave")
    submit = cluster.submit

    def die(order):
        """The client is gone before it can write down the id."""
        if taken:
            submit(order)
        ex._core.book.leave()
        raise Busy("gone", unsure=True)

    cluster.submit, find = die, cluster.find
    cluster.find = lambda name: (_ for _ in ()).throw(Busy("gone"))
    withdraw, ex._core.controller._withdraw = ex._core.controller._withdraw, lambda group, error: None
    ex.submit(note)
    assert eventually(ex._core.book.is_over)
    ex.shutdown()
    del withdraw
    cluster.submit, cluster.find = submit, find
    again = ClusterExecutor.attach(ex.directory, cluster, poll_interval=0.05)
    assert again["0"].result(PATIENCE) is None
    assert runs.read_text() == "x"
    assert cluster.calls["submit"] == 1


def test_a_client_that_is_attached_takes_nothing_new_and_counts_on_where_the_other_ended(cluster, make):
    ex = make()
    assert ex.submit(square, 3).key == "0"
    ex.shutdown()
    more = ClusterExecutor(cluster, directory=ex.directory, poll_interval=0.05)
    future = more.submit(square, 4)
    assert (future.key, future.result(PATIENCE)) == ("1", 16)
    more.shutdown()
    assert [one.result(PATIENCE) for one in ClusterExecutor.attach(ex.directory, cluster).values()] == [9, 16]


def is_over(executor):
    return KeptFolder(executor.directory).is_over()


def test_a_folder_knows_when_nothing_of_it_is_in_the_queue(cluster, make, gate):
    ex = make()
    futures = [ex.submit(square, 1), ex.submit(os._exit, 3), ex.submit(hang, gate)]
    gate.arrived()
    wait(futures[:2], PATIENCE)
    assert not is_over(ex)
    futures[2].cancel()
    ex.shutdown()
    assert is_over(ex)
    assert not KeptFolder(ex.directory).is_live()
    more = ClusterExecutor(cluster, directory=ex.directory, poll_interval=0.05)
    assert is_over(ex)  # nothing is submitted
    last = more.submit(hang, gate)
    gate.arrived()
    assert not is_over(ex)
    last.cancel()
    more.shutdown()
    assert is_over(ex)
    (ex.directory / "over").unlink()
    assert not is_over(ex)  # the one that died has left no outcome, so nobody else knows


def test_a_folder_that_was_left_is_over_when_there_is_an_outcome_of_all(cluster, make, gate):
    ex = make(on_exit="leave", tasks_per_job=2)
    futures = [ex.submit(square, 1), ex.submit(lambda: gate.wait() or 1 // 0), ex.submit(square, 2)]
    gate.arrived()
    wait([futures[0], futures[2]], PATIENCE)
    ex._core.interrupt()
    ex.shutdown()
    assert not is_over(ex)
    gate.open()
    assert eventually(lambda: is_over(ex))


def test_a_call_that_was_told_to_end_may_be_run_again(cluster, make, gate):
    def told_to_end():
        on_terminate(lambda: None)
        hang(gate)

    ex = make(on_exit="leave", requeue=None)
    future = ex.submit(told_to_end)
    gate.arrived()
    job = future.job_id
    ex._core.interrupt()
    ex.shutdown()
    cluster.requeue(job)
    gate.arrived()  # the second try
    assert eventually(lambda: os.listdir(ex.directory / "groups" / "0" / "outcomes") == ["0.0"])
    assert not is_over(ex)
    cluster.cancel_by_other(job)


def test_an_executor_that_nobody_holds_says_that_it_is_over(make):
    directory = make().directory.with_name("dropped")
    with FakeCluster() as cluster:
        future = ClusterExecutor(cluster, directory=directory, poll_interval=0.05).submit(square, 3)
        assert future.result(PATIENCE) == 9
        del future
        assert eventually(lambda: gc.collect() >= 0 and (directory / "over").exists())


def test_a_folder_of_another_batch_system_is_refused(cluster, make):
    ex = make()
    ex.shutdown()
    path = Path(ex.directory, "executor.json")
    path.write_text(path.read_text().replace('"fake"', '"slurm"'))
    with pytest.raises(ChoiceError, match="slurm"):
        ClusterExecutor.attach(ex.directory, cluster)


def test_a_signal_of_a_users_limit_is_told_as_such(cluster, make, gate):
    future = make(time="1m").submit(hang, gate)
    gate.arrived()
    cluster.kill(future.job_id, number=signal.SIGXCPU)
    assert failure(future).signal == "SIGXCPU"
