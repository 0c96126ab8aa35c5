"""What HTCondor's commands say, read: text in, plain data out. Nothing is run here.

Where the manual is silent, this is what a real HTCondor (23.9) was seen to say.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from weft.executors.cluster.system import Busy, Phase, Refused

__all__ = ["FIELDS", "IDLE", "RUNNING", "Row", "Standing", "held", "read_id", "read_rows", "refusal", "tidy"]


class Standing(NamedTuple):
    """Where an element stands."""

    phase: Phase
    state: str  #: In HTCondor's word for the number that JobStatus is.
    reason: str = ""
    exitcode: int | None = None
    signal: int | None = None


IDLE = Standing(Phase.PENDING, "IDLE")
RUNNING = Standing(Phase.RUNNING, "RUNNING")
STATES = {
    "1": IDLE,
    "2": RUNNING,
    "3": Standing(Phase.ENDED, "REMOVED"),
    "4": Standing(Phase.ENDED, "COMPLETED"),
    "5": Standing(Phase.PENDING, "HELD"),
    "6": Standing(Phase.RUNNING, "TRANSFERRING_OUTPUT"),
    "7": Standing(Phase.RUNNING, "SUSPENDED"),
}


def held(reason: str, code: str, subcode: str) -> Standing:
    """One that is held; the code goes with the reason, in the words of the event log."""
    return STATES["5"]._replace(reason=f"{reason} (Code {code} Subcode {subcode})")


# condor_q, condor_history ------------------------------------------------------------------------------------

#: For ``-af:t`` of `condor_q` and `condor_history`. Reasons are prose in which anything may stand, so they come last.
FIELDS = (
    *("ClusterId", "ProcId", "JobStatus", "NumJobStarts", "ExitBySignal", "ExitCode", "ExitSignal"),
    *("HoldReasonCode", "HoldReasonSubCode", "ifThenElse(JobStatus == 5, HoldReason, RemoveReason)"),
)


class Row(NamedTuple):
    """One element."""

    job: str
    number: int  #: That HTCondor gives to it.
    standing: Standing
    starts: int


def read_rows(text: str) -> list[Row]:
    """What ``-af:t`` prints for `FIELDS`. Other lines, such as the further ones of a reason, are passed over."""
    rows = []
    for line in text.splitlines():
        if match := _ROW.match(line):
            job, number, status, starts, *facts = match.groups()
            rows.append(Row(job, int(number), _standing(status, *facts), _number(starts) or 0))
    return rows


def _standing(status: str, by_signal: str, code: str, signal: str, why: str, subcode: str, reason: str) -> Standing:
    standing = STATES[status]
    if status == "5":
        return held(reason, why, subcode)
    if status == "4":
        killed = by_signal == "true"
        return standing._replace(signal=_number(signal)) if killed else standing._replace(exitcode=_number(code))
    return standing._replace(reason=reason) if status == "3" and reason != NOTHING else standing


NOTHING = "undefined"
_ROW = re.compile(r"(\d+)\t(\d+)\t([1-7])" + r"\t([^\t]*)" * 6 + r"\t(.*)", re.ASCII)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


# condor_submit -----------------------------------------------------------------------------------------------


def read_id(text: str) -> str | None:
    """The id that ``condor_submit -terse`` prints: ``11.0 - 11.4``. None where there is none."""
    match = re.search(r"^(\d+)\.\d+ - \d+\.\d+$", text, re.MULTILINE | re.ASCII)
    return match and match[1]


def refusal(stderr: str) -> Busy | Refused:
    """What it means that ``condor_submit`` failed, by what it said."""
    text = tidy(stderr)
    if re.search(r"\bMAX_JOBS_(?:PER_OWNER|PER_SUBMISSION|SUBMITTED)\b", text):
        return Busy(text, full=True)
    if "invalid attribute value" in text:
        return Refused(text)
    if any(re.search(words, text) for words in LOST):
        return Busy(text, unsure=True)
    if any(re.search(words, text) for words in AWAY):
        return Busy(text)
    if "allocate a cluster id" in text and "root" not in text:
        text += "; HTCondor takes no jobs from root: submit as an ordinary user"
    return Refused(text or "condor_submit failed, and did not say why")


# The order may have arrived, and only the answer did not.
LOST = (r"Failed to commit", r"[Cc]ommit.*(?:failed|timed out)", r"SECMAN:2007", r"Read failure")
AWAY = (
    r"Can't find address",
    r"Failed to connect",
    r"Failed to fetch ads",
    r"AUTHENTICATE:",
    r"CEDAR:",
    r"SECMAN:",
    r"DAEMON:",
    r"Failed to begin transaction",
    r"Unable to contact",
)


def tidy(stderr: str) -> str:
    """What a command said, each line once, without its own name in front, and without general advice."""
    text = stderr.partition("\nExtra Info:")[0]
    lines = (_PREFIX.sub("", line.strip()) for line in text.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line))


_PREFIX = re.compile(r"\A(?:-- |condor_\w+: ?(?:\d+:)?)?(?:ERROR: |Error: )?")
