"""`import weft.procs as pp`: what it offers, and what it costs."""

import importlib.util
import subprocess
import sys

import pytest

import weft.procs as pp


@pytest.mark.parametrize("name", pp.__all__)
def test_every_name_in_the_table_of_contents_is_there(name):
    assert getattr(pp, name) is not None
    assert name in dir(pp)


@pytest.mark.parametrize("name", pp.__all__)
def test_no_module_hides_a_name(name):
    assert importlib.util.find_spec(f"weft.procs.{name}") is None


def test_importing_it_imports_nothing_heavy_and_starts_nothing():
    code = (
        "import sys, threading, weft.procs as pp; pp.Proc('x', len, deps=['y']); "
        "print([m for m in sys.argv[1:] if m in sys.modules], threading.active_count())"
    )
    heavy = ["typeguard", "cloudpickle", "numpy", "asyncio", "ctypes", "rich"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[] 1"


def test_the_functions_act_on_one_manager():
    try:
        pp.set_options(mode="single", report=False)

        @pp.Proto("t::[n]")
        def step(context, n: int):
            return n + context.params["more"]

        pp.set_params(more=1)
        heard = []
        end = pp.observe(heard.append)
        assert pp.run("t::3") == pp.create("t::3") == ["t::3"]
        pp.start("t::3")
        pp.wait("t::3")
        end()
        assert pp.wait_for_all()
        assert pp.results() == {"t::3": 4}
        assert [happened.state for happened in heard] == [pp.ProcState.RUNNING, pp.ProcState.SUCCEEDED]
        assert list(pp.get_protos()) == ["t::[n]"]
        assert pp.MANAGER.log_directory.is_dir()
    finally:
        assert pp.wait_clear()
        pp.set_options(mode="mp", report=True)
    assert pp.get_procs() == {}
