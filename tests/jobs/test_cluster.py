"""Runs that a batch system runs alone."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from click.testing import CliRunner

from contract.stage import Gate
from hand import PATIENCE, eventually
from jobs.samples import make, noop
from jobs.test_takeover import cut_short
from weft import Retry, Run, State, job, on_terminate, schedule
from weft.cli.group import _weft
from weft.errors import (
    ChoiceError,
    DeadlockError,
    DependencyNeverSatisfied,
    JobDied,
    JobFailed,
    OutOfMemory,
    PostconditionFailed,
    PreconditionFailed,
    RemoteError,
    RunInUse,
    SubmitError,
    TaskError,
    TaskTimeout,
    TimeLimitReached,
    UnknownValueError,
    WorkflowError,
)
from weft.executors import ClusterExecutor, FakeCluster, VirtualClock
from weft.jobs.cluster import concluding, detached
from weft.rundir import all_runs, read_journal, read_outcomes


@pytest.fixture
def cluster():
    with FakeCluster(nodes=2, cpus=8, kill_wait=5, requeue_delay=0.05) as cluster:
        cluster.scripts = []
        submit = cluster.submit

        def keep(order):
            number = submit(order)
            cluster.scripts.append((order, Path(order.script).read_text()))
            return number

        cluster.submit = keep
        yield cluster


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(detached, "FASTEST", 0.05)
    monkeypatch.setattr(detached, "SLOWEST", 0.2)
    monkeypatch.setattr(detached, "LISTING", 0.02)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def weft():
    def weft(*arguments, code=0):
        done = CliRunner().invoke(_weft, [str(argument) for argument in arguments], prog_name="weft")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return weft


def call(function, **options):
    return job(**options)(function)


def named(run):
    return {made if isinstance(made, str) else made.name: state for made, state in run.states.items()}


def submitted(cluster):
    return [order.name.rpartition("-")[0].rpartition("-")[0] for order, _ in cluster.scripts]


# A run


def test_a_graph_is_run_by_the_batch_system_alone(cluster, tmp_path, capfd):
    """Results flow, failures are told, what needs them is never reached, the rest goes on."""
    squares = job(name="squares", array=[1, 2, 3])(lambda i: print("square of", i) or i * i)
    total = job(name="total")(lambda xs, more: sum(xs) + more["of"][0]).bind(squares, more={"of": [0.5]})
    bad = call(lambda: 1 / 0, name="bad")
    never = make("never").after(bad)
    cleanup = call(lambda: "clean", name="cleanup").after(bad, status="failure")
    not_needed = make("not needed").after(never, status="failure")
    run = schedule(total, never, cleanup, not_needed, backend=cluster)
    assert capfd.readouterr().err == (
        f"weft: run {run.name} is in the hands of fake (6 submissions); look at it: weft status {run.name}\n"
    )
    with pytest.raises(WorkflowError) as caught:
        run.wait(PATIENCE)
    (failure,) = caught.value.exceptions
    assert (failure.job, type(failure.__cause__)) == (bad, ZeroDivisionError)
    assert "lambda: 1 / 0" in str(failure.__cause__.__cause__)
    assert named(run) == {
        "squares": State.SUCCEEDED,
        "total": State.SUCCEEDED,
        "bad": State.FAILED,
        "never": State.UNREACHABLE,
        "cleanup": State.SUCCEEDED,
        "not needed": State.UNREACHABLE,
    }
    assert (run[squares], run[total], run[cleanup]) == ([1, 4, 9], 14.5, "clean")
    assert (run.log(squares, 2), run.log_path(squares, 3).name) == ("square of 2\n", "log")
    assert "ZeroDivisionError" in run.log(bad)
    with pytest.raises(DependencyNeverSatisfied, match="'never' needs the success of 'bad', which failed"):
        run[never]
    assert not run.ok
    assert set(run.ids) == {squares, total, bad, never, cleanup, not_needed}
    assert {len(order.after) for order, _ in cluster.scripts if order.name.startswith("not_needed")} == {2}
    assert cluster.calls["submit"] == 6


def test_schedule_returns_at_once_and_waits_when_told_to(cluster, gate):
    first = call(lambda: gate.wait() or 5, name="first")
    run = schedule(first, backend=cluster)
    assert run.states[first] in (State.WANTED, State.RUNNING)
    gate.arrived()
    assert run.states[first] is State.RUNNING
    with pytest.raises(UnknownValueError):
        run[first]
    with pytest.raises(TimeoutError, match="1 of 1 jobs"):
        run.wait(0.05)
    gate.open()
    assert run.wait(PATIENCE)[first] == 5
    assert schedule(call(lambda: 6, name="second"), backend=cluster, wait=True)["second"] == 6
    with pytest.raises(WorkflowError):
        schedule(call(lambda: 1 / 0, name="third"), backend=cluster, wait=True)


def test_another_process_reads_all_of_it(cluster, gate):
    array = job(name="array", array=["a", "b"])(lambda i: gate.wait() if i == "b" else i)
    bad = call(lambda: [].pop(), name="bad")
    never = make("never").after(bad)
    run = schedule(array, never, backend=cluster)
    gate.arrived()
    assert eventually(lambda: Run.load(run.path).states["never"] is State.UNREACHABLE)
    assert eventually(lambda: Run.load(run.path).elements("array")["a"] is State.SUCCEEDED)
    other = Run.load(run.path)
    assert other.ids == {"array": run.ids[array], "bad": run.ids[bad], "never": run.ids[never]}
    assert other.elements("array") == {"a": State.SUCCEEDED, "b": State.RUNNING}
    gate.open()
    with pytest.raises(WorkflowError) as caught:
        other.wait(PATIENCE)
    assert isinstance(caught.value.exceptions[0].__cause__, IndexError)
    last = Run.load(run.path)
    assert named(last) == {"array": State.SUCCEEDED, "bad": State.FAILED, "never": State.UNREACHABLE}
    assert last["array"] == ["a", None]
    with pytest.raises(JobFailed, match="IndexError: pop from empty list"):
        last["bad"]
    assert "needs the success of 'bad'" in last.summary()
    looks = cluster.calls["look"]
    Run.load(run.path).wait(PATIENCE, raise_on_failure=False)
    assert cluster.calls["look"] == looks  # what is over is known without the batch system


def test_events_tell_what_happened_once_whoever_looks(cluster):
    a = call(lambda: 1 / 0, name="a")
    run = schedule(make("b").after(a), job(name="c", array=2)(lambda i: i), backend=cluster)
    others = [Run.load(run.path) for _ in range(3)]
    for each in (*others, run):
        each.wait(PATIENCE, raise_on_failure=False)
    events = list(read_journal(run.path / "events.jsonl"))
    assert [event["run"] for event in events if "run" in event] == ["started", "submitted", "finished"]
    ends = [(event["job"], event.get("i")) for event in events if event.get("state") not in (None, "running")]
    assert sorted(ends, key=str) == [("a", None), ("b", None), ("c", 0), ("c", 1), ("c", None)]
    assert {event["state"] for event in events if event.get("job") == "a"} == {"running", "failed"}


def test_all_is_for_the_user_alone(cluster):
    run = schedule(job(name="a", array=2)(lambda i: print(i)), backend=cluster, wait=True)
    for path in (run.path, *run.path.rglob("*")):
        # What an element has written the batch system writes, by the umask that there is; its folder is the user's.
        if path.name != "log":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# What is asked of the batch system


def test_a_script_says_what_is_asked_for_and_can_be_read(cluster):
    made = job(
        name="fit 0.1",
        array=3,
        array_throttle=2,
        cpus=2,
        memory="1GB",
        time="90s",
        env={"MODE": "it's"},
        setup=["#SBATCH --comment=mine", "export ONE=1"],
        exclusive=None,
    )(lambda i: (os.environ["MODE"], os.environ["ONE"], os.environ["ALL"]))
    run = schedule(made, backend=cluster, setup="export ALL=2", partition="debug", wait=True)
    assert run[made] == [("it's", "1", "2")] * 3
    ((_, text),) = cluster.scripts
    for line in (
        r"#SBATCH --array=0-2%2",
        r"#SBATCH --cpus-per-task=2",
        r"#SBATCH --time=00:02:00",
        r"#SBATCH --partition=debug",
        r"#SBATCH --exclusive$",
        r"#SBATCH --comment=mine",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line
    assert text.index("--comment=mine") < text.index("export ALL=2") < text.index("export ONE=1")
    assert str(Path(sys.executable)) in text


def test_a_script_can_be_submitted_by_hand(cluster, tmp_path):
    """It is a further try, and no harm to what there is."""

    def work():
        with (tmp_path / "runs").open("a") as file:
            return file.write("x")

    run = schedule(call(work, name="a"), backend=cluster, wait=True)
    ((order, _),) = cluster.scripts
    cluster.submit(order)
    assert eventually(lambda: (tmp_path / "runs").read_text() == "xx")
    assert eventually(lambda: len(list((run.path / "outcomes").iterdir())) == 2)
    assert Run.load(run.path)["a"] == 1


def test_an_array_takes_its_function_along_once(cluster):
    ballast = os.urandom(100_000)
    array = job(name="array", array=50)(lambda i: len(ballast) + i)
    other = make("other").after(array)
    run = schedule(other, backend=cluster)
    run.cancel()
    sizes = {path.name: path.stat().st_size for path in (run.path / "tasks" / "array").iterdir()}
    assert 100_000 < sizes["call"] < 120_000
    assert (run.path / "tasks" / "other" / "call").stat().st_size < 5_000  # the job, and not the graph


def test_what_is_done_needs_no_submission(cluster, tmp_path):
    def script():
        a = job(name="a", array=3)(lambda i: (tmp_path / f"a{i}").touch() or i).ensure(
            lambda i: (tmp_path / f"a{i}").exists()
        )
        return job(name="b")(lambda xs: (tmp_path / "b").touch() or xs).bind(a).ensure((tmp_path / "b").exists)

    schedule(script(), backend=cluster, wait=True)
    assert submitted(cluster) == ["a", "b"]
    done = schedule(script(), backend=cluster, wait=True)
    assert done.states == {"b": State.UP_TO_DATE} or set(done.states.values()) <= {State.UP_TO_DATE, State.IDLE}
    for path in ("a1", "b"):
        (tmp_path / path).unlink()
    run = schedule(script(), backend=cluster, wait=True)
    assert submitted(cluster)[2:] == ["a", "b"]
    assert run.elements("a") == {0: State.UP_TO_DATE, 1: State.SUCCEEDED, 2: State.UP_TO_DATE}
    assert run["b"] == [0, 1, 2]


def test_an_empty_array_is_over_when_what_it_comes_after_is(cluster):
    a, bad = make("a"), call(lambda: 1 / 0, name="bad")
    empty = job(name="empty", array=0)(noop2).after(a)
    lost = job(name="lost", array=0)(noop2).after(bad)
    run = schedule(make("b").after(empty), make("c").after(lost, status="any"), make("d").after(lost), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {
        **dict.fromkeys(("a", "empty", "b", "c"), State.SUCCEEDED),
        "bad": State.FAILED,
        **dict.fromkeys(("lost", "d"), State.UNREACHABLE),
    }
    assert run["empty"] == []


def noop2(i):
    return i


def test_element_follows_element_and_only_its_own(cluster):
    a = job(name="a", array=3)(lambda i: 1 / (i - 1))
    b = job(name="b", array=3)(lambda i: i).after(a, each=True)
    alone = [job(name=f"only {i}", array=3)(noop2).after(a, each=True).ensure(lambda j, i=i: j != i) for i in (1, 2)]
    run = schedule(b, *alone, backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert run.elements(a) == {0: State.SUCCEEDED, 1: State.FAILED, 2: State.SUCCEEDED}
    assert run.elements(b) == {0: State.SUCCEEDED, 1: State.UNREACHABLE, 2: State.SUCCEEDED}
    assert [named(run)[name] for name in ("a", "b")] == [State.FAILED, State.UNREACHABLE]
    assert run.elements(alone[0])[1] is State.UNREACHABLE
    assert run.elements(alone[1])[2] is State.FAILED  # it ran, and its postcondition does not hold


def test_an_array_that_is_too_large_is_submitted_in_parts(cluster, tmp_path):
    with FakeCluster(array=2, cpus=8) as small:
        array = job(name="array", array=list("abcde"))(lambda i: print("this is", i) or i * 2)
        run = schedule(job(name="last")(lambda xs: "".join(xs)).bind(array), backend=small, wait=True)
        assert (run["last"], small.calls["submit"]) == ("aabbccddee", 4)
        assert [run.log(array, i) for i in "abcde"] == [f"this is {i}\n" for i in "abcde"]
        assert len(run.ids[array].split(",")) == 3


def test_the_first_of_several_is_enough(cluster, gate):
    slow = call(gate.wait, name="slow")
    quick = call(lambda: 1, name="quick")
    first = make("first").after(slow, quick).waitfor("any")
    run = schedule(first, slow, backend=cluster)
    assert eventually(lambda: run.states[first] is State.SUCCEEDED)
    assert run.states[slow] in (State.WANTED, State.RUNNING)
    gate.open()
    run.wait(PATIENCE)


# Conditions


def test_conditions_are_asked_where_the_job_runs(cluster, tmp_path):
    there = (tmp_path / "there").exists
    wants = call(noop, name="wants").ensure(there, when="before")
    leaves = call(lambda: sys.exit(0), name="leaves").ensure(there)
    exits = call(lambda: sys.exit(3), name="exits")
    good = call(lambda: sys.exit(0), name="good")
    run = schedule(wants, leaves, exits, good, backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    causes = {
        failure.job.name: type(failure.__cause__).__name__ for record in run._records for failure in record.failed()
    }
    assert causes == {"wants": "PreconditionFailed", "leaves": "PostconditionFailed", "exits": "TaskExited"}
    assert (run[good], run.states[good]) == (None, State.SUCCEEDED)


def test_conditions_of_a_whole_array_are_asked_once(cluster, tmp_path):
    asked = tmp_path / "asked"

    def note(word, answer):
        with asked.open("a") as file:
            file.write(word + "\n")
        return answer

    def script(before, after):
        asked.unlink(missing_ok=True)
        array = job(name="array", array=2)(lambda i: note("element", i))
        array.ensure(lambda: note("before", before), when="before")
        array.conditions += tuple(call(noop, name="x").ensure(lambda: note("after", after)).conditions)
        run = schedule(make("last").after(array), backend=cluster, prune=False)
        run.wait(PATIENCE, raise_on_failure=False)
        states = named(run)
        return asked.read_text().split(), states["array"], states["last"], run

    assert script(before=True, after=True)[:3] == (
        ["before", "element", "element", "after"],
        State.SUCCEEDED,
        State.SUCCEEDED,
    )
    words, array, last, run = script(before=False, after=True)
    assert (words, array, last) == (["before"], State.FAILED, State.UNREACHABLE)
    with pytest.raises(JobFailed) as caught:
        run["array"]
    assert isinstance(caught.value.__cause__, PreconditionFailed)
    assert set(run.elements("array").values()) == {State.UNREACHABLE}
    words, array, last, run = script(before=True, after=False)
    assert (words[-1], array, last) == ("after", State.FAILED, State.UNREACHABLE)
    with pytest.raises(JobFailed) as caught:
        Run.load(run.path)["array"]
    assert isinstance(caught.value.__cause__, PostconditionFailed)


# Deaths


def test_a_job_that_dies_is_told_with_how_and_with_its_last_words(cluster):
    def die():
        print("famous last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    a = call(die, name="a")
    b = make("b").after(a)
    c = call(lambda: "there", name="c").after(a, status="failure")
    run = schedule(b, c, backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"a": State.FAILED, "b": State.UNREACHABLE, "c": State.SUCCEEDED}
    for each in (run, Run.load(run.path)):
        with pytest.raises(JobFailed) as caught:
            each["a"]
        died = caught.value.__cause__
        assert isinstance(died, JobDied)
        assert (died.job_id, died.signal) == (run.ids[a], "SIGKILL")
        assert "famous last words" in died.stderr
    assert run.log(a).startswith("famous last words\n")
    assert f"weft: JobDied: a failed in job {run.ids[a]}: it was killed by SIGKILL" in run.log(a)


def test_a_process_that_ends_by_itself_does_not_pass_for_a_good_one(cluster):
    a = call(lambda: os._exit(0), name="a")
    run = schedule(make("b").after(a), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"a": State.FAILED, "b": State.UNREACHABLE}
    assert "weft: JobDied: a failed in job" in run.log(a)


def test_a_time_limit_is_kept_to_the_second(cluster, tmp_path):
    def save():
        on_terminate((tmp_path / "saved").touch)
        time.sleep(PATIENCE)

    run = schedule(call(save, name="a", time=1), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    with pytest.raises(JobFailed) as caught:
        run["a"]
    assert isinstance(caught.value.__cause__, TaskTimeout)
    assert (tmp_path / "saved").exists()


def test_out_of_memory_is_told(cluster, gate):
    run = schedule(call(gate.wait, name="a", memory="100MB"), backend=cluster)
    gate.arrived()
    cluster.out_of_memory(run.ids["a"] if "a" in run.ids else next(iter(run.ids.values())))
    run.wait(PATIENCE, raise_on_failure=False)
    with pytest.raises(JobFailed) as caught:
        run["a"]
    assert isinstance(caught.value.__cause__, OutOfMemory)


def failure(run, name):
    with pytest.raises(JobFailed) as caught:
        run[name]
    return caught.value.__cause__


def test_a_time_limit_that_the_batch_system_keeps_is_told(tmp_path):
    clock = VirtualClock(patience=PATIENCE)
    gate = Gate(tmp_path / "gate")
    with FakeCluster(clock=clock) as cluster:
        run = schedule(call(gate.wait, name="a", time="1m"), backend=cluster)
        gate.arrived()
        clock.advance(60)
        with clock.flying():
            run.wait(raise_on_failure=False)
        assert isinstance(failure(run, "a"), TimeLimitReached)
    gate.close()


def test_a_node_that_fails_ends_its_job_or_has_it_run_again(gate):
    def tell():
        gate.wait()
        return os.environ["WEFT_TRY"]

    with FakeCluster(nodes=2, cpus=2, requeue_delay=0.05) as cluster:
        again, gone = call(tell, name="again", requeue=None), call(tell, name="gone")
        run = schedule(job(name="taker")(lambda x: x).bind(again), make("lost").after(gone), backend=cluster)
        gate.arrived(2)
        assert cluster.node_of(run.ids[again]) == cluster.node_of(run.ids[gone])
        cluster.node_down(cluster.node_of(run.ids[gone]))
        gate.arrived()
        gate.open()
        run.wait(PATIENCE, raise_on_failure=False)
        assert named(run) == {
            "again": State.SUCCEEDED,
            "taker": State.SUCCEEDED,
            "gone": State.FAILED,
            "lost": State.UNREACHABLE,
        }
        assert run["taker"] == "1"
        assert failure(run, "gone").state == "NODE_FAIL"


def test_what_makes_way_for_something_more_urgent_runs_again_or_is_told(cluster, gate):
    def tell():
        gate.wait()
        return os.environ["WEFT_TRY"]

    again, gone = call(tell, name="again", requeue=None), call(tell, name="gone")
    run = schedule(again, gone, backend=cluster)
    gate.arrived(2)
    for made in (again, gone):
        cluster.preempt(run.ids[made])
    gate.arrived()
    gate.open()
    run.wait(PATIENCE, raise_on_failure=False)
    assert run["again"] == "1"
    assert "make way for a job of higher priority (PREEMPTED)" in str(failure(run, "gone"))


def test_a_launch_that_fails_for_good_is_no_cancel_by_anybody(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "plain"))  # where Slurm can write to the log: it says why there
    cluster.fail_launch()
    run = schedule(make("a"), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"a": State.FAILED}
    assert "as its node failed to make ready for it" in str(failure(run, "a"))


# Held for ever


def test_what_will_never_run_by_itself_is_told_and_left_to_whoever_may_release_it(cluster, weft):
    cluster.fail_launch()
    a = make("a", requeue=None)
    run = schedule(make("b").after(a), backend=cluster)
    assert eventually(lambda: "held" in weft("status"))
    said = weft("status", "-1")
    assert f"run {run.name}: held" in said
    assert f"held, and will not run by itself: {run.ids[a]}; release it there, or cancel the run" in said
    assert "    will not run by itself; fake: PENDING (launch failed requeued held)\n" in said
    assert named(run) == dict.fromkeys("ab", State.WANTED)
    cluster.release(run.ids[a])
    assert run.wait(PATIENCE).ok


def test_nobody_waits_for_what_will_never_run_by_itself(cluster, weft, gate):
    cluster.fail_launch()
    a, other = make("a", requeue=None), call(gate.wait, name="other")
    cleanup = call(lambda: "clean", name="cleanup").after(a, status="failure")
    run = schedule(make("never").after(a), cleanup, other, backend=cluster)
    gate.arrived()
    gate.open()
    with pytest.raises(WorkflowError) as caught:
        run.wait(PATIENCE)
    (died,) = caught.value.exceptions
    assert isinstance(died.__cause__, JobDied)
    assert "it will not run by itself any more (PENDING, launch failed requeued held)" in str(died.__cause__)
    assert (died.__cause__.state, died.__cause__.reason) == ("PENDING", "launch failed requeued held")
    good = State.SUCCEEDED
    assert named(run) == {"a": State.FAILED, "never": State.UNREACHABLE, "cleanup": good, "other": good}
    assert named(Run.load(run.path)) == named(run)
    assert eventually(lambda: cluster.look(list(run.ids.values())) == [])
    assert "finished" in weft("status")


def test_of_an_array_only_the_elements_that_will_never_run_are_given_up(cluster, gate):
    array = job(name="array", array=3, requeue=None)(lambda i: i)
    cluster.fail_launch(2)
    run = schedule(array, backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert list(run.elements(array).values()) == [State.FAILED, State.FAILED, State.SUCCEEDED]
    again = schedule(job(name="array", array=3, requeue=None)(lambda i: i), backend=cluster, wait=True)
    assert again.ok


def test_conditions_of_an_array_that_are_held_are_given_up_as_well(cluster):
    cluster.fail_launch()
    array = job(name="array", array=2, requeue=None)(lambda i: i).ensure(lambda: True, when="before")
    run = schedule(make("last").after(array), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"array": State.FAILED, "last": State.UNREACHABLE}
    assert set(run.elements(array).values()) == {State.UNREACHABLE}
    assert "launch failed requeued held" in str(failure(run, "array"))


def test_who_waits_was_killed_before_what_it_gave_up_had_left_the_queue(cluster):
    """It had written down why; whoever looks next concludes the same."""
    cluster.fail_launch()
    a = make("a", requeue=None)
    run = schedule(a, backend=cluster)
    assert eventually(lambda: run._source.survey.held or run._source.refresh())
    cluster.busy("cancel")
    run._source.survey.give_up_held()
    assert named(run) == {"a": State.WANTED}
    cluster.cancel_by_other(run.ids[a])
    assert eventually(lambda: named(Run.load(run.path)) == {"a": State.FAILED})
    assert "launch failed requeued held" in str(failure(run, "a"))


def test_what_its_user_holds_is_waited_for(cluster, gate):
    with FakeCluster(nodes=1, cpus=1) as cluster:
        first, second = call(gate.wait, name="first"), make("second")
        run = schedule(first, second, backend=cluster)
        gate.arrived()
        cluster.hold(run.ids[second])
        gate.open()
        with pytest.raises(TimeoutError):
            run.wait(0.5)
        assert cluster.calls["cancel"] == 0
        cluster.release(run.ids[second])
        assert run.wait(PATIENCE).ok


def test_what_somebody_cancels_is_cancelled(cluster, gate):
    array = job(name="array", array=3)(lambda i: gate.wait() if i == 1 else i)
    last = make("last").after(array)
    run = schedule(last, backend=cluster)
    gate.arrived()
    cluster.cancel_by_other(run.ids[array], 1)
    run.wait(PATIENCE)
    assert run.elements(array) == {0: State.SUCCEEDED, 1: State.CANCELLED, 2: State.SUCCEEDED}
    assert named(run) == {"array": State.CANCELLED, "last": State.UNREACHABLE}
    with pytest.raises(CancelledError):
        run[array]


def test_a_later_try_counts_whatever_a_ghost_writes_afterwards(cluster, tmp_path, gate):
    """The first try goes on on a node that does not answer, and ends after the second one."""
    tries, ghost = tmp_path / "tries", Gate(tmp_path / "ghost")

    def work():
        with tries.open("a") as file:
            file.write("x")
        if tries.stat().st_size == 1:
            ghost.wait()
            return "ghost"
        gate.wait()
        return "second"

    with FakeCluster(nodes=2, node_timeout=0.05, requeue_delay=0.05) as cluster:
        a = call(work, name="a", requeue=None)
        run = schedule(job(name="b")(lambda x: x).bind(a), backend=cluster)
        ghost.arrived()
        cluster.node_down(cluster.node_of(run.ids[a]), ghosts=True)
        gate.arrived()
        assert run.states[a] is State.RUNNING
        ghost.open()
        assert eventually(lambda: len(list((run.path / "outcomes").iterdir())) == 1)
        assert run.states[a] is State.RUNNING
        gate.open()
        assert run.wait(PATIENCE)["b"] == "second"
        assert run[a] == "second"
    ghost.close()


def test_an_outcome_that_comes_late_is_waited_for(cluster, gate, monkeypatch):
    a = call(lambda: gate.wait() or "late", name="a")
    run = schedule(a, backend=cluster)
    gate.arrived()
    outcomes, hidden = run.path / "outcomes", run.path / "hidden"
    listdir = os.listdir
    monkeypatch.setattr(
        os, "listdir", lambda path=".": [] if Path(path) == outcomes and not hidden.exists() else listdir(path)
    )
    gate.open()
    cluster.wait_for(run.ids[a], "COMPLETED")
    assert run.states[a] is State.RUNNING
    assert Run.load(run.path).states["a"] is State.RUNNING
    hidden.touch()
    assert run.wait(PATIENCE)[a] == "late"


def test_an_outcome_that_never_comes_is_a_death_after_a_while(cluster, monkeypatch):
    monkeypatch.setattr(concluding, "GRACE", 0.3)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": [] if Path(path).name == "outcomes" else listdir(path))
    run = schedule(make("a"), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"a": State.FAILED}


def test_an_outcome_that_is_torn_by_a_full_disk_is_a_death_that_is_told_at_once(cluster, base):
    def tear():
        (run,) = (base / "runs").iterdir()
        (run / "outcomes" / "a@0.0-0000").write_bytes(b"half of it")
        os._exit(5)

    run = schedule(call(tear, name="a"), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert failure(run, "a").exitcode == 5


def test_what_the_batch_system_has_forgotten_is_known_by_its_outcome(cluster, monkeypatch):
    a, b = make("a"), call(lambda: os.kill(os.getpid(), signal.SIGKILL), name="b")
    never = make("never").after(b)
    run = schedule(a, never, backend=cluster)
    for made in (a, never):
        cluster.wait_for(run.ids[made], "COMPLETED", "CANCELLED")
    for number in run.ids.values():
        cluster.forget(number, records=True)
    monkeypatch.setattr(concluding, "GRACE", 0.1)
    run.wait(PATIENCE, raise_on_failure=False)
    assert named(run) == {"a": State.SUCCEEDED, "b": State.FAILED, "never": State.UNREACHABLE}
    with pytest.raises(JobFailed, match="nobody knows how"):
        run[b]


def test_elements_that_were_never_to_run_have_not_died_though_nobody_knows_of_them(cluster, monkeypatch):
    array = job(name="array", array=2)(lambda i: i).ensure(lambda: False, when="before")
    run = schedule(array, backend=cluster, prune=False)
    before, elements = (str(sub.id) for sub in run._source.survey.standing.register.all)
    cluster.wait_for(before, "FAILED")
    cluster.wait_for(elements, "CANCELLED")
    for number in (before, elements):
        cluster.forget(number, records=True)
    monkeypatch.setattr(concluding, "GRACE", 0.0)
    run.wait(PATIENCE, raise_on_failure=False)
    assert set(run.elements(array).values()) == {State.UNREACHABLE}


def test_while_nobody_answers_nothing_is_concluded(cluster, gate):
    a = call(gate.wait, name="a")
    run = schedule(a, backend=cluster)
    gate.arrived()
    assert run.states[a] is State.RUNNING
    cluster.busy("look", times=2)
    assert [run.states[a], run.states[a]] == [State.RUNNING] * 2
    gate.open()
    cluster.busy("look", "inquire", times=3)
    run.wait(PATIENCE)
    assert named(run) == {"a": State.SUCCEEDED}


def test_results_and_arguments_that_cannot_travel_are_told(cluster):
    result = call(threading.Lock, name="result")
    run = schedule(result, backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    with pytest.raises(JobFailed) as caught:
        run[result]
    assert isinstance(caught.value.__cause__, TaskError)
    assert "the result of" in str(caught.value.__cause__)
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        schedule(job(name="argument")(lambda x: x).bind(threading.Lock()), backend=cluster)
    assert cluster.calls["submit"] == 1


class Unwilling(Exception):
    """Cannot be pickled: it has a file with it."""

    def __init__(self, text):
        super().__init__(text)
        self.file = open(os.devnull)  # noqa: SIM115


def unwilling():
    raise Unwilling("with a file")


def test_an_exception_that_cannot_travel_is_told(cluster):
    run = schedule(call(unwilling, name="a"), backend=cluster)
    run.wait(PATIENCE, raise_on_failure=False)
    assert isinstance(failure(run, "a"), RemoteError)
    assert failure(run, "a").text == "with a file"


# Submitting


def test_a_submission_that_is_refused_takes_back_what_was_submitted_before_it(cluster, gate, weft):
    a, b = call(gate.wait, name="a"), make("b")
    cluster.on_call = lambda question: (
        cluster.refuse("sbatch: error: invalid partition")
        if question == "submit" and cluster.calls["submit"] == 1
        else None
    )
    with pytest.raises(SubmitError, match=r"b was not taken by fake: sbatch: error: invalid partition") as caught:
        schedule(a, b, backend=cluster)
    assert "; what was submitted before it is cancelled" in str(caught.value)
    assert caught.value.said == "sbatch: error: invalid partition"
    cluster.wait_for("1", "CANCELLED")
    assert "cancelled" in weft("status")
    cluster.on_call = None
    run = schedule(b, a, backend=cluster)
    assert len(all_runs()) == 2
    run.cancel()


def test_while_there_is_no_room_it_goes_on_trying(cluster, capfd):
    cluster.most = 1
    run = schedule(make("a"), make("b").after(make("x")), backend=cluster)
    assert run.wait(PATIENCE).ok
    assert "fake has no room; 1 submissions are made, trying again" in capfd.readouterr().err


def test_the_controller_may_be_away_for_half_a_minute_while_it_is_submitted(capfd):
    clock = VirtualClock(patience=PATIENCE)
    with FakeCluster(clock=clock) as cluster:
        cluster.stop_controller(30)
        cluster.on_call = lambda question: (
            cluster.stop_controller(30) if (question, cluster.calls["submit"]) == ("submit", 1) else None
        )
        with clock.flying():
            run = schedule(make("b").after(make("a")), backend=cluster, wait=True)
        assert run.ok
        assert clock.now() >= 60
        assert len(cluster.states("1")) == len(cluster.states("2")) == 1
    said = capfd.readouterr().err
    assert "weft: fake does not answer; nothing is submitted so far, trying again: " in said
    assert "weft: fake does not answer; 1 submissions are made, trying again: " in said


def test_a_controller_that_stays_away_is_no_reason_to_wait_for_ever():
    clock = VirtualClock(patience=PATIENCE)
    with FakeCluster(clock=clock) as cluster:
        cluster.stop_controller()
        with clock.flying(), pytest.raises(SubmitError, match=r"fake does not answer: .*; nothing was submitted"):
            schedule(make("a"), backend=cluster)
        assert 300 <= clock.now() < 400
    assert all_runs() == []


def test_ten_thousand_elements_are_one_submission(weft):
    with FakeCluster(array=10_000) as cluster:
        cluster.partition_down("debug")
        run = schedule(make("last").after(job(name="array", array=10_000)(noop2)), backend=cluster)
        assert cluster.calls["submit"] == 2
        before = cluster.calls["look"]
        assert named(run) == dict.fromkeys(("array", "last"), State.WANTED)
        assert cluster.calls["look"] == before + 1
        assert "0/10000" in weft("status", "-1")
        run.cancel()
        assert cluster.calls["cancel"] == 1
        assert cluster.look(list(run.ids.values())) == []


@pytest.mark.parametrize("taken", [True, False])
def test_a_submission_whose_answer_is_lost_is_made_once(cluster, taken):
    cluster.lose_answer(taken=taken)
    run = schedule(make("b").after(make("a")), backend=cluster, wait=True)
    assert run.ok
    assert cluster.calls["submit"] == (2 if taken else 3)
    assert cluster.calls["find"] == 1


def test_a_missing_command_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChoiceError, match="sbatch"):
        schedule(make("a"), backend="slurm")
    monkeypatch.setenv("WEFT_BACKEND", "slurm")
    with pytest.raises(ChoiceError, match="sbatch"):
        schedule(make("a"))
    assert all_runs() == []


def test_options_are_read_before_anything_starts(cluster):
    with pytest.raises(TypeError, match="has no option 'partitoin'; did you mean 'partition'"):
        schedule(make("a"), backend=cluster, partitoin="debug")
    with pytest.raises(ChoiceError, match=r"a: .*colour"):
        schedule(make("a", settings={"colour": "blue"}), backend=cluster)
    assert cluster.calls["submit"] == 0


def test_a_ctrl_c_while_it_is_submitted_takes_all_back(cluster, gate):
    submit = cluster.submit

    def interrupted(order):
        number = submit(order)
        if order.name.startswith("b-"):
            raise KeyboardInterrupt
        return number

    cluster.submit = interrupted
    with pytest.raises(KeyboardInterrupt):
        schedule(call(gate.wait, name="a"), make("b"), make("c"), backend=cluster)
    cluster.wait_for("1", "CANCELLED")
    cluster.wait_for("2", "CANCELLED", "COMPLETED")  # nobody had heard its id
    assert cluster.calls["submit"] == 2
    assert set(named(Run.load("-1")).values()) <= {State.CANCELLED, State.SUCCEEDED}


def test_a_ctrl_c_while_it_is_waited_for_leaves_it_alone(cluster, gate, capfd, monkeypatch):
    run = schedule(call(lambda: gate.wait() or 1, name="a"), backend=cluster)
    with monkeypatch.context() as patch:
        patch.setattr(detached.Detached, "_pause", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.wait()
    assert f"weft: run {run.name} goes on; to stop it: weft cancel {run.name}\n" in capfd.readouterr().err
    gate.open()
    assert run.wait(PATIENCE)["a"] == 1


# Going on


def test_a_run_that_was_cut_short_here_is_gone_on_with_there(cluster, tmp_path):
    def script(number):
        def note(name, result):
            with (tmp_path / "runs").open("a") as file:
                file.write(name)
            return result

        a = call(lambda: note("a", 1), name="a")
        bad = call(lambda: note("b", 1 // int((tmp_path / "good").exists())), name="b")
        return job(name="c")(lambda x, y: note("c", x + y)).bind(a, bad)

    first = cut_short(schedule(script(1), backend="serial", raise_on_failure=False))
    (tmp_path / "good").touch()
    second = schedule(script(2), backend=cluster, wait=True)
    assert (second.path, second["c"]) == (first.path, 2)
    assert (tmp_path / "runs").read_text() == "abc"
    assert submitted(cluster) == ["b", "c"]
    assert named(Run.load(first.path)) == dict.fromkeys("abc", State.SUCCEEDED)


def test_what_has_ended_unnoticed_is_found_out_by_whoever_comes(cluster, weft):
    run = schedule(make("a"), backend=cluster)
    cluster.wait_for("1", "COMPLETED")
    assert "0/1" not in weft("status")
    again = schedule(make("a"), backend=cluster, wait=True)
    assert again.path != run.path
    assert named(run) == {"a": State.SUCCEEDED}


def test_clean_goes_by_when_a_run_ended_and_not_by_when_that_was_noticed(cluster, weft):
    run = schedule(make("a"), backend=cluster)
    cluster.wait_for("1", "COMPLETED")
    long_ago = time.time() - 10 * 86400
    for path in (run.path / "events.jsonl", run.path / "run.json"):
        os.utime(path, (long_ago, long_ago))
    assert "no runs that are over" in weft("clean", "--older", "5d", "--commit")
    assert "1 run deleted" in weft("clean", "--older", "0", "--commit")


def test_a_script_that_is_run_again_while_its_run_goes_on_submits_nothing_twice(cluster, gate, capfd):
    def script():
        a = call(lambda: gate.wait() or 5, name="a")
        return job(name="b")(lambda x: x + 1).bind(a)

    first = schedule(script(), backend=cluster)
    gate.arrived()
    capfd.readouterr()
    second = schedule(script(), backend=cluster)
    told = capfd.readouterr().err
    assert f"weft: run {first.name} goes on: 2 of 2 jobs are under way, 0 are done\n" in told
    assert "(nothing is missing)" in told
    assert (second.path, cluster.calls["submit"]) == (first.path, 2)
    gate.open()
    assert (second.wait(PATIENCE)["b"], first.wait(PATIENCE)["b"]) == (6, 6)
    third = schedule(script(), backend=cluster, wait=False)
    assert third.path != first.path
    third.cancel()


def test_what_has_failed_meanwhile_is_submitted_anew_and_what_waits_for_it_too(cluster, gate, tmp_path):
    runs = tmp_path / "runs"

    def flaky():
        with runs.open("a") as file:
            file.write("x")
        if runs.stat().st_size == 1:
            raise OSError("not yet")
        return "now"

    def script():
        a = call(flaky, name="a")
        slow = call(lambda: gate.wait() or "slow", name="slow")
        return job(name="both")(lambda x, y: (x, y)).bind(a, slow)

    first = schedule(script(), backend=cluster)
    gate.arrived()
    assert eventually(lambda: named(first)["a"] is State.FAILED and named(first)["both"] is State.UNREACHABLE)
    second = schedule(script(), backend=cluster)
    assert second.path == first.path
    assert submitted(cluster) == ["a", "slow", "both", "a", "both"]
    gate.open()
    assert second.wait(PATIENCE)["both"] == ("now", "slow")
    assert named(Run.load(first.path)) == dict.fromkeys(("a", "slow", "both"), State.SUCCEEDED)
    assert named(first.wait(PATIENCE)) == dict.fromkeys(("a", "slow", "both"), State.SUCCEEDED)
    assert len(all_runs()) == 1


def test_what_was_cancelled_of_an_array_is_submitted_anew_alone(cluster, gate):
    def script():
        array = job(name="array", array=4)(lambda i: gate.wait() or i)
        return job(name="last")(lambda xs: xs).bind(array)

    first = schedule(script(), backend=cluster)
    gate.arrived(4)
    cluster.cancel_by_other(first.ids[next(iter(first))], 2)
    assert eventually(lambda: State.CANCELLED in first.elements("array").values())
    second = schedule(script(), backend=cluster)
    assert [list(order.places) for order, _ in cluster.scripts] == [[0, 1, 2, 3], [0], [2], [0]]
    gate.open()
    assert second.wait(PATIENCE)["last"] == [0, 1, 2, 3]


def test_what_still_waits_of_a_broken_array_goes_with_what_is_submitted_anew(gate, tmp_path):
    """The array cannot succeed as a whole any more: what comes after it waits for its parts."""

    def script():
        array = job(name="array", array=5)(lambda i: gate.wait() or i)
        return job(name="last")(lambda xs: xs).bind(array)

    with FakeCluster(nodes=1, cpus=3) as cluster:
        first = schedule(script(), backend=cluster)
        gate.arrived(3)
        cluster.cancel_by_other(first.ids[next(iter(first))], 1)
        cluster.wait_for("1", "CANCELLED", place=1)
        gate.arrived(1)  # 3 begins, and 4 still waits
        assert eventually(lambda: list(first.elements("array").values())[1] is State.CANCELLED)
        assert first.elements("array")[4] is State.WANTED
        second = schedule(script(), backend=cluster)
        cluster.wait_for("1", "CANCELLED", place=4)
        assert second.elements("array")[4] is State.WANTED
        gate.open()
        assert second.wait(PATIENCE)["last"] == [0, 1, 2, 3, 4]
        assert set(second.elements("array").values()) == {State.SUCCEEDED}
        ((_, places),) = [
            (sub, list(sub.places)) for sub in second._source.survey.standing.register.all[2:] if sub.role == "call"
        ][:1]
        assert places == [1, 4]


def test_postconditions_that_hold_too_early_do_not_let_others_go_first(cluster, gate, tmp_path):
    """Half of a file is there, and its job still writes."""

    def write():
        (tmp_path / "file").write_text("half")
        gate.wait()
        (tmp_path / "file").write_text("whole")

    def script():
        a = call(write, name="a").ensure((tmp_path / "file").exists)
        return call((tmp_path / "file").read_text, name="b").after(a)

    schedule(script(), backend=cluster)
    gate.arrived()
    second = schedule(script(), backend=cluster)
    gate.open()
    assert second.wait(PATIENCE)["b"] == "whole"
    assert cluster.calls["submit"] == 2


def test_a_submitter_that_was_killed_half_way_is_gone_on_with(cluster, gate, weft):
    """It had submitted one job, was about to hear the id of the next, and had not come to the last."""

    class Killed(BaseException):
        pass

    def script():
        a = call(lambda: gate.wait() or 1, name="a")
        b = job(name="b")(lambda x: x + 1).bind(a)
        return job(name="c")(lambda x: x + 1).bind(b)

    from weft.jobs.cluster import submitting

    def killed(self, error):
        self._folder.unlock()

    submit = cluster.submit

    def die(order):
        number = submit(order)
        if order.name.startswith("b-"):
            raise Killed
        return number

    cluster.submit = die
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitting.Submitter, "_take_back", killed)
        with pytest.raises(Killed):
            schedule(script(), backend=cluster)
    cluster.submit = submit
    (folder,) = all_runs()
    assert eventually(lambda: "cut short" in weft("status"))  # a process may be on its way that was forked meanwhile
    assert "not all of it was submitted; run its script again" in weft("status", "-1")
    run = schedule(script(), backend=cluster)
    assert run.path == folder.path
    assert cluster.calls["submit"] == 3
    gate.open()
    assert run.wait(PATIENCE)["c"] == 3


def test_who_waits_for_what_was_never_submitted_is_told(cluster):
    from weft.jobs.cluster import submitting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitting.Submitter, "_submit", lambda self, part: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(submitting.Submitter, "_take_back", lambda self, error: None)
        with pytest.raises(KeyboardInterrupt):
            schedule(make("a"), backend=cluster)
    with pytest.raises(DeadlockError, match="a was not submitted; run its script again"):
        Run.load("-1").wait(PATIENCE)


def test_another_place_is_refused_while_the_run_goes_on_and_fresh_tells_of_it(cluster, gate, capfd):
    def script():
        return call(gate.wait, name="a")

    run = schedule(script(), backend=cluster)
    gate.arrived()
    with pytest.raises(RunInUse, match=f"run {run.name} goes on: it is in the hands of fake"):
        schedule(script(), backend="serial")
    capfd.readouterr()
    fresh = schedule(script(), backend=cluster, fresh=True)
    assert f"weft: run {run.name} goes on beside this one" in capfd.readouterr().err
    assert fresh.path != run.path
    for each in (run, fresh):
        each.cancel()


# Cancelling


def test_a_run_is_cancelled_with_all_that_it_has_in_the_queue(cluster, gate, weft):
    done = call(lambda: 1, name="done")
    array = job(name="array", array=3)(lambda i: gate.wait()).after(done)
    last = make("last").after(array)
    run = schedule(last, backend=cluster)
    gate.arrived(3)
    run.cancel()
    assert named(run) == {"done": State.SUCCEEDED, "array": State.CANCELLED, "last": State.CANCELLED}
    assert set(run.elements(array).values()) == {State.CANCELLED}
    assert cluster.look(list(run.ids.values())) == []
    assert "cancelled" in weft("status")
    assert "nothing to cancel" in weft("cancel", run.name)
    assert named(Run.load(run.path)) == named(run)
    run.wait(PATIENCE)
    run.cancel()


def test_a_run_of_another_process_is_cancelled(cluster, gate, weft):
    run = schedule(call(gate.wait, name="a"), backend=cluster)
    gate.arrived()
    assert weft("cancel", "-1") == f"run {run.name} cancelled\n"
    assert named(run.wait(PATIENCE)) == {"a": State.CANCELLED}


# The command


def test_status_says_where_each_job_is_and_why_it_waits(cluster, gate, weft):
    a = job(name="a", array=2)(lambda i: gate.wait())
    held = make("held")
    cluster.on_call = lambda question: None
    run = schedule(make("b").after(a), held, backend=cluster)
    gate.arrived(2)
    said = weft("status", "-1")
    assert f"run {run.name}: running" in said
    assert f"in the hands of fake; to stop it: weft cancel {run.name}" in said
    assert re.search(rf"a +running +0/2 +[\d.]+s +{run.ids[a]}\n(?!    )", said)
    assert "(Dependency)" in said
    assert re.search(r"run +state +jobs", weft("status"))
    gate.open()
    run.wait(PATIENCE)
    assert "finished" in weft("status", "-1")


def test_a_log_is_followed_while_the_job_runs(cluster, gate, weft, monkeypatch):
    from weft.cli import logs

    monkeypatch.setattr(logs, "ASK", 0.05)
    monkeypatch.setattr(logs, "STEP", 0.01)
    run = schedule(call(lambda: print("begun", flush=True) or gate.wait() or print("done"), name="a"), backend=cluster)
    gate.arrived()
    assert weft("logs", "-1", "a") == "begun\n"
    gate.open()
    assert weft("logs", "-1", "a", "--follow") == "begun\ndone\n"
    assert run.wait(PATIENCE).ok


def test_clean_never_deletes_what_is_in_the_queue(cluster, gate, weft):
    run = schedule(call(gate.wait, name="a"), backend=cluster)
    gate.arrived()
    assert "no runs that are over" in weft("clean", "--older", "0", "--commit")
    gate.open()
    run.wait(PATIENCE)
    assert "1 run deleted" in weft("clean", "--older", "0", "--commit")


# With a driver


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda: make("b").after(make("a", backend="threads")), "a runs elsewhere"),
        (lambda: make("b", retries=2), r"b is to be tried again whatever it fails of \(retries=2\)"),
        (lambda: make("b", retries={"memory": Retry(1, memory=2)}), "b is to be tried again when it fails of: memory"),
        (lambda: make("b", retries={"infrastructure": 2, "user": 1}), "b .* when it fails of: infrastructure"),
        (
            lambda: job(name="c")(lambda x: x).bind(make("x")).after(make("a"), make("b")).waitfor("any"),
            "c waits for one of several jobs",
        ),
    ],
)
def test_what_the_batch_system_cannot_do_alone_is_driven_from_here(cluster, graph, why, capfd):
    run = schedule(graph(), backend=cluster, poll_interval=0.05)
    assert re.search(
        f"weft: this process has to stay until the run is over, as fake cannot do it all: {why}", capfd.readouterr().err
    )
    assert run.ok
    assert set(run.states.values()) == {State.SUCCEEDED}
    assert run.ids == {}
    assert cluster.calls["submit"] >= 1


def test_more_memory_is_asked_for_by_the_next_try(cluster, tmp_path):
    def work():
        first = not (tmp_path / "was").exists()
        (tmp_path / "was").touch()
        if first:
            raise MemoryError
        return "enough"

    made = call(work, name="a", memory="100MB", retries={"memory": Retry(1, memory=2)})
    assert schedule(made, backend=cluster, poll_interval=0.05)[made] == "enough"
    assert [re.search(r"--mem=(\S+)", text)[1] for _, text in cluster.scripts] == ["100M", "200M"]


def test_a_node_that_fails_is_a_reason_to_try_again_for_a_driver(cluster, gate):
    def down():
        gate.arrived()
        cluster.node_down(cluster.node_of("1"))
        gate.arrived()
        gate.open()

    made = call(lambda: gate.wait() or "second", name="a", retries={"infrastructure": 1})
    breaker = threading.Thread(target=down)
    breaker.start()
    assert schedule(made, backend=cluster, poll_interval=0.05)[made] == "second"
    breaker.join()
    assert cluster.calls["submit"] == 2


def test_an_exception_of_the_function_is_tried_again_where_it_was_raised(cluster, tmp_path):
    def work():
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        if (tmp_path / "tries").stat().st_size < 3:
            raise OSError("not yet")
        return "now"

    made = call(work, name="a", retries={"user": 2})
    assert schedule(made, backend=cluster, wait=True)[made] == "now"
    assert cluster.calls["submit"] == 1


def test_an_executor_on_the_cluster_is_a_place_as_well(cluster):
    with ClusterExecutor(cluster, cpus=1, poll_interval=0.05) as executor:
        array = job(name="array", array=3, cpus=2)(lambda i: i * i)
        assert schedule(job(name="sum")(sum).bind(array), backend=executor)["sum"] == 5
    assert "--cpus-per-task=2" in cluster.scripts[0][1]


def test_a_job_says_itself_that_it_is_for_the_batch_system(cluster):
    a = make("a", backend=cluster)
    run = schedule(make("b", backend=cluster).after(a), wait=True)
    assert (run.ok, cluster.calls["submit"], len(run.ids)) == (True, 2, 2)


def test_records_of_all_tries_are_kept_and_the_last_one_counts(tmp_path):
    from weft.payload import pack
    from weft.rundir import Attempt, Recorder

    (tmp_path / "tasks").mkdir()
    for attempt in (Attempt(3, 1), Attempt(3, 0), Attempt(0, 5)):  # as they come
        for value in ("small", "large" * 100_000):
            recorder = Recorder(tmp_path, "a.4" if value == "small" else "b.0", attempt)
            payload = pack((value[:5], attempt))
            key, place = ("a", 4) if value == "small" else ("b", 0)
            recorder.record(key, place, ok=True, payload=payload if value == "small" else payload + b"." * 70_000)
            recorder.close()
    outcomes = read_outcomes(tmp_path)
    assert {where: outcome.attempt for where, outcome in outcomes.items()} == dict.fromkeys(
        (("a", 4), ("b", 0)), (3, 1)
    )
    assert outcomes["b", 0].read().startswith(pack(("large", Attempt(3, 1)))[:20])
    assert set(read_outcomes(tmp_path, {"a"})) == {("a", 4)}
