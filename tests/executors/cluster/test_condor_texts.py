"""What HTCondor's commands say is read as it is meant. The texts are those of a real HTCondor 23.9."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.executors.cluster.condor_text import FIELDS, IDLE, RUNNING, Row, Standing, read_id, read_rows, refusal, tidy
from weft.executors.cluster.system import Busy, Phase, Refused

ENDED = Phase.ENDED
AWAY = """\
-- Failed to fetch ads from: <127.0.0.1:19618?addrs=127.0.0.1-19618> : 127-0-0-1.condor.test
SECMAN:2007:Read failure during security negotiation.
"""
NO_ADDRESS = """\
Error: Can't find address for schedd 127-0-0-1.condor.test

Extra Info: You probably saw this error because the condor_schedd is not
running on the machine you are trying to query. If the condor_schedd is not
"""


def line(*words):
    return "\t".join(words) + "\n"


def test_rows_are_read():
    none = ("undefined",) * 5
    text = (
        line("7", "0", "1", "0", "false", *none)
        + line("7", "1", "2", "1", "false", *none)
        + line("7", "2", "3", "1", "false", "undefined", "undefined", "undefined", "undefined", "via condor_rm (by a)")
        + line("7", "3", "4", "1", "false", "3", *none[:3], "undefined")
        + line("7", "4", "4", "2", "true", "undefined", "9", *none[:3])
        + line("8", "0", "5", "0", "false", "undefined", "undefined", "6", "2", "Failed to execute '/x'\tor so")
        + "and a second line of that reason\n"
        + line("8", "1", "6", "1", "false", *none)
        + line("8", "2", "7", "undefined", "false", *none)
    )
    assert len(FIELDS) == 10
    assert read_rows(text) == [
        Row("7", 0, IDLE, 0),
        Row("7", 1, RUNNING, 1),
        Row("7", 2, Standing(ENDED, "REMOVED", "via condor_rm (by a)"), 1),
        Row("7", 3, Standing(ENDED, "COMPLETED", exitcode=3), 1),
        Row("7", 4, Standing(ENDED, "COMPLETED", signal=9), 2),
        Row("8", 0, Standing(Phase.PENDING, "HELD", "Failed to execute '/x'\tor so (Code 6 Subcode 2)"), 0),
        Row("8", 1, Standing(Phase.RUNNING, "TRANSFERRING_OUTPUT"), 1),
        Row("8", 2, Standing(Phase.RUNNING, "SUSPENDED"), 0),
    ]


@given(st.text())
def test_what_are_no_rows_is_passed_over(text):
    assert read_rows(f"Note: the pool is closed tomorrow\n{text}") == []


def test_the_id_of_a_submission_is_read():
    assert read_id("11.0 - 11.4\n") == "11"
    assert read_id("WARNING: something\n11.0 - 11.0\n") == "11"
    assert read_id("Submitting job(s)\nERROR: no\n") is None


@pytest.mark.parametrize(
    ("stderr", "full", "unsure"),
    [
        (
            "\nERROR: Failed to create proc\nNumber of submitted jobs would exceed MAX_JOBS_PER_SUBMISSION\n",
            True,
            False,
        ),
        ("ERROR: Number of submitted jobs would exceed MAX_JOBS_PER_OWNER\n", True, False),
        ("ERROR: Can't find address of local schedd\n", False, False),
        (
            "\nERROR: Failed to connect to local queue manager\nCEDAR:6001:Failed to connect to <127.0.0.1:1>\n",
            False,
            False,
        ),
        ("\nERROR: Failed to commit job submission into the queue.\nERROR: timed out\n", False, True),
        (AWAY, False, True),
    ],
)
def test_what_is_not_for_ever_is_busy(stderr, full, unsure):
    answer = refusal(stderr)
    assert isinstance(answer, Busy)
    assert (answer.full, answer.unsure) == (full, unsure)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("\nERROR: Executable file /none does not exist\n", "Executable file /none does not exist"),
        (
            "ERROR: Parse error in expression: \n\tRequestCpus = abc def\n\t\n",
            "Parse error in expression:\nRequestCpus = abc def",
        ),
        (
            "\nERROR: Failed to commit job submission into the queue.\nERROR: Received invalid attribute value '\"a\\",
            "Failed to commit job submission into the queue.\nReceived invalid attribute value '\"a\\",
        ),
        ("", "condor_submit failed, and did not say why"),
    ],
)
def test_what_is_for_ever_is_refused_in_its_own_words(stderr, said):
    answer = refusal(stderr)
    assert isinstance(answer, Refused)
    assert str(answer) == said


def test_root_is_told_that_it_may_not():
    assert "HTCondor takes no jobs from root" in str(refusal("ERROR: Can't allocate a cluster id\n"))


def test_advice_is_left_out():
    assert tidy(NO_ADDRESS) == "Can't find address for schedd 127-0-0-1.condor.test"
    assert tidy("condor_rm:0:There are no jobs in the queue\n") == "There are no jobs in the queue"
    assert tidy("condor_rm: Can't find address for schedd x\n\n") == "Can't find address for schedd x"
