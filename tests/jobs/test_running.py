"""`schedule`: what runs, where, in which order, and what comes of it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.stage import eventually
from hand import PATIENCE
from jobs.samples import chain, make, noop
from weft import LocalExecutor, Retry, State, after, ensure, job, schedule
from weft.errors import (
    ArgumentError,
    ChoiceError,
    ConditionError,
    CycleError,
    DependencyNeverSatisfied,
    JobFailed,
    PostconditionFailed,
    PreconditionFailed,
    TaskExited,
    TaskTimeout,
    UnknownValueError,
    WorkerDied,
    WorkflowError,
)
from weft.jobs import Backend
from weft.payload.failures import OURS


@pytest.fixture(scope="module")
def workers():
    with LocalExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["serial", "threads", "local"])
def backend(request):
    """Each of the backends by turns; worker processes are made once."""
    return request.getfixturevalue("workers") if request.param == "local" else request.param


def call(function, **options):
    """A job of a function."""
    return job(**options)(function)


def seen():
    """A list, and a way to make a job that adds its name to it."""
    names = []

    def noting(name, **options):
        def note(*_):
            names.append(name)
            return name

        return job(name=name, **options)(note)

    return names, noting


# Before anything starts


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda never: schedule(), ArgumentError, r"write schedule\(last\), or schedule\(\*terminal_nodes\(first\)\)"),
        (lambda never: schedule([never]), ArgumentError, r"with a star: \*jobs"),
        (lambda never: schedule(noop), ArgumentError, "schedule needs jobs, got .*noop.*write @job above def noop"),
        (lambda never: schedule(never, name=3), ArgumentError, r"schedule\(name=...\) must be some text, got 3"),
        (
            lambda never: schedule(never, backend="thread"),
            ChoiceError,
            "one of 'local', 'threads', 'serial', 'slurm', 'condor', 'dry'",
        ),
        (lambda never: schedule(never, backend="thread"), ChoiceError, "did you mean 'threads'"),
        (lambda never: schedule(never, backend=3), ArgumentError, "an executor, or an object with the methods of"),
        (lambda never: schedule(never, backend=ThreadPoolExecutor), ArgumentError, r"give an instance: ThreadPoolEx"),
        (
            lambda never: schedule(never, workers=3),
            ArgumentError,
            r"no option 'workers'; options: max_workers=None",
        ),
        (
            lambda never: schedule(never, backend="threads", max_workers=0),
            ChoiceError,
            "max_workers must be at least 1",
        ),
        (lambda never: schedule(never, backend="threads", max_workers="2"), ArgumentError, "a whole number, got '2'"),
        (lambda never: schedule(never, backend="serial", max_workers=3), ArgumentError, "options: none"),
        (lambda never: schedule(never, backend="serial", wait=False), ChoiceError, "leave wait=False out"),
        (
            lambda never: schedule(call(noop, gpus=99).after(never)),
            ChoiceError,
            "noop cannot run here: gpus=99 is more",
        ),
        (lambda never: schedule(call(noop, memory="9PB").after(never)), ChoiceError, "is more than this machine has"),
        (
            lambda never: schedule(call(lambda x, y: 0, name="f").bind(y=1)),
            ArgumentError,
            r"to 'x'; write <lambda>.bind",
        ),
        (lambda never: schedule(call(lambda i, x: 0, array=3)), ArgumentError, "nothing is bound to 'x'"),
        (
            lambda never: schedule(never, call(noop).ensure(lambda: 1 / 0)),
            ConditionError,
            "of noop raised ZeroDivision",
        ),
        (lambda never: schedule(never, call(noop, env={"A": "1"}), backend="threads"), ArgumentError, "of its own"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_before_anything_starts(wrong, error, text):
    started = []
    with pytest.raises(error, match=text):
        wrong(call(lambda: started.append(1), name="never"))
    assert started == []


def test_a_backend_of_the_environment_is_used_and_checked(monkeypatch):
    monkeypatch.setenv("WEFT_BACKEND", "serial")
    assert schedule(call(threading.get_ident, name="a"))["a"] == threading.get_ident()
    monkeypatch.setenv("WEFT_BACKEND", "sreial")
    with pytest.raises(ChoiceError, match=r"variable WEFT_BACKEND must be one of.*did you mean 'serial'"):
        schedule(make("a"))


def test_a_cycle_is_told_before_anything_starts():
    names, noting = seen()
    a, b, c = noting("a"), noting("b"), noting("c")
    b.after(a, c)
    c.after(b)
    with pytest.raises(CycleError, match=r"(b <- c <- b|c <- b <- c) \(each x <- y: x after y\)"):
        schedule(b, backend="serial")
    assert names == []


def test_a_function_that_cannot_travel_is_refused_before_anything_starts(workers):
    lock = threading.Lock()
    names, noting = seen()
    with pytest.raises(ArgumentError, match=r"locked cannot be sent to another process: the function locked.*'lock'"):
        schedule(call(named("locked", lambda: lock)).after(noting("a", backend="serial")), backend=workers)
    condition = ensure(lambda: not lock.locked())(make("b"))
    with pytest.raises(ArgumentError, match=r"the postcondition <lambda> \(test_running.py:\d+\), variable 'lock'"):
        schedule(condition, backend=workers, prune=False)
    assert names == []


def named(name, function):
    function.__name__ = name
    return function


# What runs


def test_the_listed_jobs_and_all_that_they_need_run_once(backend, tmp_path):
    def noting(name):
        def note():
            with open(tmp_path / "names", "a") as file:
                file.write(name)

        return job(name=name)(note)

    a, b, c, d, other = (noting(name) for name in "abcdx")
    d.after(b.after(a), c.after(a))
    other.after(a)
    run = schedule(d, b, d, backend=backend)
    names = (tmp_path / "names").read_text()
    assert sorted(names) == ["a", "b", "c", "d"]
    assert (names[0], names[-1]) == ("a", "d")
    assert [str(made) for made in run] == ["a", "b", "c", "d"]
    assert set(run.states.values()) == {State.SUCCEEDED}
    assert run.ok


def test_healthy_branches_finish_whatever_happens_to_others(backend):
    bad = call(lambda: 1 / 0, name="bad")
    good = chain(5)[-1]
    run = schedule(make("never").after(bad), good, backend=backend, raise_on_failure=False)
    assert {str(made): state.name for made, state in run.states.items()} == {
        **{"bad": "FAILED", "never": "UNREACHABLE"},
        **{f"j{number}": "SUCCEEDED" for number in range(5)},
    }


def test_jobs_run_side_by_side(workers):
    meeting = threading.Barrier(2, timeout=PATIENCE)
    run = schedule(*(call(meeting.wait, name=name) for name in "ab"), backend="threads", max_workers=2)
    assert sorted(run.results.values()) == [0, 1]


def test_it_works_inside_a_running_event_loop():
    async def notebook():
        return schedule(call(lambda: asyncio.run(asyncio.sleep(0, 5)), name="a"), backend="threads")["a"]

    assert asyncio.run(notebook()) == 5


def test_pruning_a_schedule_leaves_done_jobs_alone_and_the_graph_as_it_was():
    names, noting = seen()
    a, b = noting("a").ensure(lambda: True), noting("b")
    b.after(a)
    run = schedule(b, backend="serial")
    assert (names, run.states, b.dependencies) == (["b"], {a: State.UP_TO_DATE, b: State.SUCCEEDED}, [a])
    assert (run[a], run.ok) == (None, True)
    schedule(b, backend="serial", prune=False)
    assert names == ["b", "a", "b"]


def test_a_run_with_nothing_to_do_is_a_run():
    a = make("a", done=True)
    b = make("b").after(a, status="failure")
    run = schedule(a, b, backend="serial")
    assert run.states == {a: State.UP_TO_DATE, b: State.UNREACHABLE}
    with pytest.raises(DependencyNeverSatisfied, match="'b' needs the failure of 'a', which is done"):
        run[b]
    assert run.ok


def test_what_nobody_needs_stays_idle():
    a = make("a")
    run = schedule(make("b", done=True).after(a), backend="serial")
    assert run.states[a] is State.IDLE
    assert run[a] is None
    assert a not in run.results


# Edges


def outcomes(run):
    return {str(made): state.name for made, state in run.states.items()}


def test_edges_wait_for_success_failure_or_any_end():
    names, noting = seen()
    good, bad = noting("good"), call(lambda: 1 / 0, name="bad")
    jobs = [
        noting(f"{status} of {dep}").after(dep, status=status)
        for dep in (good, bad)
        for status in ("success", "failure", "any")
    ]
    run = schedule(*jobs, backend="serial", raise_on_failure=False)
    assert names == ["good", "success of good", "any of good", "failure of bad", "any of bad"]
    assert outcomes(run)["failure of good"] == outcomes(run)["success of bad"] == "UNREACHABLE"


def test_a_failure_edge_that_is_never_needed_does_no_harm():
    run = schedule(make("clean up").after(make("a"), status="failure"), backend="serial")
    assert outcomes(run) == {"a": "SUCCEEDED", "clean up": "UNREACHABLE"}
    assert run.ok


def test_an_unreachable_job_is_chained_to_its_cause(backend):
    bad = call(lambda: 1 / 0, name="bad")
    last = make("last").after(make("next").after(bad))
    run = schedule(last, backend=backend, raise_on_failure=False)
    with pytest.raises(DependencyNeverSatisfied, match="'last' needs the success of 'next'") as caught:
        run[last]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_waiting_for_any_starts_with_the_first_that_meets_its_condition():
    slow = threading.Event()
    waiting = call(lambda: slow.wait(PATIENCE), name="slow")
    first = call(slow.set, name="first").after(make("quick"), waiting).waitfor("any")
    run = schedule(first, backend="threads", max_workers=2)
    assert run.ok


def test_waiting_for_any_with_results_waits_for_these_in_any_case():
    bad, a, b = call(lambda: 1 / 0, name="bad"), make("a"), call(lambda: 5, name="b")
    taker = job(name="taker")(lambda x: x).bind(b).after(bad, a).waitfor("any")
    other = job(name="other")(lambda x: x).bind(b).after(bad).waitfor("any")
    run = schedule(taker, other, backend="serial", raise_on_failure=False)
    assert run[taker] == 5
    assert run.states[other] is State.UNREACHABLE


# Data


def test_results_are_passed_on(backend):
    load = call(lambda: {"a": [1, 2]}, name="load")
    count = job(name="count")(lambda data, more: (data["a"], more)).bind(load, more=[load, {"k": load}])
    run = schedule(count, backend=backend)
    data = {"a": [1, 2]}
    assert run[count] == ([1, 2], [data, {"k": data}])
    assert run.results == {load: data, count: run[count]}


def test_an_array_gives_a_list_and_each_element_gets_what_is_bound(backend):
    scale = call(lambda: 10, name="scale")
    times = job(array=[3, 1, 2], name="times")(lambda i, x: i * x).bind(x=scale)
    total = job(name="total")(lambda xs: xs).bind(times)
    run = schedule(total, backend=backend)
    assert run[times] == run[total] == [30, 10, 20]
    assert run.elements(times) == {3: State.SUCCEEDED, 1: State.SUCCEEDED, 2: State.SUCCEEDED}
    assert run.elements(scale) == {}


def test_a_taker_of_a_failed_job_is_unreachable():
    bad = call(lambda: 1 / 0, name="bad")
    taker = job(name="taker")(lambda x: x).bind(bad)
    run = schedule(taker, backend="serial", raise_on_failure=False)
    assert run.states[taker] is State.UNREACHABLE


def test_bound_arguments_that_cannot_travel_fail_their_job_with_their_name(workers):
    made = job(name="locked")(lambda x, guard: 0).bind(1, guard=threading.Lock())
    run = schedule(made, make("other"), backend=workers, raise_on_failure=False)
    assert outcomes(run) == {"locked": "FAILED", "other": "SUCCEEDED"}
    with pytest.raises(JobFailed, match=r"argument 'guard': cannot pickle '_thread.lock' object; make or open it"):
        run[made]
    array = job(array=[threading.Lock()], name="locks")(lambda guard: 0)
    run = schedule(array, backend=workers, raise_on_failure=False)
    with pytest.raises(JobFailed, match=r"argument 1: cannot pickle '_thread.lock'"):
        run[array]


def test_a_result_that_cannot_travel_fails_its_job_with_its_name(workers):
    made = call(lambda: {"guard": threading.Lock()}, name="locked")
    with pytest.raises(WorkflowError) as caught:
        schedule(made, backend=workers)
    assert "['guard']: cannot pickle '_thread.lock'" in str(caught.value.exceptions[0])


def test_threads_and_the_calling_thread_share_memory():
    mine = []
    for backend in ("serial", "threads"):
        schedule(call(lambda backend=backend: mine.append(backend), name="a"), backend=backend)
    assert mine == ["serial", "threads"]
    result = object()
    assert schedule(call(lambda: result, name="a"), backend="threads")["a"] is result


# Arrays


def test_an_empty_array_succeeds_and_releases_what_comes_after_it(backend):
    empty = job(array=0, name="empty")(lambda i: i)
    taker = job(name="taker")(lambda xs: xs).bind(empty)
    run = schedule(make("after").after(empty), taker, backend=backend)
    assert outcomes(run) == {"empty": "SUCCEEDED", "after": "SUCCEEDED", "taker": "SUCCEEDED"}
    assert (run[empty], run[taker], run.elements(empty)) == ([], [], {})


def test_an_empty_array_after_a_failure_is_unreachable():
    empty = job(array=0, name="empty")(lambda i: i).after(call(lambda: 1 / 0, name="bad"))
    run = schedule(empty, backend="serial", raise_on_failure=False)
    assert run.states[empty] is State.UNREACHABLE
    with pytest.raises(DependencyNeverSatisfied):
        run[empty]


def test_an_array_with_a_failed_element_has_failed_when_all_are_over(backend):
    array = job(array=4, name="array")(lambda i: 1 / (i - 1))
    good, bad = make("good").after(array), make("bad").after(array, status="failure")
    run = schedule(good, bad, backend=backend, raise_on_failure=False)
    assert outcomes(run) == {"array": "FAILED", "good": "UNREACHABLE", "bad": "SUCCEEDED"}
    assert [state.name for state in run.elements(array).values()] == ["SUCCEEDED", "FAILED", "SUCCEEDED", "SUCCEEDED"]
    with pytest.raises(JobFailed, match=r"array\[1\] failed: ZeroDivisionError") as caught:
        run[array]
    assert (caught.value.job, caught.value.element) == (array, 1)


def test_each_element_comes_after_its_element():
    names, _ = seen()
    first = job(array=3, name="first")(lambda i: 1 / (i - 1))
    second = job(array=["a", "b", "c"], name="second")(names.append).after(first, each=True)
    third = job(array=3, name="third")(lambda i: names.append(i)).after(first, each=True, status="failure")
    run = schedule(second, third, backend="serial", raise_on_failure=False)
    assert sorted(map(str, names)) == ["1", "a", "c"]
    assert [state.name for state in run.elements(second).values()] == ["SUCCEEDED", "UNREACHABLE", "SUCCEEDED"]
    assert [state.name for state in run.elements(third).values()] == ["UNREACHABLE", "SUCCEEDED", "UNREACHABLE"]
    assert run.states[second] is State.UNREACHABLE


def test_each_element_of_a_pruned_array_counts_as_done():
    first = job(array=3, name="first")(lambda i: i).ensure(lambda i: i != 1)
    second = job(array=3, name="second")(lambda i: i).after(first, each=True)
    third = job(array=3, name="third")(lambda i: i).after(first, each=True, status="failure")
    run = schedule(second, third, backend="serial", raise_on_failure=False)
    done, failed = State.UP_TO_DATE, State.FAILED  # for the postcondition does not hold afterwards either
    assert list(run.elements(first).values()) == [done, failed, done]
    assert [state.name for state in run.elements(second).values()] == ["SUCCEEDED", "UNREACHABLE", "SUCCEEDED"]
    assert [state.name for state in run.elements(third).values()] == ["UNREACHABLE", "SUCCEEDED", "UNREACHABLE"]


def test_of_a_pruned_array_only_what_is_not_done_runs():
    names, _ = seen()
    done = {0, 2}

    def run_one(i):
        names.append(i)
        done.add(i)
        return i

    array = job(array=4, name="array")(run_one).ensure(lambda i: i in done)
    run = schedule(array, backend="serial")
    assert (names, run[array]) == ([1, 3], [None, 1, None, 3])
    assert [state.name for state in run.elements(array).values()] == ["UP_TO_DATE", "SUCCEEDED"] * 2


def test_a_throttled_array_runs_at_most_so_many_elements_at_once():
    lock, now, most = threading.Lock(), [0], [0]

    def count(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.001)
        with lock:
            now[0] -= 1

    array = job(array=20, array_throttle=2)(count)
    schedule(array, backend="threads", max_workers=8)
    assert most[0] <= 2
    with pytest.raises(WorkflowError):  # a failure makes room, too
        schedule(job(array=20, array_throttle=1)(lambda i: 1 / 0), backend="threads", max_workers=4)


def test_elements_that_are_no_keys_or_come_twice_are_known_by_number():
    lists = job(array=[[1], [2]], name="lists")(len)
    twice = job(array=["a", "a"], name="twice")(len)
    run = schedule(lists, twice, backend="serial")
    assert run.elements(lists) == run.elements(twice) == {0: State.SUCCEEDED, 1: State.SUCCEEDED}
    assert run[lists] == [1, 1]


# Conditions


def test_conditions_are_checked_where_the_job_runs(workers, tmp_path):
    path = tmp_path / "pid"
    made = call(lambda: path.write_text(str(os.getpid())), name="a")
    made.ensure(lambda: path.read_text() == str(os.getpid()) if path.exists() else False)
    schedule(made, backend=workers)
    assert path.read_text() != str(os.getpid())


def test_an_unmet_precondition_is_a_failure(backend, tmp_path):
    made = call((tmp_path / "ran").touch, name="a").ensure((tmp_path / "missing").exists, when="before")
    with pytest.raises(WorkflowError) as caught:
        schedule(made, backend=backend)
    (failure,) = caught.value.exceptions
    assert isinstance(failure.__cause__, PreconditionFailed)
    assert "the precondition exists of a does not hold" in str(failure)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("end", [lambda: None, lambda: sys.exit(0), sys.exit], ids=["return", "exit(0)", "exit()"])
def test_an_unmet_postcondition_is_a_failure(backend, end, tmp_path):
    made = job(name="a")(lambda: end()).ensure((tmp_path / "missing").exists)
    with pytest.raises(WorkflowError) as caught:
        schedule(made, backend=backend)
    assert isinstance(caught.value.exceptions[0].__cause__, PostconditionFailed)


def test_exit_with_0_is_a_good_end_and_with_anything_else_a_failure(backend):
    good, bad, worse = (call(lambda code=code: sys.exit(code), name=f"exit {code}") for code in (0, 3, "no data"))
    run = schedule(good, bad, worse, backend=backend, raise_on_failure=False)
    assert run[good] is None
    for made, code in ((bad, 3), (worse, "no data")):
        with pytest.raises(JobFailed, match=r"called sys.exit") as caught:
            run[made]
        assert isinstance(caught.value.__cause__, TaskExited)
        assert caught.value.__cause__.code == code


def test_conditions_of_elements_are_checked_for_each_of_them():
    array = job(array=4, name="array")(lambda i: i).ensure(lambda i: i != 1).ensure(lambda i: i != 2, when="before")
    run = schedule(array, backend="serial", raise_on_failure=False, prune=False)
    assert [state.name for state in run.elements(array).values()] == ["SUCCEEDED", "FAILED", "FAILED", "SUCCEEDED"]
    kinds = [type(failure.__cause__) for failure in run._record(array).failed()]
    assert kinds == [PostconditionFailed, PreconditionFailed]


def test_conditions_of_a_whole_array_are_asked_once(backend, tmp_path):
    def asked(name, holds=True):
        with open(tmp_path / "asked", "a") as file:
            file.write(name)
        return holds

    array = job(array=3, name="array")(lambda i: asked("x"))
    array.ensure(lambda: asked("<"), when="before").ensure(lambda: asked(">"))
    run = schedule(array, backend=backend, prune=False)
    assert (tmp_path / "asked").read_text() == "<xxx>"
    assert run[array] == [True] * 3


def test_an_unmet_condition_of_a_whole_array_fails_the_array():
    before = job(array=2, name="before")(lambda i: i).ensure(lambda: False, when="before")
    after_ = job(array=2, name="after")(lambda i: i).ensure(lambda: False)
    next_ = make("next").after(after_)
    run = schedule(before, next_, backend="serial", raise_on_failure=False)
    assert outcomes(run) == {"before": "FAILED", "after": "FAILED", "next": "UNREACHABLE"}
    assert set(run.elements(before).values()) == {State.UNREACHABLE}
    assert set(run.elements(after_).values()) == {State.SUCCEEDED}
    with pytest.raises(JobFailed, match=r"the precondition .* of before does not hold") as caught:
        run[before]
    assert caught.value.element is None
    with pytest.raises(JobFailed, match=r"the postcondition .* of after does not hold"):
        run[after_]


# Failures


def test_a_failed_job_raises_a_group_at_the_end_with_the_users_exception_as_cause(backend, capfd):
    def estimate(i):
        if i % 2:
            raise ValueError(f"no {i}")
        return i

    array, bad = job(array=4, name="estimate")(estimate), call(lambda: {}["key"], name="bad")
    with pytest.raises(WorkflowError, match=r"run .*: 2 jobs: 2 failed") as caught:
        schedule(array, bad, backend=backend)
    assert isinstance(caught.value, ExceptionGroup)
    found = [(e.job, e.element, type(e.__cause__)) for e in caught.value.exceptions]
    assert sorted(found, key=str) == sorted(
        [(array, 1, ValueError), (array, 3, ValueError), (bad, None, KeyError)], key=str
    )
    told = capfd.readouterr().err
    assert "Traceback" not in told  # it comes at the end
    assert sorted(line.partition(" failed: ")[0] for line in told.splitlines()) == [
        *("weft: bad", "weft: estimate[1]", "weft: estimate[3]")
    ]


def test_where_nothing_is_raised_the_traceback_is_printed_once(backend, capfd):
    def parse(text):
        return int(text)

    schedule(job(name="parse")(parse).bind("x"), backend=backend, raise_on_failure=False)
    told = capfd.readouterr().err
    assert told.count("Traceback") == told.count("return int(text)") == 1
    assert OURS not in told
    assert told.splitlines()[-1].startswith("weft: parse failed")


def test_a_failure_of_many_lines_is_told_in_one(capfd):
    def fail():
        raise ValueError("x" * 1000 + "\nsecond")

    with pytest.raises(WorkflowError):
        schedule(call(fail, name="a"), backend="serial")
    (line,) = capfd.readouterr().err.splitlines()
    assert "x ...; log: " in line
    assert len(line) < 500


def test_a_crash_fails_its_job_alone(workers):
    crash = call(lambda: os._exit(0), name="crash")
    run = schedule(crash, *(make(f"j{number}") for number in range(20)), backend=workers, raise_on_failure=False)
    assert [str(made) for made, state in run.states.items() if state is State.FAILED] == ["crash"]
    with pytest.raises(JobFailed) as caught:
        run[crash]
    assert isinstance(caught.value.__cause__, WorkerDied)


def test_a_time_limit_is_enforced(workers):
    slow = call(named("slow", lambda: time.sleep(PATIENCE)), time=0.1)
    run = schedule(slow, backend=workers, raise_on_failure=False)
    with pytest.raises(JobFailed, match=r"TaskTimeout: slow ran longer than its time limit of 0.1 s") as caught:
        run[slow]
    assert isinstance(caught.value.__cause__, TaskTimeout)


def test_retries_run_a_failed_job_again(backend, tmp_path):
    def flaky(name, error, tries):
        with open(tmp_path / name, "a") as file:
            file.write("x")
        if (tmp_path / name).stat().st_size < tries:
            raise error
        return tries

    def trying(name, error, tries, retries):
        return job(name=name, retries=retries)(flaky).bind(name, error, tries)

    jobs = [
        trying("any", OSError(), 3, 2),
        trying("memory", MemoryError(), 2, {"memory": Retry(1, memory=2)}),
        trying("user", ValueError(), 2, {"user": 1}),
    ]
    failing = [trying("often", OSError(), 4, 2), trying("other", OSError(), 2, {"memory": 3, "died": 1})]
    run = schedule(*jobs, *failing, backend=backend, raise_on_failure=False)
    assert [run[made] for made in jobs] == [3, 2, 2]
    assert [run.states[made] for made in failing] == [State.FAILED] * 2
    assert [(tmp_path / name).stat().st_size for name in ("often", "other")] == [3, 1]


# Where jobs run


def test_serial_runs_jobs_one_after_the_other_in_the_calling_thread():
    run = schedule(*(call(threading.get_ident, name=f"j{number}") for number in range(3)), backend="serial")
    assert set(run.results.values()) == {threading.get_ident()}


def test_threads_give_a_job_as_many_of_them_as_it_asks_for_cpus(caplog):
    lock, now, most = threading.Lock(), [0], [0]

    def work(cpus):
        with lock:
            now[0] += cpus
            most[0] = max(most[0], now[0])
        time.sleep(0.001)
        with lock:
            now[0] -= cpus

    jobs = [job(name=f"j{n}", cpus=1 + n % 3)(work).bind(1 + n % 3) for n in range(20)]
    schedule(*jobs, backend="threads", max_workers=3)
    assert most[0] <= 3
    schedule(call(noop, cpus=5), backend="threads", max_workers=3)
    assert "noop asks for 5 cpus and gets all that there are: 3" in caplog.text


def test_worker_processes_give_a_job_what_it_asks_for(workers, caplog):
    def threads():
        return os.environ["OMP_NUM_THREADS"]

    two, many = call(threads, name="two", cpus=2), call(threads, name="many", cpus=99)
    run = schedule(two, many, backend=workers)
    assert (run[two], run[many]) == ("2", "2")
    assert "asks for 99 cpus and gets all that there are: 2" in caplog.text


@pytest.mark.parametrize("backend", ["serial", "local"], indirect=True)
def test_an_environment_is_set_while_the_job_runs(backend, monkeypatch):
    monkeypatch.setenv("WEFT_TEST_B", "outer")
    names = ("WEFT_TEST_A", "WEFT_TEST_B")

    def look():
        return [os.environ.get(name) for name in names]

    inner = call(look, name="inner", env={"WEFT_TEST_A": "a", "WEFT_TEST_B": "inner"})
    outer = call(look, name="outer").after(inner)
    run = schedule(outer, backend=backend)
    assert run[inner] == ["a", "inner"]
    assert run[outer][0] is None


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def test_jobs_find_the_context_of_where_they_were_scheduled(backend):
    def look():
        before = VARIABLE.get()
        VARIABLE.set("changed by a job")
        return before

    token = VARIABLE.set("mine")
    try:
        jobs = chain(3, lambda number: job(name=f"j{number}")(look))
        run = schedule(jobs[-1], backend=backend)
    finally:
        VARIABLE.reset(token)
    assert list(run.results.values()) == ["mine"] * 3


def test_a_job_may_say_where_it_runs(workers):
    here, there = os.getpid(), threading.get_ident()
    local = call(os.getpid, name="local", backend=workers)
    thread = call(threading.get_ident, name="threads", backend="threads")
    serial = call(threading.get_ident, name="serial").after(local, thread)
    run = schedule(serial, backend="serial")
    assert run[local] != here
    assert run[thread] != there
    assert run[serial] == there


def test_any_executor_will_do_and_stays_open():
    with ThreadPoolExecutor(1) as pool:
        run = schedule(call(threading.get_ident, name="a"), backend=pool)
        assert run["a"] == pool.submit(threading.get_ident).result(PATIENCE) != threading.get_ident()


def test_a_pool_of_processes_will_do():
    import multiprocessing

    scale = 3
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        array = job(array=3, name="array", retries=1)(lambda i, x: (scale * i, x))
        bound = array.bind(x=call(lambda: [5], name="load"))
        locked = job(name="locked")(lambda x: x).bind(threading.Lock())
        run = schedule(bound, locked, backend=pool, raise_on_failure=False)
        assert run[bound] == [(0, [5]), (3, [5]), (6, [5])]
        with pytest.raises(JobFailed, match=r"argument 1: cannot pickle '_thread.lock'"):
            run[locked]
        with pytest.raises(ArgumentError, match="cannot be sent to another process"):
            schedule(call(lambda: locked.arguments.args), backend=pool)
        assert pool.submit(pow, 2, 3).result(PATIENCE) == 8


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_that_are_forked_have_what_cannot_be_packed(tmp_path):
    lock = threading.Lock()
    made = call(lambda: print("hello") or lock.locked(), name="locked")
    array = job(array=2, name="array")(lambda i: (i, lock.locked())).after(made)
    run = schedule(array, backend="local", start="fork", max_workers=1)
    assert (run[made], run[array], run.log(made)) == (False, [(0, False), (1, False)], "hello\n")


def test_a_job_may_schedule_jobs_of_its_own(backend):
    def inner():
        return schedule(call(lambda: 5, name="inner"), backend="serial", name="of a job")["inner"]

    assert schedule(call(inner, name="outer"), backend=backend)["outer"] == 5


def test_a_run_that_is_interrupted_while_it_begins_has_run_nothing(monkeypatch):
    from weft.jobs import weave

    def interrupted(self, part):
        raise KeyboardInterrupt

    ran = []
    made = call(lambda: ran.append(1), name="a")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weave.Weave, "_build", interrupted)
        schedule(made, backend="threads")
    assert ran == []
    schedule(made, backend="threads")  # its folder is nobody's
    assert ran == [1]


def test_an_executor_of_the_users_that_keeps_output_keeps_it(tmp_path):
    with LocalExecutor(1, output="capture") as executor:
        assert schedule(call(lambda: 5, name="a"), backend=executor)["a"] == 5


class Recording:
    """A backend as a user may write one: it calls at once."""

    shares_memory = True
    retries = False

    def __init__(self):
        self.story = []

    def check(self, job, call):
        self.story.append(("check", job.name))
        if job.name == "impossible":
            raise ChoiceError("not here")

    def submit(self, call, args, job):
        self.story.append(("submit", job.name))
        future = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self, *, wait, interrupted):
        self.story.append("close")


def test_an_object_with_the_methods_of_a_backend_will_do():
    backend = Recording()
    assert isinstance(backend, Backend)
    a, b = chain(2)
    run = schedule(b, backend=backend)
    assert run.ok
    assert backend.story[:4] == [("check", "j0"), ("check", "j1"), ("submit", "j0"), ("submit", "j1")]
    assert "close" in backend.story
    with pytest.raises(ChoiceError, match="not here"):
        schedule(make("impossible"), backend=backend)
    assert backend.story[-1] == "close"
    with pytest.raises(ArgumentError, match="options for a backend that is made already: max_workers"):
        schedule(a, backend=backend, max_workers=3)


def test_a_backend_whose_submit_raises_fails_the_job():
    class Broken(Recording):
        def submit(self, call, args, job):
            raise OSError("out of order")

    run = schedule(make("b").after(make("a")), backend=Broken(), raise_on_failure=False)
    assert outcomes(run) == {"a": "FAILED", "b": "UNREACHABLE"}
    with pytest.raises(JobFailed, match="a failed: OSError: out of order"):
        run["a"]


# Run


def test_a_run_is_asked_by_job_or_by_name():
    a, b = call(lambda: 5, name="a"), make("b")
    run = schedule(b.after(a), backend="serial")
    assert run[a] == run["a"] == 5
    assert (len(run), list(run), a in run, "a" in run, "x" in run) == (2, [a, b], True, True, False)
    with pytest.raises(ChoiceError, match=r"a job of run .* must be one of 'a', 'b', got 'c'"):
        run["c"]
    with pytest.raises(ChoiceError, match="it has one with the same name"):
        run[make("a")]
    assert run.ids == {}


def test_names_are_made_unique_in_a_run():
    jobs = [job(name="fit")(lambda x: x).bind(x) for x in range(3)] + [call(lambda: "other", name="fit-2")]
    run = schedule(*jobs, backend="serial")
    assert [run[name] for name in ("fit", "fit-2", "fit-3", "fit-2-2")] == [0, 1, 2, "other"]
    assert [run[made] for made in jobs] == [0, 1, 2, "other"]


def test_a_summary_counts_and_names_what_went_wrong():
    bad = job(array=3, name="estimate")(lambda i: 1 / i)
    run = schedule(make("merge").after(bad), make("load"), backend="serial", raise_on_failure=False)
    first, *rest = run.summary().splitlines()
    assert first.endswith(": 3 jobs: 1 succeeded, 1 failed, 1 unreachable") or "3 jobs" in first
    assert rest == [
        "  estimate: failed (2 succeeded, 1 failed): ZeroDivisionError: division by zero",
        "  merge: unreachable: 'merge' needs the success of 'estimate', which failed",
    ]
    many = schedule(*(call(lambda: 1 / 0, name=f"j{n}") for n in range(30)), backend="serial", raise_on_failure=False)
    assert many.summary().splitlines()[-1] == "  and 10 more"


def test_without_waiting_the_run_goes_on_in_the_background():
    gate = threading.Event()
    a = call(lambda: gate.wait(PATIENCE), name="a")
    b = call(lambda: 1 / 0, name="b").after(a)
    run = schedule(b, backend="threads", wait=False)
    with pytest.raises(UnknownValueError, match=r"a is not over; write run.wait\(\) first"):
        run[a]
    with pytest.raises(TimeoutError, match=r"is not over after 0.01 s: 2 of 2 jobs"):
        run.wait(0.01)
    assert set(run.states.values()) <= {State.WANTED, State.RUNNING}
    assert run.ok
    gate.set()
    with pytest.raises(WorkflowError):
        run.wait()
    assert run.wait(raise_on_failure=False) is run
    assert not run.ok
    assert run[a] is True


def test_while_an_array_runs_it_says_so():
    gate = threading.Barrier(2, timeout=PATIENCE)
    array = job(array=2, array_throttle=1, name="array")(lambda i: gate.wait())
    run = schedule(array, backend="threads", wait=False)
    gate.wait()
    gate.wait()
    run.wait()
    assert run.states[array] is State.SUCCEEDED


def test_cancel_stops_what_runs_and_drops_what_waits(workers, tmp_path):
    os.mkfifo(tmp_path / "started")

    def sleep():
        (tmp_path / "started").write_text("x")
        time.sleep(PATIENCE)

    a = call(sleep, name="a")
    b, c = make("b").after(a), make("c").after(a, status="any")
    array = job(array=3, name="array")(lambda i: i).after(a).ensure(lambda: True)
    run = schedule(b, c, array, backend=workers, wait=False, prune=False)
    assert (tmp_path / "started").read_text() == "x"
    before = time.monotonic()
    run.cancel()
    assert time.monotonic() - before < PATIENCE / 3
    assert set(run.states.values()) == {State.CANCELLED}
    assert set(run.elements(array).values()) == {State.CANCELLED}
    assert not run.ok
    with pytest.raises(Exception, match="a was cancelled"):
        run[a]
    run.wait()  # nothing failed
    run.cancel()


def test_cancelling_a_run_that_is_over_changes_nothing():
    run = schedule(make("a"), backend="serial")
    run.cancel()
    assert run.ok


# Size, and any graph


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_jobs_in_one_graph(count):
    jobs = [make(f"j{number}") for number in range(count)]
    last = make("last").after(*jobs[-100:])
    for number in range(100, count):
        jobs[number].after(jobs[number - 100])
    run = schedule(last, backend="serial")
    assert (len(run), run.ok, run.states[last]) == (count + 1, True, State.SUCCEEDED)


@pytest.mark.parametrize("fails", [False, True])
def test_a_long_chain_needs_no_recursion(fails):
    jobs = chain(2_000, lambda number: call((lambda: 1 / 0) if fails and not number else noop, name=f"j{number}"))
    run = schedule(jobs[-1], backend="serial", raise_on_failure=False)
    assert run.states[jobs[-1]] is (State.UNREACHABLE if fails else State.SUCCEEDED)


@st.composite
def graphs(draw):
    jobs = []
    for number in range(draw(st.integers(1, 7))):
        fails = draw(st.booleans())
        done = draw(st.sampled_from([None, None, True]))
        array = draw(st.sampled_from([None, None, 0, 2]))
        made = job(name=f"j{number}", array=array)((lambda *_: 1 / 0) if fails else noop_of_any)
        if done:
            made.ensure(lambda: True)
        for dep in draw(st.lists(st.sampled_from(jobs), max_size=3)) if jobs else ():
            made.after(dep, status=draw(st.sampled_from(["success", "failure", "any"])))
        jobs.append(made.waitfor(draw(st.sampled_from(["all", "all", "any"]))))
    return jobs


def noop_of_any(*_):
    return None


def expected(jobs):
    """By the definition: how each job ends, were all of them asked for."""
    ends = {}
    for made in jobs:
        if made.conditions:
            ends[made] = State.UP_TO_DATE
            continue
        met = []
        for dep, edge in made.edges.items():
            end = ends[dep]
            met.append({"success": end.is_success, "failure": end is State.FAILED, "any": True}[edge.status])
        runs = not met or (any if made.wait_for == "any" else all)(met)
        fails = made.function is not noop_of_any and made.elements != range(0)
        ends[made] = State.UNREACHABLE if not runs else State.FAILED if fails else State.SUCCEEDED
    return ends


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_any_graph_ends_as_the_definition_says(jobs):
    run = schedule(*jobs, backend="serial", raise_on_failure=False)
    assert run.states == expected(jobs)


def test_after_a_bare_decorator_makes_no_graph():
    a = make("a")
    b = after(a)(make("b"))
    assert schedule(b, backend="serial").ok


def test_where_nothing_runs_no_process_is_started(monkeypatch):
    from weft.jobs import places

    def refuse(*_args, **_options):
        raise AssertionError

    monkeypatch.setattr(places, "local", refuse)
    assert schedule(make("a", done=True), backend="local").ok


def test_a_job_cannot_be_dry_alone():
    with pytest.raises(ChoiceError, match="only a whole schedule can be dry"):
        job(backend="dry")


def test_a_cancelled_run_of_threads_is_left_at_once_and_is_in_use_until_they_end():
    gate, started = threading.Event(), threading.Event()
    made = call(lambda: started.set() or gate.wait(PATIENCE), name="a")
    run = schedule(made, backend="threads", wait=False)
    started.wait(PATIENCE)
    run.cancel()
    assert run.states[made] is State.CANCELLED
    from weft.rundir import RunFolder

    folder = RunFolder(run.path)
    assert folder.is_live()
    gate.set()
    assert eventually(lambda: not folder.is_live())


@pytest.mark.parametrize("backend", ["serial", "threads", "local"])
@pytest.mark.parametrize("status", ["success", "failure", "any"])
def test_what_comes_after_an_array_that_failed_goes_by_that_though_it_has_a_postcondition(backend, status):
    def bad(i):
        raise ValueError("bad")

    array = job(array=2)(bad).ensure(lambda: True)
    after = job(name="after")(lambda: 1).after(array, status=status)
    run = schedule(after, backend=backend, raise_on_failure=False, prune=False)
    assert run.states[array] is State.FAILED
    assert run.states[after] is (State.UNREACHABLE if status == "success" else State.SUCCEEDED)
    with pytest.raises(WorkflowError) as caught:
        run.wait()
    assert [failure.element for failure in caught.value.exceptions] == [0, 1]
