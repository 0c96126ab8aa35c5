"""Runs of jobs on a real Slurm: what they survive, and what is said of what they do not."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from cluster.work import LONG, PIPELINE, asked, call, ended, hog, named
from hand import eventually
from jobs.samples import make
from jobs.scripts import finish, start, write
from weft import Run, State, job, on_terminate, schedule
from weft.errors import JobDied, JobFailed, OutOfMemory, RemoteError, SubmitError, TaskTimeout, TimeLimitReached
from weft.jobs.cluster import concluding

pytestmark = pytest.mark.usefixtures("slurm", "home")


# Deaths


def test_what_a_job_has_died_of_is_told(slurm, tmp_path):
    def die():
        print("famous last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def late():
        on_terminate((tmp_path / "saved").touch)
        time.sleep(LONG)

    died = call(die, name="died")
    left = call(lambda: os._exit(0), name="left")
    limit = call(late, name="limit", time=2)
    run = ended(schedule(make("x").after(died), make("y").after(left), limit, backend="slurm"))
    assert named(run) == {
        **dict.fromkeys(("died", "left", "limit"), State.FAILED),
        **dict.fromkeys("xy", State.UNREACHABLE),
    }
    assert isinstance(causes(run)["died"], JobDied)
    assert "famous last words" in causes(run)["died"].stderr
    assert causes(run)["died"].job_id == run.ids[died]
    assert isinstance(causes(run)["left"], JobDied)
    assert type(causes(run)["limit"]) is TaskTimeout
    assert (tmp_path / "saved").exists()


def causes(run):
    return {failure.job.name: failure.__cause__ for record in run._records for failure in record.failed()}


@pytest.mark.parametrize("by", ["slurm", "slurm_cgroups"])
def test_too_little_memory_is_told_however_it_is_noticed(by, request):
    request.getfixturevalue(by)
    a = call(hog, name="a", memory="100MB")
    run = ended(schedule(make("b").after(a), backend="slurm"))
    assert named(run) == {"a": State.FAILED, "b": State.UNREACHABLE}
    assert isinstance(causes(run)["a"], OutOfMemory)
    assert causes(run)["a"].state == ("FAILED" if by == "slurm" else "OUT_OF_MEMORY")


def test_what_makes_way_for_something_more_urgent_runs_again_or_is_told(slurm, gate):
    def tell():
        gate.wait()
        return os.environ.get("SLURM_RESTART_COUNT", "0")

    again = call(tell, name="again", requeue=None, partition="scavenge", nodelist="n1")
    gone = call(tell, name="gone", partition="scavenge", nodelist="n1")
    run = schedule(again, make("lost").after(gone), backend="slurm")
    gate.arrived(2)
    slurm.preempt(run.ids[gone])
    gate.arrived()  # the second try
    gate.open()
    ended(run)
    assert named(run) == {"again": State.SUCCEEDED, "gone": State.FAILED, "lost": State.UNREACHABLE}
    assert run["again"] == "1"
    assert "it had to make way for a job of higher priority" in str(causes(run)["gone"])


def test_what_cannot_travel_is_told(slurm):
    class Unwilling(Exception):
        def __init__(self):
            self.lock = threading.Lock()

    def unwilling():
        raise Unwilling

    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        schedule(job(name="argument")(lambda x: x).bind(threading.Lock()), backend="slurm")
    assert len(asked(slurm, "sbatch")) == 0
    run = ended(schedule(call(threading.Lock, name="result"), call(unwilling, name="error"), backend="slurm"))
    assert "cannot be sent back" in str(causes(run)["result"])
    assert isinstance(causes(run)["error"], RemoteError)


def test_an_outcome_that_comes_late_is_waited_for_and_a_torn_one_is_none(slurm, tmp_path, monkeypatch):
    def tear():
        (outcomes,) = (tmp_path / ".weft" / "runs").glob("*/outcomes")
        (outcomes / "torn@1.0-0000").write_bytes(b"half of it")
        os._exit(5)

    a, torn = call(lambda: "late", name="a"), call(tear, name="torn")
    listdir, hidden = os.listdir, True
    monkeypatch.setattr(
        os, "listdir", lambda path=".": [] if hidden and Path(path).name == "outcomes" else listdir(path)
    )
    run = schedule(a, torn, backend="slurm")
    assert slurm.comes_to(run.ids[a], "COMPLETED")
    assert eventually(lambda: named(run) == {"a": State.RUNNING, "torn": State.FAILED})
    hidden = False
    assert ended(run)["a"] == "late"
    assert causes(run)["torn"].exitcode == 5


@pytest.mark.parametrize("cluster", ["slurm", "slurm_accounting"])
def test_a_death_that_slurm_has_forgotten_is_told_as_far_as_anybody_knows(cluster, request, monkeypatch):
    slurm = request.getfixturevalue(cluster)
    slurm.configure(MinJobAge=2)
    monkeypatch.setattr(concluding, "GRACE", 2)
    bad = call(lambda: os.kill(os.getpid(), signal.SIGKILL), name="bad")
    cleanup = call(lambda: "clean", name="cleanup").after(bad, status="failure")
    run = schedule(make("never").after(bad), cleanup, backend="slurm")
    ids = [*run.ids.values()]
    assert eventually(lambda: all(slurm.state(number) == "" for number in ids))
    ended(run)
    assert named(run) == {"bad": State.FAILED, "never": State.UNREACHABLE, "cleanup": State.SUCCEEDED}
    if cluster == "slurm":
        assert "it has ended, and nobody knows how" in str(causes(run)["bad"])
    else:
        assert causes(run)["bad"].signal == "SIGKILL"


def test_what_could_not_be_launched_is_shown_as_held_and_nobody_waits_for_it(slurm, weft, gate):
    slurm.fail_launch()
    a, held = make("a", requeue=None), call(gate.wait, name="held", hold=None)
    cleanup = call(lambda: "clean", name="cleanup").after(a, status="failure")
    run = schedule(make("never").after(a), cleanup, held, backend="slurm")
    assert eventually(lambda: f"run {run.name}: held" in weft("status", "-1"))
    assert "will not run by itself; slurm: PENDING (launch failed requeued held)" in weft("status", "-1")
    with pytest.raises(TimeoutError):  # what the user holds is waited for
        run.wait(5)
    assert named(run) == {
        "a": State.FAILED,
        "never": State.UNREACHABLE,
        "cleanup": State.SUCCEEDED,
        "held": State.WANTED,
    }
    assert "it will not run by itself any more (PENDING, launch failed requeued held)" in str(causes(run)["a"])
    slurm.release(run.ids[held])
    gate.open()
    assert named(ended(run))["held"] is State.SUCCEEDED


@pytest.mark.slow  # Slurm looks at time limits now and then
def test_slurms_own_time_limit_and_a_cancel_by_somebody(slurm, gate):
    slow = call(gate.wait, name="slow")
    array = job(name="array", array=2)(lambda i: gate.wait())
    run = schedule(slow, make("after slow").after(slow), array, backend="slurm")
    gate.arrived(3)
    slurm.cancel(f"{run.ids[array]}_1")
    slurm.end_time_in(run.ids[slow], 1)
    # Slurm looks every 30 seconds.
    assert any(eventually(lambda: named(run)["slow"] is State.FAILED) for _ in range(2))
    gate.open()
    ended(run)
    assert named(run) == {"slow": State.FAILED, "after slow": State.UNREACHABLE, "array": State.CANCELLED}
    assert run.elements(array) == {0: State.SUCCEEDED, 1: State.CANCELLED}
    with pytest.raises(JobFailed) as caught:
        run[slow]
    assert isinstance(caught.value.__cause__, TimeLimitReached)


def test_a_node_that_fails_ends_its_job_or_has_it_run_again(slurm, gate, tmp_path):
    def tell():
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        gate.wait()
        return os.environ.get("SLURM_RESTART_COUNT", "0")

    again = call(tell, name="again", requeue=None, nodelist=slurm.nodes[0])
    gone = call(tell, name="gone", settings={"no-requeue": None}, nodelist=slurm.nodes[0])
    run = schedule(job(name="taker")(lambda x: x).bind(again), make("lost").after(gone), backend="slurm")
    gate.arrived(2)
    slurm.set_down(slurm.nodes[0])
    assert eventually(lambda: named(run)["gone"] is State.FAILED)
    slurm.set_up(slurm.nodes[0])
    gate.open()
    ended(run)
    assert named(run) == {
        "again": State.SUCCEEDED,
        "taker": State.SUCCEEDED,
        "gone": State.FAILED,
        "lost": State.UNREACHABLE,
    }
    assert run["taker"] == "1"
    assert "NODE_FAIL" in str(run["gone"] if False else run._record("gone").failed()[0])


# The controller


def test_a_controller_that_is_away_for_a_while_costs_nothing(slurm, gate):
    a = call(lambda: gate.wait() or 1, name="a")
    slurm.configure(MessageTimeout=1)  # its commands give up sooner
    run = schedule(job(name="b")(lambda x: x + 1).bind(a), backend="slurm")
    gate.arrived()
    assert named(run)["a"] is State.RUNNING
    with slurm.controller_stopped():
        gate.open()
        assert eventually(lambda: any((run.path / "outcomes").iterdir()))
        # What is there is known; of the rest nothing is concluded.
        assert named(run) == {"a": State.SUCCEEDED, "b": State.WANTED}
    assert ended(run)["b"] == 2


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_submission_goes_on_when_the_controller_comes_back(slurm, tmp_path, seconds):
    slurm.stop_controller()
    process = start(write(tmp_path, PIPELINE))
    try:
        time.sleep(seconds)  # what is to be seen is that nothing ends in that time
        assert process.poll() is None
    finally:
        slurm.start_controller()
    done = finish(process)
    assert done.returncode == 0, done.stderr
    (tmp_path / "go").touch()
    assert ended(Run.load("-1"))["second"] == 6


def test_parents_that_slurm_has_forgotten_are_known_by_their_outcome(slurm, monkeypatch):
    """An id that is forgotten counts as done, for Slurm."""
    slurm.configure(MinJobAge=2)
    bad, good = call(lambda: 1 / 0, name="bad"), call(lambda: 1, name="good")
    from weft.jobs.cluster import submitting

    make_one = submitting.Submitter._make

    def slowly(self, job, record, sub):
        if record.name == "late":
            for dep in self.made:
                assert eventually(lambda dep=dep: slurm.state(dep.id) == "")
        make_one(self, job, record, sub)

    monkeypatch.setattr(submitting.Submitter, "_make", slowly)
    monkeypatch.setattr("hand.PATIENCE", 60)
    late = make("late").after(good).after(bad, status="failure")
    wrong = make("wrong").after(bad)
    run = ended(schedule(late, wrong, backend="slurm"))
    assert named(run) == {
        "bad": State.FAILED,
        "good": State.SUCCEEDED,
        "late": State.SUCCEEDED,
        "wrong": State.UNREACHABLE,
    }


def test_what_slurm_refuses_takes_back_what_it_has_taken(slurm, gate):
    a = call(gate.wait, name="a")
    with pytest.raises(SubmitError, match=r"(?s)b was not taken by slurm: .*invalid partition.*is cancelled"):
        schedule(a, make("b", partition="nowhere"), backend="slurm")
    assert eventually(lambda: slurm.ask("squeue", "-h") == "")
    with pytest.raises(SubmitError, match="configuration is not available"):
        schedule(make("c", memory="100TB"), backend="slurm")


def test_a_limit_of_the_site_is_waited_for(slurm_accounting, capfd):
    slurm_accounting.limit_submissions(2)
    assert ended(schedule(make("a"), make("b"), make("c"), make("d"), backend="slurm")).ok
    assert "weft: slurm has no room; 2 submissions are made, trying again: AssocMaxSubmitJobLimit" in (
        capfd.readouterr().err
    )
