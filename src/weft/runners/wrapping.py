"""Functions that submit themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc
from weft.errors import ArgumentError
from weft.runners.base import Runner

__all__ = ["wrap"]


def wrap(runner: Runner, function: Callable[..., Any], mock: Any = None) -> Callable[..., Any]:
    """A function with the same signature that makes its calls through `runner`.

    It may take the name of `function`, and `function` may be a lambda, whose parameters are not checked.

    Args:
        runner: where calls are made.
        function: a plain function with annotations, or a `@task`.
        mock: example data in the shape of the result, or a function of the arguments that returns such. Default:
            what the function says about itself.

    Raises ArgumentError (a TypeError) for what is no runner or no function, and for a mock that is a type.
    """
    if not isinstance(runner, Runner):
        raise ArgumentError(f"wrap needs a runner first, got {runner!r:.60}; write wrap(runner, function)")
    if isinstance(function, MetaFuncBase) and mock is None:
        metafunc = function
    else:
        metafunc = MinimalMetaFunc(function, mock)

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return runner(metafunc, *args, **kwargs)

    return wrapper
