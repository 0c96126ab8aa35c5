"""A real Slurm takes what SlurmSystem writes, and what it answers is understood."""

import logging
import os
import random
import uuid

import pytest

from hand import eventually
from weft.errors import ChoiceError
from weft.executors.cluster.slurm import SlurmSystem
from weft.executors.cluster.slurm_verdict import verdict
from weft.executors.cluster.system import Busy, Limits, Order, Phase, Refused, Seen, Sheet
from weft.resources import Resources

PENDING, RUNNING, ENDED = Phase.PENDING, Phase.RUNNING, Phase.ENDED
NASTY = "sp ace 'q' \"dq\" \\ $HOME `id` %a {place} *?[x] #!; &|<>()\n\ttab äß☃"
PLAIN = "sp ace 'q' \"dq\" $HOME `id` %a {place} *?[x] #!; &|<>() äß☃"  # which a directive can say
WAIT = "exec sleep 1000"


@pytest.fixture
def system():
    return SlurmSystem()


@pytest.fixture
def desk(tmp_path, system):
    desk = Desk(tmp_path, system)
    yield desk
    desk.clear()


class Desk:
    """Writes scripts and submits them."""

    def __init__(self, folder, system):
        self.folder = folder
        self.system = system
        self.count = 0
        self.jobs = []

    def clear(self):
        """Leave nothing, so that the next test need not wait for another cluster."""
        self.system.cancel(dict.fromkeys(self.jobs))
        eventually(lambda: not self.system.look(self.jobs))

    def sheet(self, script, places=range(1), **fields):
        """Lines of shell, with the number of the element as $0."""
        self.count += 1
        defaults = {
            "name": f"test-{uuid.uuid4().hex}",
            "log": f"{self.folder}/{self.count}.{{place}}.log",
            "directory": str(self.folder),
            "resources": Resources(),
        }
        return Sheet(**{**defaults, "places": places, "command": ("sh", "-c", script), **fields})

    def order(self, sheet, **fields):
        self.system.check(sheet)
        path = self.folder / f"{self.count}.sh"
        path.write_text(self.system.files(sheet, str(path))[str(path)])
        return Order(sheet.name, str(path), sheet.places, **fields)

    def submit(self, script, places=range(1), *, after=(), any=False, **fields):
        return self.send(self.order(self.sheet(script, places, **fields), after=after, any=any))

    def send(self, order):
        self.jobs.append(self.system.submit(order))
        return self.jobs[-1]

    def log(self, place=0):
        path = self.folder / f"{self.count}.{place}.log"
        return path.read_text() if path.exists() else ""


def by_place(seen):
    """One line for each element; None for what is no array."""
    return {(one.job, place): one for one in seen for place in ([None] if one.places is None else one.places)}


def gone(system, *jobs):
    return eventually(lambda: not system.look(jobs))


def in_state(system, job, state, count=1):
    """Whether so many elements come to this state."""

    def holds():
        return sum(len(seen.places or [0]) for seen in system.look([job]) if seen.state == state) == count

    return eventually(holds)


# Submitting, looking, inquiring ------------------------------------------------------------------------------


def test_elements_run_and_how_they_ended_is_known(slurm, system, desk):
    script = "case $0 in 1) exit 3;; 2) kill -9 $$;; 3) kill -SEGV $$;; 4) exit 137;; 5) exec /no/such/python;; esac"
    job = desk.submit(script, range(6))
    assert job.isdecimal()
    assert gone(system, job)
    ends = by_place(system.inquire([job]))
    assert {place: (seen.state, seen.exitcode, seen.signal) for (_, place), seen in ends.items()} == {
        0: ("COMPLETED", 0, None),
        1: ("FAILED", 3, None),
        2: ("FAILED", None, 9),
        3: ("FAILED", None, 11),
        4: ("FAILED", 137, None),
        5: ("FAILED", 127, None),
    }
    assert {seen.phase for seen in ends.values()} == {ENDED}
    assert "/no/such/python" in desk.log(5)


def test_one_element_alone_is_no_array(slurm, system, desk):
    job = desk.submit(f"echo $0; {WAIT}", [7])
    assert in_state(system, job, "RUNNING")
    assert system.look([job]) == [Seen(job, None, RUNNING, "RUNNING")]
    assert eventually(lambda: desk.log(7) == "7\n")
    system.cancel({job: None})
    assert gone(system, job)
    [seen] = system.inquire([job])
    assert (seen.places, seen.state) == (None, "CANCELLED")


def test_what_waits_is_told_in_ranges(slurm, system, desk):
    job = desk.submit("true", range(10_000), options=(("hold", None),))
    assert system.look([job]) == [Seen(job, range(10_000), PENDING, "PENDING", "JobHeldUser")]
    system.cancel({job: [5_000]})
    parts = system.look([job])
    assert [seen.places for seen in parts] == [range(5_000), range(5_001, 10_000)]
    # It had no record of its own yet, so there is none now.
    assert system.inquire([job]) == []


def test_elements_in_another_state_than_the_rest_are_told_apart(slurm, system, desk):
    job = desk.submit("true", range(10), options=(("begin", "now+1hour"),))
    slurm.hold(f"{job}_3")

    def reasons():
        return {place: seen.reason for (_, place), seen in by_place(system.look([job])).items()}

    assert eventually(lambda: reasons()[0] == "BeginTime")
    assert reasons().pop(3) in ("JobHeldUser", "JobHeldAdmin")
    assert {place for place, reason in reasons().items() if reason == "BeginTime"} == {0, 1, 2, 4, 5, 6, 7, 8, 9}


def test_at_most_so_many_run_at_once(slurm, system, desk):
    job = desk.submit(WAIT, range(10), throttle=3)
    assert in_state(system, job, "RUNNING", 3)
    assert eventually(lambda: any(seen.reason == "JobArrayTaskLimit" for seen in system.look([job])))
    assert in_state(system, job, "PENDING", 7)


def test_one_query_for_all(slurm, system, desk):
    jobs = [desk.submit("true", range(2), options=(("hold", None),)) for _ in range(3)]
    slurm.forget_calls()
    assert {seen.job for seen in system.look(jobs)} == set(jobs)
    assert len(slurm.calls()) == 1


def test_forgotten_ids_are_an_empty_answer(slurm, system, desk):
    job = desk.submit("true", options=(("hold", None),))
    assert system.look(["999999"]) == []
    assert system.look(["999999", "999998"]) == []
    assert [seen.job for seen in system.look(["999999", job])] == [job]
    assert system.inquire(["999999"]) == []
    assert system.look([]) == []
    assert system.inquire([]) == []


def test_more_ids_than_a_command_line_can_have(slurm, system, desk):
    job = desk.submit("true", options=(("hold", None),))
    many = [str(number) for number in range(10_000_000, 10_020_000)]
    slurm.forget_calls()
    assert [seen.job for seen in system.look([*many, job])] == [job]
    assert len(slurm.calls()) == 2


def test_variables_of_the_user_change_no_answer(slurm, system, desk, monkeypatch):
    odd = {"SQUEUE_FORMAT": "%u", "SQUEUE_STATES": "RUNNING", "SQUEUE_ARRAY": "1", "SQUEUE_USERS": "nobody"}
    for name, value in {**odd, "SLURM_BITSTR_LEN": "8", "SCANCEL_STATE": "RUNNING", "SLURM_TIME_FORMAT": "%s"}.items():
        monkeypatch.setenv(name, value)
    places = [0, 2, 3, 5, 7, 8, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97]
    job = desk.submit("true", places, options=(("hold", None),))
    assert sorted(place for seen in system.look([job]) for place in seen.places) == places
    system.cancel({job: places[1:]})
    assert [seen.places for seen in system.look([job])] == [[0]]


# The script --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [PLAIN, NASTY])
def test_paths_and_values_may_be_anything(slurm, system, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    desk = Desk(folder, system)
    comment = PLAIN + "\\ \\\\ '"
    desk_log = 'pwd; echo "$A"; echo $0; echo "$WEFT_TRY" >&2'
    job = desk.submit(desk_log, range(2), options=(("comment", comment),), env=(("A", NASTY),), name="fit 0.1,\n")
    assert gone(system, job)
    assert desk.log(1) == f"{folder}\n{NASTY}\n1\n0\n"
    assert f"\n   Comment={comment} \n" in slurm.ask("scontrol", "show", "job", f"{job}_1")
    assert system.find("fit 0.1,\n") == job


def test_what_is_asked_for_is_what_slurm_gives(slurm, system, desk):
    resources = Resources.read("@task", cpus=3, gpus=2, memory="1.5GB", time="90s")
    job = desk.submit("echo $OMP_NUM_THREADS $CUDA_VISIBLE_DEVICES", resources=resources, setup=("#SBATCH --nice=7",))
    assert gone(system, job)
    known = slurm.job(job)
    assert (known["NumCPUs"], known["MinMemoryNode"], known["TimeLimit"]) == ("3", "1.50G", "00:02:00")
    assert known["Nice"] == "7"
    assert desk.log() == "3 0,1\n"


def test_the_script_goes_before_the_environment(slurm, system, desk, monkeypatch):
    said = {"TIMELIMIT": "77", "JOB_NAME": "other", "ARRAY_INX": "5-6", "MEM_PER_CPU": "50", "OUTPUT": "/no/such/log"}
    for name, value in {**said, "WAIT": "1", "ERROR": "/no/such/log", "REQUEUE": "1"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    sheet = desk.sheet(WAIT, range(2), resources=Resources(time=300, memory=2**20))
    job = desk.send(desk.order(sheet))
    assert [sorted(seen.places) for seen in system.look([job])] == [[0, 1]]
    known = slurm.job(f"{job}_0")
    assert (known["JobName"], known["TimeLimit"], known["Requeue"]) == (sheet.name, "00:05:00", "0")


def test_defaults_of_the_user_count_where_the_script_says_nothing(slurm, system, desk, monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    job = desk.submit("true", options=(("hold", None),))
    assert slurm.job(job)["Partition"] == "short"
    job = desk.submit("true", options=(("hold", None), ("partition", "half")))
    assert slurm.job(job)["Partition"] == "half"


def test_the_job_that_submits_is_not_the_one_that_is_submitted(slurm, system, desk, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "99")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("OF_THE_USER", "1")
    job = desk.submit("echo $WEFT_TRY $0 $SLURM_ARRAY_TASK_ID $LC_ALL $OF_THE_USER")
    assert gone(system, job)
    assert desk.log() == "0 0 C.UTF-8 1\n"


def test_a_requeued_element_is_another_try_and_its_log_goes_on(slurm, system, desk):
    script = f'echo "try $WEFT_TRY"; [ $WEFT_TRY = 1 ] || {WAIT}'
    job = desk.submit(script, range(2), options=(("requeue", None),))
    assert eventually(lambda: "try 0" in desk.log(1))
    slurm.requeue(f"{job}_1")
    assert in_state(system, job, "PENDING")
    seen = by_place(system.look([job]))
    assert (seen[job, 0].restarts, seen[job, 1].restarts, seen[job, 1].reason) == (0, 1, "BeginTime")
    assert eventually(lambda: "try 1" in desk.log(1))
    assert desk.log(1).startswith("try 0\n")
    assert eventually(lambda: (job, 1) in by_place(system.inquire([job])))
    assert by_place(system.inquire([job]))[job, 1].restarts == 1


# Limits and refusals -----------------------------------------------------------------------------------------


def test_limits(slurm, system):
    assert system.limits() == Limits(10001)
    slurm.configure(MaxArraySize=1)
    assert SlurmSystem().limits() == Limits(1)
    slurm.configure(MaxArraySize=0)
    assert SlurmSystem().limits() == Limits(1)
    slurm.configure(MaxArraySize=100, SchedulerParameters="bf_interval=1,max_array_tasks=20")
    assert SlurmSystem().limits() == Limits(20)


def test_the_largest_array_is_taken_and_no_larger_one(slurm, system, desk):
    slurm.configure(MaxArraySize=20)
    most = system.limits().array
    assert desk.submit("true", range(most), options=(("hold", None),))
    with pytest.raises(Refused, match=r"^Invalid job array specification$"):
        desk.submit("true", range(most + 1))


def test_elements_that_need_too_many_words_are_taken_in_pieces(slurm, system, desk):
    places = sorted(random.Random(1).sample(range(10_000), 5_000))
    with pytest.raises(Refused, match="too long"):
        desk.submit("true", places)
    pieces = system.pieces(places)
    assert [place for piece in pieces for place in piece] == places
    assert system.pieces(range(10_000)) == [range(10_000)]
    jobs = [desk.submit("true", piece, options=(("hold", None),)) for piece in pieces]
    assert sorted(place for seen in system.look(jobs) for place in seen.places) == places
    system.cancel(dict(zip(jobs, pieces, strict=True)))
    assert system.look(jobs) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "nosuch"}, "^invalid partition specified: nosuch\nInvalid partition name specified$"),
        ({"mem": "900G"}, "^Memory specification can not be satisfied\nRequested node configuration is not available$"),
        ({"constraint": "foo"}, "^Invalid feature specification$"),
    ],
)
def test_what_the_site_does_not_have_is_refused(slurm, system, desk, options, words):
    with pytest.raises(Refused, match=words):
        desk.submit("true", options=tuple(options.items()))


def test_too_many_jobs_at_once_is_not_for_ever(slurm, system, desk):
    slurm.configure(MaxJobCount=10)
    order = desk.order(desk.sheet("true", range(20)))
    with pytest.raises(Busy, match="temporarily unable to accept job") as caught:
        system.submit(order)
    assert caught.value.full
    assert caught.value.unsure  # sbatch would have tried again, and was not let
    assert system.find(order.name) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partitoin": "debug"}, "sbatch does not take '--partitoin=debug': unrecognized option '--partitoin=debug'"),
        ({"nodes": "abc"}, '"abc" is not a valid node count'),
        ({"exclusive": 7}, "Invalid --exclusive specification"),
    ],
)
def test_unknown_options_and_values_are_found_before_anything_starts(slurm, system, desk, options, words):
    with pytest.raises(ChoiceError, match=words):
        system.check(desk.sheet("true", options=tuple(options.items())))
    with pytest.raises(ChoiceError, match="unrecognized option '--foo'"):
        system.check(desk.sheet("true", setup=("#SBATCH --foo",)))
    system.check(desk.sheet("true", options=(("open-mode", "append"), ("kill-on-bad-exit", False), ("p", "debug"))))


def test_a_check_asks_no_controller(slurm, system, desk):
    sheet = desk.sheet("true", options=(("partition", "debug"),))
    with slurm.controller_stopped():
        slurm.forget_calls()
        system.check(sheet)
        system.check(sheet)
    assert slurm.calls() == ["sbatch --partition=debug --usage"]


def test_a_missing_command_is_told_before_anything_starts(slurm, system, desk, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChoiceError, match=r"sbatch is not found on this machine.*on a login node"):
        system.check(desk.sheet("true"))
    with pytest.raises(Busy, match="squeue cannot be run: No such file or directory"):
        system.look(["1"])


# A controller that is away -----------------------------------------------------------------------------------


def test_a_stopped_controller_is_busy(slurm, system, desk):
    slurm.configure(MessageTimeout=1)
    order = desk.order(desk.sheet("true"))
    with slurm.controller_stopped():
        for question in (
            lambda: system.look(["1"]),
            lambda: system.look(["1", "2"]),
            lambda: system.inquire(["1"]),
            system.limits,
            lambda: system.find("x"),
            lambda: system.cancel({"1": None, "2": [1, 2]}),
            lambda: system.submit(order),
        ):
            with pytest.raises(Busy, match="Unable to contact slurm controller") as caught:
                question()
            assert not caught.value.unsure
            assert not caught.value.full
    assert desk.send(order)


def test_an_answer_that_does_not_come_may_be_a_submission(slurm, system, desk):
    slurm.configure(MessageTimeout=1)
    order = desk.order(desk.sheet("true", options=(("hold", None),)))
    with slurm.controller_hanging():
        with pytest.raises(Busy, match="timed out") as caught:
            system.submit(order)
        assert caught.value.unsure
        with pytest.raises(Busy, match="timed out"):
            system.look(["1"])
        with pytest.raises(Busy, match="timed out"):
            system.cancel({"1": None})
    assert eventually(lambda: system.find(order.name) is not None)
    system.cancel({system.find(order.name): None})


def test_who_takes_too_long_is_not_waited_for(slurm, desk):
    system = SlurmSystem(timeout=0.2)
    order = desk.order(desk.sheet("true"))
    for command in ("sbatch", "squeue", "scancel"):
        slurm.twist(command, "sleep 1000 & wait")
    with pytest.raises(Busy) as caught:
        system.submit(order)
    assert caught.value.unsure
    with pytest.raises(Busy, match=r"squeue took longer than 0\.2 s"):
        system.look(["1"])
    with pytest.raises(Busy):
        system.cancel({"1": None})


def test_one_that_was_taken_though_nobody_said_so_is_found(slurm, system, desk):
    slurm.twist("sbatch", '"$REAL" "$@" >/dev/null; echo "sbatch: error: Message receive failure" >&2; exit 1')
    order = desk.order(desk.sheet("true", options=(("hold", None),)))
    with pytest.raises(Busy) as caught:
        system.submit(order)
    assert caught.value.unsure
    slurm.straighten("sbatch")
    found = system.find(order.name)
    assert slurm.job(found)["JobName"] == order.name
    system.cancel({found: None})


def test_of_several_with_a_name_the_newest_is_found(slurm, system, desk):
    order = desk.order(desk.sheet("true"))
    first, second = desk.send(order), desk.send(order)
    assert gone(system, first, second)
    assert system.find(order.name) == second
    assert system.find("none-such") is None


# What comes after what ---------------------------------------------------------------------------------------


def test_each_comes_after_what_it_waits_for(slurm, system, desk):
    good = desk.submit("true", range(3))
    mixed = desk.submit("exit $0", range(3))  # element 0 is good
    waits = {
        "good": [(good, "success")],
        "mixed": [(mixed, "success")],
        "not good": [(good, "failure")],
        "not mixed": [(mixed, "failure")],
        "any mixed": [(mixed, "any")],
        "each": [(mixed, "each")],
        "all": [(good, "success"), (mixed, "success")],
    }
    jobs = {name: desk.submit("true", range(3), after=tuple(after)) for name, after in waits.items()}
    jobs["either"] = desk.submit("true", range(3), after=((good, "success"), (mixed, "success")), any=True)
    assert gone(system, *jobs.values())
    ends = by_place(system.inquire(list(jobs.values())))
    ran = {name: [place for place in range(3) if ends[job, place].state == "COMPLETED"] for name, job in jobs.items()}
    everyone = [0, 1, 2]
    assert ran == {
        **{"good": everyone, "mixed": [], "not good": [], "not mixed": everyone, "any mixed": everyone},
        **{"each": [0], "all": [], "either": everyone},
    }
    never = {seen.reason for seen in ends.values() if seen.state == "CANCELLED"}
    assert never == {"DependencyNeverSatisfied"}


# Cancelling --------------------------------------------------------------------------------------------------


def test_whatever_runs_waits_or_has_ended_is_cancelled_at_once(slurm, system, desk, caplog):
    over = desk.submit("true")
    runs = desk.submit(WAIT, range(4))
    waits = desk.submit("true", range(5), options=(("hold", None),))
    whole = desk.submit("true", range(5), options=(("hold", None),))
    assert gone(system, over)
    assert in_state(system, runs, "RUNNING", 4)
    slurm.forget_calls()
    with caplog.at_level(logging.WARNING, "weft"):
        system.cancel({over: None, runs: [1, 3], waits: {0, 1, 4}, whole: None, "999999": None, "999998": [1, 2]})
    assert caplog.messages == []
    assert len(slurm.calls()) == 1
    left = {(runs, 0), (runs, 2), (waits, 2), (waits, 3)}
    assert eventually(lambda: set(by_place(system.look([over, runs, waits, whole]))) == left)
    system.cancel({runs: [0, 1, 2, 3]})  # some of them for the second time
    assert gone(system, runs)


def test_thousands_with_gaps_are_cancelled_by_one_command(slurm, system, desk):
    job = desk.submit("true", range(10_000), options=(("hold", None),))
    slurm.forget_calls()
    system.cancel({job: range(1, 10_000, 2)})
    assert len(slurm.calls()) == 1
    assert sorted(place for seen in system.look([job]) for place in seen.places) == list(range(0, 10_000, 2))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can be two users")
def test_what_belongs_to_somebody_else_is_left_with_a_warning(slurm, system, desk, ordinary, monkeypatch):
    monkeypatch.setitem(ordinary.environ, "SLURM_CONF", str(slurm.conf))
    for folder in (slurm.folder, slurm.folder / "etc", slurm.folder / "munge"):
        folder.chmod(0o711)
    job = desk.submit("true", range(3), options=(("hold", None),))
    script = f"""
import logging
from weft.executors.cluster.slurm import SlurmSystem
logging.basicConfig(format="%(message)s")
SlurmSystem().cancel({{"{job}": [1, 2]}})
assert SlurmSystem().look(["{job}", "999999"]) == []
"""
    ended = ordinary.run(script)
    assert ended.stderr == f"not cancelled: Kill job error on job id {job}_[1-2]: Access/permission denied\n"
    assert [seen.places for seen in system.look([job])] == [[0, 1, 2]]


def test_an_ordinary_user_asks_for_their_own_jobs(ordinary):
    script = """
import time
from weft.executors.cluster.slurm import SlurmSystem
from weft.executors.cluster.system import Order, Sheet
from weft.resources import Resources
system = SlurmSystem()
sheet = Sheet("mine", range(3), ("sleep",), "/tmp/none/{place}", "/", Resources(), options=(("hold", None),))
system.check(sheet)
open("mine.sh", "w").write(system.files(sheet, "mine.sh")["mine.sh"])
import os
job = system.submit(Order("mine", os.path.abspath("mine.sh"), range(3)))
assert system.find("mine") == job
assert [seen.places for seen in system.look([job, "999"])] == [[0, 1, 2]], system.look([job, "999"])
assert [seen.places for seen in system.look([job])] == [[0, 1, 2]]
system.cancel({job: None})
assert system.look([job, "999"]) == []
assert {seen.state for seen in system.inquire([job, "999"])} == {"CANCELLED"}
"""
    ordinary.run(script)


# What it died of ---------------------------------------------------------------------------------------------


def fate(system, job, log=""):
    assert gone(system, job)
    [seen] = system.inquire([job])
    return verdict(seen, log)[0]


def test_too_much_memory_is_seen(slurm, system, desk):
    hog = "exec python3 -c 'x = bytearray(300_000_000); import time; time.sleep(1000)'"
    job = desk.submit(hog, resources=Resources(memory=50 * 2**20))
    assert gone(system, job)
    assert fate(system, job, desk.log()) == "memory"


def test_a_lost_node_is_the_cluster_s_fault(slurm, system, desk):
    job = desk.submit(WAIT, options=(("nodelist", "n2"),))
    assert in_state(system, job, "RUNNING")
    slurm.set_down("n2")
    assert fate(system, job) == "infrastructure"


def test_a_log_that_cannot_be_opened_is_the_cluster_s_fault(slurm, system, desk):
    job = desk.submit("true", log=f"{desk.folder}/none/{{place}}.log")
    assert fate(system, job) == "infrastructure"


def test_what_somebody_cancelled_is_told(slurm, system, desk):
    job = desk.submit(WAIT)
    assert in_state(system, job, "RUNNING")
    slurm.cancel(job)
    assert fate(system, job, desk.log()) == "cancelled"


def test_a_kill_is_a_death(slurm, system, desk):
    job = desk.submit("kill -9 $$")
    assert fate(system, job, "") == "died"


@pytest.mark.slow
def test_a_time_limit_is_seen(slurm, system, desk):
    job = desk.submit(WAIT)
    assert in_state(system, job, "RUNNING")
    slurm.end_time_in(job, 1)
    assert gone(system, job) or gone(system, job)  # Slurm looks every 30 seconds
    assert "DUE TO TIME LIMIT" in desk.log()
    assert fate(system, job) == "timeout"


def test_what_its_node_could_not_start_is_held(slurm, system, desk, tmp_path):
    prolog = tmp_path / "prolog"
    prolog.write_text("#!/bin/sh\nexit 1\n")
    prolog.chmod(0o755)
    slurm.configure(Prolog=prolog)
    job = desk.submit("true", options=(("requeue", None),))
    assert eventually(lambda: [seen for seen in system.look([job]) if verdict(seen, "")[0] == "held"])
    [seen] = system.look([job])
    assert seen.reason == "launch failed requeued held"


# Accounting --------------------------------------------------------------------------------------------------


def test_without_accounting_nobody_asks_for_it(slurm, system, desk):
    job = desk.submit("true")
    assert gone(system, job)
    system.inquire([job])
    system.find("none-such")
    assert not [call for call in slurm.calls() if call.startswith("sacct")]


def test_what_the_controller_has_forgotten_is_in_the_accounts(slurm_accounting, system, desk):
    slurm = slurm_accounting
    slurm.configure(MinJobAge=2)
    script = "case $0 in 1) exit 3;; 2) kill -9 $$;; 3) [ $WEFT_TRY = 1 ] || exec sleep 1000;; esac"
    sheet = desk.sheet(script, range(4), options=(("requeue", None),))
    job = desk.send(desk.order(sheet))
    alone = desk.submit("exit 4")
    held = desk.submit("true", range(10), options=(("hold", None),))
    system.cancel({held: range(1, 10)})
    assert in_state(system, job, "RUNNING")
    slurm.requeue(f"{job}_3")
    assert gone(system, job, alone)
    assert eventually(lambda: slurm.job(f"{job}_3") == {})
    assert eventually(lambda: slurm.job(alone) == {})
    ends = by_place(system.inquire([job, alone, held]))
    found = {key: (seen.state, seen.exitcode, seen.signal, seen.restarts) for key, seen in ends.items()}
    assert {key: facts for key, facts in found.items() if key[0] != held} == {
        (job, 0): ("COMPLETED", 0, None, 0),
        (job, 1): ("FAILED", 3, None, 0),
        (job, 2): ("FAILED", None, 9, 0),
        (job, 3): ("COMPLETED", 0, None, 1),
        (alone, None): ("FAILED", 4, None, 0),
    }
    assert (held, 0) not in ends
    assert system.find(sheet.name) == job


def test_a_database_that_is_away_is_no_obstacle(slurm_accounting, system, desk, caplog):
    slurm_accounting.twist(
        "sacct", 'echo "sacct: error: Problem talking to the database: Connection refused" >&2; exit 1'
    )
    job = desk.submit("exit 3")
    assert gone(system, job)
    with caplog.at_level(logging.WARNING, "weft"):
        [seen] = system.inquire([job])
    assert seen.exitcode == 3
    assert "Problem talking to the database" in caplog.text


def test_a_limit_of_the_site_is_waited_for(slurm_accounting, system, desk):
    slurm_accounting.limit_submissions(2)
    with pytest.raises(Busy, match="AssocMaxSubmitJobLimit") as caught:
        desk.submit("true", range(3))
    assert caught.value.full
    assert not caught.value.unsure


def test_a_cluster_may_be_named(slurm_accounting, system, desk):
    cluster = slurm_accounting.ask("scontrol", "show", "config").partition("ClusterName")[2].split()[1]
    jobs = [desk.submit("true", range(3), options=(("clusters", cluster), ("hold", None))) for _ in range(2)]
    assert all(job.endswith(f";{cluster}") for job in jobs)
    assert system.look(jobs[:1]) == [Seen(jobs[0], [0, 1, 2], PENDING, "PENDING", "JobHeldUser")]
    named = desk.sheet("true", options=(("clusters", cluster), ("hold", None)))
    assert system.find(named.name) is None
    assert desk.send(desk.order(named)) == system.find(named.name)
    assert {seen.job for seen in system.look([*jobs, f"999;{cluster}"])} == set(jobs)
    after = desk.submit("true", after=((jobs[0], "any"),), options=(("clusters", cluster),))
    assert [seen.reason for seen in system.look([after])] == ["Dependency"]
    system.cancel({jobs[0]: [0, 1], jobs[1]: None})
    assert [seen.places for seen in system.look(jobs)] == [[2]]
    assert set(by_place(system.inquire(jobs))) == {(jobs[1], 0), (jobs[1], 1), (jobs[1], 2)}
