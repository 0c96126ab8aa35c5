"""Each test has a ``.weft`` of its own; graphs that are large are made once."""

import pytest

from jobs.samples import chain, ladder


@pytest.fixture(scope="session", autouse=True)
def key(tmp_path_factory):
    """One key for all, since executors that serve several tests pass on the environment that they were made in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEFT_KEY_FILE", str(tmp_path_factory.mktemp("settings") / "key"))
        yield


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "we ft's\n"))
    monkeypatch.delenv("WEFT_BACKEND", raising=False)
    return tmp_path / "we ft's\n"


@pytest.fixture(scope="module")
def long_chain(length):
    """Jobs of which each comes after the one before. Not to be changed."""
    return chain(length)


@pytest.fixture(scope="module")
def tall_ladder(length):
    """Diamonds on top of each other. Not to be changed."""
    return ladder(length // 10)
