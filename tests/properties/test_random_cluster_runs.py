"""Whatever the graph: a batch system makes of it what this process would."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hand import PATIENCE
from weft import job, schedule
from weft.executors import FakeCluster
from weft.jobs.cluster import detached

MOST = 7  # jobs of a graph


@st.composite
def graphs(draw):
    """What is said of each job: whether it has an array, what fails, what it comes after, how."""
    found = []
    for number in range(draw(st.integers(2, MOST))):
        size = draw(st.sampled_from([None, None, 0, 1, 3]))
        bad = draw(st.sets(st.integers(0, (size or 1) - 1 if size != 0 else 0), max_size=1))
        edges = (
            {
                dep: (
                    draw(st.sampled_from(["success", "success", "failure", "any"])),
                    size is not None and size == found[dep][0] and draw(st.booleans()),
                )
                for dep in draw(st.sets(st.integers(0, number - 1), max_size=2))
            }
            if number
            else {}
        )
        takes = draw(st.sets(st.integers(0, number - 1), max_size=1)) if number and draw(st.booleans()) else set()
        whole = draw(st.sampled_from([None, None, None, "before", "after"])) if size else None
        found.append((size, bad, edges, takes - set(edges), draw(st.booleans()), whole))
    return found


def made(graph):
    """The jobs, made anew."""
    jobs = []
    for number, (size, bad, edges, takes, one_of, whole) in enumerate(graph):

        def work(*args, bad=frozenset(bad), array=size is not None, number=number, **taken):
            if (args[0] if array else 0) in bad:
                raise ValueError(f"{number} is bad")
            return number, args, taken

        def element(i, work=work, **taken):
            return work(i, **taken)

        new = job(name=f"j{number}", array=size)(work if size is None else element)
        if takes:
            new = new.bind(**{f"t{dep}": jobs[dep] for dep in takes})
        for dep, (status, each) in edges.items():
            new.after(jobs[dep], status=status, each=each)
        if one_of:
            new.waitfor("any")
        if whole is not None:
            new.ensure(lambda number=number: number % 2 == 0, when=whole)
        jobs.append(new)
    return jobs


def outcome(jobs, backend, **options):
    """What becomes of them, and of their elements."""
    run = schedule(*jobs, backend=backend, raise_on_failure=False, fresh=True, prune=False, **options)
    run.wait(PATIENCE, raise_on_failure=False)
    states = {made.name: (state, run.elements(made)) for made, state in run.states.items()}
    return states, {made.name: result for made, result in run.results.items()}


@pytest.mark.slow
def test_a_batch_system_runs_what_this_process_would_run_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "weft"))
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setattr(detached, "FASTEST", 0.05)
    monkeypatch.setattr(detached, "SLOWEST", 0.1)
    monkeypatch.setattr(detached, "LISTING", 0.02)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs())
    def check(graph):
        expected = outcome(made(graph), "serial")
        with FakeCluster(nodes=2, cpus=16, array=2) as cluster:
            assert outcome(made(graph), cluster, poll_interval=0.05) == expected

    check()
