"""What is done where a job runs: conditions, the function, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weft.errors import ArgumentError
from weft.jobs.bind import element_parameter
from weft.jobs.conditions import NO_ELEMENT, check
from weft.jobs.node import Job

__all__ = ["call_here"]


def call_here(job: Job[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call the function of a job as it stands in the code, with its conditions checked.

    Of an array job this is one element: postconditions of the whole array are not asked.
    """
    arguments, conditions = job.arguments, job.conditions
    if arguments.takes:
        raise ArgumentError(
            f"{job.name} takes the result of {arguments.takes[0].name}, which is there in a run only; write "
            f"schedule({job.function_name})"
        )
    element = NO_ELEMENT if job.elements is None else _element(job, args, kwargs)
    if conditions:
        check(conditions, "before", job.name)
        if element is not NO_ELEMENT:
            check(conditions, "before", job.name, element)
    result = job.metafunc(*arguments.args, *args, **{**arguments.kwargs, **kwargs})
    if conditions:
        check(conditions, "after", job.name, element)
    return result


def _element(job: Job[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if args:
        return args[0]
    name = element_parameter(job.metafunc.get_signature())
    if name is None or name not in kwargs:
        raise ArgumentError(f"{job.name} takes an element of its array: write {job.function_name}({name}=...)")
    return kwargs[name]
