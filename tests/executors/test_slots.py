"""What tasks ask for: cpus, GPUs, memory; who waits for whom."""

import os
import sys

import pytest

from contract.payloads import wait_at
from executors import zoo
from hand import PATIENCE
from weft.errors import ArgumentError, ChoiceError
from weft.executors import LocalExecutor
from weft.executors.terms import total_memory


def variable(name: str) -> str | None:
    return os.environ.get(name)


def see_devices(gate) -> str | None:
    gate.wait()
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_task_with_all_slots_runs_alone(stage):
    executor, gate = stage.executor(2), stage.gate()
    large = executor.using(cpus=2).submit(wait_at, gate, "large")
    gate.arrived()
    small = executor.submit(wait_at, gate, "small")
    assert not small.running()
    gate.open()
    assert [large.result(PATIENCE), small.result(PATIENCE)] == ["large", "small"]


def test_nothing_overtakes_a_task_that_waits_for_slots(stage):
    executor, gate = stage.executor(2), stage.gate()
    first = executor.submit(wait_at, gate)
    gate.arrived()
    large = executor.using(cpus=2).submit(wait_at, gate)
    small = executor.submit(wait_at, gate)  # there is a slot for it; but then the large one might never run
    assert not large.running()
    assert not small.running()
    gate.open(1)
    first.result(PATIENCE)
    gate.arrived()
    assert large.running()
    assert not small.running()
    gate.open()
    small.result(PATIENCE)


def test_tasks_that_want_more_cpus_than_there_are_get_all_with_a_warning(stage, caplog):
    executor = stage.executor(2)
    assert executor.using(cpus=7).submit(variable, "WEFT_NO_SUCH").result(PATIENCE) is None
    assert "7 cpus and gets all that there are: 2" in caplog.text


@pytest.mark.parametrize("start", ["forkserver", "spawn"], indirect=True)
def test_libraries_get_as_many_threads_as_the_task_has_cpus(stage, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    executor = stage.executor(4)
    for cpus in (1, 4, 1):
        view = executor.using(cpus=cpus)
        assert view.submit(variable, "OMP_NUM_THREADS").result(PATIENCE) == str(cpus)
        assert view.submit(variable, "OPENBLAS_NUM_THREADS").result(PATIENCE) == str(cpus)
        assert view.submit(variable, "MKL_NUM_THREADS").result(PATIENCE) == "3"  # as the user has said


def test_each_gpu_is_seen_by_one_task_at_a_time(stage, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-b")
    executor, gate = stage.executor(3), stage.gate()
    view = executor.using(gpus=1)
    futures = [view.submit(see_devices, gate) for _ in range(3)]
    gate.arrived(2)
    assert [future.running() for future in futures].count(True) == 2
    gate.open(2)
    gate.arrived()
    gate.open()
    seen = [future.result(PATIENCE) for future in futures]
    assert set(seen) == {"4", "GPU-b"}
    both = executor.using(gpus=2).submit(variable, "CUDA_VISIBLE_DEVICES").result(PATIENCE)
    assert sorted(both.split(",")) == ["4", "GPU-b"]
    assert executor.submit(variable, "CUDA_VISIBLE_DEVICES").result(PATIENCE) == "4,GPU-b"


def test_more_gpus_than_there_are_is_an_error(stage, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ChoiceError, match=r"gpus=3 is more than there are here: 2 \(CUDA_VISIBLE_DEVICES=0,1\)"):
        stage.executor(2).using(gpus=3)


def test_tasks_that_want_more_memory_together_than_there_is_do_not_run_at_once(stage):
    executor, gate = stage.executor(3), stage.gate()
    most = executor.using(memory=total_memory() * 2 // 3)
    first, second = most.submit(wait_at, gate), most.submit(wait_at, gate)
    gate.arrived()
    assert first.running()
    assert not second.running()
    gate.open(1)
    first.result(PATIENCE)
    gate.arrived()
    gate.open()
    second.result(PATIENCE)


def test_more_memory_than_there_ever_is_is_an_error(stage):
    with pytest.raises(ChoiceError, match="more than this machine has"):
        stage.executor(1).using(memory=total_memory() + 1)
    with pytest.raises(ChoiceError, match="more than this machine has"):
        LocalExecutor(memory=total_memory() + 1)


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"cpu": 2}, ArgumentError, "did you mean 'cpus'"),
        ({"cpus": 0}, ChoiceError, "a whole number from 1 up"),
        ({"memory": "4 bananas"}, ChoiceError, "8GB"),
        ({"time": -1}, ChoiceError, "a number of seconds"),
        ({"retries": "often"}, ChoiceError, "a whole number from 0 up"),
    ],
)
def test_a_word_that_cannot_be_is_refused_and_told(stage, words, error, text):
    with pytest.raises(error, match=text):
        stage.executor(1).using(**words)


def test_words_of_the_executor_hold_for_all_tasks_and_views_add_to_them(stage):
    executor, gate = stage.executor(2, cpus=2), stage.gate()
    first, second = executor.submit(wait_at, gate), executor.submit(wait_at, gate)
    gate.arrived()
    assert not second.running()
    gate.open()
    assert executor.using(time=PATIENCE).submit(variable, "OMP_NUM_THREADS").result(PATIENCE)
    first.result(PATIENCE)
    second.result(PATIENCE)


def test_a_task_finds_the_arguments_of_the_script(stage, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--quick", "a b"])
    assert stage.executor(1).submit(zoo.arguments_of_the_script).result(PATIENCE) == ["script.py", "--quick", "a b"]
