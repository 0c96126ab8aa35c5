"""SlurmExecutor on a real Slurm: what it survives, and what it says of what it does not."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cluster.work import asked, hang, hog, script, square, started
from hand import PATIENCE, eventually
from weft import Retry, on_terminate
from weft.errors import (
    ArgumentError,
    JobDied,
    OutOfMemory,
    RemoteError,
    SubmitError,
    TamperedError,
    TaskTimeout,
    TimeLimitReached,
)
from weft.executors.cluster.folder import GroupFolder

# What a call does


def test_an_exception_is_the_users_own_with_the_traceback_from_there(make):
    def fail():
        raise LookupError("nothing there")

    future = make().submit(fail)
    with pytest.raises(LookupError, match="nothing there") as caught:
        future.result(PATIENCE)
    assert 'raise LookupError("nothing there")' in str(caught.value.__cause__)


def test_what_does_not_pickle_is_refused_on_the_line_that_submits_it(slurm, make):
    with pytest.raises(ArgumentError, match="argument 1"):
        make().submit(square, threading.Lock())
    assert asked(slurm, "sbatch") == []


class Unwilling(Exception):
    """Cannot be pickled: it has a lock with it."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def unwilling():
    raise Unwilling("with a lock")


def test_results_and_exceptions_that_do_not_pickle_fail_their_futures_alone(make):
    ex = make()
    result, error, good = ex.submit(threading.Lock), ex.submit(unwilling), ex.submit(square, 3)
    assert "cannot be sent back" in str(result.exception(PATIENCE))
    assert isinstance(error.exception(PATIENCE), RemoteError)
    assert error.exception().text == "with a lock"
    assert good.result(PATIENCE) == 9


def test_a_killed_worker_is_told_with_its_signal(slurm, make):
    future = make().submit(os.kill, 0, signal.SIGKILL)
    with pytest.raises(JobDied) as caught:
        future.result(PATIENCE)
    error = caught.value
    assert (error.signal, error.job_id) == ("SIGKILL", future.job_id)


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_exits_without_a_word_is_told(slurm, make, code):
    ex = make()
    ex._core.book.pace = ex._core.book.pace._replace(grace=1.0)
    future = ex.submit(os._exit, code)
    with pytest.raises(JobDied) as caught:
        future.result(PATIENCE)
    assert caught.value.exitcode == code


def test_a_death_tells_the_end_of_the_log(make):
    def die():
        print("about to die", flush=True)
        os.abort()

    with pytest.raises(JobDied, match="about to die"):
        make().submit(die).result(PATIENCE)


def test_one_that_dies_takes_no_other_down(make):
    ex = make(tasks_per_job=4)
    futures = [ex.submit(square, 1), ex.submit(os.abort), ex.submit(square, 3), ex.submit(square, 4)]
    assert [futures[0].result(PATIENCE), futures[2].result(PATIENCE), futures[3].result(PATIENCE)] == [1, 9, 16]
    with pytest.raises(JobDied):
        futures[1].result(PATIENCE)


def test_scancel_by_somebody_else_is_told(slurm, make):
    future = make().submit(hang)
    assert started()
    slurm.cancel(future.job_id)
    with pytest.raises(JobDied, match="CANCELLED") as caught:
        future.result(PATIENCE)
    assert caught.value.state.startswith("CANCELLED")


@pytest.mark.parametrize("by", ["slurm", "slurm_cgroups"])
def test_too_little_memory_is_told_however_it_is_noticed(slurm_programs, by, request, made):
    """By polling it is FAILED with signal 9, by a control group OUT_OF_MEMORY."""
    request.getfixturevalue(by)
    error = made(memory="100MB").submit(hog).exception(PATIENCE)
    assert isinstance(error, OutOfMemory)
    assert isinstance(error, MemoryError)
    assert error.state == ("FAILED" if by == "slurm" else "OUT_OF_MEMORY")


def test_more_memory_is_asked_for_after_a_try_that_had_too_little(make):
    def work():
        if not Path("started").exists():
            Path("started").touch()
            hog()
        return os.environ["SLURM_MEM_PER_NODE"]

    future = make(memory="100MB", retries={"memory": Retry(1, memory=2)}).submit(work)
    assert future.result(PATIENCE) == "200"
    assert "it used more memory than it had asked for" in future.tries[0]


def which_try():
    """The number of the try; the first one hangs."""
    if not Path("started").exists():
        hang()
    return os.environ.get("SLURM_RESTART_COUNT", "0")


def test_one_that_is_preempted_runs_again(slurm, make):
    future = make(partition="scavenge", requeue=None).submit(which_try)
    assert started()
    slurm.preempt(future.job_id)
    assert future.result(PATIENCE) == "1"


def test_one_that_is_preempted_and_must_not_run_again_is_told(slurm, make):
    future = make(partition="scavenge", retries={"infrastructure": 1}).submit(which_try)
    assert started()
    slurm.preempt(future.job_id)
    assert future.result(PATIENCE) == "0"
    assert "it had to make way for a job of higher priority" in future.tries[0]


def test_a_time_limit_that_slurm_enforces_is_told(slurm, make):
    ex = make(time="1m")
    future = ex.submit(hang)
    assert started()
    slurm.end_time_in(future.job_id, 3)
    with pytest.raises(TimeLimitReached) as caught:
        future.result(2 * PATIENCE)  # Slurm looks every 30 seconds
    assert isinstance(caught.value, TaskTimeout)


def test_a_time_limit_of_seconds_is_kept_by_the_worker(make):
    with pytest.raises(TaskTimeout) as caught:
        make(time="1s").submit(hang).result(PATIENCE)
    assert not isinstance(caught.value, JobDied)


def test_a_task_that_asked_for_it_saves_its_state_when_its_time_is_over(slurm, make, tmp_path):
    def save_at_the_end():
        on_terminate(Path("saved").touch)
        hang()

    future = make().submit(save_at_the_end)
    assert started()
    slurm.end_time_in(future.job_id, 3)
    with pytest.raises(TimeLimitReached):
        future.result(2 * PATIENCE)  # Slurm looks every 30 seconds
    assert Path("saved").exists()


def test_a_node_that_goes_down_takes_its_job_along(slurm, make):
    future = make().submit(hang)
    assert started()
    slurm.set_down(slurm.job(future.job_id)["NodeList"])
    with pytest.raises(JobDied, match="NODE_FAIL"):
        future.result(PATIENCE)


def test_a_job_whose_node_goes_down_runs_again_where_that_was_asked_for(slurm, make):
    def twice():
        first = not Path("started").exists()
        Path("started").touch()
        if first:
            time.sleep(600)
        return os.environ.get("SLURM_RESTART_COUNT")

    future = make(requeue=None).submit(twice)
    assert started()
    assert slurm.comes_to(future.job_id, "RUNNING")
    slurm.set_down(slurm.job(future.job_id)["NodeList"])
    assert future.result(PATIENCE) == "1"


def test_a_failed_node_is_a_reason_to_try_again_where_the_user_says_so(slurm, make):
    def twice():
        first = not Path("started").exists()
        Path("started").touch()
        if first:
            time.sleep(600)
        return "second"

    future = make(retries={"infrastructure": 1}).submit(twice)
    assert started()
    first = future.job_id
    slurm.set_down(slurm.job(first)["NodeList"])
    assert future.result(PATIENCE) == "second"
    assert future.job_id != first
    assert len(future.tries) == 1
    assert first in future.tries[0]


def test_the_next_try_asks_for_what_the_user_says(slurm, make):
    def where():
        if not Path("started").exists():
            Path("started").touch()
            raise MemoryError("too little")
        return "second"

    future = make(memory="100MB", retries={"memory": Retry(1, memory=2)}).submit(where)
    assert future.result(PATIENCE) == "second"
    assert slurm.job(future.job_id)["MinMemoryNode"] == "200M"


def test_an_unknown_partition_is_told_in_slurms_words_and_nothing_is_left(slurm, make):
    ex = make(partition="nowhere")
    future = ex.submit(square, 2)
    with pytest.raises(SubmitError, match="invalid partition"):
        future.result(PATIENCE)
    assert list((ex.directory / "groups").iterdir()) == []


def test_a_limit_of_the_site_is_waited_for(slurm_accounting, made):
    slurm_accounting.limit_submissions(2)
    assert list(made().map(square, range(4))) == [x * x for x in range(4)]
    assert len(asked(slurm_accounting, "sbatch")) > 2


def test_a_launch_that_fails_for_good_is_a_reason_to_try_again(slurm, make):
    slurm.fail_launch()
    future = make(retries={"infrastructure": 1}).submit(square, 2)
    assert future.result(PATIENCE) == 4
    assert "as its node failed to make ready for it" in future.tries[0]


def test_what_could_not_be_launched_is_told_and_leaves_the_queue(slurm, make):
    slurm.fail_launch()
    future = make(requeue=None).submit(square, 2)
    error = future.exception(PATIENCE)
    assert isinstance(error, JobDied)
    assert "it will not run by itself any more (PENDING, launch failed requeued held)" in str(error)
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


@pytest.mark.parametrize("cluster", ["slurm", "slurm_accounting"])
def test_a_client_that_comes_too_late_finds_what_it_can(slurm_programs, cluster, request, tmp_path):
    """It is stopped while its jobs end; when it goes on, the controller has forgotten them, and squeue exits 1."""
    slurm = request.getfixturevalue(cluster)
    slurm.configure(MinJobAge=2)
    process = script(
        tmp_path,
        """
        def die(path):
            os.kill(os.getpid(), signal.SIGKILL)

        def wait(then, path):
            Path(f"here{path}").touch()
            while not Path("go").exists():
                time.sleep(0.02)
            return then(path)

        ex = SlurmExecutor(poll_interval=0.2)
        ex._core.book.pace = ex._core.book.pace._replace(grace=2)
        futures = [ex.submit(wait, quick, 7), ex.submit(wait, die, 8)]
        while not all(future.running() for future in futures):
            time.sleep(0.02)
        Path("job").write_text(futures[0].job_id.partition("_")[0])
        Path("ready").touch()
        print(futures[0].result(), type(futures[1].exception()).__name__, futures[1].exception().signal)
        print(futures[1].exception())
        """,
        stdout=subprocess.PIPE,
    )
    assert eventually(lambda: all((tmp_path / name).exists() for name in ("ready", "here7", "here8")))
    process.send_signal(signal.SIGSTOP)
    try:
        (tmp_path / "go").touch()
        job = (tmp_path / "job").read_text()
        assert eventually(lambda: slurm.state(job) == "")
        assert "Invalid job id" in slurm._run("squeue", "-h", "-j", job).stderr
    finally:
        process.send_signal(signal.SIGCONT)
    said, errors = process.communicate(timeout=PATIENCE)
    if cluster == "slurm_accounting":
        assert said.startswith("70 JobDied SIGKILL\n"), errors
    else:
        assert said.startswith("70 JobDied None\n"), errors
        assert "it has ended, and nobody knows how" in said


@pytest.mark.slow
def test_the_controller_may_be_away_for_half_a_minute(slurm, make):
    """While one job ends, and another one is submitted."""

    def work():
        Path("started").touch()
        while not Path("go").exists():
            time.sleep(0.02)
        return "done"

    ex = make()
    runs = ex.submit(work)
    assert started()
    with slurm.controller_stopped():
        late = ex.submit(square, 5)
        Path("go").touch()
        assert runs.result(PATIENCE) == "done"  # its outcome is there, whoever answers
        dead = time.monotonic() + 30
        while time.monotonic() < dead:
            assert not late.done()
            time.sleep(0.5)
    assert late.result(PATIENCE) == 25
    assert len(set(slurm.ask("squeue", "-h", "-t", "all", "-o", "%F").split())) == 2


def test_the_controller_may_be_away_while_jobs_run(slurm, make):
    ex = make()
    future = ex.submit(time.sleep, 1)
    assert eventually(lambda: future.job_id is not None)
    with slurm.controller_stopped():
        assert eventually(lambda: any("squeue" in call for call in slurm.calls()))
        time.sleep(3)
        assert not future.done() or future.exception() is None
    assert future.result(PATIENCE) is None


def test_the_controller_may_be_away_when_something_is_submitted(slurm, make):
    ex = make()
    with slurm.controller_stopped():
        future = ex.submit(square, 5)
        assert eventually(slurm.calls)
        assert not future.done()
    assert future.result(PATIENCE) == 25


def test_a_submission_whose_answer_was_lost_is_found_and_not_made_twice(slurm, make):
    slurm.twist(
        "sbatch",
        '"$REAL" "$@" >/dev/null; echo "sbatch: error: Batch job submission failed: '
        'Socket timed out on send/recv operation" >&2; exit 1',
    )
    future = make().submit(square, 6)
    assert future.result(PATIENCE) == 36
    assert len(asked(slurm, "sbatch")) == 1


def test_an_outcome_that_comes_late_is_waited_for(make, monkeypatch):
    arrived, came = GroupFolder.arrived, []

    def late(folder):
        """As on a slow shared file system: this client sees the folder only five seconds after the job's end."""
        names = arrived(folder)
        came.extend([time.monotonic()] if names and not came else [])
        return names if came and time.monotonic() - came[0] > 5 else []

    monkeypatch.setattr(GroupFolder, "arrived", late)
    assert make().submit(square, 7).result(PATIENCE) == 49


def test_an_outcome_that_is_torn_is_told(slurm, make):
    def tear():
        (folder,) = Path.cwd().glob(".weft/executors/*/groups/0/outcomes")
        (folder / "0.0").write_bytes(b"half of it")
        os._exit(0)

    ex = make()
    ex._core.book.pace = ex._core.book.pace._replace(grace=1.0)
    with pytest.raises(TamperedError):
        ex.submit(tear).result(PATIENCE)
