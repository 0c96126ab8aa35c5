"""Runners: call functions somewhere.

All are called alike, so a script says where its work is done in one place::

    with ConcurrentRunner(schedule=True) as run:
        model = run(fit, data)
        figure = run(plot, model)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.runners.base import Runner
    from weft.runners.concurrent import ConcurrentRunner
    from weft.runners.dry import DryCall, DryRunner
    from weft.runners.futures import FuturesRunner
    from weft.runners.serial import SerialRunner
    from weft.runners.wrapping import wrap

__all__ = ["ConcurrentRunner", "DryCall", "DryRunner", "FuturesRunner", "Runner", "SerialRunner", "wrap"]

_HOME = {
    "ConcurrentRunner": "concurrent",
    "DryCall": "dry",
    "DryRunner": "dry",
    "FuturesRunner": "futures",
    "Runner": "base",
    "SerialRunner": "serial",
    "wrap": "wrapping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weft.runners' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"weft.runners.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
