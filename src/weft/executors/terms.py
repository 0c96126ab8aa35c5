"""What tasks ask for, what this machine has, and what of it is free."""

from __future__ import annotations

import logging
import math
import os
from typing import TYPE_CHECKING, NamedTuple

from weft.errors import ChoiceError

if TYPE_CHECKING:
    from weft.resources import Cause, Resources, Retries

__all__ = ["Claims", "Machine", "Terms"]

LOGGER = logging.getLogger("weft")

# Read by OpenMP, OpenBLAS, MKL, BLIS, Accelerate and numexpr, each when it is loaded.
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
DEVICES = "CUDA_VISIBLE_DEVICES"


class Terms(NamedTuple):
    """What one task asks for."""

    cpus: int
    gpus: int
    memory: int  #: bytes
    time: float | None  #: seconds
    retries: Retries | None


class Machine:
    """What there is to share out: cpus (slots), memory in bytes, and GPUs by the names that CUDA knows them by."""

    def __init__(self, slots: int | None) -> None:
        self.slots = slots or usable_cpus()
        self.memory = total_memory()
        self.gpus = visible_gpus()
        self._known: dict[Terms, Terms] = {}  # so that equal terms are one object, which is quick to compare

    def terms(self, asked: Resources | None) -> Terms:
        """What a task is to have. Raises ChoiceError for more than there is."""
        if asked is None:
            terms = Terms(1, 0, 0, None, None)
            return self._known.setdefault(terms, terms)
        cpus, gpus, memory = asked.cpus or 1, asked.gpus or 0, asked.memory or 0
        if cpus > self.slots:
            LOGGER.warning("a task asks for %d cpus and gets all that there are: %d", cpus, self.slots)
            cpus = self.slots
        if gpus > len(self.gpus):
            raise ChoiceError(
                f"gpus={gpus} is more than there are here: {len(self.gpus)}"
                + (f" ({DEVICES}={os.environ[DEVICES]})" if DEVICES in os.environ else "")
            )
        if memory > self.memory:
            raise ChoiceError(f"memory={memory:,} bytes is more than this machine has: {self.memory:,}")
        terms = Terms(cpus, gpus, memory, asked.time, asked.retries)
        return self._known.setdefault(terms, terms)

    def grown(self, terms: Terms, cause: Cause, tries: dict[Cause, int]) -> Terms | None:
        """What the next try of a failed task asks for; None: there is none. Counts it in `tries`."""
        retry = None if terms.retries is None else terms.retries.allows(cause, tries)
        if retry is None:
            return None
        tries[cause] = tries.get(cause, 0) + 1
        grown = terms._replace(
            memory=min(self.memory, math.ceil(terms.memory * retry.memory)),
            time=None if terms.time is None else terms.time * retry.time,
        )
        return self._known.setdefault(grown, grown)


class Claims:
    """What of a machine is free. Its caller sees to it that threads take turns."""

    def __init__(self, machine: Machine) -> None:
        self.cpus = machine.slots
        self.memory = machine.memory
        self.gpus = list(machine.gpus)

    def fit(self, terms: Terms) -> bool:
        """Whether a task on these terms could start now."""
        return terms.cpus <= self.cpus and terms.memory <= self.memory and terms.gpus <= len(self.gpus)

    def take(self, terms: Terms, devices: tuple[str, ...]) -> None:
        """Claim it, and these of the GPUs."""
        self.cpus -= terms.cpus
        self.memory -= terms.memory
        for device in devices:
            self.gpus.remove(device)

    def give_back(self, terms: Terms, devices: tuple[str, ...]) -> None:
        """It is free again."""
        self.cpus += terms.cpus
        self.memory += terms.memory
        self.gpus += devices


def environment(cpus: int, devices: tuple[str, ...], own: dict[str, str]) -> dict[str, str]:
    """The environment of a worker for tasks with so many cpus, and with these GPUs.

    Libraries get as many threads as the task has cpus, unless the user has said otherwise.
    """
    environ = {**{name: str(cpus) for name in THREADS}, **os.environ, **own}
    if devices:
        environ[DEVICES] = ",".join(devices)
    return environ


def usable_cpus() -> int:
    """How many cpus this process may use: fewer than the machine has, perhaps, under taskset or a batch system."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def visible_gpus() -> list[str]:
    """The GPUs that tasks may use: those that CUDA_VISIBLE_DEVICES names, else all of NVIDIA's."""
    said = os.environ.get(DEVICES)
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
    return sorted((name[6:] for name in os.listdir("/dev") if name[:6] == "nvidia" and name[6:].isdecimal()), key=int)
