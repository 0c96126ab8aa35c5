"""What a run leaves in its folder, and what can be read of it later and elsewhere."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.stage import eventually
from hand import PATIENCE
from jobs.samples import make, noop
from jobs.scripts import finish, start, write
from jobs.scripts import run as run_script
from weft import LocalExecutor, Run, State, job, schedule
from weft.errors import (
    ArgumentError,
    ChoiceError,
    DeadlockError,
    DependencyNeverSatisfied,
    JobFailed,
    StorageError,
    TamperedError,
    WorkerDied,
    WorkflowError,
)
from weft.payload.failures import OURS
from weft.rundir import read_journal, read_outcomes


@pytest.fixture(scope="module")
def workers():
    with LocalExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["serial", "threads", "local"])
def backend(request):
    return request.getfixturevalue("workers") if request.param == "local" else request.param


def call(function, **options):
    return job(**options)(function)


def files(run):
    return sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file())


# Logs


def write_everywhere():
    print("Python")
    print("error", file=sys.stderr)
    if threading.current_thread() is threading.main_thread():  # in a process of its own
        ctypes.CDLL(None).puts(b"C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["echo", "child"], check=True)
    print("last", end="")


def test_what_a_job_writes_is_in_its_log_and_on_the_console(backend, capfd):
    made = call(write_everywhere, name="a")
    run = schedule(made, backend=backend)
    told = capfd.readouterr()
    # Those who share this process have the streams of Python only.
    expected = "Python\nerror\nC\nchild\nlast" if isinstance(backend, LocalExecutor) else "Python\nerror\nlast"
    assert run.log(made).replace("C\nchild\n", "") == expected.replace("C\nchild\n", "")
    if isinstance(backend, LocalExecutor):
        assert run.log(made) == told.out == expected  # in one piece
    else:
        assert (told.out.replace("C\nchild\n", "").replace("child\n", ""), told.err) == ("Python\nlast", "error\n")
    assert run.log_path(made) == run.path / "tasks" / "a" / "log"


def test_a_job_that_writes_nothing_has_no_log_and_no_file(backend):
    run = schedule(*(make(f"j{number}") for number in range(50)), backend=backend)
    assert run.log("j0") == ""
    assert run.log_path("j0") is None
    assert len(files(run)) < 10


def test_elements_have_logs_of_their_own(backend):
    array = job(array=["a", "b"], name="array")(lambda i: print("this is", i))
    run = schedule(array, backend=backend)
    assert (run.log(array, "b"), run.log(array, i="a")) == ("this is b\n", "this is a\n")
    assert run.log(array) == "==> array['a'] <==\nthis is a\n\n==> array['b'] <==\nthis is b\n"
    with pytest.raises(ArgumentError, match="give an element, as i="):
        run.log_path(array)
    with pytest.raises(ChoiceError, match="array has no element 'c'"):
        run.log(array, "c")
    with pytest.raises(ArgumentError, match=r"a has no array; write run.log\('a'\)"):
        schedule(make("a"), backend="serial").log("a", 3)


def test_a_failed_job_has_its_traceback_in_its_log(backend):
    def parse(text):
        print("about to parse")
        return int(text)

    made = job(name="parse")(parse).bind("x")
    with pytest.raises(WorkflowError) as caught:
        schedule(made, backend=backend)
    (failure,) = caught.value.exceptions
    log = failure.log.read_text()
    assert log.startswith("about to parse\nTraceback (most recent call last):\n")
    assert log.count("return int(text)") == 1
    assert OURS not in log


def test_a_job_that_dies_leaves_what_it_wrote_and_how_it_died(workers, capfd):
    def die():
        print("famous last words", flush=True)
        os._exit(3)

    run = schedule(call(die, name="die"), backend=workers, raise_on_failure=False)
    first, rest = run.log("die").split("\n", 1)
    assert first == "famous last words"
    assert "WorkerDied: die failed: its worker process" in rest
    assert "famous last words" in capfd.readouterr().out


def test_a_job_that_runs_out_of_time_leaves_what_it_wrote(workers):
    def sleep():
        print("zzz", flush=True)
        time.sleep(PATIENCE)

    run = schedule(call(sleep, name="sleep", time=0.2), backend=workers, raise_on_failure=False)
    assert run.log("sleep").startswith("zzz\n")
    assert "ran longer than its time limit" in run.log("sleep")


def test_each_try_adds_to_the_log(backend, tmp_path):
    def flaky():
        print("try")
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        if (tmp_path / "tries").stat().st_size < 3:
            raise OSError("not yet")

    run = schedule(call(flaky, name="flaky", retries=5), backend=backend)
    assert run.log("flaky").count("try\n") == 3


def test_a_failure_that_no_worker_could_tell_is_in_the_log(workers):
    made = job(name="locked")(lambda x: x).bind(threading.Lock())
    run = schedule(made, backend=workers, raise_on_failure=False)
    assert "cannot pickle '_thread.lock' object" in run.log(made)


def test_lines_of_jobs_in_threads_are_not_torn(capsys):
    barrier = threading.Barrier(2, timeout=PATIENCE)

    def speak(name):
        for part in range(20):
            print(name, end="")
            barrier.wait()
            print("", part)

    schedule(*(job(name=name)(speak).bind(name) for name in "ab"), backend="threads", max_workers=2)
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(f"{name} {part}" for name in "ab" for part in range(20))


def test_streams_are_put_back_as_they_were():
    before = sys.stdout, sys.stderr
    for backend in ("serial", "threads"):
        schedule(make("a"), backend=backend)
    assert (sys.stdout, sys.stderr) == before


def test_large_output_comes_whole(workers, capfd):
    run = schedule(call(lambda: print("x" * 3_000_000), name="a"), backend=workers)
    assert len(run.log("a")) == len(capfd.readouterr().out) == 3_000_001


# The folder


def test_all_is_for_the_user_alone(workers):
    run = schedule(call(lambda: print("x"), name="a"), backend=workers)
    for path in (run.path, *run.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_events_tell_what_happened_in_order(backend):
    a = make("a")
    array = job(array=2, name="array")(lambda i: i).after(a)
    bad = call(lambda: 1 / 0, name="bad").after(array)
    never = make("never").after(bad)
    run = schedule(never, backend=backend, raise_on_failure=False)
    events = list(read_journal(run.path / "events.jsonl"))
    assert [events[0]["run"], events[-1]["run"]] == ["started", "finished"]
    assert events[0]["pid"] == os.getpid()
    of_a = [event["state"] for event in events if event.get("job") == "a"]
    assert of_a == ["running", "succeeded"]
    ends = [(event["job"], event.get("i")) for event in events if event.get("state") in ("succeeded", "failed")]
    assert ends[0] == ("a", None)
    assert set(ends[1:3]) == {("array", 0), ("array", 1)}
    assert ends[3:] == [("array", None), ("bad", None)]
    (end,) = [event for event in events if event.get("job") == "never"]
    assert (end["state"], "'never' needs the success of 'bad'" in end["detail"]) == ("unreachable", True)
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)


def test_run_json_says_what_the_run_is():
    a = job(name="a/b", cpus=2)(noop)
    run = schedule(make("b").after(a, status="any").waitfor("any"), backend="serial", name="my run")
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["pid"], facts["backend"], facts["cwd"]) == (os.getpid(), "serial", os.getcwd())
    first, second = facts["jobs"]
    assert (first["name"], first["resources"]) == ("a/b", {"cpus": 2})
    assert second["edges"] == [[first["key"], "any"]]
    assert second["wait_for"] == "any"
    assert "my_run" in run.path.name


@pytest.mark.parametrize(
    "names",
    [
        ["a/b", "a_b", "A_B", "a\nb", "ä" * 300, "..", "a" * 300, "a" * 301],
        ["fit.3", "FIT", "fit-2", "fit"],
    ],
)
def test_names_of_any_kind_have_files_of_their_own(names):
    jobs = [call(lambda name=name: print(repr(name)), name=name) for name in names]
    array = job(array=5, name="fit")(lambda i: print("element", i))
    run = schedule(*jobs, array, backend="serial")
    assert [run.log(made) for made in jobs] == [f"{name!r}\n" for name in names]
    assert run.log(array, 3) == "element 3\n"
    again = Run.load(run.path)
    assert [again.log(name) for name in names[:-1]] == [f"{name!r}\n" for name in names[:-1]]


def test_a_successful_job_costs_at_most_two_files(workers):
    jobs = [call(lambda: print("x") or bytes(100_000), name=f"j{number}") for number in range(10)]
    before = len(files(schedule(make("none"), backend=workers)))
    assert len(files(schedule(*jobs, backend=workers))) - before <= 2 * len(jobs) + 2


def test_a_full_disk_costs_no_result_of_the_run(caplog, monkeypatch):
    from weft.rundir import outcomes

    def full(*_args, **_options):
        raise StorageError("cannot write outcomes: No space left on device")

    monkeypatch.setattr(outcomes.Recorder, "record", full)
    a = call(lambda: 5, name="a")
    taker = job(name="taker")(lambda x: x + 1).bind(a)
    run = schedule(taker, call(lambda: 1 / 0, name="bad"), backend="threads", raise_on_failure=False)
    assert run[taker] == 6
    assert "the result of a is not kept for later runs: cannot write outcomes: No space left" in caplog.text
    assert "the failure of bad is not recorded" in caplog.text
    assert Run.load(run.path)["a"] is None


def test_a_journal_that_cannot_be_written_is_told_once_and_the_run_goes_on(caplog, monkeypatch):
    from weft.rundir import journal

    def full(*_args):
        raise StorageError("cannot write events.jsonl: No space left on device")

    monkeypatch.setattr(journal.Journal, "write_line", full)
    run = schedule(make("b").after(make("a")), backend="serial")
    assert run.ok
    assert caplog.text.count("is not written down any more") == 1


def test_a_result_that_cannot_be_kept_is_told_and_passed_on(caplog):
    a = call(threading.Lock, name="a")
    run = schedule(job(name="taker")(lambda lock: lock.locked()).bind(a), backend="threads")
    assert run["taker"] is False
    assert "the result of a, a lock, is not kept for later runs" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_nothing_can_be_written_nothing_is_started(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "runs"))
    with pytest.raises(StorageError, match="cannot make the folder"):
        schedule(make("a"))


def test_a_folder_that_others_can_write_to_is_refused(base):
    base.mkdir()
    base.chmod(0o777)
    started = []
    with pytest.raises(StorageError, match=r"(?s)others may write to"):
        schedule(call(lambda: started.append(1)), backend="serial")
    assert started == []


# Run.load


def test_a_run_is_read_again_by_names(backend):
    a = call(lambda: {"x": [1]}, name="a")
    array = job(array=["p", "q", "r"], name="array")(lambda i: print(i) or (1 / 0 if i == "q" else i)).after(a)
    never = make("never").after(array)
    empty = job(array=0, name="empty")(lambda i: i)
    large = call(lambda: bytes(200_000), name="large")
    run = schedule(never, empty, large, backend=backend, raise_on_failure=False)
    again = Run.load(run.path)
    assert list(again) == [str(made) for made in run]
    assert again.states == {str(made): state for made, state in run.states.items()}
    assert again.elements("array") == run.elements(array)
    assert (again["a"], again["large"], again["empty"]) == ({"x": [1]}, bytes(200_000), [])
    assert again.results.keys() == {"a", "empty", "large"}
    with pytest.raises(JobFailed, match=r"array\['q'\] failed: ZeroDivisionError") as caught:
        again["array"]
    assert (caught.value.job, caught.value.element) == ("array", "q")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "1 / 0" in str(caught.value.__cause__.__cause__)
    assert caught.value.log == run.log_path(array, "q")
    with pytest.raises(DependencyNeverSatisfied, match="'never' needs the success of 'array', which failed"):
        again["never"]
    assert (again.log("array", "p"), again.ok, again.summary()) == ("p\n", False, run.summary())
    assert again.wait(raise_on_failure=False) is again
    with pytest.raises(WorkflowError):
        again.wait()
    again.cancel()
    assert again.states["a"] is State.SUCCEEDED


def test_a_run_is_found_by_path_name_and_place():
    first = schedule(make("a"), backend="serial", name="first")
    second = schedule(make("a"), backend="serial", name="second")
    for text in (second.path, str(second.path), second.name, "second", "-1"):
        assert Run.load(text).name == second.name
    assert Run.load("-2").path == first.path
    with pytest.raises(ChoiceError, match="there is no run 'third'"):
        Run.load("third")


def test_elements_that_are_no_json_are_shown_shortened():
    array = job(array=[(1, 2), {"k": 3}], name="array")(lambda i: 5)
    run = schedule(array, backend="serial")
    assert Run.load(run.path).elements("array") == {"(1, 2)": State.SUCCEEDED, "{'k': 3}": State.SUCCEEDED}
    assert Run.load(run.path)["array"] == [5, 5]


def test_a_tampered_outcome_is_refused_and_named():
    run = schedule(call(lambda: "result", name="a"), backend="serial")
    (file,) = (run.path / "outcomes").iterdir()
    file.write_bytes(file.read_bytes().replace(b"result", b"tamper"))
    with pytest.raises(TamperedError, match=file.name):
        Run.load(run.path)


def test_a_death_is_read_again(workers):
    run = schedule(call(lambda: os._exit(3), name="die"), backend=workers, raise_on_failure=False)
    with pytest.raises(JobFailed) as caught:
        Run.load(run.path)["die"]
    assert isinstance(caught.value.__cause__, WorkerDied)
    assert caught.value.__cause__.exitcode == 3


def test_conditions_of_a_whole_array_that_failed_are_read_again():
    array = job(array=2, name="array")(lambda i: i).ensure(lambda: False)
    run = schedule(array, backend="serial", raise_on_failure=False)
    again = Run.load(run.path)
    assert (again.states["array"], set(again.elements("array").values())) == (State.FAILED, {State.SUCCEEDED})
    with pytest.raises(JobFailed, match="postcondition"):
        again["array"]


WAITING = """
    @job
    def first():
        print("begun", flush=True)
        Path("pid").write_text(str(os.getpid()))
        open("started", "w").close()
        open("passes").close()
        return 5

    @after(first)
    @job
    def second():
        return 6

    schedule(second)
    """


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """A script whose first job waits."""
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / ".weft"))
    for name in ("started", "passes"):
        os.mkfifo(tmp_path / name)
    process = start(write(tmp_path, WAITING))
    open(tmp_path / "started").close()
    yield process
    process.kill()
    process.communicate()


def test_a_run_of_another_process_can_be_looked_at_and_waited_for(waiting, tmp_path):
    run = Run.load("-1")
    assert run.states["second"] is State.IDLE or run.states["second"] is State.WANTED
    assert run.states["first"] in (State.WANTED, State.RUNNING)
    with pytest.raises(TimeoutError):
        run.wait(0.05)
    open(tmp_path / "passes", "w").close()
    assert run.wait(PATIENCE).results == {"first": 5, "second": 6}
    assert finish(waiting).returncode == 0


def test_a_run_of_another_process_can_be_cancelled(waiting):
    run = Run.load("-1")
    run.cancel()
    assert run.states == {"first": State.CANCELLED, "second": State.CANCELLED}
    assert run.log("first") == "begun\n"
    ended = finish(waiting)
    assert "interrupted: 2 of 2 jobs cancelled" in ended.stderr
    events = list(read_journal(run.path / "events.jsonl"))
    assert events[-1]["run"] == "cancelled"


def test_a_run_whose_driver_was_killed_is_no_run_to_wait_for(waiting):
    waiting.send_signal(signal.SIGKILL)
    waiting.wait()
    run = Run.load("-1")
    with pytest.raises(DeadlockError, match="its driver is gone; run its script again, and it is taken over"):
        run.wait()
    assert run.ok


# Executors that share files, and those that do not


def test_an_executor_whose_workers_do_not_see_the_folder_leaves_recording_to_the_driver(workers, monkeypatch):
    from weft.jobs import site

    def elsewhere(self):
        return site._Nowhere("it is on another machine")

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(site.Site, "desk", elsewhere)
        run = schedule(call(lambda: 5, name="a"), backend=pool)
    assert run["a"] == Run.load(run.path)["a"] == 5
    (outcome,) = read_outcomes(run.path).values()
    assert outcome.stamp == b""


def test_workers_of_a_run_that_is_over_let_go_of_its_files(workers):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    counts = [schedule(call(descriptors, name="a"), backend=workers)["a"] for _ in range(12)]
    assert counts[-1] <= max(counts[:6]) + 1


def test_this_process_lets_go_of_the_files_of_a_run():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    schedule(make("a"), backend="threads")
    before = descriptors()
    for backend in ("threads", "serial", "threads", "serial"):
        schedule(make("a"), backend=backend)
    assert eventually(lambda: descriptors() <= before)


def test_a_script_leaves_its_runs_beside_itself(tmp_path):
    ended = run_script(tmp_path, "schedule(job(lambda: 5), backend='serial')")
    assert (ended.stderr, ended.returncode) == ("", 0)
    (run,) = (tmp_path / ".weft" / "runs").iterdir()
    assert "-script-" in run.name


def test_a_log_that_cannot_be_written_fails_no_job(base, caplog):
    base.mkdir(mode=0o700)

    def speak():
        (run_folder(base) / "tasks").rmdir()
        (run_folder(base) / "tasks").touch()
        print("hello")
        print("again")
        return 5

    assert schedule(call(speak, name="a"), backend="serial")["a"] == 5
    assert caplog.text.count("a log is not complete") == 1


def run_folder(base):
    (run,) = (base / "runs").iterdir()
    return run
