"""What a run says of itself in its run.json, and the records of its jobs: made of a plan, or read again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from weft.engine.states import IDLE, SUCCEEDED, UNREACHABLE, UP_TO_DATE, WANTED, State
from weft.errors import DependencyNeverSatisfied
from weft.jobs.earlier import Earlier, script
from weft.jobs.names import Named
from weft.jobs.node import Job
from weft.jobs.prune import Plan, Planned
from weft.jobs.records import Record
from weft.jobs.spec import NOTHING

__all__ = ["SKETCH", "facts_of", "records_of", "records_told", "sketched"]

AnyJob = Job[..., Any]

SKETCH = "WEFT_SKETCH"  # the environment variable with a file: the first schedule puts its jobs there, and runs nothing


def records_of(plan: Plan, named: Named, earlier: Earlier) -> dict[AnyJob, Record]:
    """The records of a run that is about to begin."""
    records: dict[AnyJob, Record] = {}
    for part, name in zip(plan, named.names, strict=True):
        job = part.job
        record = Record(job, name, named.keys[job], job.elements, range(1) if job.left is None else job.left)
        records[job] = record
        if job.elements is None and part.state is WANTED:  # as nearly always
            record.whole = record.states[0] = WANTED
            continue
        running = set(part.places) if part.state is WANTED else ()
        record.whole = part.state
        for place in record.places:
            if place in running:
                record.states[place] = WANTED
            elif part.state is not UNREACHABLE and earlier.made_here(job, place):
                record.states[place] = SUCCEEDED
            else:
                record.states[place] = UP_TO_DATE if part.state is WANTED else part.state
        states = set(record.states.values())
        if (part.state is UP_TO_DATE and states) or (part.state is IDLE and states == {SUCCEEDED}):
            record.whole = record.end()
        if part.state is UNREACHABLE:
            record.why = DependencyNeverSatisfied(part.why)
        if len(running) < len(record.places):
            record.past = earlier.value(job)
    return records


def facts_of(plan: Plan, records: Mapping[AnyJob, Record], earlier: Earlier, backend: Any) -> dict[str, Any]:
    """What is said of the run in its run.json."""
    import weft

    return {
        "identity": earlier.identity,
        "script": script(),
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "python": sys.version.split()[0],
        "weft": weft.__version__,
        "backend": backend if isinstance(backend, str) else type(backend).__name__,
        "created": time.time(),
        "jobs": [_job_facts(part, records, earlier) for part in plan],
    }


def _job_facts(part: Planned, records: Mapping[AnyJob, Record], earlier: Earlier) -> dict[str, Any]:
    job = part.job
    record = records[job]
    facts: dict[str, Any] = {"key": record.key, "name": record.name, "state": part.state.word}
    if job.elements is not None:
        facts["elements"] = _told(job.elements)
        if len(record.places) < len(job.elements):
            facts["left"] = list(record.places)
        if part.state is WANTED and len(part.places) < len(record.places):
            facts["places"] = list(part.places)
    _add_edges(facts, job, records)
    if part.why:
        facts["why"] = part.why
    if job.spec.resources is not NOTHING and job.spec.resources != NOTHING:
        resources = job.spec.resources.words()
        resources.pop("retries", None)
        facts["resources"] = resources
    if len(part.places) < len(record.places) or part.state is not WANTED:
        source = earlier.source(job)
        if source is not None:
            facts["from"] = source
    return facts


def _add_edges(facts: dict[str, Any], job: AnyJob, records: Mapping[AnyJob, Record]) -> None:
    """What it comes after, and how."""
    if job.edges or job.arguments.takes:
        edges = {dep: edge.status for dep, edge in job.edges.items()}
        edges.update(dict.fromkeys(job.arguments.takes, "success"))
        facts["edges"] = [[records[dep].key, status] for dep, status in edges.items()]
        each = [records[dep].key for dep, edge in job.edges.items() if edge.each]
        if each:
            facts["each"] = each
    if job.wait_for != "all":
        facts["wait_for"] = job.wait_for
        if job.arguments.takes:
            facts["takes"] = [records[dep].key for dep in job.arguments.takes]
    asks = {c.when for c in job.conditions if not c.per_element} if job.elements is not None else ()
    if asks:
        facts["asks"] = sorted(asks)


def _told(elements: Sequence[Any]) -> Any:
    """The elements of an array in JSON: as they are, where they are numbers and texts, else shortened."""
    if isinstance(elements, range):
        return {"range": [elements.start, elements.stop, elements.step]}
    from weft.payload.shorten import shorten

    plain = (str, int, float, bool, type(None))
    return [element if isinstance(element, plain) else shorten(element) for element in elements]


def records_told(facts: Mapping[str, Any]) -> list[Record]:
    """The records of the jobs of a run, as they were when it began; without what has happened since."""
    records = []
    for said in facts.get("jobs", ()):
        elements = _read(said.get("elements"))
        places = said.get("left", range(1) if elements is None else range(len(elements)))
        record = Record(None, said["name"], said["key"], elements, places)
        record.whole = State(said["state"])
        running = set(said.get("places", places)) if record.whole is WANTED else ()
        other = UP_TO_DATE if record.whole is WANTED else record.whole
        record.states = {place: WANTED if place in running else other for place in places}
        if "why" in said:
            record.why = DependencyNeverSatisfied(said["why"])
        records.append(record)
    return records


def _read(told: Any) -> Sequence[Any] | None:
    return range(*told["range"]) if isinstance(told, dict) else told


def sketched(facts: Mapping[str, Any]) -> NoReturn:
    """Instead of running: put what would be run where SKETCH says, and end the script."""
    Path(os.environ[SKETCH]).write_text(json.dumps(facts["jobs"]), encoding="utf-8")
    raise SystemExit(0)
