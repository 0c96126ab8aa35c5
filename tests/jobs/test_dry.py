"""The dry backend: nothing runs, and what it says comes true."""

from __future__ import annotations

import re
import threading

import pytest

from jobs.samples import chain, make
from jobs.scripts import run as run_script
from jobs.test_takeover import cut_short
from weft import State, job, schedule
from weft.errors import ArgumentError, ConditionError, CycleError, UnknownValueError
from weft.executors import FakeCluster
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


# On a batch system


def pipeline():
    estimate = job(array=10, array_throttle=4, name="estimate")(lambda i: i)
    estimate.ensure(lambda: True, when="before")
    mean = job(name="the mean")(sum).bind(estimate)
    clean = make("clean").after(estimate, status="failure")
    return make("last").after(mean, clean).waitfor("any"), job(array=10, name="each")(noop_of).after(
        estimate, each=True
    )


def noop_of(i):
    return i


def test_what_a_batch_system_would_be_told_is_shown(capsys):
    with FakeCluster() as cluster:
        run = schedule(*pipeline(), backend=cluster, dry=True)
        lines = capsys.readouterr().out.splitlines()
        assert cluster.calls == {"limits": 1}
    assert lines[lines.index("on fake: 6 submissions") :] == [
        "on fake: 6 submissions",
        "  submission         array  dependency",
        "  estimate (before)  -      -",
        "  estimate           0-9%4  afterok:estimate (before)",
        f"  {run._by_name['the mean'].key}  -      afterok:estimate",
        "  clean              -      afternotok:estimate",
        f"  last               -      afterok:{run._by_name['the mean'].key}?afterok:clean",
        "  each               0-9    aftercorr:estimate",
        "first problem: none found",
    ]


def test_large_arrays_are_several_submissions(capsys):
    with FakeCluster(array=4) as cluster:
        array = job(array=10, name="array")(noop_of)
        schedule(make("last").after(array), backend=cluster, dry=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-6:-1] == [
        "  submission  array  dependency",
        "  array       0-3    -",
        "  array       0-3    -",
        "  array       0-1    -",
        "  last        -      afterok:array",
    ]


def test_what_needs_a_driver_is_told(capsys):
    with FakeCluster() as cluster:
        for graph, why in (
            (make("b").after(make("a", backend="threads")), "a runs elsewhere"),
            (make("a", retries={"infrastructure": 1}), "a is to be tried again when it fails of: infrastructure"),
        ):
            schedule(graph, backend=cluster, dry=True)
            said = f"fake cannot do it all, and this process would have to stay: {why}"
            assert capsys.readouterr().out.splitlines()[-2] == said


def test_mistakes_that_a_batch_system_would_find_are_problems(capsys):
    with FakeCluster() as cluster:
        schedule(make("a", settings={"colour": "blue"}), backend=cluster, dry=True)
        assert re.search("first problem: a: .*colour", capsys.readouterr().out)
        with pytest.raises(ArgumentError, match="did you mean 'partition'"):
            schedule(make("a"), backend=cluster, dry=True, partitoin="debug")


def test_without_slurm_here_that_is_the_first_problem(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    schedule(make("b").after(make("a")), backend="slurm", dry=True, partition="debug")
    lines = capsys.readouterr().out.splitlines()
    assert "on slurm: 2 submissions" in lines
    assert lines[-1].startswith("first problem: a: sbatch is not found on this machine")


def test_a_run_that_a_batch_system_has_already_is_told(capsys, tmp_path):
    with FakeCluster() as cluster:
        cluster.partition_down("debug")
        run = schedule(make("a"), backend=cluster)
        schedule(make("a"), backend=cluster, dry=True)
        said = capsys.readouterr().out.splitlines()[-1]
        assert said == f"run {run.name} may go on: what of it is in the queue would not be submitted again"
        run.cancel()


def test_dry_is_for_any_backend(capsys):
    for backend in ("local", "threads", "serial"):
        schedule(make("a"), backend=backend, dry=True)
        assert capsys.readouterr().out.endswith("first problem: none found\n")
    schedule(make("a", gpus=99), backend="threads", dry=True)
    assert capsys.readouterr().out.endswith("first problem: none found\n")
    schedule(make("a", gpus=99), backend="local", dry=True, max_workers=2)
    assert "gpus=99 is more than there are here" in capsys.readouterr().out
    assert all_runs() == []


@pytest.mark.parametrize(
    ("script", "named", "shown"),
    [
        ("", "dry", False),
        ("backend='slurm', partition='debug'", "dry", True),
        ("", "dry:slurm", True),
        ("backend='serial'", "dry:slurm", False),
    ],
)
def test_the_environment_says_dry_and_the_script_where(capsys, monkeypatch, tmp_path, script, named, shown):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("WEFT_BACKEND", named)
    schedule(make("a"), **eval(f"dict({script})"))
    assert ("on slurm: 1 submission\n" in capsys.readouterr().out) is shown


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
