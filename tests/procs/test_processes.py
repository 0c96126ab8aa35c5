"""Procs in processes of their own: what they write, how they end, what they leave."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from hand import PATIENCE
from weft import LocalExecutor
from weft.errors import ChoiceError, ClosedError, ProcessError, TaskTimeout, WorkerDied
from weft.procs import ProcFailedError, ProcNoChangeError, ProcSkippedError, ProcState

pytestmark = pytest.mark.forks


def run(manager, function, **options):
    """The proc of a function, when it has ended."""
    proc = manager.Proc("p", function, **options)
    manager.start("p")
    manager.wait_for_all(exception_on_failure=False)
    return proc


def log(proc):
    return proc.log_path.read_text(errors="backslashreplace")


@pytest.fixture(params=["forking", "manager"])
def either(request):
    """Both modes: what is said of one holds for the other."""
    return request.getfixturevalue(request.param)


# What holds in both modes -----------------------------------------------------------------------------------


def test_a_value_comes_back(either):
    proc = run(either, lambda context: {"a": [1, 2], "name": context.proc_name})
    assert proc.output == {"a": [1, 2], "name": "p"}
    assert (proc.state, proc.reason) == (ProcState.SUCCEEDED, "")


def test_a_function_may_take_less(either):
    def function():
        return "as it is"

    assert run(either, function, args={"unused": 3}).output == "as it is"


def test_args_are_passed_by_keyword(either):
    assert run(either, lambda context, a, *, b=2, c=3: (a, b, c), args={"a": 1, "c": 4}).output == (1, 2, 4)
    either.clear()
    assert run(either, lambda **everything: everything, args={"a": 1}).output == {"a": 1}


def test_a_failure_is_told_with_its_traceback(either):
    def function(context):
        raise KeyError("färbe")

    proc = run(either, function)
    assert (proc.state, proc.reason) == (ProcState.FAILED, "KeyError: 'färbe'")
    assert 'raise KeyError("färbe")' in log(proc)
    assert "KeyError: 'färbe'" in log(proc)
    with pytest.raises(ProcessError, match="1 proc failed:\n  p: KeyError") as raised:
        either.wait("p")
    assert isinstance(raised.value.exceptions[0], KeyError)


def test_a_failure_that_says_so_itself_needs_no_traceback(either):
    def function(context):
        raise ProcFailedError("no disk")

    proc = run(either, function)
    assert (proc.state, proc.reason, log(proc)) == (ProcState.FAILED, "no disk", "no disk\n")


def test_skipped_counts_as_success(either):
    def function(context):
        raise ProcSkippedError("nothing new")

    either.Proc("next", lambda context: (context.changed_deps, context.deps_changed), deps=["p"], now=True)
    proc = run(either, function)
    assert (proc.state, proc.reason, proc.output) == (ProcState.SKIPPED, "nothing new", None)
    assert either.results() == {"next": (["p"], True), "p": None}


def test_no_change_is_seen_by_dependents(either):
    def function(context):
        raise ProcNoChangeError

    either.Proc("other", lambda: 1)
    either.Proc("next", lambda context: (context.changed_deps, context.deps_changed), deps=["p"], now=True)
    either.Proc("both", lambda context: (context.changed_deps, context.deps_changed), deps=["p", "other"], now=True)
    proc = run(either, function)
    assert (proc.state, proc.reason) == (ProcState.SKIPPED, "no change")
    assert either.results()["next"] == ([], False)
    assert either.results()["both"] == (["other"], True)


def test_a_result_that_cannot_travel_is_told_by_its_part(either):
    class Holder:
        def __init__(self):
            self.handle = threading.Lock()

    proc = run(either, lambda: Holder())
    assert proc.state is ProcState.FAILED
    assert proc.reason.startswith("not pickleable: the result is a Holder")
    assert ".handle" in proc.reason


def test_models_of_pydantic_become_dicts(either):
    class Model:
        model_fields = {"x": int}

        def model_dump(self):
            return {"x": 1}

    assert run(either, lambda: Model()).output == {"x": 1}


def test_what_a_proc_writes_is_in_its_log(either, capsys):
    def function():
        print("to stdout", end=" ")
        print("to stderr", file=sys.stderr)
        sys.stdout.write("[bold]no markup[/]\udcff\n")

    proc = run(either, function)
    assert log(proc) == "to stdout to stderr\n[bold]no markup[/]\\udcff\n"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a/b", "..", "two\nlines", "ü 'x' \"y\"", "x" * 300, "-", "con:x"])
def test_any_name_has_a_log(manager, name):
    proc = manager.Proc(name, lambda: print("x"))
    manager.start(name)
    manager.wait_for_all()
    assert log(proc) == "x\n"
    assert proc.log_path.parent == manager.log_directory


def test_a_failed_try_is_told_and_tried_again(either, tmp_path):
    def function():
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        if os.path.getsize(tmp_path / "tries") < 3:
            raise OSError("not yet")
        return "there"

    proc = run(either, function, retries=4)
    assert proc.output == "there"
    assert "try 1 failed: OSError: not yet; trying again" in log(proc)
    assert "try 2 failed: OSError: not yet; trying again" in log(proc)
    either.clear()
    (tmp_path / "tries").unlink()
    assert run(either, function, retries=1).reason == "OSError: not yet"


def test_a_system_that_gives_no_more_threads_fails_the_proc(manager, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "weft-proc":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert run(manager, lambda: 1).reason == "RuntimeError: can't start new thread"
    manager.Proc("q", lambda: 2)
    manager.start("q")
    manager.wait("q")


def test_sys_exit_fails_the_proc_alone(either):
    assert run(either, lambda: sys.exit(3)).reason == "called sys.exit(3)"


def test_input_is_asked_for_by_the_parent(either, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda message: asked.append(message) or "yes, do")
    monkeypatch.setattr("getpass.getpass", lambda message: asked.append(message) or "secret")
    proc = run(either, lambda context: (context.get_input("really? "), context.get_input("key: ", password=True)))
    assert proc.output == ("yes, do", "secret")
    assert asked == ["really? ", "key: "]


def test_input_that_nobody_gives_is_an_error(either, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    proc = run(either, lambda context: context.get_input("really? "))
    assert proc.reason.startswith("EOFError")


def test_a_single_place_is_given_back_by_who_waits(either):
    either.set_options(parallel=1)

    def step(context, n: int):
        if n:
            context.wait(*context.run(f"n::{n - 1}"))
        return n + sum(value for value in context.results.values())

    either.Proto("n::[n]", step)
    either.run("n::4")
    assert either.wait_for_all()
    assert either.results()["n::4"] == 4 + 3 + 2 + 1


# What needs a process ---------------------------------------------------------------------------------------


def test_functions_take_along_what_a_fork_has(forking):
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def function():
        queue.put(os.getpid())

    run(forking, function)
    assert queue.get() not in (0, os.getpid())


def test_each_has_a_process_of_its_own(forking):
    forking.Proto("t::[n]", lambda n: os.getpid())
    for n in range(3):
        forking.run(f"t::{n}")
    forking.wait_for_all()
    assert len({os.getpid(), *forking.results().values()}) == 4


def test_children_write_in_between_where_it_belongs(forking):
    def function():
        print("one ", end="")
        subprocess.run(["sh", "-c", "printf 'two '; printf 'three ' >&2"], check=True)
        print("four", end=" ", file=sys.stderr)
        os.write(1, b"\xff\n")
        return sys.stdin.read()

    proc = run(forking, function)
    assert proc.log_path.read_bytes() == b"one two three four \xff\n"
    assert proc.output == ""


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: os._exit(7), "ended with exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
    ],
)
def test_a_dead_process_is_told(forking, end, reason):
    proc = run(forking, end)
    assert (proc.state, proc.reason) == (ProcState.FAILED, reason)
    assert log(proc).endswith(f"{reason}\n")
    with pytest.raises(ProcessError) as raised:
        forking.wait("p")
    assert isinstance(raised.value.exceptions[0], WorkerDied)


def test_a_result_that_does_not_unpickle_is_told(forking):
    class Bad:
        def __reduce__(self):
            return int, ("x",)

    proc = run(forking, lambda: Bad())
    assert proc.state is ProcState.FAILED
    assert "cannot be unpacked" in proc.reason


def test_a_timeout_ends_the_proc_and_what_it_started(forking, tmp_path):
    pid = tmp_path / "pid"

    def function():
        child = subprocess.Popen(["sleep", "1000"])
        pid.write_text(str(child.pid))
        time.sleep(1000)

    forking.Proc("sibling", lambda: "fine", now=True)
    proc = run(forking, function, timeout=1)
    assert (proc.state, proc.reason) == (ProcState.FAILED, "timed out after 1 s")
    assert forking.results() == {"sibling": "fine"}
    assert is_gone(int(pid.read_text()))
    with pytest.raises(ProcessError) as raised:
        forking.wait("p")
    assert isinstance(raised.value.exceptions[0], TaskTimeout)


def is_gone(pid):
    """Whether a process is no more, or is dead and not yet buried."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_lock_is_free_when_the_children_are_gone(forking, tmp_path):
    pid = tmp_path / "pid"

    def holder():
        child = subprocess.Popen(["sleep", "1000"])
        pid.write_text(str(child.pid))

    def other():
        try:
            return Path(f"/proc/{pid.read_text()}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return "Z"

    forking.Proc("a", holder, locks=["x"])
    forking.Proc("b", other, locks=["x"])
    forking.start("a", "b")
    assert forking.wait_for_all()
    assert forking.results()["b"] in "ZX"


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_hold_a_lock_than_may(forking, tmp_path, count):
    forking.set_options(locks={"x": count})

    def function(context):
        mine = tmp_path / context.proc_name
        mine.write_text("")
        time.sleep(0.02)  # so that others would be seen
        held = len(list(tmp_path.glob("t-*")))
        mine.unlink()
        return held

    for n in range(6):
        forking.Proc(f"t-{n}", function, locks=["x"], now=True)
    forking.wait_for_all()
    assert max(forking.results().values()) <= count


def test_the_manager_of_the_parent_is_not_for_its_procs(forking):
    def function():
        forking.start("x")

    proc = run(forking, function)
    assert proc.reason.startswith("ClosedError: this ProcManager belongs to")
    assert isinstance(proc._error, ClosedError)


def test_cpus_that_procs_declare_are_shared(forking):
    cpus = len(os.sched_getaffinity(0))
    proc = run(forking, lambda: os.environ["OMP_NUM_THREADS"], resources={"cpus": cpus})
    assert proc.output == str(cpus)


def test_cpus_are_given_back_by_who_waits(forking):
    everything = {"cpus": len(os.sched_getaffinity(0))}
    forking.Proc("inner", lambda: 1, resources=everything)
    forking.Proc("outer", lambda context: context.wait("inner") or context.results, resources=everything)
    forking.start("outer")
    assert forking.wait_for_all()
    assert forking.results()["outer"] == {"inner": 1}


def test_waiting_for_one_that_needs_what_one_has_of_the_machine_is_refused(forking):
    most = {"memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 6 // 10}
    forking.Proc("inner", lambda: 1, resources=most)
    outer = forking.Proc("outer", lambda context: context.wait("inner"), resources=most)
    forking.start("outer")
    assert not forking.wait_for_all(exception_on_failure=False)
    assert "waits for the lock 'memory of this machine', which is held by 'outer'" in outer.reason
    assert forking.results() == {"inner": 1}


def test_what_a_proc_knows_of_its_manager_is_no_trap(forking):
    assert run(forking, lambda: (list(forking.get_procs()), forking.results())).output == (["p"], {})


def test_hundreds_ask_at_a_time(forking):
    forking.set_options(parallel=30)

    def step(context, n: int):
        context.wait(*context.run("one"))
        return context.results["one"] + n

    forking.Proc("one", lambda: 1)
    forking.Proto("t::[n]", step)
    for n in range(40):
        forking.run(f"t::{n}")
    assert forking.wait_for_all()
    assert [forking.results()[f"t::{n}"] for n in range(40)] == [n + 1 for n in range(40)]


# Other executors --------------------------------------------------------------------------------------------


def where(context):
    print("here")
    context.wait(*context.run("other"))
    return os.getpid(), context.results["other"]


@pytest.mark.parametrize("kind", ["threads", "processes", "workers"])
def test_any_executor_runs_procs(forking, kind):
    make = {
        "threads": lambda: ThreadPoolExecutor(2),
        "processes": lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn")),
        "workers": lambda: LocalExecutor(2),
    }[kind]
    with make() as executor:
        forking.Proc("other", lambda context: context.args, args={"x": 1})
        proc = run(forking, where, executor=executor)
        assert proc.state is ProcState.SUCCEEDED, (proc.reason, log(proc))
        assert (proc.output[0] == os.getpid()) == (kind == "threads")
        assert proc.output[1] == {"x": 1}
        assert log(proc) == "here\n"
        forking.clear()


def test_what_an_executor_cannot_do_is_refused(forking):
    with ThreadPoolExecutor(1) as executor:
        forking.Proc("p", where, executor=executor, timeout=3)
        with pytest.raises(ChoiceError, match="a ThreadPoolExecutor knows no timeout"):
            forking.start("p")
