"""An event log is read on from where it was left, whatever befalls it meanwhile. The events are a real HTCondor's."""

import os
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.executors.cluster.condor_log import EventLog
from weft.executors.cluster.condor_script import Facts
from weft.executors.cluster.condor_text import IDLE, RUNNING, Row, Standing
from weft.executors.cluster.system import Phase, Seen

PENDING, ENDED = Phase.PENDING, Phase.ENDED
USAGE = """\
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
\t0  -  Run Bytes Sent By Job
\tPartitionable Resources :    Usage  Request Allocated
\t   Cpus                 :        0        1         1
"""
REMOVAL = "\tvia condor_rm (by user ada)\n\n\tJob terminated by <127.0.0.1:38011> at X (using method 1).\n"
ACCORD = "\n\tJob terminated of its own accord at 2026-11-25T13:59:46Z.\n"
BODIES = {
    "000": " Job submitted from host: <127.0.0.1:39269?addrs=127.0.0.1-39269>\n",
    "001": " Job executing on host: <127.0.0.1:35973>\n\tSlotName: slot1_1@localhost.weft.test\n\tCpus = 1\n",
    "004": f" Job was evicted.\n\t(0) CPU times\n{USAGE}",
    "005": f" Job terminated.\n\t(1) Normal termination (return value 3)\n{USAGE}{ACCORD}",
    "006": " Image size of job updated: 24140\n\t3  -  MemoryUsage of job (MB)\n",
    "007": " Shadow exception!\n\tCan no longer talk to condor_starter <127.0.0.1:9618>\n\t0  -  Run Bytes Sent\n",
    "009": f" Job was aborted.\n{REMOVAL}",
    "010": " Job was suspended.\n\tNumber of processes actually suspended: 1\n",
    "011": " Job was unsuspended.\n",
    "012": " Job was held.\n\tError from n1: Failed to execute '/x': (errno=2: 'No such file')\n\tCode 6 Subcode 2\n",
    "013": " Job was released.\n\tvia condor_release (by user ada)\n",
    "021": " Error from starter on slot1_1@n1@localhost:\n\tFailed to execute '/x'\n\tCode 6 Subcode 2\n",
    "022": " Job disconnected, attempting to reconnect\n    Socket between submit and execute hosts closed\n",
    "023": " Job reconnected to slot1@n1\n    startd address: <127.0.0.1:1>\n",
    "024": " Job reconnection failed\n    Job lease expired\n    Can not reconnect to slot1@n1, rescheduling job\n",
    "040": " Started transferring input files\n\tTransferring to host: <127.0.0.1:39618>\n",
}
KILLED = f" Job terminated.\n\t(0) Abnormal termination (signal 9)\n\t(0) No core file\n{USAGE}"
REMOVED_CLUSTER = (
    "036 (007.-01.000) 2026-11-25 13:59:49 Cluster removed\n	Materialized 2 jobs from 0 items.	Complete\n...\n"
)


def event(kind, number=0, body=None, job=7):
    return f"{kind} ({job:03}.{number:03}.000) 2026-11-25 13:59:46{BODIES[kind] if body is None else body}...\n"


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


class Log:
    """A log that is written to, and read."""

    def __init__(self, folder, places=range(3), **facts):
        self.path = folder / "script.events"
        self.reader = EventLog("7", str(self.path), Facts(places, **facts))

    def add(self, *events):
        with self.path.open("a") as file:
            file.write("".join(events))
        self.reader.read()

    def states(self):
        """Of each place: state, restarts, exit code, signal."""
        found = {}
        for seen in self.reader.seen():
            for place in self.reader.facts.places if seen.places is None else seen.places:
                assert place not in found
                found[place] = seen.state, seen.restarts, seen.exitcode, seen.signal
        return found


def test_before_there_is_a_log_all_wait(log):
    assert not log.reader.read()
    assert log.reader.seen() == [Seen("7", range(3), PENDING, "IDLE")]
    assert log.reader.is_sound


def test_each_event_is_understood(log):
    log.add(*(event("000", number) for number in range(3)))
    assert log.reader.seen() == [Seen("7", range(3), PENDING, "IDLE")]
    log.add(event("001", 0), event("001", 1), event("006", 0))
    assert log.states() == {0: ("RUNNING", 0, None, None), 1: ("RUNNING", 0, None, None), 2: ("IDLE", 0, None, None)}
    log.add(event("005", 0), event("005", 1, KILLED), event("012", 2))
    assert log.states() == {0: ("COMPLETED", 0, 3, None), 1: ("COMPLETED", 0, None, 9), 2: ("HELD", 0, None, None)}
    held = next(seen for seen in log.reader.seen() if seen.state == "HELD")
    assert (held.phase, held.places) == (PENDING, [2])
    assert held.reason.startswith("Error from n1: Failed to execute '/x'")
    assert held.reason.endswith("(Code 6 Subcode 2)")
    log.add(event("013", 2), event("009", 2))
    removed = next(seen for seen in log.reader.seen() if seen.state == "REMOVED")
    assert (removed.phase, removed.reason) == (ENDED, "via condor_rm (by user ada)")
    assert log.reader.is_over


@pytest.mark.parametrize(
    ("kinds", "state", "reason", "restarts"),
    [
        ("001", "RUNNING", "", 0),
        ("001 004", "IDLE", "", 1),  # whatever the first try leaves now is a ghost's
        ("001 004 001", "RUNNING", "", 1),
        ("001 022", "RUNNING", "Socket between submit and execute hosts closed", 0),
        ("001 022 023", "RUNNING", "", 0),
        ("001 022 024", "IDLE", "Job lease expired", 1),
        ("001 022 024 001", "RUNNING", "", 1),
        ("001 007", "IDLE", "Can no longer talk to condor_starter <127.0.0.1:9618>", 1),
        ("001 010", "SUSPENDED", "", 0),
        ("001 010 011", "RUNNING", "", 0),
        ("040 001 021 004 012", "HELD", "Error from n1: Failed to execute '/x': (errno=2: 'No such file')", 0),
        ("012 013", "IDLE", "", 0),
        ("001 004 001 005", "COMPLETED", "", 1),
        ("001 001", "RUNNING", "", 1),  # what was between them is lost
    ],
)
def test_what_befalls_one_element(tmp_path, kinds, state, reason, restarts):
    log = Log(tmp_path, range(1))
    log.add(event("000"), *(event(kind) for kind in kinds.split()))
    [seen] = log.reader.seen()
    assert (seen.places, seen.state, seen.restarts) == (None, state, restarts)
    assert seen.reason.removesuffix(" (Code 6 Subcode 2)") == reason


def test_what_the_user_releases_by_an_expression_has_no_code_to_die_of(tmp_path):
    log = Log(tmp_path, range(1), releases=True)
    log.add(event("012"))
    [seen] = log.reader.seen()
    assert seen.reason == "Error from n1: Failed to execute '/x': (errno=2: 'No such file')"


def test_places_need_not_be_htcondors_numbers(tmp_path):
    log = Log(tmp_path, [3, 5, 8])
    log.add(event("001", 1), event("005", 2))
    assert log.states() == {
        3: ("IDLE", 0, None, None),
        5: ("RUNNING", 0, None, None),
        8: ("COMPLETED", 0, 3, None),
    }


def test_what_never_came_into_the_queue_is_gone_with_it(log):
    log.add(event("000", 0), event("000", 1), event("005", 0), event("009", 1), REMOVED_CLUSTER)
    assert {place: state[0] for place, state in log.states().items()} == {0: "COMPLETED", 1: "REMOVED", 2: "REMOVED"}


def test_another_submission_in_the_same_log_is_none_of_ours(log):
    log.add(event("000", 0), event("005", 0, job=8))
    assert log.states()[0][0] == "IDLE"
    assert log.reader.is_sound


def test_dates_may_be_written_in_another_way(log):
    for number, date in enumerate(("11/25 13:59:46", "2026-11-25T13:59:46.123Z", "2026-11-25 13:59:46.123Z")):
        log.add(event("005", number).replace("2026-11-25 13:59:46", date))
    assert {state[0] for state in log.states().values()} == {"COMPLETED"}


# Read as it grows


def cuts(text):
    return st.lists(st.integers(0, len(text)), max_size=8).map(sorted)


@st.composite
def histories(draw):
    """What may befall three elements, in an order in which it does."""
    lives = []
    for number in range(3):
        kinds = ["000"]
        for _ in range(draw(st.integers(0, 3))):
            kinds += ["001", *draw(st.lists(st.sampled_from(["006", "022", "023", "010"]), max_size=2))]
            kinds += [draw(st.sampled_from(["004", "007", "024", "012"]))]
        kinds += draw(st.sampled_from([[], ["001"], ["001", "005"], ["009"], ["001", "006", "005"]]))
        lives.append([(kind, number) for kind in kinds])
    order = draw(st.permutations([number for number, life in enumerate(lives) for _ in life]))
    iterators = [iter(life) for life in lives]
    return [next(iterators[number]) for number in order]


@given(st.data(), histories())
@settings(max_examples=60)
def test_wherever_a_log_is_cut_it_is_read_once_and_alike(tmp_path_factory, data, history):
    text = "".join(event(kind, number) for kind, number in history).encode()
    whole, pieces = (Log(tmp_path_factory.mktemp("log")) for _ in range(2))
    whole.path.write_bytes(text)
    whole.reader.read()
    at = 0
    for cut in [*data.draw(cuts(text)), len(text)]:
        with pieces.path.open("ab") as file:
            file.write(text[at:cut])
        pieces.reader.read()
        at = cut
    assert pieces.states() == whole.states()
    assert pieces.reader.bytes_read == len(text)
    assert pieces.reader.is_sound


def test_an_event_counts_when_it_is_whole(log):
    text = event("001") + event("005")
    seen = []
    for end in accumulate([len(event("001")) - 1, 1, len(event("005")) - 2, 1, 1]):
        log.path.write_text(text[:end])
        log.reader.read()
        seen.append(log.states()[0][0])
    assert seen == ["IDLE", "RUNNING", "RUNNING", "RUNNING", "COMPLETED"]


def test_nothing_new_costs_no_reading(log):
    log.add(event("001"))
    seen = log.reader.seen()
    before = log.reader.bytes_read
    assert not log.reader.read()
    assert log.reader.bytes_read == before
    assert log.reader.seen() is seen


def test_a_large_log_is_read_in_pieces(tmp_path):
    log = Log(tmp_path, range(5_000))
    log.path.write_text("".join(event(kind, number) for kind in ("000", "001", "005") for number in range(5_000)))
    assert log.path.stat().st_size > 2 << 20
    log.reader.read()
    assert log.reader.seen() == [Seen("7", range(5_000), ENDED, "COMPLETED", exitcode=3)]


# What may happen to it


@pytest.mark.parametrize("harm", ["cut", "emptied", "replaced", "removed"])
def test_what_a_log_has_said_stays_known_though_it_is_lost(log, harm):
    log.add(event("001", 0), event("005", 0), event("001", 1))
    before = log.states()
    if harm == "removed":
        log.path.unlink()
    elif harm == "replaced":
        (log.path.parent / "other").touch()
        os.replace(log.path.parent / "other", log.path)
    else:
        with log.path.open("r+") as file:
            file.truncate(0 if harm == "emptied" else 100)
    log.reader.read()
    assert not log.reader.is_sound
    assert {place: state[0] for place, state in log.states().items()} == {
        place: state[0] for place, state in before.items()
    }
    log.path.write_text("")
    log.add(event("005", 1))  # it goes on
    assert log.states()[1][0] == "COMPLETED"
    assert log.states()[0][0] == "COMPLETED"


@given(histories(), st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["cut", "copy", "empty"])), max_size=4))
@settings(max_examples=60)
def test_whatever_happens_to_a_log_no_try_is_counted_that_never_was(tmp_path_factory, history, harms):
    """Else its outcome would be waited for. And what has ended stays so."""
    log = Log(tmp_path_factory.mktemp("log"))
    starts, ended = dict.fromkeys(range(3), 0), set()
    for index, (kind, number) in enumerate(history):
        starts[number] += kind == "001"
        log.add(event(kind, number))
        for at, harm in harms:
            if at == index:
                text = log.path.read_text()
                log.path.unlink()
                log.path.write_text({"cut": text[: len(text) // 2], "copy": text, "empty": ""}[harm])
                log.reader.read()
        for place, state in log.states().items():
            assert state[1] <= starts[place]
            if state[0] in ("COMPLETED", "REMOVED"):
                ended.add(place)
        assert all(log.states()[place][0] in ("COMPLETED", "REMOVED") for place in ended)


@given(st.binary(max_size=400))
def test_a_log_that_is_none_does_no_harm(tmp_path_factory, data):
    log = Log(tmp_path_factory.mktemp("log"))
    log.path.write_bytes(data)
    log.reader.read()
    log.add("\n...\n", event("005", 0))
    assert log.states()[0][0] == "COMPLETED"


# What the queue and the history know


def test_what_the_queue_has_is_taken_over_where_the_log_is_silent(log):
    log.add(event("001", 0), event("001", 1))
    rows = [Row("7", 0, IDLE, 2), Row("7", 1, RUNNING, 1), Row("7", 2, RUNNING, 1)]
    log.reader.compare(rows, next_number=None)
    assert {place: state[:2] for place, state in log.states().items()} == {
        0: ("IDLE", 2),
        1: ("RUNNING", 0),
        2: ("RUNNING", 0),
    }


def test_what_is_not_in_the_queue_is_gone_until_somebody_says_how_it_ended(log):
    log.add(event("005", 0), event("001", 1))
    log.reader.compare([Row("7", 2, IDLE, 0)], next_number=None)
    assert log.reader.gone == [1]
    assert set(log.states()) == {0, 2}  # nothing is said of the one that is gone
    log.reader.remember([Row("7", 1, Standing(ENDED, "COMPLETED", signal=9), 1)])
    assert log.states()[1] == ("COMPLETED", 0, None, 9)
    log.reader.compare([], next_number=None)
    log.add(event("005", 2))  # which came late
    assert log.states()[2] == ("COMPLETED", 0, 3, None)


def test_what_has_not_come_into_the_queue_yet_is_not_gone(log):
    log.reader.compare([Row("7", 0, RUNNING, 1)], next_number=1)
    assert {place: state[0] for place, state in log.states().items()} == {0: "RUNNING", 1: "IDLE", 2: "IDLE"}
    assert log.reader.gone == []


def test_a_log_that_was_lost_can_be_trusted_again_once_the_queue_was_asked(log):
    log.add(event("001", 0))
    log.path.unlink()
    log.reader.read()
    assert not log.reader.is_sound
    log.reader.compare([Row("7", number, RUNNING, 1) for number in range(3)], next_number=None)
    assert log.reader.is_sound
    assert {state[0] for state in log.states().values()} == {"RUNNING"}
