"""The dry backend: nothing runs, and what it says comes true."""

from __future__ import annotations

import threading

import pytest

from jobs.samples import chain, make
from jobs.scripts import run as run_script
from jobs.test_takeover import cut_short
from weft import State, job, schedule
from weft.errors import ArgumentError, ConditionError, CycleError, UnknownValueError
from weft.rundir import all_runs


def call(function, **options):
    return job(**options)(function)


def dry(capsys, *jobs, **options):
    run = schedule(*jobs, backend="dry", **options)
    return run, capsys.readouterr().out.splitlines()


def test_nothing_runs_and_nothing_is_written_down(capsys):
    ran = []
    a = call(lambda: ran.append(1), name="a").ensure(lambda: False)
    run, _ = dry(capsys, a)
    assert (ran, all_runs(), run.path) == ([], [], None)
    assert run.states == {a: State.WANTED}
    with pytest.raises(UnknownValueError):
        run[a]
    assert run.wait() is run


def test_what_nobody_needs_is_counted(capsys):
    load = make("load", done=True).after(make("unneeded"))
    assert dry(capsys, make("last").after(load))[1][0].endswith("1 call; 1 done, 1 not needed")
    never = make("never").after(load, status="failure").after(make("other"))
    assert dry(capsys, never)[1][0].endswith("0 jobs would run, with 0 calls; 1 done, 2 not needed")


def test_the_whole_plan_as_it_is_printed(capsys):
    estimate = job(array=10, cpus=4, memory="4GB", time="10m", name="estimate")(lambda i: i).ensure(lambda i: i < 3)
    merge = make("merge", cpus=2).after(estimate)
    clean = make("clean").after(estimate, status="failure").after(merge).waitfor("any")
    never = make("never").after(make("done", done=True), status="failure")
    _, lines = dry(capsys, merge, clean, never)
    assert lines[0].endswith(": 3 jobs would run, with 9 calls; 1 done")
    assert lines[1:] == [
        "  order  job       calls    asks for             after",
        "  1      estimate  7 of 10  4 cpus, 4 GB, 600 s  -",
        "  2      merge     1        2 cpus               estimate",
        "  2      clean     1        -                    estimate (failure) or merge",
        "  never: 'never' needs the failure of 'done', which is done",
        "peak: 28 cpus, if there are as many",
        "longest path: estimate -> merge (2 jobs)",
        "first problem: none found",
    ]


def test_a_job_that_takes_results_shows_of_which(capsys):
    load = make("load")
    taker = job(name="taker")(lambda *values: values).bind(load, [make("other")]).after(make("setup"))
    _, lines = dry(capsys, taker)
    assert lines[-4].endswith("  setup; result of load, other")


def test_the_longest_path_and_the_peak_of_a_graph(capsys):
    jobs = chain(10)
    wide = [make(f"wide{number}").after(jobs[0]) for number in range(5)]
    _, lines = dry(capsys, jobs[-1], *wide)
    assert "peak: 6 cpus, if there are as many" in lines
    assert "longest path: j0 -> j1 -> j2 -> ... -> j7 -> j8 -> j9 (10 jobs)" in lines
    throttled = job(array=100, array_throttle=3, cpus=2, name="throttled")(lambda i: i)
    assert "peak: 6 cpus, if there are as many" in dry(capsys, throttled)[1]


def test_where_all_is_done_it_says_so(capsys):
    run, lines = dry(capsys, make("a", done=True))
    assert lines[0].endswith("0 jobs would run, with 0 calls; 1 done")
    assert lines[1:] == ["first problem: none found"]
    assert run.ok


def test_a_long_plan_is_cut(capsys):
    _, lines = dry(capsys, *(make(f"j{number}") for number in range(1000)))
    assert "  and 800 more" in lines
    assert len(lines) < 210


PROBLEMS = {
    "function": lambda lock: call(lambda: lock, name="locked"),
    "argument": lambda lock: job(name="locked")(lambda guard: 0).bind(guard=lock),
    "condition": lambda lock: make("locked").ensure(lambda: lock.locked()),
    "resources": lambda lock: make("locked", gpus=99),
    "precondition": lambda lock: make("locked").ensure(lambda: False, when="before"),
    "element": lambda lock: job(array=3, name="locked")(lambda i: i).ensure(lambda i: i != 2, when="before"),
    "error": lambda lock: make("locked").ensure(lambda: 1 / 0, when="before"),
}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("function", "variable 'lock' that it closes over: cannot pickle '_thread.lock' object"),
        ("argument", "argument 'guard': cannot pickle '_thread.lock' object"),
        ("condition", "the postcondition <lambda>"),
        ("resources", "gpus=99 is more than there are here"),
        ("precondition", "the precondition <lambda>"),
        ("element", "of locked[2] does not hold"),
        ("error", "of locked raised ZeroDivisionError"),
    ],
)
def test_the_first_problem_is_found(capsys, what, text):
    _, lines = dry(capsys, make("fine"), PROBLEMS[what](threading.Lock()), make("broken", gpus=98))
    assert lines[-1].startswith("first problem: locked: ")
    assert text in lines[-1]


def test_what_threads_do_not_need_is_no_problem(capsys):
    lock = threading.Lock()
    _, lines = dry(capsys, call(lambda: lock, name="a", backend="threads", gpus=99))
    assert lines[-1] == "first problem: none found"


def test_a_precondition_that_an_earlier_job_may_make_hold_is_no_problem(capsys):
    a = make("a")
    b = make("b").after(a).ensure(lambda: False, when="before")
    assert dry(capsys, b)[1][-1] == "first problem: none found"
    a.ensure(lambda: True)
    assert "first problem: b: the precondition" in dry(capsys, b)[1][-1]


def test_what_is_refused_otherwise_is_refused_here(capsys):
    a, b = make("a"), make("b")
    a.after(b)
    b.after(a)
    with pytest.raises(CycleError):
        schedule(a, backend="dry")
    with pytest.raises(ConditionError):
        schedule(make("c").ensure(lambda: 1 / 0), backend="dry")
    with pytest.raises(ArgumentError, match="no option 'max_workers'; options: none"):
        schedule(make("d"), backend="dry", max_workers=3)


def test_what_would_be_taken_over_counts_as_done(capsys):
    ran = []
    a = make("a")
    b = call(lambda: 1 / 0, name="b").after(a)
    first = cut_short(schedule(b, backend="serial", raise_on_failure=False))
    capsys.readouterr()
    _, lines = dry(capsys, b)
    assert lines[0].endswith("1 job would run, with 1 call; 1 done")
    assert ran == []
    assert (first.path / "events.jsonl").read_bytes().count(b"taken over") == 0
    assert dry(capsys, b, fresh=True)[1][0].endswith("2 jobs would run, with 2 calls; 0 done")


def test_a_dry_environment_wins_over_what_a_script_says(tmp_path):
    body = """
    @job(array=3)
    def touch(i):
        Path("ran").touch()

    schedule(touch, backend="local", wait=True)
    """
    ended = run_script(tmp_path, body, env={"WEFT_BACKEND": "dry"})
    assert ended.stdout.startswith("dry run of script.py: 1 job would run, with 3 calls; 0 done\n")
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert not (tmp_path / "ran").exists()
