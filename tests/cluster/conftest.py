"""What tests of executors, and of jobs, on a real cluster have in common."""

import threading

import pytest
from click.testing import CliRunner

from contract.stage import Gate
from hand import PATIENCE
from weft import SlurmExecutor
from weft.cli.group import _weft
from weft.jobs.cluster import detached


@pytest.fixture
def make(slurm, made):
    """Makes executors, and ends them."""
    return made


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The same, on whichever cluster the test has."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(**options):
        made.append(SlurmExecutor(**{"poll_interval": 0.3, **options}))
        return made[-1]

    yield make
    for executor in made:
        closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive(), f"shutdown of {executor} hangs"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("WEFT_DIR", raising=False)
    monkeypatch.delenv("WEFT_BACKEND", raising=False)
    monkeypatch.setattr(detached, "FASTEST", 0.2)
    monkeypatch.setattr(detached, "SLOWEST", 0.5)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def weft():
    def weft(*arguments, code=0):
        done = CliRunner().invoke(_weft, [str(argument) for argument in arguments], prog_name="weft")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return weft
