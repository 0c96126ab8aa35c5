"""The futures door: futures that wait for futures.

Any `concurrent.futures.Future` can be a dependency, and everything handed out here is one.
"""

from weft.engine.events import Event, Observer
from weft.engine.gates import Gate, Limit, Locks, NoFailures, Slots, Waves, When
from weft.engine.scheduler import Scheduler
from weft.engine.states import State
from weft.engine.task import ScheduledFuture
from weft.engine.waiting import WaitFuture, WaitGraph

__all__ = [
    "Event",
    "Gate",
    "Limit",
    "Locks",
    "NoFailures",
    "Observer",
    "ScheduledFuture",
    "Scheduler",
    "Slots",
    "State",
    "WaitFuture",
    "WaitGraph",
    "Waves",
    "When",
]
