"""LocalExecutor under bad treatment: `executor` is shared by the tests of a module, for each start method."""

import pytest

from contract.stage import Stage
from hand import PATIENCE
from weft.executors import LocalExecutor

# The contract is tested with each; what a task does to its worker hardly depends on how that was started.
STARTS = ["forkserver", *(pytest.param(start, marks=pytest.mark.slow) for start in ("spawn", "fork"))]


def pytest_collection_modifyitems(items):
    ignored = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    for item in items:
        if "start" in getattr(item, "fixturenames", ()):
            item.add_marker(ignored)


@pytest.fixture(scope="module", params=STARTS)
def start(request):
    return request.param


@pytest.fixture(scope="module")
def executor(start):
    with LocalExecutor(2, start=start) as executor:
        yield executor


@pytest.fixture
def stage(start, tmp_path):
    """Makes gates, ledgers and further executors of the same kind."""
    with Stage(lambda *args, **options: LocalExecutor(*args, start=start, **options), tmp_path) as stage:
        yield stage


@pytest.fixture
def hurried(monkeypatch):
    """What does not listen to SIGTERM is killed soon. With `usefixtures`, so that it outlasts `stage`, which waits."""
    monkeypatch.setattr("weft.executors.supervisor.GRACE", 0.2)


@pytest.fixture
def mates(executor, stage):
    """100 tiny tasks around what the test does, each of which must run exactly once and succeed."""
    from executors.zoo import note

    ledger = stage.ledger()
    early = [executor.submit(note, ledger, number) for number in range(50)]
    yield
    late = [executor.submit(note, ledger, number) for number in range(50, 100)]
    assert [future.result(PATIENCE) for future in early + late] == list(range(100))
    assert sorted(map(int, ledger.lines())) == list(range(100))
