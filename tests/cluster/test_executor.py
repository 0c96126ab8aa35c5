"""SlurmExecutor on a real Slurm: what it does, how little it asks, and what it survives."""

import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

import weft
from hand import PATIENCE, eventually
from weft import Retry, SlurmExecutor, on_terminate
from weft.errors import (
    ArgumentError,
    ChoiceError,
    ClosedError,
    JobDied,
    OutOfMemory,
    RemoteError,
    RunInUse,
    SubmitError,
    TamperedError,
    TaskTimeout,
    TimeLimitReached,
)
from weft.executors.cluster.folder import GroupFolder

WEIRD = 'it\'s "a"\nfolder $HOME %j ü'


@pytest.fixture
def make(slurm, made):
    """Makes executors, and ends them."""
    return made


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The same, on whichever cluster the test has."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(**options):
        made.append(SlurmExecutor(**{"poll_interval": 0.3, **options}))
        return made[-1]

    yield make
    for executor in made:
        closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive(), f"shutdown of {executor} hangs"


def square(x):
    return x * x


def variable(name):
    return os.environ.get(name)


def asked(slurm, command):
    return [call for call in slurm.calls() if call.split()[0] == command]


def hang(path="started"):
    Path(path).touch()
    time.sleep(600)


def started(path="started"):
    return eventually(Path(path).exists)


# What it does


def test_results_come_back_in_order_from_one_array(slurm, make):
    ex = make()
    assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 1


def test_a_single_task_is_a_plain_job(make):
    future = make().submit(square, 3)
    assert future.result(PATIENCE) == 9
    assert future.job_id.isdecimal()
    assert future.log.exists()


def test_elements_of_an_array_have_its_id_and_their_number(make):
    ex = make()
    futures = [ex.submit(variable, "SLURM_ARRAY_TASK_ID") for _ in range(3)]
    assert [future.result(PATIENCE) for future in futures] == ["0", "1", "2"]
    first = futures[0].job_id.partition("_")[0]
    assert [future.job_id for future in futures] == [f"{first}_{place}" for place in range(3)]


def test_what_a_task_prints_is_in_its_log(make):
    future = make().submit(print, "hello")
    future.result(PATIENCE)
    assert eventually(lambda: future.stdout == "hello\n")


def test_a_future_knows_that_it_runs(make):
    future = make().submit(hang)
    assert started()
    assert eventually(future.running)
    assert future.state == "RUNNING"
    future.cancel()


def test_resources_arrive_at_slurm(slurm, make):
    future = make(cpus=2, memory="300MB", time="90s").submit(hang)
    assert started()
    job = slurm.job(future.job_id)
    assert (job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"]) == ("2", "300M", "00:02:00")
    future.cancel()


def test_a_view_asks_for_other_resources_and_is_an_array_of_its_own(slurm, make):
    ex = make()
    large = ex.using(cpus=3)
    futures = [ex.submit(variable, "SLURM_CPUS_PER_TASK") for _ in range(2)]
    futures += [large.submit(variable, "SLURM_CPUS_PER_TASK") for _ in range(2)]
    assert [future.result(PATIENCE) for future in futures] == [None, None, "3", "3"]
    assert len(asked(slurm, "sbatch")) == 2


def test_setup_lines_are_run_and_directives_are_heeded(slurm, make):
    ex = make(setup=["#SBATCH --comment=hello", "export COLOUR='dark red'"], env={"SHAPE": "ro'und"})
    future = ex.submit(lambda: (os.environ["COLOUR"], os.environ["SHAPE"]))
    assert future.result(PATIENCE) == ("dark red", "ro'und")
    assert slurm.job(future.job_id)["Comment"] == "hello"


def test_several_tasks_make_one_job(slurm, make):
    ex = make(tasks_per_job=10)
    futures = [ex.submit(variable, "SLURM_JOB_ID") for _ in range(25)]
    assert len({future.result(PATIENCE) for future in futures}) == 3
    assert len(asked(slurm, "sbatch")) == 1


def test_tasks_are_where_they_were_submitted(make, tmp_path):
    ex = make()
    (tmp_path / "a").mkdir()
    os.chdir(tmp_path / "a")
    future = ex.submit(os.getcwd)
    os.chdir(tmp_path)
    assert future.result(PATIENCE) == str(tmp_path / "a")


def test_import_paths_come_first(make, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "odd_name.py").write_text("value = 7\n")
    future = make(import_paths=["lib"]).submit(lambda: __import__("odd_name").value)
    assert future.result(PATIENCE) == 7


def test_a_folder_of_any_name_will_do(make, tmp_path):
    (tmp_path / WEIRD).mkdir()
    os.chdir(tmp_path / WEIRD)
    ex = make(directory=tmp_path / WEIRD / "ex")
    futures = [ex.submit(print, "here") for _ in range(3)]
    wait(futures, PATIENCE)
    assert [future.result(0) for future in futures] == [None] * 3
    assert eventually(lambda: [future.stdout for future in futures] == ["here\n"] * 3)


def test_seeding_the_random_numbers_makes_no_two_executors_meet(make):
    random.seed(0)
    first = make()
    random.seed(0)
    assert first.directory != make().directory


def test_an_array_larger_than_the_site_takes_is_cut(slurm, make):
    ex = make(max_array_size=8)
    assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 3


def test_an_array_larger_than_slurm_itself_takes_is_cut(slurm, make):
    slurm.configure(MaxArraySize=9)
    assert list(make().map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 3


def test_a_map_over_one_iterable_makes_and_ends_its_executor(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(weft.map(SlurmExecutor, square, [2, 3])) == [4, 9]
    assert sorted(weft.map(SlurmExecutor, square, [2, 3], ordered=False)) == [4, 9]


# How little it asks


def test_there_is_one_query_for_all_however_many_wait(slurm, make):
    ex = make(poll_interval=1)
    gate = ex.submit(hang)
    assert started()
    before = len(asked(slurm, "squeue")), time.monotonic()
    futures = [ex.using(cpus=cpus, partition="closed").submit(hang, "never") for cpus in (1, 2) for _ in range(30)]
    time.sleep(3)  # what is to be seen is what happens in that time
    queries = len(asked(slurm, "squeue")) - before[0]
    assert 1 <= queries <= time.monotonic() - before[1] + 1
    for future in [gate, *futures]:
        future.cancel()


def test_submit_returns_before_slurm_is_asked(slurm, make):
    slurm.twist("sbatch", 'sleep 2; exec "$REAL" "$@"')
    future = make().submit(square, 2)
    assert not future.done()
    assert future.job_id is None
    assert future.result(PATIENCE) == 4


# Cancelling


def test_cancelling_what_runs_ends_it_on_the_cluster(slurm, make):
    future = make().submit(hang)
    assert started()
    assert future.cancel()
    assert future.cancelled()
    assert slurm.comes_to(future.job_id, "CANCELLED")
    with pytest.raises(CancelledError):
        future.result(0)


def test_cancelling_one_of_a_thousand_leaves_the_others(slurm, make):
    closed = make().using(partition="closed")
    futures = [closed.submit(hang) for _ in range(1000)]
    assert eventually(lambda: all(future.job_id is not None for future in futures))
    assert futures[500].cancel()

    def waiting():
        return slurm.ask("squeue", "-h", "-r", "-o", "%F_%K").split()

    assert eventually(lambda: futures[500].job_id not in waiting())
    assert len(waiting()) == 999
    for future in futures:
        future.cancel()
    assert eventually(lambda: not waiting())
    assert len(asked(slurm, "scancel")) <= 10


def test_shutdown_that_cancels_leaves_nothing_in_the_queue(slurm, make):
    ex = make()
    futures = [ex.using(partition="closed").submit(hang) for _ in range(5)]
    assert eventually(lambda: futures[0].job_id is not None)
    ex.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert eventually(lambda: not slurm.ask("squeue", "-h"))
    with pytest.raises(ClosedError):
        ex.submit(square, 2)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from weft import SlurmExecutor

def hang(path):
    Path(path).touch()
    time.sleep(600)

def quick(x):
    return x * 10

if __name__ == "__main__":
"""


def script(tmp_path, body, **options):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + textwrap.indent(textwrap.dedent(body), "    "))
    return subprocess.Popen([sys.executable, path], cwd=tmp_path, stderr=subprocess.PIPE, text=True, **options)


def test_ctrl_c_cancels_everything_on_the_cluster(slurm, tmp_path):
    process = script(
        tmp_path,
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with SlurmExecutor(poll_interval=0.3) as ex:
            futures = [ex.submit(hang, "started") for _ in range(3)]
            futures[0].result()
        """,
    )
    assert started(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


def test_what_a_killed_client_left_goes_on_and_is_taken_up(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = script(
        tmp_path,
        """
        ex = SlurmExecutor(poll_interval=0.3, directory="mine")
        futures = [ex.submit(quick, 1), ex.submit(quick, 2)]
        futures[1].result()
        futures += [ex.submit(hang, "started"), ex.using(partition="closed").submit(quick, 4)]
        while futures[3].job_id is None:
            time.sleep(0.05)
        Path("ready").touch()
        time.sleep(600)
        """,
    )
    assert started(tmp_path / "started")
    assert started(tmp_path / "ready")
    with pytest.raises(RunInUse):
        SlurmExecutor.attach("mine")
    process.kill()
    process.communicate()
    queued = slurm.ask("squeue", "-h", "-o", "%A").split()
    slurm.forget_calls()
    futures = SlurmExecutor.attach("mine", poll_interval=0.3)
    assert list(futures) == ["0", "1", "2", "3"]
    assert [futures["0"].result(PATIENCE), futures["1"].result(PATIENCE)] == [10, 20]
    assert eventually(futures["2"].running)
    assert futures["3"].job_id in queued
    assert asked(slurm, "sbatch") == []
    futures["2"].cancel(), futures["3"].cancel()
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


def test_attaching_to_what_is_no_folder_of_ours_is_refused(slurm, tmp_path):
    with pytest.raises(ChoiceError, match="no folder of an executor"):
        SlurmExecutor.attach(tmp_path)


# Failures


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


def hog():
    much = bytearray(400_000_000)
    time.sleep(600)
    return much


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
        future.result(PATIENCE)
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
        future.result(PATIENCE)
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


@pytest.mark.slow
def test_ten_thousand_tasks_are_few_submissions(slurm, make):
    ex = make(poll_interval=1, tasks_per_job=50)
    assert list(ex.map(square, range(10_000))) == [x * x for x in range(10_000)]
    assert len(asked(slurm, "sbatch")) <= 10


def test_ten_thousand_that_wait_cost_next_to_nothing(slurm, make):
    ex = make(poll_interval=1)
    closed = ex.using(partition="closed")
    futures = [closed.submit(square, x) for x in range(10_000)]
    assert eventually(lambda: futures[-1].job_id is not None)
    assert len(asked(slurm, "sbatch")) <= 10
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(2)  # what is to be seen is what happens in that time
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    ex.shutdown(cancel_futures=True)
    assert len(asked(slurm, "scancel")) <= 10
