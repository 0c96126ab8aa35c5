"""Each test has a ``.weft`` and a key of its own."""

import pytest


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("WEFT_DIR", str(tmp_path / "we ft's\n"))
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "settings" / "key"))
    return tmp_path / "we ft's\n"
