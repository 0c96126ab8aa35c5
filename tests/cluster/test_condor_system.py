"""A real HTCondor takes what CondorSystem writes, and what it answers is understood."""

import os
import uuid
from pathlib import Path

import pytest

from hand import eventually
from weft.errors import ChoiceError
from weft.executors.cluster.condor import CondorSystem
from weft.executors.cluster.condor_script import events_of
from weft.executors.cluster.system import Busy, Limits, Order, Phase, Refused, Seen, Sheet
from weft.resources import Resources

PENDING, RUNNING, ENDED = Phase.PENDING, Phase.RUNNING, Phase.ENDED
NASTY = "sp ace 'q' \"dq\" $HOME `id` %a {place} *?[x] #!; &|<>() $(Process) a,b äß☃\t"  # of a folder
WAIT = "exec sleep 1000"
NEVER = (("requirements", "False"),)


@pytest.fixture
def desk(condor, tmp_path):
    desk = Desk(tmp_path, CondorSystem())
    yield desk
    desk.clear()


@pytest.fixture
def system(desk):
    return desk.system


class Desk:
    """Writes submissions and makes them."""

    def __init__(self, folder, system):
        self.folder = folder
        self.system = system
        self.scripts = {}

    def clear(self):
        """Leave nothing, so that the next test need not wait for another pool."""
        self.system.cancel(dict.fromkeys(self.scripts))
        assert eventually(lambda: not self.look())

    def sheet(self, script, places=range(1), **fields):
        """Lines of shell, with the number of the element as $0."""
        self.home = self.folder / str(len(self.scripts))
        self.home.mkdir(exist_ok=True)
        defaults = {
            "name": f"test-{uuid.uuid4().hex}",
            "log": f"{self.home}/{{place}}.log",
            "directory": str(self.home),
            "resources": Resources(),
        }
        return Sheet(**{**defaults, "places": places, "command": ("sh", "-c", script), **fields})

    def order(self, sheet, **fields):
        self.system.check(sheet)
        script = f"{self.home}/script.sh"
        for path, text in self.system.files(sheet, script).items():
            Path(path).write_text(text)
        return Order(sheet.name, script, sheet.places, **fields)

    def submit(self, script, places=range(1), **fields):
        return self.send(self.order(self.sheet(script, places, **fields)))

    def send(self, order):
        job = self.system.submit(order)
        self.scripts[job] = order.script
        return job

    def log(self, place=0):
        path = self.home / f"{place}.log"
        return path.read_text() if path.exists() else ""

    # By the one who has submitted it, or by another one

    def look(self, *jobs, system=None):
        wanted = {job: self.scripts[job] for job in jobs or self.scripts}
        return by_place((system or self.system).look(wanted))

    def ends(self, *jobs, system=None):
        wanted = {job: self.scripts[job] for job in jobs or self.scripts}
        assert eventually(lambda: not (system or self.system).look(wanted))
        return by_place((system or self.system).inquire(wanted))

    def comes_to(self, job, state, count=1):
        """Whether so many elements come to this state."""
        return eventually(lambda: sum(seen.state == state for seen in self.look(job).values()) == count)


def by_place(seen):
    """One line for each element, by its number; None for one that is alone."""
    return {place: one for one in seen for place in ([None] if one.places is None else one.places)}


# Submitting, looking, inquiring ------------------------------------------------------------------------------


def test_elements_run_and_how_they_ended_is_known(condor, desk):
    script = "case $0 in 1) exit 3;; 2) kill -9 $$;; 3) kill -SEGV $$;; 4) exit 137;; 5) exec /no/such/python;; esac"
    job = desk.submit(script, range(6))
    assert job.isdecimal()
    ends = desk.ends(job)
    assert {place: (seen.state, seen.exitcode, seen.signal) for place, seen in ends.items()} == {
        0: ("COMPLETED", 0, None),
        1: ("COMPLETED", 3, None),
        2: ("COMPLETED", None, 9),
        3: ("COMPLETED", None, 11),
        4: ("COMPLETED", 137, None),
        5: ("COMPLETED", 127, None),
    }
    assert {seen.phase for seen in ends.values()} == {ENDED}
    assert "/no/such/python" in desk.log(5)


def test_one_element_alone_has_no_number(condor, desk):
    job = desk.submit(f"echo $0; {WAIT}", [7])
    assert desk.comes_to(job, "RUNNING")
    assert desk.system.look({job: desk.scripts[job]}) == [Seen(job, None, RUNNING, "RUNNING")]
    assert eventually(lambda: desk.log(7) == "7\n")
    desk.system.cancel({job: None})
    assert desk.ends(job)[None].state == "REMOVED"


def test_elements_with_gaps_are_what_they_are_called(condor, desk):
    job = desk.submit(f"echo $0; [ $0 = 5 ] && exit 3; {WAIT}", [3, 5, 8])
    assert eventually(lambda: [seen.state for seen in desk.look(job).values()] == ["RUNNING"] * 2)
    assert set(desk.look(job)) == {3, 8}
    assert by_place(desk.system.inquire({job: desk.scripts[job]}))[5].exitcode == 3
    assert eventually(lambda: desk.log(8) == "8\n")
    assert condor.job(desk.system.element(job, [3, 5, 8], 8))["WeftPlace"] == "8"
    desk.system.cancel({job: [8]})
    assert eventually(lambda: set(desk.look(job)) == {3})
    CondorSystem().cancel({job: [3]})  # by one who has not looked
    assert {place: seen.state for place, seen in desk.ends(job).items()} == {
        3: "REMOVED",
        5: "COMPLETED",
        8: "REMOVED",
    }


def test_whoever_comes_later_knows_as_much(condor, desk):
    first, second = desk.submit("exit 3", range(2)), desk.submit(WAIT)
    assert desk.comes_to(second, "RUNNING")
    assert eventually(lambda: not desk.look(first))
    other = CondorSystem()
    assert desk.look(system=other) == desk.look()
    assert by_place(other.inquire({first: desk.scripts[first]}))[1].exitcode == 3


def test_what_waits_is_one_line_and_costs_no_command(condor, desk):
    job = desk.submit("true", range(2_000), options=NEVER)
    condor.forget_calls()
    for _ in range(3):
        assert desk.system.look({job: desk.scripts[job]}) == [Seen(job, range(2_000), PENDING, "IDLE")]
    assert condor.calls() == []
    desk.system.cancel({job: [500]})
    assert eventually(lambda: len(desk.look(job)) == 1_999)
    assert [call.split()[0] for call in condor.calls()] == ["condor_rm"]


def test_at_most_so_many_come_into_the_queue_at_once(condor, desk):
    job = desk.submit(WAIT, range(10), throttle=3)
    assert desk.comes_to(job, "RUNNING", 3)
    assert len(condor.ask("condor_q", job, "-af", "ProcId").split()) == 3
    assert len(desk.look(job)) == 10
    log = desk.system._follower._followed[job].log
    log.is_sound, desk.system._follower._followed[job]._asked_at = False, 0.0
    assert len(desk.look(job)) == 10  # by the queue as well
    desk.system.cancel({job: None})
    assert {seen.state for seen in desk.ends(job).values()} == {"REMOVED"}


def test_what_is_held_by_its_user_waits(condor, desk):
    job = desk.submit(WAIT)
    assert desk.comes_to(job, "RUNNING")
    condor.ask("condor_hold", job)
    assert desk.comes_to(job, "HELD")
    [seen] = desk.look(job).values()
    assert "via condor_hold" in seen.reason
    assert desk.system.verdict(seen, "")[0] == "died"
    condor.ask("condor_release", job)
    assert desk.comes_to(job, "RUNNING")


def test_what_htcondor_holds_will_not_run_by_itself(condor, desk):
    desk.system = CondorSystem(transfer=True)
    job = desk.submit(
        "true",
        setup=("#CONDOR transfer_input_files = /no/such/file",),
        home=str(desk.folder),
        outputs=f"{desk.folder}/o",
    )
    assert desk.comes_to(job, "HELD")
    [seen] = desk.look(job).values()
    word, sentence = desk.system.verdict(seen, "")
    assert word == "held"
    assert "/no/such/file" in sentence


def test_what_the_site_holds_for_its_memory_has_run_out_of_it(condor, desk):
    fill = "python3 -c 'import time; x = b\"x\" * 200_000_000; time.sleep(100)'"
    job = desk.submit(fill, resources=Resources(memory=2**20 * 20))
    assert desk.comes_to(job, "HELD")
    [seen] = desk.look(job).values()
    assert desk.system.verdict(seen, "")[0] == "memory"


# Tries -------------------------------------------------------------------------------------------------------


def test_an_element_that_is_evicted_is_another_try_and_its_log_goes_on(condor, desk):
    job = desk.submit(f'echo "try $WEFT_TRY"; [ $WEFT_TRY = 1 ] || {WAIT}', range(2))
    assert eventually(lambda: "try 0" in desk.log(1))
    assert desk.comes_to(job, "RUNNING", 2)
    condor.ask("condor_vacate_job", f"{job}.1")
    assert eventually(lambda: "try 1" in desk.log(1))
    assert desk.log(1).startswith("try 0\n")
    assert eventually(lambda: 1 not in desk.look(job))
    assert by_place(desk.system.inquire({job: desk.scripts[job]}))[1].restarts == 1
    assert desk.look(job)[0].restarts == 0


# The files ---------------------------------------------------------------------------------------------------


def test_paths_and_values_may_be_anything(condor, tmp_path):
    folder = tmp_path / NASTY
    folder.mkdir()
    desk = Desk(folder, CondorSystem())
    value = f"{NASTY}\n'\"\\"
    job = desk.submit('pwd; echo "$A"; echo $0; echo "$WEFT_TRY" >&2', range(2), env=(("A", value),), name="fit 0.1,\n")
    desk.ends(job)
    assert desk.log(1) == f"{desk.home}\n{value}\n1\n0\n"
    assert desk.system.find("fit 0.1,\n") == job


def test_what_is_asked_for_is_what_htcondor_gives(condor, desk):
    resources = Resources.read("@task", cpus=3, memory="300MB", time="90s")
    job = desk.submit(
        f"echo $OMP_NUM_THREADS; {WAIT}",
        resources=resources,
        setup=('#CONDOR +ProjectName = "atlas"',),
        options=(("priority", 7), ("job_lease_duration", 77)),
    )
    assert eventually(lambda: desk.log() == "3\n")
    known = condor.job(f"{job}.0")
    assert (known["RequestCpus"], known["RequestMemory"], known["JobPrio"]) == ("3", "300", "7")
    assert (known["ProjectName"], known["JobLeaseDuration"]) == ('"atlas"', "77")
    assert "> 120" in known["PeriodicRemove"]


def test_without_cpus_libraries_get_as_many_threads_as_the_job_has_cpus(condor, desk):
    told = 'echo $BLIS_NUM_THREADS; sed -n "s/^Cpus = //p" "$_CONDOR_MACHINE_AD"'
    desk.ends(desk.submit(told, options=(("request_cpus", 5),)))
    assert desk.log() == "5\n5\n"


def test_the_environment_goes_along_unless_the_user_says_otherwise(condor, desk, monkeypatch):
    monkeypatch.setenv("OF_THE_USER", 'a\'b "c" ;|$d')
    desk.ends(desk.submit('echo "$OF_THE_USER"'))
    assert desk.log() == 'a\'b "c" ;|$d\n'
    desk.ends(desk.submit('echo "$OF_THE_USER"', options=(("getenv", False),)))
    assert desk.log() == "\n"


def test_the_description_can_be_submitted_by_hand(condor, desk):
    order = desk.order(desk.sheet("echo $0", range(2)))
    condor.ask("condor_submit", order.script.replace(".sh", ".sub"))
    assert eventually(lambda: desk.log(1) == "1\n")


def test_a_folder_with_a_line_break_is_refused(condor, tmp_path):
    (tmp_path / "a\nb").mkdir()
    desk = Desk(tmp_path / "a\nb", CondorSystem())
    with pytest.raises(Refused, match="takes no folder with a line break"):
        desk.submit("true")
    with pytest.raises(ChoiceError, match="takes no folder with a line break"):
        desk.system.check(desk.sheet("true", home="/a\nb"))


# Limits and refusals -----------------------------------------------------------------------------------------


def test_limits(condor, system):
    assert system.limits() == Limits(20_000)
    condor.configure(MAX_JOBS_PER_SUBMISSION=50)
    assert system.limits() == Limits(50)


def test_too_many_jobs_at_once_are_not_for_ever(condor, desk):
    condor.configure(MAX_JOBS_PER_OWNER=5)
    order = desk.order(desk.sheet("true", range(6), options=NEVER))
    with pytest.raises(Busy, match="MAX_JOBS_PER_OWNER") as caught:
        desk.send(order)
    assert (caught.value.full, caught.value.unsure) == (True, False)
    assert desk.system.find(order.name) is None
    assert desk.submit("true", range(5), options=NEVER)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"zzz": 1},
            r"^zzz=\.\.\.: condor_submit knows no 'zzz'; an attribute .* is written \+zzz",
        ),
        ({"requirments": "Memory > 5"}, "did you mean 'requirements'"),
        ({"requirements": "(Memory >"}, "condor_submit does not take that: .*requirements"),
        ({"rank": "a b"}, "condor_submit does not take that: .*rank = a b"),
    ],
)
def test_unknown_words_and_values_are_found_before_anything_starts(condor, desk, options, words):
    with pytest.raises(ChoiceError, match=f"(?is){words}"):
        desk.system.check(desk.sheet("true", options=tuple(options.items())))


def test_a_check_asks_no_daemon(condor, desk):
    sheet = desk.sheet("true", options=(("accounting_group", "x"),))
    with condor.schedd_stopped():
        condor.forget_calls()
        desk.system.check(sheet)
        desk.system.check(sheet)
        assert condor.calls() == [f"condor_submit -dry-run {os.devnull} -"]


# A schedd that is away ---------------------------------------------------------------------------------------


def test_a_stopped_schedd_is_busy(condor, desk):
    running = desk.submit(WAIT)
    order = desk.order(desk.sheet("true"))
    with condor.schedd_stopped():
        for question in (
            lambda: desk.system.find("x"),
            lambda: desk.system.cancel({"1": None, "2": [1, 2]}),
            lambda: desk.system.submit(order),
        ):
            with pytest.raises(Busy) as caught:
                question()
            assert not caught.value.unsure
            assert not caught.value.full
        assert None in desk.look(running)  # the log is there, whoever is away
    assert desk.send(order)


def test_who_takes_too_long_may_have_taken_it(condor, desk):
    desk.system = CondorSystem(timeout=0.5)
    order = desk.order(desk.sheet("true", options=NEVER))
    with condor.schedd_hanging():
        with pytest.raises(Busy, match="condor_submit took too long") as caught:
            desk.system.submit(order)
        assert caught.value.unsure
        with pytest.raises(Busy, match=r"condor_q took longer than 0\.5 s"):
            desk.system.find(order.name)


def test_one_that_was_taken_though_nobody_said_so_is_found(condor, desk):
    condor.twist("condor_submit", '"$REAL" "$@" >/dev/null; echo "ERROR: Failed to commit" >&2; exit 1')
    order = desk.order(desk.sheet("true"))
    with pytest.raises(Busy) as caught:
        desk.system.submit(order)
    assert caught.value.unsure
    condor.straighten("condor_submit")
    found = desk.system.find(order.name)
    assert found is not None
    assert eventually(lambda: not condor.ask("condor_q", found, "-af", "ProcId"))
    assert desk.system.find(order.name) == found  # by the history, too
    assert desk.system.find("none-such") is None


# An event log that is lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["removed", "emptied"])
def test_what_happens_while_the_log_is_lost_is_known_all_the_same(condor, desk, monkeypatch, harm):
    monkeypatch.setattr("weft.executors.cluster.condor_follow.AGAIN", 0.0)
    job = desk.submit("[ $0 = 0 ] && exec sleep 1000; while [ ! -e go ]; do sleep 0.1; done; exit 3", range(3))
    log = Path(events_of(desk.scripts[job]))
    assert desk.comes_to(job, "RUNNING", 3)
    if harm == "removed":
        log.unlink()
    else:
        os.truncate(log, 0)
    assert {seen.state for seen in desk.look(job).values()} == {"RUNNING"}
    (desk.home / "go").touch()
    assert eventually(lambda: set(desk.look(job)) == {0})
    if harm == "emptied" or log.exists():
        os.truncate(log, 0)
    ends = by_place(desk.system.inquire({job: desk.scripts[job]}))
    assert {place: (seen.state, seen.exitcode) for place, seen in ends.items()} == {
        1: ("COMPLETED", 3),
        2: ("COMPLETED", 3),
    }
    monkeypatch.setattr("weft.executors.cluster.condor_follow.SILENT", 0.0)
    other = CondorSystem()  # who has not seen what the log had to say
    assert eventually(lambda: set(desk.look(job, system=other)) == {0})
    assert eventually(lambda: set(by_place(other.inquire({job: desk.scripts[job]}))) == {1, 2})
