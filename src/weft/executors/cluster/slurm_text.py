"""What Slurm's commands say, read: text in, plain data out. Nothing is run here.

Where the manuals are silent, this is what a real Slurm (22.05) was seen to say.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence

from weft.executors.cluster.system import Busy, Phase, Refused, Seen

__all__ = [
    "FIELDS",
    "NAMED",
    "NAMES",
    "RECORD",
    "read_config",
    "read_id",
    "read_names",
    "read_places",
    "read_queue",
    "read_records",
    "refusal",
    "spans",
    "tidy",
    "unknown",
]

# Elements of arrays ------------------------------------------------------------------------------------------


def spans(places: Iterable[int], *, steps: bool = False) -> list[str]:
    """Elements as Slurm writes them: ``["0-9", "12"]``; with steps also ``"20-30:2"``, which scancel does not take."""
    found = []
    for span in _ranges(places if isinstance(places, range) and places.step == 1 else sorted(set(places)), steps):
        text = str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}"
        found.append(text if span.step == 1 else f"{text}:{span.step}")
    return found


def _ranges(places: Sequence[int], steps: bool) -> Iterator[range]:
    """Growing numbers as ranges. One with a step is three long or more, else it would need more room, not less."""
    if isinstance(places, range):
        if places:
            yield places
        return
    start = 0
    while start < len(places):
        end = start + 1
        step = places[end] - places[start] if end < len(places) else 1
        if steps or step == 1:
            while end < len(places) and places[end] - places[end - 1] == step:
                end += 1
        if step > 1 and end - start < 3:
            end, step = start + 1, 1
        yield range(places[start], places[end - 1] + 1, step)
        start = end


def read_places(text: str) -> list[range]:
    """The elements in ``2-5,7,10-20:5%2``, or in ``[...]`` around it. Raises ValueError."""
    found = []
    if _PLACES.fullmatch(text):
        for match in _SPAN.finditer(text.partition("%")[0]):
            first, last, step = match.groups()
            found.append(range(int(first), int(last or first) + 1, int(step or 1)))
    if not found or not all(found):
        raise ValueError(f"these are no elements of an array: {text!r:.200}")
    return found


_ONE = r"\d{1,10}(?:-\d{1,10}(?::[1-9]\d{0,9})?)?"
_SPAN = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?", re.ASCII)
_PLACES = re.compile(rf"\[?{_ONE}(?:,{_ONE})*(?:%\d+)?\]?", re.ASCII)
FEW = 3  # elements of a range that are better kept in a list with others


# States ------------------------------------------------------------------------------------------------------

PENDING = {"CONFIGURING", "PENDING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD"}
PENDING |= {"SPECIAL_EXIT"}
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
ENDED |= {"PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"}


def _phase(state: str) -> Phase:
    """One that nobody knows is taken for one of those between start and end: each release brings some."""
    return Phase.PENDING if state in PENDING else Phase.ENDED if state in ENDED else Phase.RUNNING


def _seen(job: str, state: str, reason: str, restarts: int, status: str) -> Seen:
    """Of no elements yet."""
    phase = _phase(state)
    # Whoever runs has no status yet, and one that ran out of memory has a signal 125, which there is not.
    exitcode, signal = _status(status) if phase is Phase.ENDED and state != "OUT_OF_MEMORY" else (None, None)
    if exitcode == 0 and state != "COMPLETED":  # of one that did not come to its end, such as NODE_FAIL
        exitcode = None
    return Seen(job, None, phase, state, "" if reason in NOTHING else reason, restarts, exitcode, signal)


NOTHING = {"", "N/A", "None", "NULL", "(null)"}


def _status(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal: of ``0:15``, as sacct has it, or of the number that waitpid() gave, as squeue has it."""
    match = re.fullmatch(r"(\d{1,10})(?::(\d{1,10}))?", text, re.ASCII)
    if match is None:
        return None, None
    whole = int(match[1])
    code, signal = (whole >> 8, whole & 0x7F) if match[2] is None else (whole, int(match[2]))
    return (None, signal) if signal else (code, None)


def _gathered(rows: Iterable[tuple[Seen, list[range] | None]]) -> list[Seen]:
    """One for each range, and one for all elements that stand alone and have the rest in common."""
    found: list[Seen] = []
    alone: dict[Seen, list[int]] = {}
    for seen, places in rows:
        if places is None:
            found.append(seen)
            continue
        for span in places:
            if len(span) > FEW:
                found.append(seen._replace(places=span))
            else:
                alone.setdefault(seen, []).extend(span)
    return found + [seen._replace(places=places) for seen, places in alone.items()]


# squeue ------------------------------------------------------------------------------------------------------

#: For ``squeue --Format``. Reasons are prose in which anything may stand, so they come last.
FIELDS = "ArrayJobID:|,ArrayTaskID:|,State:|,exit_code:|,RestartCnt:|,Reason:"


def read_queue(text: str, cluster: str = "") -> list[Seen]:
    """What ``squeue --noheader --array-unique --Format=FIELDS`` prints.

    Lines that are not of this kind are passed over: sites put notes for people in front of what commands say.

    Raises:
        Busy: elements that nobody can read; those would else count as ended.
    """
    rows = []
    for line in text.splitlines():
        if match := _QUEUED.match(line):
            job, task, state, status, restarts, reason = match.groups()
            rows.append((_seen(_known_as(job, cluster), state, reason.strip(), int(restarts), status), _places(task)))
    return _gathered(rows)


_QUEUED = re.compile(r"(\d+)\|([^|]*)\|([A-Z_]+)\|([^|]*)\|(\d{1,10})\|(.*)", re.ASCII)


def _places(text: str) -> list[range] | None:
    if text in NOTHING:
        return None
    try:
        return read_places(text)
    except ValueError as error:
        raise Busy(f"Slurm says what weft does not understand: {error}") from None


def _known_as(job: str, cluster: str) -> str:
    """The id of a submission: with its cluster, where it is not the one that is asked by default."""
    return f"{job};{cluster}" if cluster else job


# sacct -------------------------------------------------------------------------------------------------------

#: For ``sacct --format``. Names are users' words, so they come last.
RECORD = "JobID,State,ExitCode,JobName"


def read_records(text: str, cluster: str = "") -> list[Seen]:
    """Who has ended, by ``sacct --allocations --duplicates --noheader --parsable2 --format=RECORD``.

    Each try has its own line, and the last one counts. Lines of another name are of another job, which had this id
    before the controller lost its memory. An exit code from 128 up lacks 128 there.
    """
    last: dict[tuple[str, str], tuple[str, int, str, str]] = {}
    for line in text.splitlines():
        if match := _RECORDED.match(line):
            job, task, state, status, name = match.groups()
            before = last.get((job, task))
            tries = before[1] + 1 if before is not None and before[0] == name else 0
            last[job, task] = name, tries, state, status
    rows = []
    for (job, task), (_, tries, state, status) in last.items():
        if state in ENDED:
            rows.append((_seen(_known_as(job, cluster), state, "", tries, status), _places(task or "")))
    return _gathered(rows)


# Such as 4_2|CANCELLED by 1000|0:15|fit-3f2a; elements that were cancelled while they waited are 4_[5-9].
_RECORDED = re.compile(r"(\d+)(?:_([^|.+]*))?\|([A-Z_]+)[^|]*\|([\d:]*)\|(.*)", re.ASCII)


def unknown(records: Iterable[Seen], seen: Iterable[Seen]) -> list[Seen]:
    """What records say of elements that have not been seen; of others, what has been seen is newer."""
    known: dict[str, list[Container[int]]] = {}
    for job, places, *_ in seen:
        known.setdefault(job, []).append(places if isinstance(places, range) else frozenset(places or ()))
    found = []
    for record in records:
        if record.job not in known:
            found.append(record)
        elif record.places is not None:
            rest = [place for place in record.places if not any(place in places for places in known[record.job])]
            found += [record._replace(places=rest)] if rest else []
    return found


# sbatch ------------------------------------------------------------------------------------------------------


def read_id(text: str) -> str | None:
    """The id that ``sbatch --parsable`` prints: ``123``, or ``123;cluster``. None where there is none."""
    return next((line for line in text.splitlines() if re.fullmatch(r"\d+(;\S+)?", line, re.ASCII)), None)


def refusal(stderr: str) -> Busy | Refused:
    """What it means that ``sbatch`` failed, by what it said."""
    text = tidy(stderr)
    if _is_full(text):
        return Busy(text, full=True)
    if any(re.search(words, text) for words in LOST):
        return Busy(text, unsure=True)
    if any(re.search(words, text) for words in AWAY):
        return Busy(text)
    return Refused(text or "sbatch failed, and did not say why")


def _is_full(text: str) -> bool:
    if any(re.search(words, text) for words in FULL):
        return True
    # The limit is named on a line of its own, such as QOSMaxSubmitJobPerUserLimit, MaxSubmitJobsPerAccount, or
    # QOSMaxWallDurationPerJobLimit. Before 18.08 it was not.
    names = re.findall(r"^[A-Z]\w+$", text, re.MULTILINE)
    return "accounting/QOS policy" in text and (not names or any("Submit" in name for name in names))


# Words of slurm_errno.c and sbatch.c in Slurm's sources.
FULL = (
    "temporarily unable to accept job",  # by MaxJobCount; sbatch then tries it again itself, for two minutes
    "Resource temporarily unavailable",
    "MaxJobCount limit reached",
    "job queue full",
)
LOST = (  # The order may have arrived, and only the answer did not. Seen: one that timed out, and was submitted.
    r"[Tt]imed out (?:on send/recv|reading|writing)",
    r"\((?:send|receive|shutdown) failure\)",
    r"Message (?:send|receive) failure",
    r"Communication shutdown failure",
    r"Zero Bytes were transmitted or received",
    r"Unexpected message received",
    r"Header lengths are longer than data received",
)
AWAY = (
    r"Unable to contact slurm controller",
    r"Communication connection failure",
    r"Connection (?:refused|rejected)",
    r"timed out establishing",
    r"standby mode",
    r"Rate limit exceeded",
    r"submissions disabled",
    r"temporarily disabled",
    r"[Mm]unge",
    r"uthentication (?:error|credential)",
    r"process configuration file",
    r"configuration source",
)


def tidy(stderr: str) -> str:
    """What a command of Slurm's said, without its own name in front, each line once."""
    lines = (_PREFIX.sub("", line.strip()) for line in stderr.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line and not line.startswith('Try "sbatch --help"')))


_PREFIX = re.compile(r"\A(?:\S*\bs[a-z]+: )?(?:error: |fatal: )?(?:Batch job submission failed: |slurm_\w+ error: )?")

# The rest ----------------------------------------------------------------------------------------------------

#: For ``squeue --Format``, to find submissions by name; and for ``sacct --format``.
NAMED = "SubmitTime:|,ArrayJobID:"
NAMES = "Submit,JobID"


def read_names(text: str) -> list[str]:
    """The ids of submissions, in the order in which they came, by ``squeue`` or ``sacct``."""
    found = {(match[1], int(match[2])) for match in re.finditer(r"^([\d:T-]+)\|(\d+)(?:_.*)?$", text, re.M | re.A)}
    return [str(job) for _, job in sorted(found)]


def read_config(text: str) -> dict[str, str]:
    """What ``scontrol show config`` prints, by name."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}
