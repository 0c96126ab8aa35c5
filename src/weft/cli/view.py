"""A run as its folder tells it, in one pass over its events: for a table, not for results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weft.engine.states import State
from weft.errors import ChoiceError, StorageError
from weft.rundir import RunFolder, read_journal

if TYPE_CHECKING:
    from weft.jobs.cluster.survey import Survey

__all__ = ["GOES_ON", "SeenJob", "View", "counted_states"]

ENDS = {"finished", "cancelled", "interrupted"}
GOES_ON = ("queued", "running", "held")


class SeenJob:
    """One job of a run."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.key = str(said["key"])
        self.name = str(said["name"])
        self.state = State(said["state"])
        self.detail = str(said.get("why", ""))
        self.edges: list[tuple[str, str]] = [(key, status) for key, status in said.get("edges", ())]
        self.source: str | None = said.get("from")  #: The run that knows what was done of it before this one.
        self.wait_for = str(said.get("wait_for", "all"))
        self.elements: Sequence[Any] | None = _elements(said.get("elements"))
        self.places: Sequence[int] = said.get("left", range(len(self.elements)) if self.elements is not None else (0,))
        runs = set(said.get("places", self.places)) if self.state is State.WANTED else set()
        done = State.UP_TO_DATE if self.state is State.WANTED else self.state
        self.states = {place: State.WANTED if place in runs else done for place in self.places}
        self.began: float | None = None
        self.ended: float | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of it; what is none is passed over."""
        try:
            state, place, time = State(event["state"]), event.get("i"), float(event["t"])
        except (KeyError, TypeError, ValueError):
            return
        if self.elements is not None and place is not None:
            self.states[place] = state
            if self.state is State.WANTED and state is not State.WANTED:
                self.state = State.RUNNING
        else:
            self.state = state
            if self.elements is None:
                self.states[0] = state
        if state is State.RUNNING and self.began is None:
            self.began = time
        if state.is_end:
            self.ended = time
        if event.get("detail"):
            self.detail = str(event["detail"])

    def stopped(self, state: State, why: str) -> None:
        """The run does not go on, so it is not running any more, and does not wait, whatever the events say."""
        open_places = [place for place, its in self.states.items() if not its.is_end]
        self.states.update(dict.fromkeys(open_places, state))
        if not self.state.is_end:
            self.detail = why if self.state is State.RUNNING else ""
            self.state = state

    def place_of(self, text: str) -> int:
        """The place of an element, as a user writes it."""
        assert self.elements is not None
        for place, element in enumerate(self.elements):
            if str(element) == text:
                return place
        shown = ", ".join(str(element) for element in self.elements[:5]) + (", ..." if len(self.elements) > 5 else "")
        raise ChoiceError(f"{self.name} has no element {text!r}; its elements are: {shown}")

    def seconds(self, now: float) -> float | None:
        """How long it has been running, or ran."""
        if self.began is None:
            return None
        return (self.ended if self.state.is_end and self.ended is not None else now) - self.began


class View:
    """A run.

    Attributes:
        ids: what a batch system calls jobs, by key.
        survey: of a run that a batch system runs alone; None where it has a driver, or is over.
        how: ``"queued"`` (nothing of it has begun), ``"running"``, ``"held"`` (nothing of it runs, and something will
            not by itself), ``"finished"``, ``"cancelled"``, ``"interrupted"`` (by Ctrl-C), or ``"cut short"``: its
            driver is gone, and has said nothing.
        jobs: by key, in topological order.
        began, changed: seconds since the epoch.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.name = folder.name
        self.facts = folder.facts()
        try:
            self.jobs = {job["key"]: SeenJob(job) for job in self.facts.get("jobs", ())}
            self.began = float(self.facts.get("created", folder.last_change()))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{folder.path / 'run.json'} is not what weft wrote there") from error
        self.changed = self.began
        self.survey = _survey(folder)  # before its events are read, to which it adds what is new
        self.ids = _ids(folder)
        live = folder.is_live()  # before its events are read: what ends in between is seen there
        last = ""
        for event in read_journal(folder.journal):
            time = event.get("t")
            self.changed = float(time) if isinstance(time, int | float) else self.changed
            if "run" in event:
                last = str(event["run"])
            elif isinstance(event.get("job"), str) and event["job"] in self.jobs:
                self.jobs[event["job"]].take(event)
        self.how = last if last in ENDS else "running" if live else "cut short"
        if self.survey is not None:
            self.how = self._how_it_stands(self.survey, live=live)
        elif (
            self.how == "cancelled"
        ):  # its driver may have been killed before it could say what that means for its jobs
            self._stop(State.CANCELLED, "")
        elif self.how == "cut short":
            self._stop(State.WANTED, "was running when the run was cut short")

    def _how_it_stands(self, survey: Survey, *, live: bool) -> str:
        """A run that a batch system runs alone."""
        from weft.executors.cluster.system import Phase

        if not live and survey.standing.not_submitted():
            return "cut short"
        if survey.held and not any(line.phase is Phase.RUNNING for lines in survey.said.values() for line in lines):
            return "held"
        waits = (State.WANTED, State.IDLE, State.UP_TO_DATE)
        return "queued" if all(job.state in waits for job in self.jobs.values()) else "running"

    def _stop(self, state: State, why: str) -> None:
        for job in self.jobs.values():
            job.stopped(state, why)

    def seconds(self) -> float:
        """How long it has been going on, or went on."""
        return (time.time() if self.how in GOES_ON else self.changed) - self.began

    def job(self, text: str) -> SeenJob:
        """A job by its name, or the key that its files have."""
        found = [job for job in self.jobs.values() if text in (job.name, job.key)]
        if found:
            return found[0]
        from difflib import get_close_matches

        names = [job.name for job in self.jobs.values()]
        near = get_close_matches(text, names, n=3)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"there are: {_listed(names)}"
        raise ChoiceError(f"run {self.name} has no job {text!r}; {hint}")

    def why(self, job: SeenJob) -> str:
        """Why a job that waits does, or what went wrong with one that failed; one line, perhaps empty."""
        if self.survey is not None and not job.state.is_end:
            return self._said(self.survey, job)
        if job.state is State.WANTED and self.how == "running":
            waiting = [(self.jobs[key], status) for key, status in job.edges if key in self.jobs]
            names = [
                f"{dep.name} ({dep.state.value})" if status == "success" else f"{status} of {dep.name}"
                for dep, status in waiting
                if not dep.state.is_end
            ]
            if names:
                return f"waits for {' or '.join(names[:3]) if job.wait_for == 'any' else ', '.join(names[:3])}" + (
                    f" and {len(names) - 3} more" if len(names) > 3 else ""
                )
            return "waits for a free place"
        return " ".join(job.detail.removeprefix("DependencyNeverSatisfied: ").split())

    def _said(self, survey: Survey, job: SeenJob) -> str:
        """What the batch system says of a job that waits or runs."""
        lines = survey.said.get(job.key, ())
        where = str(self.facts.get("backend"))
        if not lines:
            if job.key in self.ids:
                return survey.away or "has ended; its outcome is awaited"
            return "" if job.state is State.IDLE else "not submitted"
        texts = [f"{line.state} ({line.reason})" if line.reason not in ("", "None") else line.state for line in lines]
        told = [text for text in dict.fromkeys(texts) if text not in ("RUNNING", "COMPLETING")]
        held = "will not run by itself; " if any(sub.key == job.key for sub, _, _ in survey.held) else ""
        return f"{held}{where}: {', '.join(told)}" if told else ""


def _survey(folder: RunFolder) -> Survey | None:
    """What is known of a run that a batch system runs alone, if it is one, and not over."""
    from weft.jobs.cluster.systems import is_detached

    if not is_detached(folder):
        return None
    from weft.jobs.cluster.detached import survey_of

    survey = survey_of(folder)
    return None if survey is None or survey.over else survey


def _ids(folder: RunFolder) -> Mapping[str, str]:
    from weft.jobs.cluster.systems import is_detached

    if not is_detached(folder):
        return {}
    from weft.jobs.cluster.register import Register

    return Register(folder.path).ids()


def counted_states(jobs: Sequence[SeenJob]) -> str:
    """Such as ``2 succeeded, 1 failed``."""
    counts = Counter(job.state for job in jobs)
    return ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])


def _elements(told: Any) -> Sequence[Any] | None:
    return range(*told["range"]) if isinstance(told, dict) else told


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
