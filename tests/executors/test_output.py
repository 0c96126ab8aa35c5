"""What tasks write: where it goes, in which order, and in whole lines."""

import ctypes
import os
import subprocess
import sys

import pytest

from hand import PATIENCE
from weft.executors import LocalExecutor


def write_everywhere() -> None:
    print("Python")
    print("error", file=sys.stderr)
    ctypes.CDLL(None).puts(b"C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "child"], check=True)
    print("last", flush=True)


def write_in_two_halves(gate) -> None:
    print("one ", end="", flush=True)
    gate.wait()
    print("line", flush=True)


def write_and_die() -> None:
    print("famous last words", flush=True)
    os._exit(3)


EVERYTHING = "Python\nerror\nC\nchild\nlast\n"

CONSOLE = """
import sys
sys.path[:0] = {path!r}
from executors.test_output import write_everywhere
from weft.executors import LocalExecutor
with LocalExecutor(2, start={start!r}) as ex:
    {body}
"""


def console(start: str, body: str, **streams) -> "subprocess.CompletedProcess[str]":
    path = [folder for folder in sys.path if folder]
    return subprocess.run(
        [sys.executable, "-c", CONSOLE.format(path=path, start=start, body=body)],
        text=True,
        timeout=PATIENCE,
        check=True,
        **streams,
    )


def test_output_is_there_before_the_result_and_in_order(start):
    body = "ex.submit(write_everywhere).result(); print('result')"
    ended = console(start, body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ended.stdout == EVERYTHING + "result\n"


def test_the_two_streams_stay_apart_where_they_go_to_two_places(start):
    ended = console(start, "ex.submit(write_everywhere).result()", capture_output=True)
    assert (ended.stdout, ended.stderr) == ("Python\nC\nchild\nlast\n", "error\n")


def test_lines_of_several_workers_are_not_torn(stage, capsys):
    executor, gate = stage.executor(2), stage.gate()
    halves = executor.submit(write_in_two_halves, gate)
    gate.arrived()
    executor.submit(print, "another line").result(PATIENCE)
    gate.open()
    halves.result(PATIENCE)
    assert capsys.readouterr().out == "another line\none line\n"


def test_what_a_task_leaves_without_an_end_of_line_appears_when_it_ends(stage, capsys):
    stage.executor(1).submit(print, "no end", end="").result(PATIENCE)
    assert capsys.readouterr().out == "no end"


def test_output_goes_where_the_script_has_redirected_it(stage, capsys):
    with capsys.disabled():
        executor = stage.executor(1)
    executor.submit(print, "to the test").result(PATIENCE)
    assert capsys.readouterr().out == "to the test\n"


@pytest.mark.parametrize("many", [1, 200])
def test_captured_output_is_that_of_the_task_alone(stage, many):
    executor = stage.executor(2, output="capture")
    futures = [executor.submit(print, number) for number in range(many)]
    everywhere = executor.submit(write_everywhere)
    assert [future.result(PATIENCE) for future in futures] == [None] * many
    assert [future.output for future in futures] == [f"{number}\n" for number in range(many)]
    everywhere.result(PATIENCE)
    assert everywhere.output == EVERYTHING
    assert everywhere.output_path is None


def test_each_task_has_a_file_of_its_own(stage):
    folder = stage.folder / "lögs with\nnewline"
    executor = stage.executor(2, output=folder)
    futures = [executor.submit(print, number) for number in range(20)]
    died = executor.submit(write_and_die)
    for number, future in enumerate(futures):
        future.result(PATIENCE)
        assert future.output_path.parent == folder
        assert future.output_path.read_text() == future.output == f"{number}\n"
    assert "famous last words" in died.exception(PATIENCE).stderr
    assert died.output_path.read_text() == "famous last words\n"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 21


@pytest.mark.parametrize("output", ["inherit", "capture"])
def test_the_last_lines_of_a_worker_that_died_are_in_the_error(stage, output, capsys):
    error = stage.executor(1, output=output).submit(write_and_die).exception(PATIENCE)
    assert output == "inherit" or "famous last words" in error.stderr
    if output == "inherit":
        assert "famous last words" in capsys.readouterr().out


def test_where_output_cannot_go_is_refused():
    with pytest.raises(TypeError, match='output must be "inherit", "capture" or the path of a folder'):
        LocalExecutor(1, output=3)


def test_local_variables_are_shown_when_they_are_asked_for(stage):
    def fail(secret):
        raise ValueError

    for shown in (True, False):
        error = stage.executor(1, locals=shown).submit(fail, "a value").exception(PATIENCE)
        assert ("secret = 'a value'" in str(error.__cause__)) == shown
