"""The facts of `executors/cluster/facts.py`, which the fake cluster claims, on the real thing."""

import time

import pytest

from executors.cluster.facts import FACTS, Bench
from weft.executors.cluster.slurm import SlurmSystem

LONG = 120  # seconds in which all comes to pass, also on a machine that does much else

#: What takes Slurm half a minute and more.
SLOW = {
    "a_time_limit_ends_it",
    "on_a_lost_node_the_earlier_try_goes_on",
    "so_does_it_with_a_node_that_is_lost",
    "without_its_controller_nobody_answers_and_jobs_go_on",
}


#: Which cluster, by what a fact needs of it. The others are tried on one without anything that takes time.
CLUSTERS = {
    "limit_submissions": "slurm_accounting",
    "exceed_memory": "slurm_cgroups",
    "leftovers_are_killed": "slurm_cgroups",
}

# In the place of sbatch: without the word by which weft says that nobody waits for what cannot come.
WITHOUT = 'for a; do shift; [ "$a" = --kill-on-invalid-dep=yes ] || set -- "$@" "$a"; done; exec "$REAL" "$@"'


class SlurmHarm:
    """That of a real cluster. All that a `Harm` can do."""

    leftovers_are_killed = True

    def __init__(self, slurm):
        self._slurm = slurm
        self.capacity = 8 * len(slurm.nodes)
        self.kill_wait = 3.0
        self.sleep = time.sleep
        self.hold, self.release, self.requeue = slurm.hold, slurm.release, slurm.requeue
        self.cancel_by_other = slurm.cancel
        self.node_down, self.lose_node = slurm.set_down, slurm.kill_node
        self.stop_controller, self.start_controller = slurm.stop_controller, slurm.start_controller
        self.forget, self.fail_launch, self.limit_submissions = slurm.forget, slurm.fail_launch, slurm.limit_submissions

    def until(self, holds):
        end = time.monotonic() + LONG
        while not holds():
            assert time.monotonic() < end, f"it does not hold after {LONG} seconds"
            time.sleep(0.1)

    def reach_time_limit(self, job):
        self._slurm.end_time_in(job, 1)

    def exceed_memory(self, job):
        """By itself."""

    exceed_memory_polled = exceed_memory

    def let_invalid_dependents_stay(self):
        self._slurm.twist("sbatch", WITHOUT)

    def preempt(self, job):
        self._slurm.make_preemptible("debug")
        self._slurm.preempt(job)

    def node_of(self, job):
        return self._slurm.job(job)["NodeList"]

    def partition_down(self):
        self._slurm.set_partition("debug", "DOWN")

    def partition_up(self):
        self._slurm.set_partition("debug", "UP")

    def lose_answer(self, taken):
        lines = 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'
        self._slurm.twist("sbatch", f'"$REAL" "$@" >/dev/null; {lines}' if taken else lines)


@pytest.mark.timeout(2 * LONG)
@pytest.mark.parametrize(
    "fact", [pytest.param(fact, marks=[pytest.mark.slow] * (fact.name in SLOW), id=str(fact)) for fact in FACTS]
)
def test_fact(fact, slurm_programs, request, tmp_path):
    slurm = request.getfixturevalue(next((CLUSTERS[need] for need in fact.needs if need in CLUSTERS), "slurm"))
    harm = SlurmHarm(slurm)
    assert all(hasattr(harm, need) for need in fact.needs)
    with Bench(SlurmSystem(), harm, tmp_path) as bench:
        fact.check(bench)
