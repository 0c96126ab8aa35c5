"""Each contract test runs for each candidate; `executor` is shared by the tests of a module, `stage` makes more."""

import pytest

from contract.executors import CANDIDATES
from contract.stage import Stage


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(promise, ...): holds only for executors that make these promises")


def pytest_generate_tests(metafunc):
    if "candidate" in metafunc.fixturenames:
        needed = promises(metafunc.definition)
        candidates = [pytest.param(c, id=c.name, marks=c.marks(needed)) for c in CANDIDATES]
        metafunc.parametrize("candidate", candidates, scope="module")


def promises(item) -> set[str]:
    return {promise for mark in item.iter_markers("needs") for promise in mark.args}


def pytest_collection_modifyitems(items):
    # Fork on a process with threads: what these executors do with it is for them to know.
    ignored = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    for item in items:
        if "candidate" in getattr(item, "fixturenames", ()):
            item.add_marker(ignored)


@pytest.fixture(autouse=True)
def _on_its_cluster(request):
    if "candidate" in request.fixturenames:
        request.getfixturevalue("place")


@pytest.fixture(scope="module")
def place(candidate, request):
    """The cluster of an executor, which commands in this process talk to."""
    with pytest.MonkeyPatch.context() as patch:
        if candidate.cluster:
            for name, value in request.getfixturevalue(candidate.cluster).environ.items():
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def shared(candidate, place):
    with candidate.make(2) as executor:
        yield executor


@pytest.fixture
def stage(candidate, place, tmp_path):
    with Stage(candidate.make, tmp_path) as stage:
        yield stage


@pytest.fixture
def executor(request, candidate):
    """An executor with two workers. A test that is there to fail has its own, which it may break."""
    if candidate.missing(promises(request.node)):
        return request.getfixturevalue("stage").executor()
    return request.getfixturevalue("shared")
