"""What an element without an outcome died of is concluded from all that there is to see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.executors.cluster.formats import EXIT_EMPTY
from weft.executors.cluster.slurm_text import ENDED, PENDING
from weft.executors.cluster.slurm_verdict import verdict
from weft.executors.cluster.system import Phase, Seen

# As a real Slurm 22.05 writes into logs.
POLLED = """\
slurmstepd-n2: error: StepId=3.batch exceeded memory limit (433213440 > 104857600), being killed
slurmstepd-n2: error: *** JOB 3 ON n2 CANCELLED AT 2026-11-25T10:47:48 ***
slurmstepd-n2: error: Exceeded job memory limit
"""
CGROUP = (
    "slurmstepd: error: Detected 1 oom_kill event in StepId=31.batch. Some of the step tasks have been OOM Killed.\n"
)
TIME = "slurmstepd-n3: error: *** JOB 17 ON n3 CANCELLED AT 2026-11-25T10:38:37 DUE TO TIME LIMIT ***\n"
CANCEL = "slurmstepd-n2: error: *** JOB 13 ON n2 CANCELLED AT 2026-11-25T10:38:31 ***\n"
SPOOL = "slurmstepd-n4: error: execve(): /var/spool/slurmd/job00295/slurm_script: No such file or directory\n"
PREEMPT = "slurmstepd: error: *** JOB 13 ON n2 CANCELLED AT 2026-11-25T10:38:31 DUE TO PREEMPTION ***\n"
PROLOG = "Error running slurm prolog: 1\n"


def ended(state, log="", reason="", **fields):
    return verdict(Seen("1", [0], Phase.ENDED, state, reason, **fields), log)


@pytest.mark.parametrize(
    ("fate", "state", "fields"),
    [
        ("memory", "OUT_OF_MEMORY", {}),
        ("memory", "FAILED", {"signal": 9, "reason": "JobLaunchFailure", "log": POLLED}),
        ("memory", "FAILED", {"exitcode": 1, "log": CGROUP}),
        ("memory", "CANCELLED", {"signal": 9, "log": POLLED}),
        ("memory", "FAILED", {"signal": 9, "log": "kernel: Memory cgroup out of memory: Killed process 5\n"}),
        ("memory", "FAILED", {"exitcode": 137, "log": "oom-kill"}),
        ("memory", "FAILED", {"exitcode": 9, "log": "oom-kill"}),  # by sacct
        ("timeout", "TIMEOUT", {"signal": 15, "reason": "TimeLimit"}),
        ("timeout", "DEADLINE", {}),
        ("timeout", "FAILED", {"signal": 15, "log": TIME}),
        ("timeout", "CANCELLED", {"log": TIME}),
        ("infrastructure", "NODE_FAIL", {}),
        ("infrastructure", "BOOT_FAIL", {}),
        ("infrastructure", "PREEMPTED", {}),
        ("infrastructure", "FAILED", {"signal": 53, "reason": "JobLaunchFailure"}),
        ("unstarted", "FAILED", {"exitcode": 2, "log": SPOOL}),
        ("infrastructure", "CANCELLED", {"log": PREEMPT}),
        ("infrastructure", "CANCELLED", {"log": PROLOG}),
        ("cancelled", "CANCELLED", {"log": PROLOG + "try 1\n"}),  # that was an earlier try
        ("cancelled", "CANCELLED", {"signal": 15, "log": PROLOG}),  # it has run
        ("died", "FAILED", {"exitcode": 1, "log": PROLOG}),
        ("cancelled", "CANCELLED", {"signal": 15, "log": CANCEL}),
        ("cancelled", "CANCELLED", {"reason": "DependencyNeverSatisfied"}),
        ("cancelled", "CANCELLED", {"signal": 15, "log": PREEMPT + "try 1\n" + CANCEL}),  # that was an earlier try
        ("died", "FAILED", {"signal": 11, "reason": "JobLaunchFailure"}),
        ("died", "FAILED", {"signal": 9, "reason": "JobLaunchFailure"}),
        ("died", "FAILED", {"signal": 11, "log": PREEMPT}),
        ("died", "FAILED", {"exitcode": 3}),
        ("died", "FAILED", {"exitcode": 1, "log": "fit.py: no oom-kill to be expected\n"}),  # not Slurm's words
        ("died", "COMPLETED", {"exitcode": 0}),
        ("died", "COMPLETED", {"exitcode": 0, "log": CGROUP}),
        ("died", "SOMETHING_NEW", {}),
    ],
)
def test_what_it_died_of(fate, state, fields):
    found, sentence = ended(state, **fields)
    assert found == fate
    assert sentence.startswith("it ")
    assert state in sentence


def test_how_it_died_is_told():
    assert (
        ended("TIMEOUT", reason="TimeLimit", signal=15)[1] == "it ran longer than its time limit (TIMEOUT, TimeLimit)"
    )
    assert ended("FAILED", POLLED, signal=9)[1] == "it used more memory than it had asked for, by its log (FAILED)"
    assert ended("FAILED", signal=11)[1].startswith("it was killed by SIGSEGV: C code used memory")
    assert ended("FAILED", exitcode=3)[1] == "it ended with exit code 3, and left no outcome (FAILED)"
    assert "exit code 0, as if all were well" in ended("FAILED", exitcode=EXIT_EMPTY)[1]
    assert "as of a shell that does not find a command" in ended("FAILED", exitcode=127)[1]
    assert "exit code 137, or what it ran was killed by SIGKILL" in ended("FAILED", exitcode=137)[1]
    assert ended("CANCELLED")[1] == "it was cancelled (CANCELLED)"


@pytest.mark.parametrize(
    "reason", ["JobHeldAdmin", "launch failed requeued held", "job requeued in held state", "DependencyNeverSatisfied"]
)
def test_what_never_runs_by_itself_is_held(reason):
    fate, sentence = verdict(Seen("1", [0], Phase.PENDING, "PENDING", reason), "")
    assert fate == "held"
    assert reason in sentence


@pytest.mark.parametrize("reason", ["Resources", "JobHeldUser", "BeginTime", "Dependency"])
def test_what_waits_is_not_held(reason):
    assert verdict(Seen("1", [0], Phase.PENDING, "PENDING", reason), "")[0] == "died"


@given(
    st.builds(
        Seen,
        job=st.just("1"),
        places=st.just([0]),
        phase=st.sampled_from(Phase),
        state=st.one_of(st.sampled_from(sorted(ENDED | PENDING)), st.text()),
        reason=st.text(),
        exitcode=st.none() | st.integers(0, 300),
        signal=st.none() | st.integers(1, 200),
    ),
    st.text(),
)
def test_there_is_always_a_verdict(seen, log):
    fate, sentence = verdict(seen, log)
    assert fate in ("memory", "timeout", "infrastructure", "cancelled", "died", "held", "unstarted")
    assert sentence.startswith("it ")
