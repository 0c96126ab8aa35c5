"""``weft status``: which runs there are, and how each of their jobs is getting on."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.cli.view import SeenJob, View
    from weft.jobs.cluster.survey import Survey

__all__ = ["command"]

LATEST = 20  # runs in the list
ROWS = 40  # jobs in the table, on a terminal
NAME = 34  # characters of the name of a job
ID = 8  # characters of what a batch system calls it
LINE = 76  # characters of a reason, which stands four to the right

COLOURS = {
    "succeeded": "green",
    "finished": "green",
    "up to date": "green",
    "queued": "blue",
    "running": "blue",
    "failed": "red",
    "cut short": "red",
    "held": "red",
    "cancelled": "yellow",
    "interrupted": "yellow",
}
#: What one looks for comes first.
ORDER = ("failed", "running", "cancelled", "unreachable", "wanted", "succeeded", "up to date", "idle", "skipped")


@click.command("status", short_help="runs, and the jobs of a run", context_settings={"ignore_unknown_options": True})
@click.argument("run", required=False)
@click.option("--all", "-a", "everything", is_flag=True, help="all runs, or all jobs, however many there are.")
def command(run: str | None, everything: bool) -> None:
    """List the runs of this folder, or the jobs of one RUN: states, times, why something waits or has failed.

    \b
      weft status
      weft status -1
      weft status pi --all
    """
    from weft.cli.view import View
    from weft.cli.words import run_name
    from weft.errors import StorageError
    from weft.rundir import all_runs, find_run, home

    if run is not None:
        _show(View(find_run(run)), everything)
        return
    runs = all_runs()
    if not runs:
        _say(f"no runs in {home()}")
        return
    shown = runs if everything else runs[:LATEST]
    wide = max(len(run_name(folder.name)) for folder in shown)
    _say(f"{'run':<{wide}}  {'state':<11}  {'jobs':>9}  {'time':>6}")
    for folder in shown:
        try:
            _say(_row(View(folder), wide))
        except StorageError as error:  # one run that is damaged does not hide the others
            _say(f"{run_name(folder.name):<{wide}}  {_styled('unreadable', 'failed')}\n    {error}")
    if len(shown) < len(runs):
        _say(f"... and {len(runs) - len(shown)} older ones: weft status --all")


def _row(view: View, wide: int) -> str:
    from weft.cli.words import duration, run_name

    done = sum(job.state.is_end or job.state.value == "idle" for job in view.jobs.values())  # that one is not needed
    jobs = f"{done}/{len(view.jobs)}" if done < len(view.jobs) else f"{len(view.jobs)}"
    failed = sum(job.state.value == "failed" for job in view.jobs.values())
    wrong = _styled(f"  {failed} failed", "failed") if failed else ""
    state = _styled(f"{view.how:<11}", view.how)
    return f"{run_name(view.name):<{wide}}  {state}  {jobs:>9}  {duration(view.seconds()):>6}{wrong}"


def _show(view: View, everything: bool) -> None:
    from weft.cli.view import counted_states
    from weft.cli.words import age, counted, cut, duration

    now = time.time()
    jobs = list(view.jobs.values())
    _say(f"run {view.name}: {_styled(view.how, view.how)}, {duration(view.seconds())}, {age(now - view.changed)}")
    _say(f"{counted(len(jobs), 'job')}: {counted_states(jobs)}" if jobs else "no jobs")
    facts = view.facts
    if facts:
        _say(f"script {facts.get('script')}, backend {facts.get('backend')}, on {facts.get('host')}")
    if view.survey is not None:
        _say_who_has_it(view, view.survey)
    elif view.how == "running":
        driver = view.folder.driver()
        if driver is not None:
            _say(f"driven by process {driver.pid}; to stop it: weft cancel {view.name}")
    elif view.how in ("cut short", "interrupted"):
        _say("run its script again, and what is done is taken over")
    if not jobs:
        return
    jobs.sort(key=lambda job: ORDER.index(job.state.value))
    shown = jobs if everything or not sys.stdout.isatty() else jobs[:ROWS]
    wide = max(3, *(len(cut(job.name, NAME)) for job in shown))
    ids = f"  {'id':>{ID}}" if view.ids else ""
    _say(f"\n{'job':<{wide}}  {'state':<11}  {'elements':>9}  {'time':>6}{ids}")
    for job in shown:
        _say(_job_row(view, job, wide, now))
    if len(shown) < len(jobs):
        _say(f"... and {len(jobs) - len(shown)} more: weft status {view.name} --all")
    failed = next((job for job in jobs if job.state.value == "failed"), None)
    if failed is not None:
        _say(f"\nmore of it: weft logs {view.name} {_word(failed.name)}")


def _say_who_has_it(view: View, survey: Survey) -> None:
    """Of a run that a batch system runs alone."""
    if view.how == "cut short":
        _say("not all of it was submitted; run its script again, and what is missing is")
    elif survey.away:
        _say(f"{view.facts.get('backend')} does not answer: {survey.away}")
    else:
        _say(f"in the hands of {view.facts.get('backend')}; to stop it: weft cancel {view.name}")
    if survey.held:
        ids = ", ".join(dict.fromkeys(str(sub.id) for sub, _, _ in survey.held))
        _say(f"held, and will not run by itself: {ids}; release it there, or cancel the run")


def _job_row(view: View, job: SeenJob, wide: int, now: float) -> str:
    from weft.cli.view import GOES_ON
    from weft.cli.words import cut, duration

    elements = ""
    if job.elements is not None:
        good = sum(state.is_success for state in job.states.values())
        elements = f"{good}/{len(job.states)}"
    seconds = job.seconds(now if view.how in GOES_ON else view.changed)
    took = "" if seconds is None else duration(seconds)
    state = _styled(f"{job.state.value:<11}", job.state.value)
    number = f"  {view.ids.get(job.key, ''):>{ID}}" if view.ids else ""
    row = f"{cut(job.name, NAME):<{wide}}  {state}  {elements:>9}  {took:>6}{number}"
    why = "" if job.state.is_success else cut(view.why(job), LINE)
    return row.rstrip() + (f"\n    {why}" if why else "")


def _word(text: str) -> str:
    from shlex import quote

    return quote(text)


def _styled(text: str, state: str) -> str:
    return click.style(text, fg=COLOURS[state]) if state in COLOURS else text


def _say(text: str) -> None:
    # See https://no-color.org; click itself takes colours out where this is no terminal.
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
