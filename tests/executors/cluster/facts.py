"""What a batch system does: one table of facts, which hold for the fake cluster and for a real one alike.

A fact is a scenario over the questions of a `BatchSystem`, with a `Harm` for what befalls it from outside::

    @pytest.mark.parametrize("fact", FACTS, ids=str)
    def test_fact(fact, tmp_path):
        with Bench(system, harm, tmp_path) as bench:
            fact.check(bench)

`fact.needs` names the methods of the harm that it uses. On a real cluster `Harm.until` asks again and again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from contract.stage import Gate, ended
from executors.cluster.harm import Harm
from weft.executors.cluster.system import BatchSystem, Busy, Order, Phase, Refused, Seen, Sheet
from weft.resources import Resources

__all__ = ["FACTS", "Bench", "Fact"]

UNKNOWN = "999999"  # an id that no job has
#: In a script: say at the gate that one is there, and wait to be let through. One that is being killed may still pass,
#: and take the place of another; so where that can be, the gate is opened for all.
WAIT = 'printf . > "$0/gate/arrivals"; head -c 1 "$0/gate/passes" > /dev/null'
GOOD, BAD = "exit 0", "exit 3"
#: More memory than the 100 MB that are asked for, once one is let through the gate.
HOG = f"{WAIT}; exec '{sys.executable}' -c 'x = bytearray(400_000_000); import time; time.sleep(1000)'"


class Fact(NamedTuple):
    """One of them."""

    name: str
    check: Callable[[Bench], None]
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


FACTS: list[Fact] = []


def fact(*needs: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def register(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
        FACTS.append(Fact(check.__name__, check, needs))
        return check

    return register


class Bench:
    """A batch system under test, and a folder that it shares with its jobs."""

    def __init__(self, system: BatchSystem, harm: Harm, folder: Path):
        self.system = system
        self.harm = harm
        self.folder = folder / "a 'folder'"
        self._counts: dict[str, int] = {}
        self._token = os.urandom(3).hex()

    def __enter__(self) -> Bench:
        self.folder.mkdir()
        self.gate = Gate(self.folder / "gate")
        return self

    def __exit__(self, *_) -> None:
        self.system.cancel(dict.fromkeys(self._counts))
        self.gate.close()

    def sheet(self, text: str, places: Sequence[int] = (0,), **rest) -> Sheet:
        """What runs a text by ``sh``: its ``$0`` is the folder, ``$1`` the number of the element."""
        return Sheet(
            name=f"fact-{self._token}-{len(os.listdir(self.folder))}",
            places=places,
            command=("/bin/sh", "-c", text, str(self.folder)),
            log=str(self.folder / "{place}.log"),
            directory=str(self.folder),
            resources=Resources.read("Bench", **{word: rest.pop(word) for word in Resources.options() if word in rest}),
            **rest,
        )

    def order(self, sheet: Sheet, after: Iterable[tuple[str, str]] = (), any: bool = False) -> Order:
        script = self.folder / f"{sheet.name}.sh"
        for path, text in self.system.files(sheet, str(script)).items():
            Path(path).write_bytes(text.encode(errors="surrogateescape"))
        return Order(sheet.name, str(script), sheet.places, tuple(after), any)

    def submit(self, text: str, places: Sequence[int] = (0,), after=(), any=False, **rest) -> str:
        return self.submitted(self.order(self.sheet(text, places, **rest), after, any))

    def submitted(self, order: Order) -> str:
        job = self.system.submit(order)
        self._counts[job] = len(order.places)
        return job

    def written(self, text: str, *directives: str, first: str = "#!/bin/sh") -> str:
        """Submit a script that is written by hand; its variable WEFT_FOLDER is the folder."""
        script = self.folder / f"{len(os.listdir(self.folder))}.sh"
        lines = [first, f'#SBATCH --output="{self.folder}/log"', *directives, f'WEFT_FOLDER="{self.folder}"', text]
        script.write_text("\n".join(lines) + "\n")
        return self.submitted(Order(f"fact-{self._token}-{script.stem}", str(script), (0,)))

    def waiting(self, text: str = WAIT, **rest) -> str:
        """A job whose elements are at the gate."""
        job = self.submit(text, **rest)
        self.gate.arrived(self._counts[job])
        self.runs(job)
        return job

    def look(self, *jobs: str) -> dict[tuple[str, int | None], Seen]:
        """Each element of which a look tells."""
        return by_element(self.system.look(jobs))

    def runs(self, job: str) -> None:
        """Return when it runs."""
        self.harm.until(lambda: {seen.phase for seen in self.system.look([job])} == {Phase.RUNNING})

    def waits(self, job: str, *reasons: str) -> Seen:
        """Return when all of it waits for one of these reasons."""
        found: list[Seen] = []

        def holds():
            found[:] = self.system.look([job])
            return found and all(seen.phase is Phase.PENDING and seen.reason in reasons for seen in found)

        self.harm.until(holds)
        return found[0]

    def ends(self, job: str, count: int | None = None) -> dict[int | None, Seen]:
        """Return when it is over: what became of each element, or of so many of which there is a trace."""
        self.harm.until(lambda: not self.system.look([job]))
        found: dict[int | None, Seen] = {}

        def holds():
            seen = by_element(self.system.inquire([job]))
            found.update({place: one for (_, place), one in seen.items() if one.phase is Phase.ENDED})
            return len(found) == (self._counts[job] if count is None else count)

        self.harm.until(holds)
        return found

    def end(self, job: str) -> Seen:
        """The same of a job that is no array."""
        return self.ends(job)[None]

    def becomes(self, job: str, state: str, signal: int) -> Seen:
        """Return when a job that is no array has ended so. What ended its process may be known later than its end."""
        self.harm.until(lambda: {(end.state, end.signal) for end in self.system.inquire([job])} == {(state, signal)})
        assert self.system.look([job]) == []
        return self.end(job)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


def by_element(told: Iterable[Seen]) -> dict[tuple[str, int | None], Seen]:
    found = {}
    for seen in told:
        for place in (None,) if seen.places is None else seen.places:
            assert (seen.job, place) not in found, "told once"
            found[seen.job, place] = seen
    return found


# What runs, and how it ends -----------------------------------------------------------------------------------


@fact()
def a_job_that_has_ended_is_not_looked_at_any_more(b):
    job = b.submit(GOOD)
    end = b.end(job)
    assert (end.state, end.exitcode, end.signal, end.restarts) == ("COMPLETED", 0, None, 0)
    assert b.system.look([job]) == []


@fact()
def an_exit_code_is_told(b):
    end = b.end(b.submit(BAD))
    assert (end.state, end.exitcode, end.signal, end.reason) == ("FAILED", 3, None, "NonZeroExitCode")


@fact()
def a_signal_is_told(b):
    end = b.end(b.submit("kill -9 $$"))
    assert (end.state, end.exitcode, end.signal, end.reason) == ("FAILED", None, 9, "JobLaunchFailure")


@fact()
def each_element_knows_its_number_and_its_try(b):
    job = b.submit('echo "$1 $WEFT_TRY" > "$0/told.$1"; [ "$1" != 5 ]', [3, 5, 8])
    ends = b.ends(job)
    assert {place: end.state for place, end in ends.items()} == {3: "COMPLETED", 5: "FAILED", 8: "COMPLETED"}
    assert [b.lines(f"told.{place}") for place in (3, 5, 8)] == [["3 0"], ["5 0"], ["8 0"]]


@fact()
def one_alone_is_no_array(b):
    job = b.submit(f'echo "$1" > "$0/told"; {WAIT}', [4])
    b.gate.arrived()
    b.runs(job)
    assert [(seen.job, seen.places) for seen in b.system.look([job])] == [(job, None)]
    assert b.lines("told") == ["4"]
    b.gate.open(1)
    assert b.end(job).state == "COMPLETED"


@fact()
def the_log_has_what_was_written_in_order(b):
    b.ends(b.submit("echo out $1; echo err >&2; echo end", range(2)))
    assert [b.lines(f"{place}.log") for place in range(2)] == [["out 0", "err", "end"], ["out 1", "err", "end"]]


@fact()
def directory_environment_and_setup_are_as_on_the_sheet(b):
    b.end(
        b.submit(
            'pwd; echo "$SPICE"; echo "$MORE"',
            env=(("SPICE", 'it\'s "hot"; $HOME'),),
            setup=("#SBATCH --comment=x", "export MORE=much"),
        )
    )
    assert b.lines("0.log") == [str(b.folder), 'it\'s "hot"; $HOME', "much"]


@fact()
def it_has_the_environment_of_its_submission(b):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEFT_SPICE", "hot")
        job = b.submit('echo "$WEFT_SPICE"')
    b.end(job)
    assert b.lines("0.log") == ["hot"]


@fact("release")
def a_script_may_be_changed_once_it_is_submitted(b):
    order = b.order(b.sheet("echo first", options=(("hold", None),)))
    job = b.submitted(order)
    Path(order.script).write_text("#!/bin/sh\nexit 7\n")
    b.harm.release(job)
    assert b.end(job).state == "COMPLETED"


@fact("leftovers_are_killed")
def what_a_job_leaves_behind_is_killed(b):
    job = b.submit('sleep 1000 & echo $! > "$0/pid"')
    assert b.end(job).state == "COMPLETED"
    assert ended(int(b.lines("pid")[0]))


@fact()
def where_output_cannot_be_written_nothing_runs(b):
    job = b.written('echo > "$WEFT_FOLDER/ran"', f"#SBATCH --output={b.folder.parent}/no/such/folder")
    end = b.end(job)
    assert (end.state, end.exitcode, end.signal, end.reason) == ("FAILED", None, 53, "JobLaunchFailure")
    assert not b.lines("ran")


@fact()
def where_its_directory_is_gone_it_runs_elsewhere(b):
    assert b.end(b.written("pwd", "#SBATCH --chdir=/no/such/folder")).state == "COMPLETED"
    *said, folder = b.lines("log")
    assert "couldn't chdir" in said[0]
    assert folder == "/tmp"


@fact()
def an_interpreter_that_is_not_there_is_told_in_the_log(b):
    end = b.end(b.written("", first="#!/no/such/interpreter"))
    assert (end.state, end.exitcode) == ("FAILED", 2)
    assert "bad interpreter(/no/such/interpreter)" in b.lines("log")[0]


@fact()
def a_script_that_names_no_interpreter_fails(b):
    end = b.end(b.written("", first="#!"))
    assert (end.state, end.exitcode) == ("FAILED", 8)
    assert "Exec format error" in b.lines("log")[0]


# What waits ---------------------------------------------------------------------------------------------------


@fact("capacity")
def what_finds_no_room_waits_in_order(b):
    full = b.waiting(places=range(b.harm.capacity))
    first, second = b.submit(WAIT), b.submit(WAIT)
    b.waits(first, "Resources", "Priority")
    b.waits(second, "Resources", "Priority")
    assert {seen.phase for seen in b.system.look([full])} == {Phase.RUNNING}
    b.gate.open(1)
    b.gate.arrived(1)
    b.runs(first)
    b.waits(second, "Resources", "Priority")


@fact()
def a_throttle_holds_elements_back(b):
    job = b.submit(WAIT, range(4), throttle=2)
    b.gate.arrived(2)
    b.harm.until(lambda: sorted(seen.phase.value for seen in b.look(job).values()) == ["pending"] * 2 + ["running"] * 2)
    assert {seen.reason for seen in b.look(job).values() if seen.phase is Phase.PENDING} == {"JobArrayTaskLimit"}
    b.gate.open(2)
    b.gate.arrived(2)
    b.gate.open()
    assert {end.state for end in b.ends(job).values()} == {"COMPLETED"}


@fact()
def one_look_tells_of_all_it_is_asked_for(b):
    one, array, other = b.waiting(), b.waiting(places=range(2)), b.waiting()
    b.harm.until(lambda: len(b.look(one, array)) == 3)
    assert set(b.look(one, UNKNOWN, array)) == {(one, None), (array, 0), (array, 1)}
    assert set(b.look(other)) == {(other, None)}


@fact()
def nothing_is_told_of_an_unknown_job(b):
    assert b.system.look([UNKNOWN]) == []
    assert b.system.inquire([UNKNOWN]) == []


@fact("hold", "release")
def a_held_job_waits_until_it_is_released(b):
    job = b.submit(GOOD, options=(("hold", None),))
    b.waits(job, "JobHeldUser")
    b.harm.release(job)
    assert b.end(job).state == "COMPLETED"


@fact("partition_down")
def a_partition_that_is_down_takes_and_starts_nothing(b):
    b.harm.partition_down()
    try:
        job = b.submit(GOOD)
        b.waits(job, "PartitionDown")
    finally:
        b.harm.partition_up()
    assert b.end(job).state == "COMPLETED"


@fact("fail_launch", "release")
def a_launch_that_fails_leaves_the_job_held(b):
    b.harm.fail_launch()
    job = b.submit(GOOD, options=(("requeue", None),))
    b.waits(job, "launch failed requeued held")
    b.harm.release(job)
    assert b.end(job).state == "COMPLETED"


@fact("fail_launch")
def a_launch_that_fails_cancels_a_job_that_must_not_run_again(b):
    b.harm.fail_launch()
    end = b.end(b.submit(GOOD, options=(("no-requeue", None),)))
    assert (end.state, end.exitcode, end.signal, end.restarts) == ("CANCELLED", None, None, 0)
    assert b.lines("0.log") == ["Error running slurm prolog: 1"]
    assert b.system.verdict(end, b.lines("0.log")[0])[0] == "infrastructure"


# Submissions --------------------------------------------------------------------------------------------------


@fact()
def an_unknown_partition_is_refused_in_its_own_words(b):
    with pytest.raises(Refused, match="invalid partition"):
        b.submit(GOOD, options=(("partition", "nonsense"),))


@fact()
def more_memory_than_any_node_has_is_refused(b):
    with pytest.raises(Refused, match="Requested node configuration is not available"):
        b.submit(GOOD, memory="900TB")


@fact()
def more_cpus_than_any_node_has_wait_for_ever(b):
    b.waits(b.submit(GOOD, cpus=10_000), "PartitionConfig")


@fact()
def an_array_above_the_limit_is_refused(b):
    most = b.system.limits().array
    with pytest.raises(Refused, match="Invalid job array specification"):
        b.submit(GOOD, range(most + 1))


@fact("limit_submissions")
def a_submission_beyond_the_limit_of_the_user_is_for_later(b):
    b.harm.limit_submissions(2)
    try:
        job = b.waiting(places=range(2))
        with pytest.raises(Busy) as caught:
            b.submit(GOOD)
        assert (caught.value.full, caught.value.unsure) == (True, False)
        b.gate.open(2)
        b.ends(job)
        assert b.end(b.submit(GOOD)).state == "COMPLETED"
    finally:
        b.harm.limit_submissions(None)


@fact()
def a_job_is_found_by_its_name(b):
    sheet = b.sheet(WAIT)
    assert b.system.find(sheet.name) is None
    job = b.submitted(b.order(sheet))
    assert b.system.find(sheet.name) == job
    b.gate.arrived()
    b.gate.open(1)
    b.end(job)
    assert b.system.find(sheet.name) == job
    assert b.system.find(sheet.name + "x") is None


@fact("lose_answer")
def a_submission_without_an_answer_may_have_been_taken(b):
    for taken in (True, False):
        b.harm.lose_answer(taken)
        sheet = b.sheet(GOOD)
        with pytest.raises(Busy) as caught:
            b.submitted(b.order(sheet))
        assert caught.value.unsure
        assert (b.system.find(sheet.name) is not None) == taken


# Dependencies -------------------------------------------------------------------------------------------------


@fact()
def a_dependent_waits_for_the_end_of_all_elements(b):
    parent = b.waiting(places=range(2))
    child = b.submit(GOOD, after=[(parent, "success")])
    b.waits(child, "Dependency")
    b.gate.open(1)
    b.harm.until(lambda: len(b.look(parent)) == 1)
    b.waits(child, "Dependency")
    b.gate.open(1)
    assert b.end(child).state == "COMPLETED"


@fact()
def an_unknown_job_counts_as_over_and_well(b):
    assert b.end(b.submit(GOOD, after=[(UNKNOWN, "success")])).state == "COMPLETED"
    assert b.end(b.submit(GOOD, after=[(UNKNOWN, "failure")])).state == "COMPLETED"


@fact("forget")
def so_does_one_that_was_forgotten(b):
    parent = b.submit(GOOD)
    b.end(parent)
    b.harm.forget(parent)
    assert b.end(b.submit(GOOD, after=[(parent, "failure")])).state == "COMPLETED"


@fact()
def what_cannot_come_cancels_the_dependents_and_theirs(b):
    parent = b.waiting()
    child = b.submit(GOOD, after=[(parent, "failure")])
    grandchild = b.submit(GOOD, after=[(child, "success")])
    b.gate.open(1)
    assert b.end(child).state == b.end(grandchild).state == "CANCELLED"


@fact("let_invalid_dependents_stay")
def what_cannot_come_leaves_them_waiting_if_told_so(b):
    parent = b.submit(BAD)
    b.end(parent)
    b.harm.let_invalid_dependents_stay()
    child = b.submit(GOOD, after=[(parent, "success")], options=(("kill-on-invalid-dep", "no"),))
    b.waits(child, "DependencyNeverSatisfied")


@fact()
def each_way_of_waiting_for_an_end_does_what_it_says(b):
    good, bad, cancelled = b.submit(GOOD), b.submit(BAD, range(2)), b.waiting()
    b.end(good), b.ends(bad)
    b.system.cancel({cancelled: None})
    b.end(cancelled)
    cases = {
        (good, "success"): "COMPLETED",
        (good, "failure"): "CANCELLED",
        (good, "any"): "COMPLETED",
        (bad, "success"): "CANCELLED",
        (bad, "failure"): "COMPLETED",
        (bad, "any"): "COMPLETED",
        (cancelled, "success"): "CANCELLED",
        (cancelled, "failure"): "COMPLETED",
        (cancelled, "any"): "COMPLETED",
    }
    jobs = {case: b.submit(GOOD, after=[case]) for case in cases}
    assert {case: b.end(job).state for case, job in jobs.items()} == cases


@fact()
def one_element_can_be_waited_for(b):
    parent = b.submit('[ "$1" != 1 ]', range(2))
    b.ends(parent)
    cases = {
        (f"{parent}_0", "success"): "COMPLETED",
        (f"{parent}_0", "failure"): "CANCELLED",
        (f"{parent}_1", "success"): "CANCELLED",
        (f"{parent}_1", "failure"): "COMPLETED",
        (f"{parent}_1", "any"): "COMPLETED",
        (f"{parent}_7", "failure"): "COMPLETED",  # as with a job that nobody knows
    }
    jobs = {case: b.submit(GOOD, after=[case]) for case in cases}
    assert {case: b.end(job).state for case, job in jobs.items()} == cases


@fact()
def of_several_all_are_needed_or_one(b):
    good, bad = b.submit(GOOD), b.submit(BAD)
    b.end(good), b.end(bad)
    after = [(bad, "success"), (good, "success")]
    assert b.end(b.submit(GOOD, after=after)).state == "CANCELLED"
    assert b.end(b.submit(GOOD, after=after, any=True)).state == "COMPLETED"
    assert b.end(b.submit(GOOD, after=[(bad, "success"), (good, "failure")], any=True)).state == "CANCELLED"


@fact()
def elements_can_wait_for_their_own_kind(b):
    parent = b.submit('[ "$1" != 1 ]', range(3))
    child = b.submit(GOOD, range(3), after=[(parent, "each")])
    assert {place: end.state for place, end in b.ends(child).items()} == {
        0: "COMPLETED",
        1: "CANCELLED",
        2: "COMPLETED",
    }


# Cancelling ---------------------------------------------------------------------------------------------------


@fact("hold")
def what_waits_is_cancelled_at_once_and_never_runs(b):
    job = b.submit('echo > "$0/ran"', options=(("hold", None),))
    b.waits(job, "JobHeldUser")
    b.system.cancel({job: None})
    end = b.end(job)
    assert (end.state, end.exitcode, end.signal, end.reason) == ("CANCELLED", None, None, "JobHeldUser")
    assert not b.lines("ran")


@fact("release")
def a_waiting_element_that_is_cancelled_by_its_number_leaves_no_trace(b):
    job = b.submit(GOOD, range(3), options=(("hold", None),))
    good, bad = (b.submit(GOOD, after=[(job, how)]) for how in ("success", "failure"))
    each = b.submit(GOOD, range(3), after=[(job, "each")])
    b.waits(job, "JobHeldUser")
    b.system.cancel({job: [1]})
    b.harm.until(lambda: set(b.look(job)) == {(job, 0), (job, 2)})
    b.harm.release(job)
    assert {place: end.state for place, end in b.ends(job, 2).items()} == {0: "COMPLETED", 2: "COMPLETED"}
    # But those that wait for the array know, though none that is submitted now does.
    assert b.end(b.submit(GOOD, after=[(f"{job}_1", "success")])).state == "COMPLETED"
    assert (b.end(good).state, b.end(bad).state) == ("CANCELLED", "COMPLETED")
    assert {place: end.state for place, end in b.ends(each).items()} == {
        0: "COMPLETED",
        1: "CANCELLED",
        2: "COMPLETED",
    }


@fact()
def the_last_of_them_leaves_the_trace_of_a_job_that_is_no_array(b):
    job = b.submit(GOOD, range(3), options=(("hold", None),))
    b.waits(job, "JobHeldUser")
    b.system.cancel({job: [0, 1, 2]})
    assert {place: end.state for place, end in b.ends(job, 1).items()} == {None: "CANCELLED"}


@fact()
def an_array_that_waits_is_cancelled_as_a_whole(b):
    job = b.submit(GOOD, range(3), options=(("hold", None),))
    b.waits(job, "JobHeldUser")
    b.system.cancel({job: None})
    assert {place: end.state for place, end in b.ends(job).items()} == dict.fromkeys(range(3), "CANCELLED")


@fact()
def an_element_of_what_is_no_array_is_nothing(b):
    job = b.waiting()
    b.system.cancel({job: [0]})
    b.harm.sleep(1)
    b.runs(job)


@fact()
def what_runs_is_asked_to_end(b):
    job = b.waiting()
    b.system.cancel({job: None})
    b.becomes(job, "CANCELLED", signal=15)


@fact()
def a_job_may_use_its_last_seconds(b):
    job = b.submit(f'trap "echo saved > \\"$0/saved\\"; exit 3" TERM; {WAIT} & wait')
    b.gate.arrived()
    b.system.cancel({job: None})
    assert b.end(job).state == "CANCELLED"
    b.harm.until(lambda: b.lines("saved") == ["saved"])


@fact()
def what_is_deaf_is_killed_after_a_while(b):
    job = b.submit(f'trap "" TERM; {WAIT}')
    b.gate.arrived()
    b.system.cancel({job: None})
    b.harm.until(lambda: {seen.state for seen in b.system.look([job])} == {"COMPLETING"})
    b.harm.sleep(b.harm.kill_wait + 1)
    b.becomes(job, "CANCELLED", signal=9)


@fact()
def one_element_is_cancelled_alone(b):
    job = b.waiting(places=range(3))
    b.system.cancel({job: [1]})
    b.harm.until(lambda: set(b.look(job)) == {(job, 0), (job, 2)})
    b.gate.open()
    assert {place: end.state for place, end in b.ends(job).items()} == {
        0: "COMPLETED",
        1: "CANCELLED",
        2: "COMPLETED",
    }


@fact()
def cancelling_what_has_ended_or_never_was_says_nothing(b):
    job = b.submit(GOOD)
    b.end(job)
    b.system.cancel({job: None, UNKNOWN: None})
    b.system.cancel({UNKNOWN: [3]})
    assert b.end(job).state == "COMPLETED"


@fact("cancel_by_other")
def somebody_else_can_cancel(b):
    job = b.waiting()
    b.harm.cancel_by_other(job)
    assert b.end(job).state == "CANCELLED"
    assert any("CANCELLED" in line for line in b.lines("0.log"))


# Limits -------------------------------------------------------------------------------------------------------


@fact("reach_time_limit")
def a_time_limit_ends_it(b):
    job = b.waiting(time=60)
    b.harm.reach_time_limit(job)
    assert b.becomes(job, "TIMEOUT", signal=15).reason == "TimeLimit"
    assert any("DUE TO TIME LIMIT" in line for line in b.lines("0.log"))


@fact()
def time_limits_are_whole_minutes(b):
    job = b.waiting(time=1)
    b.harm.sleep(3)
    b.runs(job)
    b.gate.open(1)
    assert b.end(job).state == "COMPLETED"


@fact("exceed_memory")
def memory_that_a_cgroup_watches_is_told_in_the_state(b):
    job = b.waiting(HOG, memory="100MB")
    b.harm.exceed_memory(job)
    b.gate.open()
    end = b.end(job)
    assert (end.state, end.signal) == ("OUT_OF_MEMORY", None)


@fact("exceed_memory_polled")
def memory_that_is_polled_is_told_in_the_log_alone(b):
    job = b.waiting(HOG, memory="100MB")
    b.harm.exceed_memory_polled(job)
    b.gate.open()
    end = b.end(job)
    assert (end.state, end.signal, end.reason) == ("FAILED", 9, "JobLaunchFailure")
    assert any("memory limit" in line for line in b.lines("0.log"))


# Run again ----------------------------------------------------------------------------------------------------

TELL = f'printf "$WEFT_TRY" >> "$0/tries"; {WAIT}; printf e > "$0/gate/arrivals"'


@fact("requeue")
def a_requeued_job_waits_and_runs_again(b):
    job = b.submit(TELL, options=(("requeue", None),))
    b.gate.arrived()
    b.harm.requeue(job)
    runs_again(b, job)


@fact("requeue", "hold", "release")
def one_that_is_held_while_it_runs_does_not_run_again(b):
    job = b.submit(TELL, options=(("requeue", None),))
    b.gate.arrived()
    b.harm.hold(job)
    b.harm.requeue(job)
    assert b.waits(job, "JobHeldUser", "JobHeldAdmin").restarts == 1
    b.harm.release(job)
    again_at_the_gate(b, job)


@fact("preempt")
def a_preempted_job_waits_and_runs_again(b):
    job = b.submit(TELL, options=(("requeue", None),))
    b.gate.arrived()
    b.harm.preempt(job)
    runs_again(b, job)


@fact("node_down")
def a_job_whose_node_fails_runs_again(b):
    job = b.submit(TELL, options=(("requeue", None),))
    b.gate.arrived()
    b.harm.node_down(b.harm.node_of(job))
    runs_again(b, job)


@fact("node_down")
def a_job_that_must_not_run_again_fails_with_its_node(b):
    job = b.waiting(options=(("no-requeue", None),))
    b.harm.node_down(b.harm.node_of(job))
    end = b.end(job)
    assert (end.state, end.reason) == ("NODE_FAIL", "NodeDown")
    assert any("DUE TO NODE FAILURE" in line for line in b.lines("0.log"))


@fact("lose_node")
def so_does_it_with_a_node_that_is_lost(b):
    job = b.waiting(options=(("no-requeue", None),))
    b.harm.lose_node(b.harm.node_of(job))
    end = b.end(job)
    assert (end.state, end.exitcode, end.signal, end.reason) == ("NODE_FAIL", None, None, "NodeDown")


@fact("lose_node")
def on_a_lost_node_the_earlier_try_goes_on(b):
    job = b.submit(TELL, options=(("requeue", None),))
    b.gate.arrived()
    b.harm.lose_node(b.harm.node_of(job))
    b.runs(job)  # as far as anybody knows
    assert b.waits(job, "BeginTime").restarts == 1
    again_at_the_gate(b, job)
    b.gate.open()
    assert b.gate.arrived(2) == b"ee"  # both of them
    end = b.end(job)
    assert (end.state, end.restarts) == ("COMPLETED", 1)


def runs_again(b: Bench, job: str) -> None:
    """It waits, and runs again, and knows that it does."""
    assert b.waits(job, "BeginTime").restarts == 1
    again_at_the_gate(b, job)
    b.gate.open()
    b.gate.arrived()
    end = b.end(job)
    assert (end.state, end.restarts) == ("COMPLETED", 1)


def again_at_the_gate(b: Bench, job: str) -> None:
    b.runs(job)
    b.gate.arrived()
    assert {seen.restarts for seen in b.system.look([job])} == {1}
    assert b.lines("tries") == ["01"]


# Nobody answers -----------------------------------------------------------------------------------------------


@fact("stop_controller", "start_controller")
def without_its_controller_nobody_answers_and_jobs_go_on(b):
    job, order = b.waiting(), b.order(b.sheet(GOOD))
    b.harm.stop_controller()
    try:
        for ask in (
            lambda: b.system.look([job]),
            lambda: b.system.find("x"),
            lambda: b.system.cancel({job: None}),
            lambda: b.system.submit(order),
        ):
            with pytest.raises(Busy) as caught:
                ask()
            assert not caught.value.full
        b.gate.open(1)
    finally:
        b.harm.start_controller()
    assert b.end(job).state == "COMPLETED"
    assert b.system.find(order.name) is None


# Records ------------------------------------------------------------------------------------------------------


@fact("forget")
def what_was_forgotten_is_not_looked_at(b):
    job, other = b.submit(GOOD), b.waiting()
    b.end(job)
    b.harm.forget(job)
    assert b.system.look([job]) == []
    b.runs(other)
    assert set(b.look(job, other)) == {(other, None)}
