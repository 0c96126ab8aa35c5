"""Jobs for tests, and files that they leave."""

from __future__ import annotations

from weft.jobs import job


def noop():
    return None


def chain(length: int, make=lambda number: job(name=f"j{number}")(noop)) -> list:
    """Jobs of which each comes after the one before."""
    jobs = [make(number) for number in range(length)]
    for before, later in zip(jobs, jobs[1:], strict=False):
        later.after(before)
    return jobs


def ladder(diamonds: int) -> list:
    """Diamonds on top of each other: 2 ** diamonds ways lead from the first to the last of these."""
    tops = [job(name="top")(noop)]
    for number in range(diamonds):
        sides = [job(name=f"{side}{number}")(noop).after(tops[-1]) for side in ("left", "right")]
        tops.append(job(name=f"top{number}")(noop).after(*sides))
    return tops


def make(name: str, done: bool | None = None, **options):
    """A job that is done or not; None: it has no postcondition."""
    made = job(name=name, **options)(noop)
    return made if done is None else made.ensure(lambda: done)
