"""Each test has a ``.weft`` and a key of its own."""

import resource
import signal
from contextlib import contextmanager

import pytest


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "we ft's\n"))
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "settings" / "key"))
    return tmp_path / "we ft's\n"


@contextmanager
def full_disk(room: int):
    """No file can grow beyond so many bytes, as on a full disk: a write is cut short, and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
