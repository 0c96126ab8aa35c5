"""All tests: how they are dealt out to processes, what Hypothesis may take, little work for the garbage collector."""

import ast
import gc
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

from contract.executors import CANDIDATES

# Real clusters, for tests anywhere.
pytest_plugins = ["cluster.fixtures", "cluster.condor_fixtures"]
# Assertions in these say what they compare.
pytest.register_assert_rewrite("executors.cluster.facts")

# Beside other tests a step takes any time. A test that hangs is the business of pytest-timeout.
settings.register_profile("weft", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weft")

# In the background of a shell this process is deaf to Ctrl-C, and so would be all programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests of a file share, where they do: the first of their parameters.
EXECUTORS = [candidate.name for candidate in CANDIDATES] + ["forkserver", "spawn", "fork"]


# Of these, those whose workers are forks of the very process that runs the tests.
FORKS = ("fork", "local-fork", "processes-fork")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name.partition("[")[2].startswith(tuple(f"{name}{end}" for name in FORKS for end in "-]")):
            item.add_marker(pytest.mark.forks)
    # What takes longest comes first, so that no process is left with it when the others have nothing to do.
    seconds = Counter()
    for item in items:
        takes = seconds_of(item)
        seconds[scope_of(item.nodeid)] += takes
        if takes >= 2 and item.get_closest_marker("timeout") is None:  # beside others of the kind
            item.add_marker(pytest.mark.timeout(120 if takes == 2 else 60 + 6 * takes))
    items.sort(key=lambda item: -seconds[scope_of(item.nodeid)])


def scope_of(nodeid):
    """The tests that are to stay in one process, and in their order: those of a file that share an executor."""
    file, _, test = nodeid.partition("::")
    parameters = test.partition("[")[2]
    shared = [name for name in EXECUTORS if parameters.startswith((f"{name}-", f"{name}]"))]
    return f"{file} {max(shared, key=len)}" if shared else file


def seconds_of(item):
    """About how long a test takes; of slow ones, ``slow(30)`` says it."""
    slow = item.get_closest_marker("slow")
    if slow is not None and slow.args:
        return slow.args[0]
    return 2 if slow is not None or item.get_closest_marker("cluster") else 0.05


# While ast.parse makes a tree, the garbage collector may run finalizers, and these, or another thread meanwhile, make
# another one: CPython 3.11 counts the depth of both in one place and ends in a SystemError. So it is not to run then.
_parse = ast.parse


def parse(*args, **kwargs):
    collects = gc.isenabled()
    gc.disable()
    try:
        return _parse(*args, **kwargs)
    finally:
        if collects:
            gc.enable()


ast.parse = parse


def pytest_collection_finish(session):
    # Thousands of collected tests are a hundred thousand objects; each gc.collect() of a test would look at them all.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=[20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def length(request):
    """Of chains and the like which must not need recursion: far beyond its limit, and what weft promises."""
    return request.param


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `pytest -n`: tests of one file that share an executor stay together, and in their order."""
    from xdist.scheduler import LoadFileScheduling

    class LoadFileAndExecutor(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # by their number; ours is by time
    return LoadFileAndExecutor(config, log)
