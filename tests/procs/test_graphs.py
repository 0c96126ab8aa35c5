"""Random graphs of procs: order is held, each runs at most once, everything ends."""

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.procs import AFTER_ALL, NO_FAILURES, ProcManager, ProcState, WhenTargetScheduled


@st.composite
def graphs(draw):
    """By name: dependencies, targets, wave, locks, whether it fails, special dependencies."""
    count = draw(st.integers(1, 9))
    found = {}
    for n in range(count):
        before = [f"p{k}" for k in range(n)]
        deps = draw(st.lists(st.sampled_from(before), max_size=3)) if before else []
        wave = max([draw(st.integers(0, 2)), *(found[dep]["wave"] for dep in deps)])
        found[f"p{n}"] = {
            "deps": deps,
            "rdeps": [],
            "wave": wave,
            "locks": draw(st.lists(st.sampled_from("xyz"), max_size=2, unique=True)),
            "fails": draw(st.integers(0, 5)) == 0,
            "special": draw(st.sampled_from([None, None, None, NO_FAILURES, AFTER_ALL])),
        }
    for n in range(count - 1):  # and some put themselves before others
        if draw(st.integers(0, 3)) == 0:
            target = f"p{draw(st.integers(n + 1, count - 1))}"
            if found[f"p{n}"]["wave"] <= found[target]["wave"]:
                found[f"p{n}"]["rdeps"].append(target)
    return found


@settings(max_examples=60)
@given(graphs(), st.integers(1, 3), st.data())
def test_any_graph_ends_in_order(graph, starts, data):
    ran = []

    def define(name, spec):
        def function(context):
            ran.append(context.proc_name)
            if spec["fails"]:
                raise ValueError(name)
            return name

        manager.Proc(
            name,
            function,
            deps=[*spec["deps"], *([spec["special"]] if spec["special"] else [])],
            rdeps=[WhenTargetScheduled(target) for target in spec["rdeps"]],
            wave=spec["wave"],
            locks=spec["locks"],
        )

    manager = ProcManager()
    manager.set_options(mode="single", report=False)
    try:
        for name, spec in graph.items():
            define(name, spec)
        for _ in range(starts):
            manager.start(*data.draw(st.lists(st.sampled_from(list(graph)), min_size=1)))
        well = manager.wait_for_all(exception_on_failure=False)
        procs = manager.get_procs()
    finally:
        manager.clear()
    assert len(ran) == len(set(ran))
    place = {name: n for n, name in enumerate(ran)}
    for name, spec in graph.items():
        state = procs[name].state
        assert state.is_end or state is ProcState.IDLE
        assert (name in place) == (state in (ProcState.SUCCEEDED, ProcState.FAILED))
        if state is ProcState.IDLE:
            continue
        before = [*spec["deps"], *(other for other, its in graph.items() if name in its["rdeps"])]
        for other in before:
            assert procs[other].state.is_end
            if name in place:
                assert place[other] < place[name]
                assert procs[other].state is ProcState.SUCCEEDED
        if state is ProcState.UNREACHABLE:
            assert procs[name].reason
            failed = any(procs[other].state is not ProcState.SUCCEEDED for other in before)
            assert failed or spec["special"] is NO_FAILURES
    assert well == all(proc.state in (ProcState.SUCCEEDED, ProcState.IDLE) for proc in procs.values())


@settings(max_examples=30)
@given(graphs())
def test_waves_started_together_end_one_after_the_other(graph):
    ran = []
    manager = ProcManager()
    manager.set_options(mode="single", report=False)
    try:
        for name, spec in graph.items():
            manager.Proc(name, lambda context: ran.append(context.proc_name), deps=spec["deps"], wave=spec["wave"])
        manager.start(*graph)
        assert manager.wait_for_all()
    finally:
        manager.clear()
    waves = [graph[name]["wave"] for name in ran]
    assert waves == sorted(waves)
    assert sorted(ran) == sorted(graph)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=2, max_size=8))
def test_any_mix_of_waits_ends(waits):
    """Procs that wait for others, in circles or not: each ends, well or told why not."""
    manager = ProcManager()
    manager.set_options(mode="single", report=False)

    def define(n, others):
        def function(context):
            context.wait([f"p{other % len(waits)}" for other in others])

        manager.Proc(f"p{n}", function, locks=["x"] if n == 3 else [])

    try:
        for n, others in enumerate(waits):
            define(n, others)
        manager.start("p0", "p1")
        manager.wait_for_all(exception_on_failure=False)
        for proc in manager.get_procs().values():
            assert proc.state.is_end or proc.state is ProcState.IDLE
            if proc.state is ProcState.FAILED:
                assert "waits for" in proc.reason or "ProcessError" in proc.reason
    finally:
        manager.clear()
