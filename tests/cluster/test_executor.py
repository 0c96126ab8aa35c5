"""SlurmExecutor on a real Slurm: what it does, and how little it asks."""

import os
import random
import resource
import signal
import time
from concurrent.futures import CancelledError, wait

import pytest

import weft
from cluster.work import WEIRD, asked, hang, script, square, started, variable
from hand import PATIENCE, eventually
from weft import SlurmExecutor
from weft.errors import (
    ChoiceError,
    ClosedError,
    RunInUse,
)

# What it does


def test_results_come_back_in_order_from_one_array(slurm, make):
    ex = make()
    assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 1


def test_a_single_task_is_a_plain_job(make):
    future = make().submit(square, 3)
    assert future.result(PATIENCE) == 9
    assert future.job_id.isdecimal()
    assert future.log.exists()


def test_elements_of_an_array_have_its_id_and_their_number(make):
    ex = make()
    futures = [ex.submit(variable, "SLURM_ARRAY_TASK_ID") for _ in range(3)]
    assert [future.result(PATIENCE) for future in futures] == ["0", "1", "2"]
    first = futures[0].job_id.partition("_")[0]
    assert [future.job_id for future in futures] == [f"{first}_{place}" for place in range(3)]


def test_what_a_task_prints_is_in_its_log(make):
    future = make().submit(print, "hello")
    future.result(PATIENCE)
    assert eventually(lambda: future.stdout == "hello\n")


def test_a_future_knows_that_it_runs(make):
    future = make().submit(hang)
    assert started()
    assert eventually(future.running)
    assert future.state == "RUNNING"
    future.cancel()


def test_resources_arrive_at_slurm(slurm, make):
    future = make(cpus=2, memory="300MB", time="90s").submit(hang)
    assert started()
    job = slurm.job(future.job_id)
    assert (job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"]) == ("2", "300M", "00:02:00")
    future.cancel()


def test_a_view_asks_for_other_resources_and_is_an_array_of_its_own(slurm, make):
    ex = make()
    large = ex.using(cpus=3)
    futures = [ex.submit(variable, "SLURM_CPUS_PER_TASK") for _ in range(2)]
    futures += [large.submit(variable, "SLURM_CPUS_PER_TASK") for _ in range(2)]
    assert [future.result(PATIENCE) for future in futures] == [None, None, "3", "3"]
    assert len(asked(slurm, "sbatch")) == 2


def test_setup_lines_are_run_and_directives_are_heeded(slurm, make):
    ex = make(setup=["#SBATCH --comment=hello", "export COLOUR='dark red'"], env={"SHAPE": "ro'und"})
    future = ex.submit(lambda: (os.environ["COLOUR"], os.environ["SHAPE"]))
    assert future.result(PATIENCE) == ("dark red", "ro'und")
    assert slurm.job(future.job_id)["Comment"] == "hello"


def test_several_tasks_make_one_job(slurm, make):
    ex = make(tasks_per_job=10)
    futures = [ex.submit(variable, "SLURM_JOB_ID") for _ in range(25)]
    assert len({future.result(PATIENCE) for future in futures}) == 3
    assert len(asked(slurm, "sbatch")) == 1


def test_tasks_are_where_they_were_submitted(make, tmp_path):
    ex = make()
    (tmp_path / "a").mkdir()
    os.chdir(tmp_path / "a")
    future = ex.submit(os.getcwd)
    os.chdir(tmp_path)
    assert future.result(PATIENCE) == str(tmp_path / "a")


def test_import_paths_come_first(make, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "odd_name.py").write_text("value = 7\n")
    future = make(import_paths=["lib"]).submit(lambda: __import__("odd_name").value)
    assert future.result(PATIENCE) == 7


def test_a_folder_of_any_name_will_do(make, tmp_path):
    (tmp_path / WEIRD).mkdir()
    os.chdir(tmp_path / WEIRD)
    ex = make(directory=tmp_path / WEIRD / "ex")
    futures = [ex.submit(print, "here") for _ in range(3)]
    wait(futures, PATIENCE)
    assert [future.result(0) for future in futures] == [None] * 3
    assert eventually(lambda: [future.stdout for future in futures] == ["here\n"] * 3)


def test_seeding_the_random_numbers_makes_no_two_executors_meet(make):
    random.seed(0)
    first = make()
    random.seed(0)
    assert first.directory != make().directory


def test_an_array_larger_than_the_site_takes_is_cut(slurm, make):
    ex = make(max_array_size=8)
    assert list(ex.map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 3


def test_an_array_larger_than_slurm_itself_takes_is_cut(slurm, make):
    slurm.configure(MaxArraySize=9)
    assert list(make().map(square, range(20))) == [x * x for x in range(20)]
    assert len(asked(slurm, "sbatch")) == 3


def test_a_map_over_one_iterable_makes_and_ends_its_executor(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(weft.map(SlurmExecutor, square, [2, 3])) == [4, 9]
    assert sorted(weft.map(SlurmExecutor, square, [2, 3], ordered=False)) == [4, 9]


# How little it asks


def test_there_is_one_query_for_all_however_many_wait(slurm, make):
    ex = make(poll_interval=1)
    gate = ex.submit(hang)
    assert started()
    before = len(asked(slurm, "squeue")), time.monotonic()
    futures = [ex.using(cpus=cpus, partition="closed").submit(hang, "never") for cpus in (1, 2) for _ in range(30)]
    time.sleep(3)  # what is to be seen is what happens in that time
    queries = len(asked(slurm, "squeue")) - before[0]
    assert 1 <= queries <= time.monotonic() - before[1] + 1
    for future in [gate, *futures]:
        future.cancel()


def test_submit_returns_before_slurm_is_asked(slurm, make):
    slurm.twist("sbatch", 'sleep 2; exec "$REAL" "$@"')
    future = make().submit(square, 2)
    assert not future.done()
    assert future.job_id is None
    assert future.result(PATIENCE) == 4


# Cancelling


def test_cancelling_what_runs_ends_it_on_the_cluster(slurm, make):
    future = make().submit(hang)
    assert started()
    assert future.cancel()
    assert future.cancelled()
    assert slurm.comes_to(future.job_id, "CANCELLED")
    with pytest.raises(CancelledError):
        future.result(0)


def test_cancelling_one_of_a_thousand_leaves_the_others(slurm, make):
    closed = make().using(partition="closed")
    futures = [closed.submit(hang) for _ in range(1000)]
    assert eventually(lambda: all(future.job_id is not None for future in futures))
    assert futures[500].cancel()

    def waiting():
        return slurm.ask("squeue", "-h", "-r", "-o", "%F_%K").split()

    assert eventually(lambda: futures[500].job_id not in waiting())
    assert len(waiting()) == 999
    for future in futures:
        future.cancel()
    assert eventually(lambda: not waiting())
    assert len(asked(slurm, "scancel")) <= 10


def test_shutdown_that_cancels_leaves_nothing_in_the_queue(slurm, make):
    ex = make()
    futures = [ex.using(partition="closed").submit(hang) for _ in range(5)]
    assert eventually(lambda: futures[0].job_id is not None)
    ex.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert eventually(lambda: not slurm.ask("squeue", "-h"))
    with pytest.raises(ClosedError):
        ex.submit(square, 2)


def test_ctrl_c_cancels_everything_on_the_cluster(slurm, tmp_path):
    process = script(
        tmp_path,
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with SlurmExecutor(poll_interval=0.3) as ex:
            futures = [ex.submit(hang, "started") for _ in range(3)]
            futures[0].result()
        """,
    )
    assert started(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


def test_what_a_killed_client_left_goes_on_and_is_taken_up(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = script(
        tmp_path,
        """
        ex = SlurmExecutor(poll_interval=0.3, directory="mine")
        futures = [ex.submit(quick, 1), ex.submit(quick, 2)]
        futures[1].result()
        futures += [ex.submit(hang, "started"), ex.using(partition="closed").submit(quick, 4)]
        while futures[3].job_id is None:
            time.sleep(0.05)
        Path("ready").touch()
        time.sleep(600)
        """,
    )
    assert started(tmp_path / "started")
    assert started(tmp_path / "ready")
    with pytest.raises(RunInUse):
        SlurmExecutor.attach("mine")
    process.kill()
    process.communicate()
    queued = slurm.ask("squeue", "-h", "-o", "%A").split()
    slurm.forget_calls()
    futures = SlurmExecutor.attach("mine", poll_interval=0.3)
    assert list(futures) == ["0", "1", "2", "3"]
    assert [futures["0"].result(PATIENCE), futures["1"].result(PATIENCE)] == [10, 20]
    assert eventually(futures["2"].running)
    assert futures["3"].job_id in queued
    assert asked(slurm, "sbatch") == []
    futures["2"].cancel(), futures["3"].cancel()
    assert eventually(lambda: not slurm.ask("squeue", "-h"))


def test_attaching_to_what_is_no_folder_of_ours_is_refused(slurm, tmp_path):
    with pytest.raises(ChoiceError, match="no folder of an executor"):
        SlurmExecutor.attach(tmp_path)


# Many


@pytest.mark.slow
def test_ten_thousand_tasks_are_few_submissions(slurm, make):
    ex = make(poll_interval=1, tasks_per_job=50)
    assert list(ex.map(square, range(10_000))) == [x * x for x in range(10_000)]
    assert len(asked(slurm, "sbatch")) <= 10


def test_ten_thousand_that_wait_cost_next_to_nothing(slurm, make):
    ex = make(poll_interval=1)
    closed = ex.using(partition="closed")
    futures = [closed.submit(square, x) for x in range(10_000)]
    assert eventually(lambda: futures[-1].job_id is not None)
    assert len(asked(slurm, "sbatch")) <= 10
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(2)  # what is to be seen is what happens in that time
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    ex.shutdown(cancel_futures=True)
    assert len(asked(slurm, "scancel")) <= 10
