"""CondorExecutor on a real HTCondor: what it does, how little it asks, and what it survives."""

import os
import resource
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

import weft
from contract.stage import is_alive
from hand import PATIENCE, eventually
from weft import CondorExecutor, on_terminate
from weft.errors import (
    ArgumentError,
    ChoiceError,
    JobDied,
    OutOfMemory,
    RunInUse,
    SubmitError,
    TaskTimeout,
    TimeLimitReached,
)
from weft.executors.cluster.condor_script import events_of
from weft.rundir.seal import key_path

WEIRD = 'it\'s "a" folder, $HOME $(Process) %j ü'
NEVER = {"requirements": "False"}


@pytest.fixture
def make(condor, tmp_path, monkeypatch):
    """Makes executors, and ends them."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(**options):
        made.append(CondorExecutor(**{"poll_interval": 0.3, **options}))
        return made[-1]

    yield make
    for executor in made:
        closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive(), f"shutdown of {executor} hangs"


def impatient(executor):
    """What has promised an outcome is not waited for long."""
    executor._core.book.pace = executor._core.book.pace._replace(grace=1.0)
    return executor


def square(x):
    return x * x


def variable(name):
    return os.environ.get(name)


def asked(condor, *commands):
    return [call for call in condor.calls() if call.split()[0] in commands and "-dry-run" not in call]


def hang(path="started"):
    Path(path).touch()
    time.sleep(600)


def started(path="started"):
    return eventually(Path(path).exists)


def queue(condor):
    return condor.ask("condor_q", "-af:j", "JobStatus").split("\n") if condor.ask("condor_q", "-af", "ProcId") else []


# What it does


def test_results_come_back_in_order_from_one_submission(condor, make):
    ex = make()
    condor.forget_calls()
    assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
    assert [call.split()[0] for call in condor.calls()] == [
        *("condor_config_val", "condor_status", "condor_config_val"),  # once for an executor
        "condor_submit",
    ]


def test_a_future_knows_its_job_and_that_it_runs(make):
    future = make().submit(hang)
    assert started()
    assert eventually(future.running)
    assert future.state == "RUNNING"
    assert future.job_id.endswith(".0")
    future.cancel()


def test_elements_have_htcondors_names(condor, make):
    ex = make()
    futures = [ex.submit(lambda: sys.stdin.read() or os.environ["_CONDOR_SLOT"]) for _ in range(3)]
    assert all(future.result(PATIENCE).startswith("slot") for future in futures)
    first = futures[0].job_id.partition(".")[0]
    assert [future.job_id for future in futures] == [f"{first}.{place}" for place in range(3)]


def test_what_follows_soon_has_the_node_of_what_it_follows(condor, make):
    ex = make()
    assert ex.submit(square, 2).result(PATIENCE) == 4
    condor.stop_negotiator()  # nobody is given a node any more
    assert ex.submit(square, 3).result(PATIENCE) == 9


def test_what_a_task_prints_is_in_its_log(make):
    future = make().submit(print, "hello")
    future.result(PATIENCE)
    assert eventually(lambda: future.stdout == "hello\n")


def test_a_view_asks_for_other_resources_and_is_a_submission_of_its_own(condor, make):
    ex = make(accounting_group="physics")
    large = ex.using(cpus=3, memory="200MB", setup=['#CONDOR +ProjectName = "x"', "export COLOUR='dark red'"])
    futures = [ex.submit(variable, "OMP_NUM_THREADS"), large.submit(variable, "OMP_NUM_THREADS")]
    futures += [large.submit(variable, "COLOUR")]
    assert [future.result(PATIENCE) for future in futures] == ["1", "3", "dark red"]
    job = condor.job(futures[1].job_id)
    assert (job["RequestMemory"], job["ProjectName"], job["AcctGroup"]) == ("200", '"x"', '"physics"')
    assert len(asked(condor, "condor_submit")) == 2


def test_several_tasks_make_one_job(condor, make):
    ex = make(tasks_per_job=10)
    futures = [ex.submit(variable, "_CONDOR_SCRATCH_DIR") for _ in range(25)]
    assert len({future.result(PATIENCE) for future in futures}) == 3


def test_a_folder_of_any_name_will_do(make, tmp_path):
    (tmp_path / WEIRD).mkdir()
    os.chdir(tmp_path / WEIRD)
    ex = make()
    assert ex.submit(os.getcwd).result(PATIENCE) == str(tmp_path / WEIRD)


def test_a_folder_that_htcondor_cannot_have_is_told_on_the_users_line(condor, tmp_path):
    with pytest.raises(ChoiceError, match="no folder with a line break"):
        CondorExecutor(directory=tmp_path / "a\nb")
    assert not (tmp_path / "a\nb").exists()


def test_an_unknown_option_lists_those_that_there_are(condor, make):
    with pytest.raises(
        ArgumentError, match=r"no option 'requirments'; did you mean 'requirements'.*accounting_group=None"
    ):
        make(requirments="x")
    with pytest.raises(ArgumentError, match="no option 'partition'"):
        make(partition="debug")
    with pytest.raises(ChoiceError, match="'#SBATCH --mem=1G' is for Slurm"):
        make(setup=["#SBATCH --mem=1G"])
    with pytest.raises(ArgumentError, match=r"transfer=.*True or False"):
        make(transfer="yes")


def test_an_array_larger_than_the_site_takes_is_cut(condor, make):
    condor.configure(MAX_JOBS_PER_SUBMISSION=8)
    assert list(make().map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(condor, "condor_submit")) == 3


def test_as_many_as_the_site_lets_anybody_have_are_in_the_queue_and_the_others_follow(condor, make):
    condor.configure(MAX_JOBS_PER_OWNER=4)
    assert list(make(max_array_size=4).map(square, range(7))) == [x * x for x in range(7)]


def test_a_map_makes_and_ends_its_executor(condor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sorted(weft.map(CondorExecutor, square, [2, 3], ordered=False)) == [4, 9]


# How little it asks


def test_a_thousand_tasks_are_few_commands_and_their_log_is_read_once(condor, make):
    ex = make(poll_interval=None, tasks_per_job=50)
    condor.forget_calls()
    assert list(ex.map(square, range(1_000))) == [x * x for x in range(1_000)]
    assert len(asked(condor, "condor_submit")) <= 5
    assert len(asked(condor, "condor_q", "condor_history", "condor_rm")) == 0
    logs = [followed.log for followed in ex._system._follower._followed.values()]
    assert sum(log.bytes_read for log in logs) <= 1.1 * sum(os.path.getsize(log.path) for log in logs)


def test_ten_thousand_that_wait_cost_next_to_nothing(condor, make):
    ex = make(poll_interval=None, **NEVER)
    futures = [ex.submit(square, x) for x in range(10_000)]
    assert eventually(lambda: futures[-1].job_id is not None)
    assert eventually(lambda: len(condor.ask("condor_q", "-af", "ProcId").split()) == 10_000)
    condor.forget_calls()
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(5)  # what is to be seen is what happens in that time
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert condor.calls() == []
    ex.shutdown(cancel_futures=True)
    assert len(asked(condor, "condor_rm")) <= 2


# Cancelling


def test_cancelling_what_runs_ends_it_on_the_pool(condor, make):
    future = make().submit(hang)
    assert started()
    assert future.cancel()
    assert eventually(lambda: queue(condor) == [])
    with pytest.raises(CancelledError):
        future.result(0)


def test_cancelling_one_of_a_thousand_leaves_the_others(condor, make):
    ex = make(**NEVER)
    futures = [ex.submit(hang) for _ in range(1_000)]
    assert eventually(lambda: all(future.job_id is not None for future in futures))
    assert futures[500].cancel()
    assert eventually(lambda: len(queue(condor)) == 999)
    assert not any(line.startswith(f"{futures[500].job_id} ") for line in queue(condor))
    for future in futures:
        future.cancel()
    assert eventually(lambda: queue(condor) == [])
    assert len(asked(condor, "condor_rm")) <= 10


# Clients that come and go

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from weft import CondorExecutor

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


def test_ctrl_c_cancels_everything_on_the_pool(condor, tmp_path):
    process = script(
        tmp_path,
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with CondorExecutor(poll_interval=0.3) as ex:
            futures = [ex.submit(hang, "started") for _ in range(3)]
            futures[0].result()
        """,
    )
    assert started(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
    assert eventually(lambda: queue(condor) == [])


def test_what_a_killed_client_left_goes_on_and_is_taken_up(condor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = script(
        tmp_path,
        """
        ex = CondorExecutor(poll_interval=0.3, directory="mine")
        futures = [ex.submit(quick, 1), ex.submit(quick, 2)]
        futures[1].result()
        futures += [ex.submit(hang, "started"), ex.using(requirements="False").submit(quick, 4)]
        while futures[3].job_id is None:
            time.sleep(0.05)
        Path("ready").touch()
        time.sleep(600)
        """,
    )
    assert started(tmp_path / "started")
    assert started(tmp_path / "ready")
    with pytest.raises(RunInUse):
        CondorExecutor.attach("mine")
    process.kill()
    process.communicate()
    queued = [line.split()[0] for line in queue(condor)]
    condor.forget_calls()
    futures = CondorExecutor.attach("mine", poll_interval=0.3)
    assert list(futures) == ["0", "1", "2", "3"]
    assert [futures["0"].result(PATIENCE), futures["1"].result(PATIENCE)] == [10, 20]
    assert eventually(futures["2"].running)
    assert futures["3"].job_id in queued
    assert asked(condor, "condor_submit") == []
    futures["2"].cancel(), futures["3"].cancel()
    assert eventually(lambda: queue(condor) == [])


# Failures


def test_an_exception_is_the_users_own_with_the_traceback_from_there(make):
    def fail():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there") as caught:
        make().submit(fail).result(PATIENCE)
    assert 'raise LookupError("nothing there")' in str(caught.value.__cause__)


def test_what_does_not_pickle_is_refused_on_the_line_that_submits_it_or_fails_its_future(condor, make):
    ex = make()
    with pytest.raises(ArgumentError, match="argument 1"):
        ex.submit(square, threading.Lock())
    assert asked(condor, "condor_submit") == []
    with pytest.raises(Exception, match="lock"):
        ex.submit(threading.Lock).result(PATIENCE)


def test_a_killed_worker_is_told_with_its_signal(make):
    future = make().submit(os.kill, 0, signal.SIGKILL)
    with pytest.raises(JobDied) as caught:
        future.result(PATIENCE)
    assert (caught.value.signal, caught.value.job_id, caught.value.state) == ("SIGKILL", future.job_id, "COMPLETED")


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_exits_without_a_word_is_told(make, code):
    with pytest.raises(JobDied) as caught:
        impatient(make()).submit(os._exit, code).result(PATIENCE)
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


def test_removal_by_somebody_else_is_told_and_the_task_may_save_its_state(condor, make):
    def save_at_the_end():
        on_terminate(Path("saved").touch)
        hang()

    future = make().submit(save_at_the_end)
    assert started()
    condor.ask("condor_rm", future.job_id)
    with pytest.raises(JobDied, match="it was removed") as caught:
        future.result(PATIENCE)
    assert caught.value.state == "REMOVED"
    assert "via condor_rm" in caught.value.reason
    assert Path("saved").exists()


def test_removal_while_it_waits_is_told(condor, make):
    future = make(**NEVER).submit(square, 2)
    assert eventually(lambda: future.job_id is not None)
    condor.ask("condor_rm", future.job_id)
    with pytest.raises(JobDied, match="via condor_rm"):
        future.result(PATIENCE)


def test_what_is_held_by_htcondor_is_told_with_the_reason_and_removed(condor, make, tmp_path):
    ex = make(transfer=True, setup=[f"#CONDOR transfer_input_files = {tmp_path}/missing"])
    future = ex.submit(square, 2)
    with pytest.raises(JobDied, match=r"will not run by itself any more .*missing: .*No such file") as caught:
        future.result(PATIENCE)
    assert caught.value.state == "HELD"
    assert eventually(lambda: queue(condor) == [])


def test_a_python_that_is_not_there_is_told(make):
    with pytest.raises(JobDied, match="no/such/python") as caught:
        impatient(make(python="/no/such/python")).submit(square, 2).result(PATIENCE)
    assert caught.value.exitcode == 127


def test_a_user_who_holds_a_job_is_waited_for(condor, make):
    future = make().submit(hang)
    assert started()
    condor.ask("condor_hold", future.job_id)
    assert eventually(lambda: future.state == "HELD")
    assert not future.done()
    Path("started").unlink()
    condor.ask("condor_release", future.job_id)
    assert started()
    future.cancel()


def test_memory_that_the_site_holds_a_job_for_is_told(condor, make):
    def fill():
        content = bytes(1) * 300_000_000
        time.sleep(600)
        return content

    with pytest.raises(OutOfMemory, match="memory usage exceeded request_memory"):
        make(memory="50MB").submit(fill).result(2 * PATIENCE)


def test_a_time_limit_that_the_pool_enforces_is_told(condor, make, monkeypatch):
    monkeypatch.setattr("weft.executors.cluster.condor_script.SLACK", 0)

    def deaf():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        on_terminate(Path("saved").touch)
        hang()

    with pytest.raises(TimeLimitReached) as caught:
        make(time="1s").submit(deaf).result(PATIENCE)
    assert caught.value.seconds == 1
    assert caught.value.state == "REMOVED"
    assert Path("saved").exists()


def test_a_time_limit_of_seconds_is_kept_by_the_worker(make):
    with pytest.raises(TaskTimeout) as caught:
        make(time="1s").submit(hang).result(PATIENCE)
    assert not isinstance(caught.value, JobDied)


def twice(path="started"):
    first = not Path(path).exists()
    Path(path).touch()
    if first:
        time.sleep(600)
    return os.environ["WEFT_TRY"]


def test_what_is_evicted_runs_again(condor, make):
    future = make().submit(twice)
    assert started()
    assert eventually(future.running)
    condor.ask("condor_vacate_job", future.job_id)
    assert future.result(PATIENCE) == "1"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_on_a_node_that_is_lost_the_earlier_try_does_not_count(condor, make):
    def ghost():
        if os.environ["WEFT_TRY"] != "0":
            return "second"
        Path("pid").write_text(str(os.getpid()))
        while not Path("go").exists():
            time.sleep(0.05)
        return "ghost"

    ex = make(job_lease_duration=5)
    future = ex.submit(ghost)
    assert eventually(lambda: Path("pid").exists() and Path("pid").read_text())
    assert eventually(future.running)
    node = condor.node_of(future.job_id)
    condor.kill_node(node)
    assert eventually(lambda: future.state == "IDLE")
    Path("go").touch()
    outcomes = future.log.parent.parent / "outcomes"
    if is_alive(int(Path("pid").read_text())):
        assert eventually(lambda: list(outcomes.iterdir()))
    assert not future.done()
    condor.start_node(node)
    assert future.result(2 * PATIENCE) == "second"


def test_the_schedd_may_be_away_while_jobs_run(condor, make):
    ex = make()
    future = ex.submit(lambda: [time.sleep(0.05) for _ in iter(Path("go").exists, True)])
    assert eventually(future.running)
    with condor.schedd_stopped():
        time.sleep(1)
        assert not future.done()
    Path("go").touch()
    future.result(2 * PATIENCE)


def test_the_schedd_may_be_away_when_something_is_submitted(condor, make):
    ex = make()
    with condor.schedd_stopped():
        condor.forget_calls()
        future = ex.submit(square, 5)
        assert eventually(lambda: asked(condor, "condor_submit"))
        assert not future.done()
    assert future.result(2 * PATIENCE) == 25


def test_a_submission_whose_answer_was_lost_is_found_and_not_made_twice(condor, make):
    ex = make()
    condor.forget_calls()
    condor.twist("condor_submit", '"$REAL" "$@" >/dev/null; echo "ERROR: Failed to commit" >&2; exit 1')
    assert ex.submit(square, 6).result(PATIENCE) == 36
    assert len(asked(condor, "condor_submit")) == 1


def test_what_is_refused_is_told_in_htcondors_words_and_nothing_is_left(condor, make):
    ex = make()
    condor.twist("condor_submit", 'echo "ERROR: Parse error in expression" >&2; exit 1')
    future = ex.submit(square, 2)
    with pytest.raises(SubmitError, match="was not taken: Parse error in expression"):
        future.result(PATIENCE)
    assert list((ex.directory / "groups").iterdir()) == []


@pytest.mark.parametrize("harm", ["removed", "emptied"])
def test_an_event_log_that_is_lost_costs_nothing(condor, make, harm):
    ex = make()
    futures = [ex.submit(hang, f"started{number}") for number in range(2)]
    assert started("started0")
    assert started("started1")
    log = Path(events_of(str(futures[0].log.parent.parent / "script.sh")))
    log.unlink() if harm == "removed" else os.truncate(log, 0)
    condor.ask("condor_rm", futures[0].job_id)
    with pytest.raises(JobDied, match="via condor_rm"):
        futures[0].result(PATIENCE)
    assert not futures[1].done()
    futures[1].cancel()


# Where nodes do not see the files of this machine -----------------------------------------------------------


def test_what_a_task_needs_and_leaves_is_carried(condor, make):
    ex = make(transfer=True)

    def work(data):
        print("at work")
        return os.getcwd(), len(data), sorted(os.listdir(".")), weft.__file__

    future = ex.submit(work, bytes(3_000_000))
    where, size, there, file = future.result(PATIENCE)
    assert not where.startswith(str(Path.cwd()))
    assert size == 3_000_000
    assert {"outcomes", "script.sh"} <= set(there)
    assert "weft.zip" in file
    assert eventually(lambda: future.stdout == "at work\n")


def test_a_large_result_that_is_carried_arrives_whole(make):
    assert len(make(transfer=True).submit(bytes, 50_000_000).result(2 * PATIENCE)) == 50_000_000


def test_failures_are_carried_too(condor, make):
    ex = impatient(make(transfer=True))

    def die():
        print("about to die", flush=True)
        os.abort()

    futures = [ex.submit(divmod, 1, 0), ex.submit(die), ex.submit(os._exit, 0)]
    with pytest.raises(ZeroDivisionError):
        futures[0].result(PATIENCE)
    with pytest.raises(JobDied, match="about to die") as caught:
        futures[1].result(PATIENCE)
    assert caught.value.signal == "SIGABRT"
    with pytest.raises(JobDied):
        futures[2].result(PATIENCE)


def test_what_was_carried_is_taken_up_by_another_client(condor, make):
    ex = make(transfer=True, on_exit="leave", directory="mine")
    done, waits = ex.submit(lambda: 9), ex.using(**NEVER).submit(lambda: 16)
    assert done.result(PATIENCE) == 9
    assert eventually(lambda: waits.job_id is not None)
    ex._core.interrupt()
    ex.shutdown()
    with pytest.raises(ChoiceError, match="with transfer=True; say so here, too"):
        CondorExecutor.attach("mine")
    futures = CondorExecutor.attach("mine", transfer=True, poll_interval=0.3)
    assert futures["0"].result(PATIENCE) == 9
    condor.ask("condor_qedit", waits.job_id, "Requirements", "True")
    assert futures["1"].result(PATIENCE) == 16


def test_modules_of_the_users_are_carried_when_they_say_so(condor, make, tmp_path):
    (tmp_path / "odd_name.py").write_text("value = 7\n")
    ex = make(transfer=True)
    with pytest.raises(ModuleNotFoundError, match="odd_name"):
        ex.submit(lambda: __import__("odd_name").value).result(PATIENCE)
    ex = ex.using(setup=[f"#CONDOR transfer_input_files = {tmp_path}/odd_name.py"])
    assert ex.submit(lambda: __import__("odd_name").value).result(PATIENCE) == 7


def test_a_pool_that_shares_no_files_with_us_is_told_of(condor, make, caplog):
    condor.configure(**{f"{node}.FILESYSTEM_DOMAIN": "elsewhere" for node in condor.nodes})
    future = make().submit(square, 2)
    assert eventually(lambda: future.job_id is not None)
    assert "say transfer=True" in caplog.text
    assert "its FILESYSTEM_DOMAIN is elsewhere" in caplog.text
    assert make(transfer=True).submit(lambda: 4).result(PATIENCE) == 4


def test_folders_of_this_machine_are_not_carried(condor, make):
    with pytest.raises(ChoiceError, match=r"import_paths=\.\.\.: jobs do not see the folders of this machine"):
        make(transfer=True, import_paths=["lib"])


#: Runs a job where these folders are empty.
HIDING = """\
#!/bin/bash
exec unshare --user --map-root-user --mount /bin/bash -c '
    for folder in {folders}; do mount -t tmpfs none "$folder" || exit 99; done; exec "$@"
' - "$@"
"""


def test_a_worker_that_can_see_nothing_of_here_does_its_work(condor, make, tmp_path, tmp_path_factory):
    """Its node has a file system in which the folders of the client, its key, and weft are not to be found."""
    (tmp_path / "data.txt").write_text("from here")
    ex = make(transfer=True, python=sys._base_executable, setup=[f"#CONDOR transfer_input_files = {tmp_path}/data.txt"])
    hidden = [str(tmp_path), str(Path(weft.__file__).parents[1]), str(key_path().parent)]
    wrapper = tmp_path_factory.mktemp("site") / "hiding"
    wrapper.write_text(HIDING.format(folders=" ".join(map(shlex.quote, hidden))))
    wrapper.chmod(0o755)
    if subprocess.run([wrapper, "true"], check=False).returncode:
        pytest.skip("no mount namespaces for users here")
    condor.configure(USER_JOB_WRAPPER=wrapper)

    def look(paths):
        import weft

        return [os.listdir(path) for path in paths], weft.__file__, Path("data.txt").read_text()

    seen, file, data = ex.submit(look, hidden).result(PATIENCE)
    assert (seen, data) == ([[]] * len(hidden), "from here")
    assert "weft.zip" in file
