"""`import weft` costs next to nothing, and every name that it offers is there."""

import subprocess
import sys

import pytest

import weft


def test_importing_weft_imports_nothing_heavy():
    code = "import sys, weft; print(sorted(m for m in sys.modules if m.split('.')[0] in sys.argv[1:]))"
    heavy = ["typeguard", "cloudpickle", "numpy", "asyncio", "multiprocessing", "inspect", "concurrent", "logging"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_futures_door_does_not_import_process_pools_or_type_checkers():
    code = "import sys, weft.futures; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["typeguard", "cloudpickle", "numpy", "asyncio", "multiprocessing", "concurrent.futures.process"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", weft.__all__)
def test_every_name_in_the_table_of_contents_is_there(name):
    assert getattr(weft, name) is not None
    assert name in dir(weft)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        weft.nonsense
