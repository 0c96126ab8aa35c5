"""A batch system in memory, with faults and with a clock that a test moves."""

from weft.executors.cluster.fake.clock import VirtualClock
from weft.executors.cluster.fake.cluster import FakeCluster

__all__ = ["FakeCluster", "VirtualClock"]
