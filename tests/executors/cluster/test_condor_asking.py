"""When HTCondor's commands are asked, and when a log is enough. Commands are small programs of the test's here."""

import os
import re
from pathlib import Path

import pytest

from weft.errors import ChoiceError
from weft.executors.cluster.condor import CondorSystem
from weft.executors.cluster.condor_script import events_of
from weft.executors.cluster.system import Busy, Clock, Limits, Order, Refused, Sheet
from weft.resources import Resources

COMMANDS = ("condor_submit", "condor_q", "condor_rm", "condor_history", "condor_config_val", "condor_status")
NONE = "undefined\t" * 5 + "undefined"
SUBMITTED = "000 (007.{:03}.000) 2026-11-25 13:59:46 Job submitted from host: <127.0.0.1:39269>\n...\n"
ENDED = "005 (007.{:03}.000) 2026-11-25 13:59:46 Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"


class Hand(Clock):
    """A clock that stands still."""

    time = 100.0

    def now(self):
        return self.time


class Pool:
    """Commands that say what they are told to, and a submission of three elements."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for command in COMMANDS:
            self.says(command)
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        self.system = CondorSystem(clock=Hand())
        self.script = self.written(range(3))
        self.log = Path(events_of(self.script))

    def says(self, command, text="", *, stderr="", code=0):
        (self.folder / f"{command}.out").write_text(text)
        (self.folder / f"{command}.err").write_text(stderr)
        path = self.bin / command
        path.write_text(
            f'#!/bin/sh\necho {command} "$@" >>{self.folder}/calls\ncat {self.folder}/{command}.out\n'
            f"cat {self.folder}/{command}.err >&2\nexit {code}\n"
        )
        path.chmod(0o755)

    def rows(self, *rows, command="condor_q", job=7):
        """In the queue, or the history: numbers, each with a status."""
        self.says(command, "".join(f"{job}\t{number}\t{status}\t1\tfalse\t{NONE}\n" for number, status in rows))

    def calls(self, command=""):
        """The command lines so far; they are forgotten."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if line.startswith(command)]

    def written(self, places, **fields):
        script = str(self.folder / "script.sh")
        sheet = Sheet("x", places, ("true",), "/{place}", "/", Resources(), **fields)
        for path, text in self.system.files(sheet, script).items():
            Path(path).write_text(text)
        return script

    def look(self, after=0.0):
        self.system.clock.time += after
        return {
            place: seen.state
            for seen in self.system.look({"7": self.script})
            for place in (range(3) if seen.places is None else seen.places)
        }

    def ends(self):
        return {
            place: (seen.state, seen.exitcode)
            for seen in self.system.inquire({"7": self.script})
            for place in seen.places
        }


@pytest.fixture
def pool(tmp_path, monkeypatch):
    return Pool(tmp_path, monkeypatch)


def test_a_log_that_speaks_costs_no_command(pool):
    for number in range(3):
        with pool.log.open("a") as log:
            log.write(SUBMITTED.format(number))
        assert pool.look(after=50) == dict.fromkeys(range(3), "IDLE")
    assert pool.calls() == []


def test_what_is_silent_is_asked_about_less_and_less_often(pool):
    pool.rows((0, 1), (1, 1), (2, 1))
    pool.look()
    asked = []
    for _ in range(3000):
        pool.look(after=1)
        asked += [pool.system.clock.time] * len(pool.calls("condor_q"))
    pauses = [after - before for before, after in zip([100.0, *asked], asked, strict=False)]
    assert pauses[:5] == [60, 120, 240, 480, 600]
    assert set(pauses[5:]) <= {600}


def test_one_that_speaks_now_and_then_is_asked_about_as_well(pool):
    """An event may have been lost, such as on a full disk."""
    pool.rows((0, 1), (1, 1), (2, 1))
    for _ in range(30):
        with pool.log.open("a") as log:
            log.write(SUBMITTED.format(0))
        pool.look(after=30)
    assert len(pool.calls("condor_q")) == 1


def test_one_query_is_for_all_that_are_silent(pool):
    pool.rows((0, 1), (1, 1), (2, 1))
    jobs = {str(number): pool.script for number in range(7, 12)}
    pool.system.look(jobs)
    pool.system.clock.time += 60
    pool.system.look(jobs)
    [call] = pool.calls()
    assert call.startswith("condor_q 7 8 9 10 11 -af:t ClusterId ProcId JobStatus")


def test_a_log_that_was_cut_is_asked_about_soon_and_once(pool):
    pool.log.write_text("".join(map(SUBMITTED.format, range(3))))
    pool.look()
    pool.log.write_text("")
    pool.rows((0, 2), (1, 2), (2, 1))
    assert pool.look(after=1) == dict.fromkeys(range(3), "IDLE")
    assert pool.look(after=5) == {0: "RUNNING", 1: "RUNNING", 2: "IDLE"}
    pool.look(after=5)
    assert len(pool.calls("condor_q")) == 1


def test_what_has_left_the_queue_is_told_by_the_history_where_the_log_is_gone(pool):
    pool.log.write_text("".join(map(SUBMITTED.format, range(3))) + ENDED.format(0))
    pool.look()
    pool.log.unlink()
    pool.rows((2, 2))
    pool.look(after=1)
    assert pool.look(after=5) == {2: "RUNNING"}
    assert pool.ends() == {0: ("COMPLETED", 0)}  # of the other one nobody knows anything yet
    assert len(pool.calls("condor_history")) == 1
    pool.ends()
    assert pool.calls("condor_history") == []  # not at once again
    pool.says("condor_history", "7\t1\t4\t1\tfalse\t3\t" + "undefined\t" * 3 + "undefined\n")
    pool.system.clock.time += 5
    assert pool.ends() == {0: ("COMPLETED", 0), 1: ("COMPLETED", 3)}
    assert pool.calls("condor_history")[0].startswith("condor_history -match 1 7.1 -af:t")
    assert pool.ends()[1] == ("COMPLETED", 3)
    assert pool.calls() == []


def test_an_end_that_is_written_late_counts_though_the_queue_has_lost_it(pool):
    pool.rows()
    assert pool.look(after=0) == dict.fromkeys(range(3), "IDLE")
    pool.look(after=60)
    assert pool.ends() == {}
    pool.log.write_text(ENDED.format(1))
    assert pool.ends() == {1: ("COMPLETED", 0)}


def test_what_comes_little_by_little_is_not_missed_before_it_has_come(pool):
    pool.script = pool.written(range(3), throttle=1)
    pool.rows((1, 2))
    pool.look()
    # The same command with -factory says which comes next.
    path = pool.bin / "condor_q"
    path.write_text(
        path.read_text().replace("cat", 'case "$*" in -factory*) echo 7 2 | tr " " "\\t"; exit;; esac\ncat', 1)
    )
    assert pool.look(after=60) == {1: "RUNNING", 2: "IDLE"}


def test_nobody_who_answers_is_busy_and_nothing_is_concluded(pool):
    pool.log.write_text("".join(map(SUBMITTED.format, range(3))))
    pool.look()
    pool.says("condor_q", stderr="Error: Can't find address for schedd x\n\nExtra Info: no\n", code=1)
    with pytest.raises(Busy, match=r"^Can't find address for schedd x$"):
        pool.look(after=60)
    pool.rows((0, 1), (1, 1), (2, 1))
    assert pool.look(after=1) == dict.fromkeys(range(3), "IDLE")


def test_what_is_over_is_not_asked_about(pool):
    pool.log.write_text("".join(map(ENDED.format, range(3))))
    assert pool.look() == {}
    pool.look(after=1000)
    assert pool.calls() == []
    assert pool.ends() == dict.fromkeys(range(3), ("COMPLETED", 0))


def test_of_one_whose_folder_is_gone_nothing_is_known(pool, tmp_path):
    assert pool.system.look({"9": str(tmp_path / "none" / "script.sh")}) == []
    assert pool.system.inquire({"9": str(tmp_path / "none" / "script.sh")}) == []


def test_logs_that_nobody_asks_for_are_forgotten(pool):
    pool.look()
    pool.system.clock.time += 1000
    pool.system.look({})
    assert pool.system._follower._followed == {}


# Removing


def test_elements_are_removed_by_htcondors_numbers(pool):
    pool.script = pool.written([3, 5, 8])
    pool.look()
    pool.system.cancel({"7": [5, 8], "9": None})
    assert pool.calls() == ["condor_rm 7.1 7.2 9"]


def test_who_has_not_looked_yet_asks_for_the_numbers(pool):
    pool.says("condor_q", "3\t0\n5\t1\n")
    pool.system.cancel({"7": [5, 8]})
    assert [re.sub(r" .*", "", call) for call in pool.calls()] == ["condor_q", "condor_rm"]


@pytest.mark.parametrize(
    ("stderr", "busy"),
    [
        ("Job 7.1 not found\n", False),
        ("condor_rm:0:There are no jobs in the queue\nCouldn't find/remove all jobs in cluster 7\n", False),
        ("condor_rm: Can't find address for schedd x\n", True),
        ("SECMAN:2007:Read failure during security negotiation.\nCouldn't find/remove all jobs in cluster 7\n", True),
    ],
)
def test_what_is_over_is_removed_and_who_does_not_answer_is_busy(pool, stderr, busy):
    pool.says("condor_rm", stderr=stderr, code=1)
    if busy:
        with pytest.raises(Busy):
            pool.system.cancel({"7": None})
    else:
        pool.system.cancel({"7": None})


def test_what_belongs_to_somebody_else_is_told(pool, caplog):
    pool.says("condor_rm", stderr="Permission denied to remove job 7.0\n", code=1)
    pool.system.cancel({"7": None})
    assert "not removed: Permission denied to remove job 7.0" in caplog.text


def test_nothing_is_asked_about_nothing(pool):
    assert pool.system.look({}) == []
    assert pool.system.inquire({}) == []
    pool.system.cancel({})
    assert pool.calls() == []


# Submitting


def test_it_is_submitted_from_its_folder_and_followed(pool):
    pool.says("condor_submit", "7.0 - 7.2\n")
    assert pool.system.submit(Order("x", pool.script, range(3))) == "7"
    assert pool.calls() == ["condor_submit -terse script.sub"]
    pool.system.cancel({"7": [2]})
    assert pool.calls() == ["condor_rm 7.2"]


def test_dependencies_are_refused(pool):
    with pytest.raises(Refused, match="no dependencies between jobs"):
        pool.system.submit(Order("x", pool.script, range(3), (("6", "success"),)))


def test_a_description_that_is_gone_is_refused(pool, tmp_path):
    with pytest.raises(Refused, match="the description to submit is gone"):
        pool.system.submit(Order("x", str(tmp_path / "none.sh"), range(3)))


def test_who_takes_too_long_may_have_taken_it(pool):
    (pool.bin / "condor_submit").write_text("#!/bin/sh\nsleep 1000\n")
    pool.system._commands.timeout = 0.2
    with pytest.raises(Busy, match="condor_submit took too long") as caught:
        pool.system.submit(Order("x", pool.script, range(3)))
    assert caught.value.unsure


@pytest.mark.parametrize(("queue", "history", "found"), [("7\n8\n8\n", "", "8"), ("", "5\n", "5"), ("", "", None)])
def test_the_newest_of_a_name_is_found(pool, queue, history, found):
    pool.says("condor_q", queue)
    pool.says("condor_history", history)
    assert pool.system.find("fit 0.1") == found
    assert 'JobBatchName == "fit_0.1-' in pool.calls()[0]


@pytest.mark.parametrize(("said", "most"), [("500\n", 500), ("Not defined: X\n", 20_000), ("0\n", 1)])
def test_limits(pool, said, most):
    pool.says("condor_config_val", said)
    assert pool.system.limits() == Limits(most)


def test_a_pool_without_machines_is_no_pool_of_strangers(pool, caplog):
    pool.says("condor_config_val", "here\n")
    pool.system.limits()
    pool.says("condor_status", "here\n")
    pool.system.limits()
    pool.says("condor_status", stderr="Error: communication error\n", code=1)
    pool.system.limits()
    assert caplog.text == ""


def test_elements_have_htcondors_names():
    assert CondorSystem().element("7", range(1), 0) == "7.0"
    assert CondorSystem().element("7", [3, 5, 8], 5) == "7.1"


# What it takes


def sheet(**fields):
    return Sheet("a", range(2), ("true",), "/{place}", "/", Resources(), **fields)


def test_a_check_is_made_once_for_the_same_words(pool):
    for name in ("a", "a", "b"):
        pool.system.check(sheet(options=(("accounting_group", name),)))
    assert [call.split()[:2] for call in pool.calls()] == [["condor_submit", "-dry-run"]] * 2


def test_a_word_without_use_is_told_before_anything_starts(pool):
    pool.says(
        "condor_submit", stderr="WARNING: the line 'requirments = 3' was unused by condor_submit. Is it a typo?\n"
    )
    with pytest.raises(ChoiceError, match="did you mean 'requirements'"):
        pool.system.check(sheet(setup=("#CONDOR requirments = 3",)))
    pool.says("condor_submit", stderr="ERROR: Parse error in expression: \n\tRank = a b\n", code=1)
    with pytest.raises(ChoiceError, match=r"condor_submit does not take that: Parse error in expression:\nRank = a b"):
        pool.system.check(sheet(options=(("rank", "a b"),)))


def test_a_missing_htcondor_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChoiceError, match=r"condor_submit is not found on this machine.*on an access point"):
        CondorSystem().check(sheet())
    with pytest.raises(Busy, match="condor_q cannot be run"):
        CondorSystem().find("x")
