"""What an element without an outcome died of, by what HTCondor says. The reasons are those of a real one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.executors.cluster.condor_verdict import verdict
from weft.executors.cluster.system import Phase, Seen

EXPRESSION = "The job attribute PeriodicRemove expression 'time() - JobCurrentStartDate > 31' evaluated to TRUE"
NO_PROGRAM = "Error from slot1@n1: Failed to execute '/x': (errno=2: 'No such file or directory')"


def held(reason, code, subcode=0):
    return verdict(Seen("1", [0], Phase.PENDING, "HELD", f"{reason} (Code {code} Subcode {subcode})"), "")


def ended(state, log="", **fields):
    return verdict(Seen("1", [0], Phase.ENDED, state, **fields), log)


@pytest.mark.parametrize(
    ("fate", "reason", "code"),
    [
        ("held", NO_PROGRAM, 6),
        ("held", "Transfer input files failure at access point x while sending files", 13),
        ("held", "Transfer output files failure at execution point x while sending files", 12),
        ("memory", "Error from slot1@n1: Job has gone over cgroup memory limit of 128 megabytes. Peak usage: 128", 34),
        (
            "memory",
            "The system macro SYSTEM_PERIODIC_HOLD expression 'MemoryUsage > RequestMemory' evaluated to TRUE",
            26,
        ),
        ("timeout", "The job exceeded allowed execute duration of 00:05", 47),
        ("timeout", "The job exceeded allowed job duration of 00:05", 46),
        (
            "timeout",
            "The job attribute PeriodicHold expression 'time() - JobCurrentStartDate > 5' evaluated to TRUE",
            3,
        ),
        ("held", "The job attribute PeriodicHold expression 'NumJobStarts > 3' evaluated to TRUE", 3),
        ("died", "via condor_hold (by user ada)", 1),  # who may release it
        ("died", "submitted on hold at user's request", 15),
        ("died", "Spooling input data files", 16),
    ],
)
def test_what_is_held_will_not_run_by_itself_unless_its_user_has_held_it(fate, reason, code):
    found, sentence = held(reason, code)
    assert found == fate
    assert sentence.startswith("it ")
    assert reason in sentence


def test_what_waits_or_runs_or_is_released_by_an_expression_is_not_dead():
    for phase, state, reason in (
        (Phase.PENDING, "IDLE", ""),
        (Phase.RUNNING, "RUNNING", ""),
        (Phase.PENDING, "HELD", NO_PROGRAM),
    ):
        assert verdict(Seen("1", [0], phase, state, reason), "")[0] == "died"


@pytest.mark.parametrize(
    ("fate", "state", "fields"),
    [
        ("cancelled", "REMOVED", {"reason": "via condor_rm (by user ada)"}),
        ("cancelled", "REMOVED", {"reason": "via condor_rm (by user memory)"}),
        ("cancelled", "REMOVED", {"reason": "before it came into the queue"}),
        ("cancelled", "REMOVED", {}),
        ("timeout", "REMOVED", {"reason": EXPRESSION}),
        ("memory", "REMOVED", {"reason": "The system macro SYSTEM_PERIODIC_REMOVE expression 'ImageSize > 5'"}),
        ("died", "COMPLETED", {"exitcode": 3}),
        ("died", "COMPLETED", {"exitcode": 0}),
        ("died", "COMPLETED", {"exitcode": 125}),
        ("died", "COMPLETED", {"signal": 9}),
        ("memory", "COMPLETED", {"signal": 9, "log": "kernel: oom-kill: something"}),
        ("died", "COMPLETED", {"exitcode": 1, "log": "oom-kill"}),
        ("died", "COMPLETED", {}),
    ],
)
def test_what_has_ended_died_of(fate, state, fields):
    found, sentence = ended(state, **fields)
    assert found == fate
    assert sentence.startswith("it ")
    assert state in sentence


def test_how_it_died_is_told():
    assert ended("COMPLETED", exitcode=3)[1] == "it ended with exit code 3, and left no outcome (COMPLETED)"
    assert ended("COMPLETED", exitcode=125)[1].endswith("say transfer=True")
    assert ended("COMPLETED", signal=11)[1].startswith("it was killed by SIGSEGV")
    assert (
        ended("REMOVED", reason="via condor_rm (by user ada)")[1]
        == "it was removed (REMOVED, via condor_rm (by user ada))"
    )


@given(
    st.builds(
        Seen,
        job=st.just("1"),
        places=st.just([0]),
        phase=st.sampled_from(Phase),
        state=st.sampled_from(["IDLE", "RUNNING", "HELD", "REMOVED", "COMPLETED"]),
        reason=st.text(),
        exitcode=st.none() | st.integers(0, 300),
        signal=st.none() | st.integers(1, 200),
    ),
    st.text(),
)
def test_there_is_always_a_verdict(seen, log):
    fate, sentence = verdict(seen, log)
    assert fate in ("memory", "timeout", "infrastructure", "cancelled", "died", "held")
    assert sentence.startswith("it ")
