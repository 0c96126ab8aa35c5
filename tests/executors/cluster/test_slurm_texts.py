"""What Slurm's commands say is read as it is meant. The texts are those of a real Slurm 22.05."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weft.executors.cluster.slurm_text import (
    read_config,
    read_id,
    read_names,
    read_places,
    read_queue,
    read_records,
    refusal,
    spans,
    tidy,
    unknown,
)
from weft.executors.cluster.system import Busy, Phase, Refused, Seen

PENDING, RUNNING, ENDED = Phase.PENDING, Phase.RUNNING, Phase.ENDED

# Elements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "places"),
    [
        *(("7", [range(7, 8)]), ("2-5", [range(2, 6)]), ("[2-5%2]", [range(2, 6)]), ("0-198:2", [range(0, 199, 2)])),
        ("[2-5,7%2]", [range(2, 6), range(7, 8)]),
        ("3-6,8-9%3", [range(3, 7), range(8, 10)]),
        ("0-12:2,20,30-32", [range(0, 13, 2), range(20, 21), range(30, 33)]),
    ],
)
def test_elements_are_read(text, places):
    assert read_places(text) == places


@pytest.mark.parametrize("text", ["", "N/A", "1-", "1,2,...", "5-3", "1-9:0", "-1", "1 2", "%2", "1" * 5000, "٣", "[]"])
def test_what_are_no_elements_is_refused(text):
    with pytest.raises(ValueError, match="no elements of an array"):
        read_places(text)


def numbers(places):
    return [place for span in read_places(",".join(places)) for place in span]


@given(st.sets(st.integers(0, 300), min_size=1), st.booleans())
@example({0, 2, 4}, True)
def test_elements_are_written_so_that_they_can_be_read(places, steps):
    assert numbers(spans(places, steps=steps)) == sorted(places)
    assert steps or ":" not in "".join(spans(places))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 5), st.booleans())
def test_ranges_are_written_so_that_they_can_be_read(start, length, step, steps):
    places = range(start, start + length, step)
    text = spans(places, steps=steps)
    assert (numbers(text) if text else []) == list(places)
    assert not steps or step > 1 or len(text) <= 1


def test_a_range_costs_what_its_ends_cost():
    assert spans(range(10**12)) == ["0-999999999999"]


def test_elements_are_written_as_slurm_does():
    assert spans([9, 0, 1, 2, 4]) == ["0-2", "4", "9"]
    assert spans(range(9, -1, -1)) == ["0-9"]
    assert spans([0, 2, 4, 6, 7], steps=True) == ["0-6:2", "7"]
    assert spans([0, 5, 6], steps=True) == ["0", "5-6"]  # two do not make a step


# squeue ------------------------------------------------------------------------------------------------------


def test_what_waits_and_runs_is_read():
    text = """\
1|3-6,8-9%3|PENDING|0|0|JobArrayTaskLimit
1|7|PENDING|0|0|JobHeldAdmin
1|2|RUNNING|0|0|None
1|1|RUNNING|0|0|None
1|0|COMPLETING|0|0|None
2|N/A|PENDING|0|0|JobHeldUser
20|2|PENDING|0|1|BeginTime
20|3|PENDING|0|1|job requeued in held state
"""
    assert read_queue(text) == [
        Seen("1", range(3, 7), PENDING, "PENDING", "JobArrayTaskLimit"),
        Seen("2", None, PENDING, "PENDING", "JobHeldUser"),
        Seen("1", [8, 9], PENDING, "PENDING", "JobArrayTaskLimit"),
        Seen("1", [7], PENDING, "PENDING", "JobHeldAdmin"),
        Seen("1", [2, 1], RUNNING, "RUNNING"),
        Seen("1", [0], RUNNING, "COMPLETING"),
        Seen("20", [2], PENDING, "PENDING", "BeginTime", 1),
        Seen("20", [3], PENDING, "PENDING", "job requeued in held state", 1),
    ]


def test_what_has_ended_is_read_with_its_exit_code_or_signal():
    text = """\
1|3-6,8-9%3|CANCELLED|0|0|JobArrayTaskLimit
8|4|CANCELLED|15|0|None
8|0|COMPLETED|0|0|None
8|1|FAILED|768|0|NonZeroExitCode
8|3|FAILED|11|2|JobLaunchFailure
8|6|FAILED|35072|0|NonZeroExitCode
8|8|TIMEOUT|15|0|TimeLimit
8|9|OUT_OF_MEMORY|125|0|OutOfMemory
18|N/A|FAILED|4021|0|JobLaunchFailure
"""
    assert read_queue(text) == [
        Seen("1", range(3, 7), ENDED, "CANCELLED", "JobArrayTaskLimit"),
        Seen("18", None, ENDED, "FAILED", "JobLaunchFailure", signal=53),
        Seen("1", [8, 9], ENDED, "CANCELLED", "JobArrayTaskLimit"),
        Seen("8", [4], ENDED, "CANCELLED", signal=15),
        Seen("8", [0], ENDED, "COMPLETED", exitcode=0),
        Seen("8", [1], ENDED, "FAILED", "NonZeroExitCode", exitcode=3),
        Seen("8", [3], ENDED, "FAILED", "JobLaunchFailure", 2, signal=11),
        Seen("8", [6], ENDED, "FAILED", "NonZeroExitCode", exitcode=137),
        Seen("8", [8], ENDED, "TIMEOUT", "TimeLimit", signal=15),
        Seen("8", [9], ENDED, "OUT_OF_MEMORY", "OutOfMemory"),
    ]


def test_an_exit_code_may_be_told_with_its_signal():
    [seen] = read_queue("8|N/A|FAILED|3:0|0|NonZeroExitCode")
    assert (seen.exitcode, seen.signal) == (3, None)
    [seen] = read_queue("8|N/A|FAILED|0:9|0|RaisedSignal:9(Killed)")
    assert (seen.exitcode, seen.signal) == (None, 9)


def test_ten_thousand_elements_are_one_object():
    assert read_queue("117|0-9999|PENDING|0|0|JobHeldUser") == [
        Seen("117", range(10_000), PENDING, "PENDING", "JobHeldUser")
    ]


def test_elements_that_have_all_in_common_stand_together():
    text = "\n".join(f"4|{place}|RUNNING|0|0|None" for place in range(1000))
    assert read_queue(text) == [Seen("4", list(range(1000)), RUNNING, "RUNNING")]


def test_a_reason_may_be_any_text():
    [seen] = read_queue("4|N/A|PENDING|0|0|Nodes required are DOWN, DRAINED or reserved | see n1")
    assert seen.reason == "Nodes required are DOWN, DRAINED or reserved | see n1"


def test_notes_of_the_site_are_passed_over():
    text = "*** Maintenance | on Monday ***\n4|N/A|RUNNING|0|0|None\nmore at https://example.org\n\n|||||\n"
    assert read_queue(text) == [Seen("4", None, RUNNING, "RUNNING")]


def test_elements_that_were_cut_short_do_not_count_as_ended():
    with pytest.raises(Busy, match=r"weft does not understand.*1,3,5,\.\.\."):
        read_queue("3|1,3,5,...|PENDING|0|0|Resources")


def test_an_unknown_state_is_taken_for_running():
    [seen] = read_queue("4|N/A|QUANTUM_FLUX|0|0|None")
    assert (seen.phase, seen.state) == (RUNNING, "QUANTUM_FLUX")


def test_ids_have_their_cluster():
    assert read_queue("4|N/A|RUNNING|0|0|None", "alpha") == [Seen("4;alpha", None, RUNNING, "RUNNING")]


LINES = st.lists(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(["4", "4_2", "1-3", "3-1", "N/A", "...", "PENDING", "FAILED", "0:9", "|", "", "٣"])
        ).map("|".join),
    )
).map("\n".join)


@given(LINES)
def test_no_text_makes_reading_fail_in_another_way(text):
    for read in (read_queue, read_records):
        try:
            assert all(isinstance(seen, Seen) for seen in read(text))
        except Busy:
            pass
    assert isinstance(refusal(text), Busy | Refused)
    read_id(text)
    read_names(text)
    read_config(text)


# sacct -------------------------------------------------------------------------------------------------------


def test_records_are_read():
    text = """\
3|FAILED|0:9|wrap
1_0|COMPLETED|0:0|e.sh
1_1|FAILED|3:0|e.sh
1_3|FAILED|0:11|e.sh
1_4|CANCELLED by 0|0:0|e.sh
1_8|TIMEOUT|0:0|e.sh
1_9|RUNNING|0:0|e.sh
4_[0-99]|CANCELLED by 0|0:0|wrap
5_[0-9]|PENDING|0:0|a|b
7|OUT_OF_MEMORY|0:125|wrap
"""
    assert read_records(text) == [
        Seen("3", None, ENDED, "FAILED", signal=9),
        Seen("4", range(100), ENDED, "CANCELLED"),
        Seen("7", None, ENDED, "OUT_OF_MEMORY"),
        Seen("1", [0], ENDED, "COMPLETED", exitcode=0),
        Seen("1", [1], ENDED, "FAILED", exitcode=3),
        Seen("1", [3], ENDED, "FAILED", signal=11),
        Seen("1", [4], ENDED, "CANCELLED"),
        Seen("1", [8], ENDED, "TIMEOUT"),
    ]


def test_of_several_tries_the_last_one_counts():
    text = "2_1|COMPLETED|0:0|fit\n2_2|REQUEUED|0:0|fit\n2_2|NODE_FAIL|0:0|fit\n2_2|FAILED|3:0|fit\n"
    assert read_records(text) == [
        Seen("2", [1], ENDED, "COMPLETED", exitcode=0),
        Seen("2", [2], ENDED, "FAILED", restarts=2, exitcode=3),
    ]


def test_a_try_that_goes_on_has_not_ended():
    assert read_records("2_2|NODE_FAIL|0:0|fit\n2_2|PENDING|0:0|fit\n") == []


def test_a_job_of_another_name_is_no_earlier_try():
    [seen] = read_records("2|COMPLETED|0:0|last-year\n2|FAILED|1:0|fit\n")
    assert (seen.state, seen.restarts) == ("FAILED", 0)


def test_steps_and_unknown_lines_are_passed_over():
    assert read_records("2.batch|FAILED|1:0|batch\n2_1.extern|FAILED|1:0|x\n3+1|FAILED|1:0|het\nnote\n") == []


def test_what_was_seen_is_newer_than_records():
    records = [
        Seen("1", None, ENDED, "NODE_FAIL"),
        Seen("2", [0, 1, 2, 3], ENDED, "NODE_FAIL"),
        Seen("3", range(100), ENDED, "CANCELLED"),
        Seen("4", [1], ENDED, "FAILED"),
    ]
    seen = [
        Seen("1", None, PENDING, "PENDING"),
        Seen("2", range(1, 3), RUNNING, "RUNNING"),
        Seen("2", [0], ENDED, "FAILED"),
        Seen("4", [1], PENDING, "PENDING"),
    ]
    assert unknown(records, seen) == [
        Seen("2", [3], ENDED, "NODE_FAIL"),
        Seen("3", range(100), ENDED, "CANCELLED"),
    ]


# sbatch ------------------------------------------------------------------------------------------------------


def test_an_id_is_found_among_notes():
    assert read_id("123\n") == "123"
    assert read_id("123;alpha\n") == "123;alpha"
    assert read_id("sbatch: your project ends soon\n\n123\n") == "123"
    assert read_id("Submitted batch job\n") is None
    assert read_id("") is None


POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def said(*lines):
    return "".join(f"sbatch: error: {line}\n" for line in lines)


@pytest.mark.parametrize(
    "lines",
    [
        *(
            (name, f"Batch job submission failed: {POLICY}")
            for name in ("AssocMaxSubmitJobLimit", "AssocGrpSubmitJobsLimit")
        ),
        *(
            (name, f"Batch job submission failed: {POLICY}")
            for name in ("QOSMaxSubmitJobPerUserLimit", "MaxSubmitJobsPerAccount")
        ),
        ("QOSGrpSubmitJobsLimit", f"Batch job submission failed: {POLICY}"),
        (f"Batch job submission failed: {POLICY}",),
        ("Slurm temporarily unable to accept job, sleeping and retrying",),
        ("Batch job submission failed: Resource temporarily unavailable",),
        ("Slurm job queue full, sleeping and retrying.",),
    ],
)
def test_a_limit_of_how_many_is_waited_for(lines):
    answer = refusal(said(*lines))
    assert isinstance(answer, Busy)
    assert answer.full
    assert not answer.unsure


@pytest.mark.parametrize(
    "lines",
    [
        *(
            (name, f"Batch job submission failed: {POLICY}")
            for name in ("QOSMaxCpuPerUserLimit", "AssocMaxWallDurationPerJobLimit")
        ),
        ("invalid partition specified: nosuch", "Batch job submission failed: Invalid partition name specified"),
        (
            "Memory specification can not be satisfied",
            "Batch job submission failed: Requested node configuration is not available",
        ),
        ("Batch job submission failed: Invalid account or account/partition combination specified",),
        ("Batch job submission failed: Pathname of a file, directory or other parameter too long",),
        ("Unable to open file /no/such/file",),
    ],
)
def test_what_can_never_be_is_refused(lines):
    answer = refusal(said(*lines))
    assert isinstance(answer, Refused)
    assert str(answer) == "\n".join(line.removeprefix("Batch job submission failed: ") for line in lines)


@pytest.mark.parametrize(
    ("line", "unsure"),
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", False),
        ("Batch job submission failed: Unable to contact slurm controller (send failure)", True),
        ("Batch job submission failed: Unable to contact slurm controller (receive failure)", True),
        ("Batch job submission failed: Socket timed out on send/recv operation", True),
        ("Batch job submission failed: Zero Bytes were transmitted or received", True),
        ("Batch job submission failed: Slurm backup controller in standby mode", False),
        ("Batch job submission failed: System submissions disabled", False),
        ("Batch job submission failed: Protocol authentication error", False),
        ('Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory', False),
        (
            "s_p_parse_file: cannot stat file /none\nsbatch: fatal: Unable to process configuration file",
            False,
        ),
    ],
)
def test_a_controller_that_is_away_is_waited_for(line, unsure):
    answer = refusal(said(line))
    assert isinstance(answer, Busy)
    assert answer.unsure is unsure
    assert not answer.full


def test_a_refusal_without_words_says_so():
    assert "did not say why" in str(refusal(""))


def test_what_was_said_is_told_without_the_names_of_commands():
    text = "slurm_load_jobs error: Invalid job id specified\nscancel: error: Kill job error on job id 1: no\n"
    assert tidy(text) == "Invalid job id specified\nKill job error on job id 1: no"
    text = "sbatch: unrecognized option '--foo=1'\nTry \"sbatch --help\" for more information\n"
    assert tidy(text) == "unrecognized option '--foo=1'"


# The rest ----------------------------------------------------------------------------------------------------


def test_submissions_are_found_in_the_order_in_which_they_came():
    text = (
        "2026-11-25T10:43:53|111\nnote\n2026-11-25T10:43:54|9\n2026-11-25T10:43:53|12\n2026-11-25T10:43:53|111_[0-3]\n"
    )
    assert read_names(text) == ["12", "111", "9"]
    assert read_names("") == []


def test_the_configuration_is_read():
    text = "Configuration data as of 2026\nMaxArraySize            = 10001\nSchedulerParameters     = a=1,b=2\n\n"
    assert read_config(text) == {"MaxArraySize": "10001", "SchedulerParameters": "a=1,b=2"}
