"""Runners: call functions somewhere.

All are called alike, so a script says where its work is done in one place::

    with ConcurrentRunner(schedule=True) as run:
        model = run(fit, data)
        figure = run(plot, model)
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.runners.base import Runner
    from weft.runners.concurrent import ConcurrentRunner
    from weft.runners.dry import DryCall, DryRunner
    from weft.runners.futures import FuturesRunner
    from weft.runners.serial import SerialRunner
    from weft.runners.wrapping import wrap

__all__ = ["ConcurrentRunner", "DryCall", "DryRunner", "FuturesRunner", "Runner", "SerialRunner", "wrap"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ConcurrentRunner": "concurrent",
        "DryCall": "dry",
        "DryRunner": "dry",
        "FuturesRunner": "futures",
        "Runner": "base",
        "SerialRunner": "serial",
        "wrap": "wrapping",
    },
)
