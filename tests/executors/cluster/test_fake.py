"""FakeCluster: the facts that hold for the real thing too, and what only a fake can do."""

import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.stage import ended, is_alive
from executors.cluster.facts import FACTS, GOOD, WAIT, Bench
from executors.cluster.harm import FakeHarm
from hand import PATIENCE, eventually
from weft.errors import ArgumentError, ChoiceError, TimeLimitReached
from weft.executors import ClusterExecutor
from weft.executors.cluster.fake import FakeCluster, VirtualClock
from weft.executors.cluster.fake.directives import read_script
from weft.executors.cluster.system import Busy, Order, Phase, Refused

NODES, CPUS = 2, 2


@pytest.fixture
def clock():
    return VirtualClock(patience=PATIENCE)


@pytest.fixture
def cluster(clock):
    with FakeCluster(NODES, CPUS, clock=clock) as cluster:
        yield cluster


@pytest.fixture
def b(cluster, clock, tmp_path):
    with Bench(cluster, FakeHarm(cluster, clock, NODES * CPUS), tmp_path) as bench:
        yield bench


@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_fact(fact, b):
    assert all(hasattr(b.harm, need) for need in fact.needs)
    fact.check(b)


def test_each_fact_has_its_name():
    assert len({fact.name for fact in FACTS}) == len(FACTS)


def threads_of(cluster):
    """Those that wait for the ends of processes; None where one is about to be started."""
    return [attempt.thread for attempt in cluster._site._attempts]


def script(folder, text, name="job.sh", places=(0,), **rest):
    """An order for a script that was written by hand."""
    path = folder / name
    path.write_text(text)
    return Order(name, str(path), places, **rest)


# Memory and records -------------------------------------------------------------------------------------------


def test_the_controller_remembers_for_a_while_and_then_the_records_do(b, clock):
    job = b.submit("exit 4")
    end = b.end(job)
    clock.advance(299)
    assert b.system.inquire([job]) == [end]
    clock.advance(1)
    (record,) = b.system.inquire([job])
    assert record == end._replace(reason="")  # of which no record is kept
    assert b.system.find("nonsense") is None


def test_records_are_late_and_first_wrong(b, cluster, clock):
    job = b.submit(GOOD)
    b.end(job)
    cluster.forget(job)
    assert b.system.inquire([job]) == []
    clock.advance(1)
    assert [(seen.phase, seen.state) for seen in b.system.inquire([job])] == [(Phase.PENDING, "PENDING")]
    clock.advance(3)
    assert [(seen.phase, seen.state) for seen in b.system.inquire([job])] == [(Phase.ENDED, "COMPLETED")]
    cluster.forget(job, records=True)
    assert b.system.inquire([job]) == []


def test_without_accounting_there_are_no_records(tmp_path, clock):
    with (
        FakeCluster(clock=clock, accounting=False, remembers=10) as cluster,
        Bench(cluster, FakeHarm(cluster, clock, 16), tmp_path) as b,
    ):
        sheet = b.sheet(GOOD)
        job = b.submitted(b.order(sheet))
        b.end(job)
        clock.advance(100)
        assert b.system.inquire([job]) == []
        assert b.system.find(sheet.name) is None


def test_records_do_not_have_what_a_dependency_has_cancelled(b, cluster):
    parent = b.submit("exit 1")
    b.end(parent)
    child = b.submit(GOOD, after=[(parent, "success")])
    assert b.end(child).reason == "DependencyNeverSatisfied"
    cluster.forget(child)
    b.harm.sleep(1000)
    assert b.system.inquire([child]) == []


def test_what_a_dependency_has_been_decided_by_may_be_forgotten(b, cluster):
    failed, waits = b.submit("exit 1"), b.waiting()
    child = b.submit(GOOD, after=[(failed, "success"), (waits, "success")], any=True)
    b.end(failed)
    cluster.forget(failed)
    b.waits(child, "Dependency")


# Answers ------------------------------------------------------------------------------------------------------


def test_calls_are_counted_answered_or_not(b, cluster):
    job = b.waiting()
    before = dict(cluster.calls)
    cluster.busy("look")
    with pytest.raises(Busy):
        b.system.look([job])
    b.system.look([job])
    b.system.inquire([job])
    assert {name: count - before.get(name, 0) for name, count in cluster.calls.items()} == {
        "inquire": 1,
        "look": 2,
        "submit": 0,
    }


def test_questions_that_are_not_answered(b, cluster):
    job = b.submit(GOOD)
    b.end(job)
    cluster.busy("look", "inquire", "cancel", "find", "limits", times=2)
    for _ in range(2):
        for ask in (
            lambda: b.system.look([job]),
            lambda: b.system.inquire([job]),
            lambda: b.system.cancel({job: None}),
            lambda: b.system.find("x"),
            b.system.limits,
        ):
            with pytest.raises(Busy, match="Unable to contact slurm controller"):
                ask()
    assert b.system.look([job]) == []
    cluster.busy("submit", text="sbatch: error: no")
    with pytest.raises(Busy, match="sbatch: error: no"):
        b.submit(GOOD)
    with pytest.raises(ChoiceError, match="nobody asks 'sing'"):
        cluster.busy("sing")


def test_a_refusal_has_the_text_that_was_told(b, cluster):
    cluster.refuse("sbatch: error: no such thing", times=2)
    for _ in range(2):
        with pytest.raises(Refused, match="no such thing"):
            b.submit(GOOD)
    assert b.end(b.submit(GOOD)).state == "COMPLETED"


def test_a_controller_comes_back_by_itself(b, cluster, clock):
    cluster.stop_controller(30)
    clock.advance(29)
    with pytest.raises(Busy):
        b.system.limits()
    clock.advance(1)
    assert b.system.limits().array == 1001


def test_what_ended_while_the_controller_was_away_is_known_afterwards(b, cluster, clock):
    job, after = b.waiting(), b.submit(GOOD, options=(("hold", None),))
    cluster.stop_controller(30)
    thread = threads_of(cluster)[0]
    b.gate.open(1)
    thread.join(PATIENCE)
    cluster.release(after)
    clock.settle()
    assert cluster.states(job) == {0: "RUNNING"}
    assert cluster.states(after) == {0: "PENDING"}
    clock.advance(30)
    assert cluster.states(job) == {0: "COMPLETED"}
    assert b.end(after).state == "COMPLETED"


def test_time_limits_wait_for_the_controller(b, cluster, clock):
    job = b.waiting(time=60)
    cluster.stop_controller(100)
    clock.advance(99)
    assert cluster.states(job) == {0: "RUNNING"}
    clock.advance(1)
    assert b.end(job).state == "TIMEOUT"


def test_an_id_that_was_burnt_is_left_out(b, cluster):
    first = int(b.submit(GOOD))
    cluster.burn(2)
    assert int(b.submit(GOOD)) == first + 3
    with pytest.raises(Refused):
        b.submit(GOOD, memory="17GB")
    assert int(b.submit(GOOD)) == first + 5


def test_elements_have_ids_of_their_own_and_the_last_that_of_the_array(b):
    job = int(b.submit('echo "$SLURM_JOB_ID $SLURM_ARRAY_JOB_ID"', range(3)))
    b.ends(str(job))
    assert [b.lines(f"{place}.log") for place in range(3)] == [
        [f"{job + 1} {job}"],
        [f"{job + 2} {job}"],
        [f"{job} {job}"],
    ]
    assert int(b.submit(GOOD)) == job + 3


def test_look_may_overlook_what_runs(b, cluster):
    job = b.waiting(places=range(2))
    cluster.overlook(job, 1, times=2)
    for _ in range(2):
        assert set(b.look(job)) == {(job, 0)}
    assert set(b.look(job)) == {(job, 0), (job, 1)}
    cluster.overlook(job)
    assert b.system.look([job]) == []
    assert b.system.inquire([job]) == []


def test_what_is_asked_can_be_held_up_and_answered_by_the_test(b, cluster):
    asked = []
    cluster.on_call = asked.append
    b.system.look([])
    b.system.limits()
    assert asked == ["look", "limits"]

    def answer(question):
        raise Busy("not now")

    cluster.on_call = answer
    with pytest.raises(Busy, match="not now"):
        b.system.find("x")
    cluster.on_call = None


# Elements -----------------------------------------------------------------------------------------------------


def test_one_element_of_several_can_be_meant(b, cluster):
    job = b.waiting(places=range(3))
    cluster.cancel_by_other(f"{job}_1")
    cluster.cancel_by_other(job, 2)
    cluster.wait_for(job, "CANCELLED", place=1)
    cluster.wait_for(f"{job}_2", "CANCELLED")
    assert cluster.states(job) == {0: "RUNNING", 1: "CANCELLED", 2: "CANCELLED"}


@pytest.mark.parametrize("job", ["7", "x", "1_5"])
def test_what_never_was_is_named(cluster, b, job):
    b.submit(GOOD)
    with pytest.raises(ChoiceError, match=f"no element {job}$"):
        cluster.hold(job)
    with pytest.raises(ArgumentError, match="named by its id"):
        cluster.hold(7)


def test_an_element_of_what_is_no_array_is_nothing(b, cluster, clock):
    job = b.waiting()
    b.system.cancel({job: [0]})
    clock.settle()
    assert cluster.states(job) == {0: "RUNNING"}


def test_who_waits_in_vain_is_told_how_it_stands(b, cluster):
    job = b.waiting()
    with pytest.raises(TimeoutError, match=f"job {job} is RUNNING and not COMPLETED or FAILED after 0.01 seconds"):
        cluster.wait_for(job, "COMPLETED", "FAILED", patience=0.01)


def test_a_held_element_lets_others_pass(b, cluster):
    job = b.submit("exit 0", range(2), options=(("hold", None),))
    cluster.release(job, 1)
    cluster.wait_for(job, "COMPLETED", place=1)
    assert cluster.states(job) == {0: "PENDING", 1: "COMPLETED"}


def test_a_preempted_job_may_be_over(b, cluster):
    jobs = [b.waiting(), b.waiting(options=(("no-requeue", None),))]
    cluster.preempt(jobs[0], mode="cancel")
    cluster.preempt(jobs[1])
    assert [b.end(job).state for job in jobs] == ["PREEMPTED", "PREEMPTED"]
    assert any("DUE TO PREEMPTION" in line for line in b.lines("0.log"))
    with pytest.raises(ChoiceError, match="requeue"):
        cluster.preempt(jobs[0], mode="x")
    with pytest.raises(ChoiceError, match="cgroup"):
        cluster.out_of_memory(jobs[0], by="x")


def test_a_signal_from_outside_is_an_end_like_any_other(b, cluster):
    job = b.waiting()
    cluster.kill(job)
    end = b.end(job)
    assert (end.state, end.signal, end.reason) == ("FAILED", 9, "JobLaunchFailure")


def test_a_site_may_not_run_jobs_again(tmp_path, clock):
    with (
        FakeCluster(clock=clock, requeue=False) as cluster,
        Bench(cluster, FakeHarm(cluster, clock, 16), tmp_path) as b,
    ):
        text = WAIT.replace("$0", "$WEFT_FOLDER")
        job, willing = b.written(text), b.written(text, "#SBATCH --requeue")
        b.gate.arrived(2)
        b.runs(job), b.runs(willing)
        assert (cluster.node_of(job), cluster.node_of(willing)) == ("n1", "n1")
        cluster.node_down("n1")
        assert b.end(job).state == "NODE_FAIL"
        assert b.waits(willing, "BeginTime").restarts == 1
        assert cluster.node_of(willing) == ""


def test_nothing_starts_on_a_node_that_is_down(b, cluster):
    cluster.node_down("n1")
    with pytest.raises(ChoiceError, match="no node 'n9'; nodes: n1, n2"):
        cluster.node_down("n9")
    jobs = [b.waiting() for _ in range(CPUS)]
    assert {cluster.node_of(job) for job in jobs} == {"n2"}
    waiting = b.submit(GOOD)
    b.waits(waiting, "Resources")
    cluster.node_up("n1")
    assert b.end(waiting).state == "COMPLETED"


def test_a_node_that_answers_again_in_time_has_lost_nothing(b, cluster, clock):
    job = b.waiting()
    cluster.node_down("n1", ghosts=True)
    thread = threads_of(cluster)[0]
    b.gate.open(1)
    thread.join(PATIENCE)
    clock.advance(299)
    assert cluster.states(job) == {0: "RUNNING"}
    cluster.node_up("n1")
    end = b.end(job)
    assert (end.state, end.restarts) == ("COMPLETED", 0)


def test_a_job_that_must_not_run_again_is_not_requeued(b, cluster, clock):
    job = b.waiting()  # as weft says of all
    cluster.requeue(job)
    clock.settle()
    assert cluster.states(job) == {0: "RUNNING"}


def test_what_is_cancelled_on_a_lost_node_goes_on_there(b, cluster, clock):
    job = b.waiting()
    cluster.node_down("n1", ghosts=True)
    cluster.hangs(job)
    b.system.cancel({job: None})
    assert cluster.states(job) == {0: "COMPLETING"}
    assert b.end(job).state == "CANCELLED"
    b.gate.open(1)  # somebody is there to be let through
    threads_of(cluster)[0].join(PATIENCE)
    clock.settle()
    assert threads_of(cluster) == []


def test_a_warning_comes_before_the_limit(b, clock):
    job = b.submit(f'trap "echo warned" USR1; {WAIT} & wait; wait', setup=("#SBATCH --signal=B:USR1@50",), time=60)
    b.gate.arrived()
    clock.advance(9)
    assert b.lines("0.log") == []
    clock.advance(1)
    b.gate.open(1)
    assert b.end(job).state == "COMPLETED"
    assert b.lines("0.log") == ["warned"]


def test_more_time_than_there_is_waits_for_ever(clock, tmp_path):
    with FakeCluster(clock=clock, time="1h") as cluster, Bench(cluster, FakeHarm(cluster, clock, 16), tmp_path) as b:
        b.waits(b.submit(GOOD, time="2h"), "PartitionConfig")
        assert b.end(b.submit(GOOD, time="1h")).state == "COMPLETED"


def test_room_is_cpus_memory_and_gpus(clock, tmp_path):
    with (
        FakeCluster(1, 4, memory="4GB", gpus=2, clock=clock) as cluster,
        Bench(cluster, FakeHarm(cluster, clock, 4), tmp_path) as b,
    ):
        for words in ({"cpus": 3}, {"memory": "3GB"}, {"gpus": 2}):
            first = b.waiting(**words)
            second = b.submit(GOOD, **words)
            b.waits(second, "Resources")
            b.gate.open(1)
            assert b.end(first).state == b.end(second).state == "COMPLETED"
        for words in ({"memory": "5GB"}, {"gpus": 3}):
            with pytest.raises(Refused, match="not available"):
                b.submit(GOOD, **words)


def test_what_finds_no_room_holds_up_those_behind_it(b):
    full = b.waiting(places=range(NODES * CPUS - 1))
    large, small = b.submit(GOOD, cpus=2), b.submit(GOOD)
    b.waits(large, "Resources")
    b.waits(small, "Priority")
    b.gate.open()
    assert b.ends(full)
    assert b.end(large).state == b.end(small).state == "COMPLETED"


# Scripts ------------------------------------------------------------------------------------------------------


def test_a_script_by_hand_runs_as_it_says(b, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """#!/usr/bin/env python3
#
#SBATCH -J 'my job' -o "out %x %j %%"   # and a comment
#SBATCH --time=1:00:00 --mem 1G

#SBATCH -c2
import os, sys
#SBATCH --nonsense
print(*(f"{name}={value}" for name, value in os.environ.items() if name.startswith("SLURM_")))
print(f"{os.getcwd()}|{sys.stdin.read()}|")
"""
    monkeypatch.setenv("SLURM_SOMETHING", "of a job that runs this test")
    job = cluster.submit(script(tmp_path, text, "it's.sh"))
    cluster.wait_for(job, "COMPLETED", "FAILED")
    names, rest = (tmp_path / f"out my job {job} %").read_text().splitlines()
    assert {"SLURM_CPUS_PER_TASK=2", "SLURM_MEM_PER_NODE=1024", f"SLURM_JOB_ID={job}"} <= set(names.split())
    assert not any(name in names for name in ("SLURM_SOMETHING", "SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT"))
    assert rest == f"{tmp_path}||"
    assert cluster.find("my job") == job


def test_output_has_a_name_of_its_own(b, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = cluster.submit(script(tmp_path, "#!/bin/sh\necho one\n"))
    array = cluster.submit(
        script(tmp_path, "#!/bin/sh\n#SBATCH -a 0-1%1\necho $SLURM_ARRAY_TASK_ID\n", places=range(2))
    )
    padded = cluster.submit(
        script(tmp_path, "#!/bin/sh\n#SBATCH -o %3a.%q -e err\necho x; echo y >&2\n", places=(7, 8))
    )
    for job in (one, array, padded):
        cluster.wait_for(job, "COMPLETED")
    names = [f"slurm-{one}.out", f"slurm-{array}_0.out", f"slurm-{array}_1.out", "007.%q", "008.%q"]
    assert [(tmp_path / name).read_text() for name in names] == ["one\n", "0\n", "1\n", "x\n", "x\n"]
    assert (tmp_path / "err").read_text().splitlines()[-1] == "y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo\n", "does not look like a batch script"),
        ("#!/bin/sh\n#SBATCH --nonsense=3\n", "unrecognized option '--nonsense=3'"),
        ("#!/bin/sh\n#SBATCH -Z\n", "unrecognized option '-Z'"),
        ("#!/bin/sh\n#SBATCH --time\n", "requires an argument"),
        ("#!/bin/sh\n#SBATCH --time=soon\n", "Invalid --time specification"),
        ("#!/bin/sh\n#SBATCH --cpus-per-task=many\n", 'Invalid numeric value "many" for --cpus-per-task'),
        ("#!/bin/sh\n#SBATCH --signal=B:NONSENSE@3\n", "Invalid --signal specification"),
        ("#!/bin/sh\n#SBATCH stray\n", "Invalid directive found in batch script: stray"),
    ],
)
def test_what_is_wrong_in_a_script_is_refused(cluster, tmp_path, text, said):
    with pytest.raises(Refused, match=said):
        cluster.submit(script(tmp_path, text))
    with pytest.raises(Refused, match="Unable to open file"):
        cluster.submit(Order("x", str(tmp_path / "no"), (0,)))


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ("", {"cpus": 1, "gpus": 0, "memory": 0, "time": None, "requeue": None, "throttle": None, "array": False}),
        ("-n 2 -c 3", {"cpus": 6}),
        ("--mem=100", {"memory": 100 * 1024**2}),
        ("--mem-per-cpu=1G -c4", {"memory": 4 * 1024**3}),
        ("--mem=0", {"memory": 0}),
        ("-t 5", {"time": 300}),
        ("-t 0:05", {"time": 60}),
        ("-t 1-0", {"time": 86400}),
        ("-t 1:00:01", {"time": 3660}),
        ("-t UNLIMITED", {"time": None}),
        ("--gres=gpu:a100:2", {"gpus": 2}),
        ("--gres=gpu", {"gpus": 1}),
        ("--gres=tape:2", {"gpus": 0}),
        ("--gpus=3", {"gpus": 3}),
        ("-G a100:3", {"gpus": 3}),
        ("--requeue", {"requeue": True}),
        ("--requeue --no-requeue", {"requeue": False}),
        ("--exclusive --nice -H", {"hold": True}),
        ("-a 0-9%3", {"throttle": 3, "array": True}),
        ("--signal=B:TERM@9", {"warning": (15, 9)}),
        ("--signal=SIGUSR1", {"warning": None}),
        ("--signal=BR:10", {"warning": (10, 60)}),
        ("--kill-on-invalid-dep=no", {"kill_invalid": False}),
        ("--open-mode append", {"append": True}),
        (r'-o "a \"b\" \\ c\n" -D "it\'s"', {"output": 'a "b" \\ cn', "directory": "it's"}),
        ("-o 'a \"b\" \\ c'x", {"output": 'a "b"  cx'}),
    ],
)
def test_options_mean_what_they_mean(options, wants):
    found = read_script(f"#!/bin/bash -e x\n#SBATCH {options}\n")
    assert found.interpreter == ("/bin/bash", "-e x")
    assert {name: getattr(found, name) for name in wants} == wants


@pytest.mark.parametrize("name", ["with space", "quo'te\"s", "new\nline", "ünï%a%%x\\n", "#x", "{place}"])
def test_weird_folders(cluster, clock, tmp_path, name):
    (tmp_path / name).mkdir()
    with Bench(cluster, FakeHarm(cluster, clock, 4), tmp_path / name) as b:
        b.ends(b.submit('pwd; echo "$1"', range(2)))
        assert "\n".join(b.lines("1.log")) == f"{b.folder}\n1"
        assert b.end(b.submit("exit 5")).exitcode == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"options": (("partitoin", "x"),)}, "sbatch does not take '--partitoin=x': .*unrecognized option"),
        ({"options": (("signal", "NONSENSE"),)}, "Invalid --signal specification"),
        ({"setup": ("#SBATCH --nonsense",)}, "unrecognized option '--nonsense'"),
        ({"setup": ("true", "#SBATCH --qos=x")}, "comes after the command"),
        ({"options": (("output", "x"),)}, "weft keeps the logs"),
    ],
)
def test_mistakes_are_found_before_anything_is_submitted(b, cluster, words, said):
    cluster.check(b.sheet(GOOD, options=(("mail_user", "me"), ("qos", "low"), ("requeue", None))))
    with pytest.raises(ChoiceError, match=said):
        cluster.check(b.sheet(GOOD, **words))
    assert not cluster.calls


@pytest.mark.parametrize(("mode", "lines"), [("truncate", ["1"]), ("append", ["0", "1"])])
def test_a_further_try_begins_its_log_anew_unless_it_appends(b, cluster, mode, lines):
    job = b.submit(f'echo "$WEFT_TRY"; {WAIT}', options=(("open-mode", mode), ("requeue", None)))
    b.gate.arrived()
    cluster.requeue(job)
    b.waits(job, "BeginTime")
    b.runs(job)
    b.gate.arrived()
    b.gate.open()
    b.end(job)
    assert [line for line in b.lines("0.log") if "slurmstepd" not in line] == lines


def test_somebody_who_waits_for_all_children_does_no_harm(b, cluster):
    job = b.waiting()
    pid = next(iter(cluster._site._attempts))._pid
    os.kill(pid, signal.SIGKILL)
    try:
        os.waitpid(pid, 0)  # whoever is first has it
    except ChildProcessError:
        pass
    cluster.wait_for(job, "FAILED")


# Executors ----------------------------------------------------------------------------------------------------


@pytest.fixture
def executor(cluster, clock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    executor = ClusterExecutor(cluster)
    yield executor
    cluster.close()  # so that all that is left ends
    with clock.flying():
        executor.shutdown()


def hang(path):
    Path(path).touch()
    threading.Event().wait()


def test_an_executor_lives_by_its_clock(executor, cluster, clock):
    futures = [executor.submit(pow, number, 2) for number in range(3)]
    clock.until(lambda: all(future.done() for future in futures))
    assert [future.result() for future in futures] == [0, 1, 4]
    assert cluster.calls["submit"] == 1


def test_an_executor_sees_what_befalls_what_runs(executor, cluster, clock, tmp_path):
    limited = executor.using(time=60).submit(hang, "limited")
    ghost = executor.using(requeue=True, cpus=CPUS).submit(hang, "ghost")
    clock.until(lambda: limited.running() and ghost.running())
    assert eventually(lambda: Path("limited").exists() and Path("ghost").exists())
    assert clock.now() < 60
    cluster.node_down(cluster.node_of(ghost.job_id), ghosts=True)
    clock.advance(60)
    clock.until(limited.done)
    assert isinstance(limited.exception(), TimeLimitReached)
    cluster.hangs()
    clock.until(lambda: ghost.state == "PENDING")
    assert clock.now() > 300
    clock.until(ghost.running)
    assert cluster.states(ghost.job_id) == {0: "RUNNING"}


def test_time_flies_for_what_waits_by_itself(executor, clock):
    with clock.flying():
        assert list(executor.map(abs, range(-3, 0))) == [3, 2, 1]


# What it takes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"nodes": 0}, ChoiceError, r"nodes=.*at least 1"),
        ({"nodes": "2"}, ArgumentError, r"nodes=.*whole number"),
        ({"array": True}, ArgumentError, r"array=.*whole number"),
        ({"cpus": 0}, ChoiceError, r"cpus=.*from 1 up"),
        ({"memory": "lots"}, ChoiceError, r"memory=.*8GB"),
        ({"partitions": "debug"}, ArgumentError, "partitions must be names"),
        ({"partitions": ()}, ArgumentError, "partitions must be names"),
    ],
)
def test_options_that_cannot_be(options, error, said):
    with pytest.raises(error, match=said):
        FakeCluster(**options)


def test_a_place_beyond_the_limit_is_refused(b):
    with pytest.raises(Refused, match="array specification"):
        b.submit(GOOD, (1, 1001))
    with pytest.raises(Refused, match="array specification"):
        b.system.submit(b.order(b.sheet(GOOD))._replace(places=()))
    with pytest.raises(Refused, match="dependency"):
        b.submit(GOOD, after=[("1", "hope")])


def test_it_does_not_travel(cluster):
    import pickle

    with pytest.raises(TypeError, match="cannot travel"):
        pickle.dumps(cluster)
    assert repr(cluster) == "<FakeCluster of 2 nodes, 0 elements that wait or run>"


# Nothing is left ----------------------------------------------------------------------------------------------


def family(b):
    """A deaf job with a child, which has one, too: pids of the first and the last."""
    job = b.submit('sleep 1000 & echo $! > "$0/child"; echo $$ > "$0/pid"; trap "" TERM; ' + WAIT)
    b.gate.arrived()
    return job, int(b.lines("pid")[0]), int(b.lines("child")[0])


def test_close_ends_all_that_runs_and_says_so(b, cluster):
    job, pid, child = family(b)
    waiting = b.submit(GOOD, options=(("hold", None),))
    folder = cluster._site._folder
    cluster.close()
    assert not is_alive(pid)
    assert ended(child)
    assert b.system.look([job, waiting]) == []
    assert [seen.state for seen in b.system.inquire([job, waiting])] == ["CANCELLED", "CANCELLED"]
    with pytest.raises(Refused, match="has been closed"):
        b.submit(GOOD)
    assert not folder.exists()
    cluster.close()


def test_a_cluster_that_nobody_holds_ends_all_that_runs(clock, tmp_path):
    cluster = FakeCluster(clock=clock)
    b = Bench(cluster, FakeHarm(cluster, clock, 16), tmp_path)
    b.__enter__()
    _, pid, child = family(b)
    thread, gate = cluster._site._thread, b.gate
    del cluster, b
    gc.collect()
    assert ended(pid)
    assert ended(child)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    gate.close()


def test_clusters_come_and_go_and_leave_nothing(tmp_path):
    def cycle():
        with FakeCluster() as cluster:
            job = cluster.submit(script(tmp_path, "#!/bin/sh\n#SBATCH -o /dev/null\n"))
            cluster.wait_for(job, "COMPLETED")
            cluster.submit(script(tmp_path, "#!/bin/sh\n#SBATCH -o /dev/null\nsleep 1000\n"))

    cycle()  # starts what all share
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(10):
        cycle()
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads


PROGRAM = """
import os, sys
from pathlib import Path
from contract.stage import Gate
from executors.cluster.facts import Bench, WAIT
from executors.cluster.test_fake import family, threads_of
from hand import eventually
from weft.executors.cluster.fake import FakeCluster
cluster = FakeCluster()
b = Bench(cluster, None, Path(sys.argv[1]))
b.__enter__()
_, pid, child = family(b)
assert eventually(lambda: threads_of(cluster)[0])
print(pid, child, flush=True)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        sys.exit()
    os.wait()
    print(all(os.path.exists(f"/proc/{p}") for p in (pid, child)), cluster.states("1"))
if sys.argv[2] == "raise":
    raise SystemExit(3)
if sys.argv[2] == "die":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("way", ["end", "raise", "die", "fork"])
def test_the_end_of_the_interpreter_ends_all_that_runs(tmp_path, way):
    program = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, tmp_path, way],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert program.stderr == ""
    first, *rest = program.stdout.splitlines()
    assert rest == (["True {0: 'RUNNING'}"] if way == "fork" else [])
    assert program.returncode == {"end": 0, "fork": 0, "raise": 3, "die": -9}[way]
    assert all(ended(int(pid)) for pid in first.split())


# Threads ------------------------------------------------------------------------------------------------------


def test_many_threads_use_it_at_once(tmp_path):
    with FakeCluster(1, 4) as cluster:
        order = script(
            tmp_path, f"#!/bin/sh\n#SBATCH -o {tmp_path}/log -a 0-2\nexit $SLURM_ARRAY_TASK_ID\n", places=range(3)
        )
        jobs = []

        def work(number):
            job = cluster.submit(order)
            jobs.append(job)
            cluster.look(list(jobs))
            cluster.hold(job)
            cluster.inquire(list(jobs))
            cluster.release(job)
            if number % 4 == 0:
                cluster.cancel({job: [2]})
            return job

        with ThreadPoolExecutor(4) as threads:
            done = list(threads.map(work, range(12)))
        assert len(set(done)) == 12
        for number, job in enumerate(done):
            cluster.wait_for(job, "COMPLETED", "FAILED", "CANCELLED")
            states = cluster.states(job)
            assert (states[0], states[1]) == ("COMPLETED", "FAILED")
            assert states[2] in ("FAILED", *["CANCELLED"] * (number % 4 == 0))
        assert cluster._site.nodes["n1"]._free == [4, 16 * 1024**3, 0]


def test_it_works_by_the_real_clock_too(tmp_path):
    with FakeCluster(1, 1) as cluster:
        jobs = [cluster.submit(script(tmp_path, f"#!/bin/sh\n#SBATCH -o {tmp_path}/log\n")) for _ in range(2)]
        for job in jobs:
            cluster.wait_for(job, "COMPLETED")


STEPS = st.tuples(
    st.sampled_from(
        ["submit"] * 6
        + ["cancel", "hold", "release", "preempt", "requeue", "kill", "out_of_memory"]
        + ["down", "up", "away", "advance", "fail_launch"]
    ),
    st.integers(0, 20),
    st.sampled_from([0, 0, 3]),
    st.sampled_from(["", "success", "failure", "any", "each"]),
)


@settings(max_examples=40)
@given(st.lists(STEPS, min_size=2, max_size=30))
def test_whatever_happens_everything_ends_as_it_must(steps):
    clock = VirtualClock(patience=PATIENCE)
    with TemporaryDirectory() as folder, FakeCluster(2, 2, clock=clock, remembers=1e9) as cluster:
        parents = {}
        for step, number, code, how in steps:
            job = list(parents)[number % len(parents)] if parents else None
            if step == "submit":
                text = f"#!/bin/sh\n#SBATCH -o {folder}/log -a 0-1 -n {number % 2 + 1}\nexit {code}\n"
                after = ((job, how),) if job and how else ()
                try:
                    parents[cluster.submit(script(Path(folder), text, places=(0, 1), after=after))] = after
                except Busy:
                    assert clock.now() < cluster._site.away_until
            elif step == "down":
                cluster.node_down(f"n{number % 2 + 1}", ghosts=bool(code))
            elif step == "up":
                cluster.node_up(f"n{number % 2 + 1}")
            elif step == "away":
                cluster.stop_controller(number)
            elif step == "advance":
                clock.advance(number * 10)
            elif step == "fail_launch":
                cluster.fail_launch()
            elif step == "cancel" and job and clock.now() >= cluster._site.away_until:
                cluster.cancel({job: [code]})
            elif step != "cancel" and job:
                getattr(cluster, step)(job, number % 2)
        cluster._site.launches_to_fail = 0
        clock.settle()
        for job in parents:
            cluster.release(job)
        for node in cluster._site.nodes.values():
            cluster.node_up(node.name)
        cluster.start_controller()
        clock.until(lambda: not cluster.look(list(parents)))
        ends = {(job, place): e for job in parents for place, e in cluster._site.queue.jobs[job].elements.items()}
        assert all(element.ended is not None and element.attempt is None for element in ends.values())
        told = [len(seen.places or (0,)) for seen in cluster.inquire(list(parents))]
        assert sum(told) == len(ends) - sum(element.forgotten for element in ends.values()) // 2
        for job, after in parents.items():
            for parent, how in after:
                check_edge(ends, job, parent, how)
        assert all(tuple(node._free) == node.amounts for node in cluster._site.nodes.values())


def check_edge(ends, job, parent, how):
    """What ran may have: its parent ended as it wanted."""
    good = [ends[parent, place].state == "COMPLETED" for place in (0, 1)]
    met = {
        "any": [True, True],
        "each": good,
        "failure": [not all(good)] * 2,
        "success": [all(good)] * 2,
    }[how]
    for place in (0, 1):
        never = ends[job, place].reason == "DependencyNeverSatisfied"
        assert met[place] or never or ends[job, place].state == "CANCELLED"
        assert not (met[place] and never)
