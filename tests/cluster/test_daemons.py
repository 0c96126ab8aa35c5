"""What tests may do to their Slurm does what it says, and is undone afterwards."""

import os
import signal
import subprocess
import sys

import pytest

from contract.stage import ended, is_alive
from hand import eventually

WAIT = "sleep 1000"


def typed(*command, code=0):
    """What a program in the test's environment would see."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


def running(slurm, *options):
    job = slurm.sbatch(WAIT, *options)
    assert slurm.comes_to(job, "RUNNING")
    return job


def test_commands_find_it_and_are_counted(slurm):
    job = typed("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap", "true").strip()
    assert slurm.state(job) == "PENDING"
    typed("squeue", "-h", "-j", job)
    assert slurm.calls() == ["sbatch --parsable --hold --output=/dev/null --wrap true", f"squeue -h -j {job}"]
    slurm.forget_calls()
    assert slurm.calls() == []


def test_the_one_before_has_left_nothing(slurm):
    assert slurm.ask("squeue", "-h") == ""
    assert slurm.calls() == []


def test_the_controller_counts_requests(slurm):
    slurm.ask("sdiag", "-r")
    for _ in range(3):
        slurm.ask("squeue", "-h")
    assert slurm.requests()["REQUEST_JOB_INFO"] == 3


def test_hold_release_update_cancel(slurm):
    job = slurm.sbatch(WAIT, "--hold")
    assert slurm.job(job)["Reason"] == "JobHeldUser"
    slurm.update(job, TimeLimit=7)
    assert slurm.job(job)["TimeLimit"] == "00:07:00"
    slurm.release(job)
    assert slurm.comes_to(job, "RUNNING")
    slurm.cancel(job)
    assert slurm.comes_to(job, "CANCELLED")
    assert slurm.job("999999") == {}
    assert slurm.state("999999") == ""


@pytest.mark.slow
def test_a_time_limit_comes_when_it_is_told_to(slurm):
    job = running(slurm)
    slurm.end_time_in(job, 1)
    assert slurm.comes_to(job, "TIMEOUT") or slurm.comes_to(job, "TIMEOUT")  # it may take 30 seconds by itself


def test_processes_of_an_element_can_be_killed(slurm):
    job = slurm.sbatch(f"{WAIT}; exit 3", "--array=0-1")
    assert slurm.comes_to(f"{job}_0", "RUNNING")
    assert slurm.comes_to(f"{job}_1", "RUNNING")
    assert eventually(lambda: len(slurm.pids(f"{job}_1")) == 2)  # the script, and sleep
    for pid in slurm.pids(f"{job}_1"):
        os.kill(pid, signal.SIGKILL)
    assert slurm.comes_to(f"{job}_1", "FAILED")
    assert slurm.job(f"{job}_1")["ExitCode"] == "0:9"
    assert slurm.state(f"{job}_0") == "RUNNING"
    assert slurm.pids(f"{job}_1") == []


def test_a_node_that_is_set_down_requeues_its_jobs(slurm):
    requeued = running(slurm, "--nodelist=n2", "--requeue")
    failed = running(slurm, "--nodelist=n2", "--no-requeue")
    slurm.set_down("n2")
    assert slurm.comes_to(failed, "NODE_FAIL")
    assert slurm.comes_to(requeued, "PENDING")
    assert slurm.node_state("n2") == "down"
    slurm.set_up("n2")
    assert slurm.comes_to(requeued, "RUNNING")
    assert slurm.job(requeued)["Restarts"] == "1"


def test_a_node_that_is_killed_leaves_a_ghost_and_comes_back(slurm):
    job = running(slurm, "--nodelist=n3")
    assert eventually(lambda: len(slurm.pids(job)) == 2)
    pids = slurm.pids(job)
    slurm.kill_node("n3")
    assert all(is_alive(pid) for pid in pids)
    slurm.start_node("n3")
    assert slurm.state(job) == "RUNNING"
    slurm.cancel(job)
    assert all(ended(pid) for pid in pids)


def test_a_partition_that_is_down_starts_nothing(slurm):
    slurm.set_partition("debug", "DOWN")
    job = slurm.sbatch("true")
    assert eventually(lambda: slurm.job(job)["Reason"] == "PartitionDown")
    slurm.set_partition("debug", "UP")
    assert slurm.comes_to(job, "COMPLETED")


def test_a_controller_that_is_stopped_refuses_and_comes_back(slurm):
    slurm.configure(MessageTimeout=1)
    job = running(slurm)
    with slurm.controller_stopped():
        assert "Unable to contact slurm controller" in typed("squeue", "-h", code=1)
    assert slurm.state(job) == "RUNNING"


def test_a_controller_that_hangs_is_waited_for(slurm):
    slurm.configure(MessageTimeout=1)
    with slurm.controller_hanging():
        assert "Socket timed out" in typed("squeue", "-h", code=1)
    typed("squeue", "-h")


def test_more_urgent_work_preempts(slurm):
    low = running(slurm, "--partition=scavenge", "--nodelist=n1", "--exclusive", "--requeue")
    high = running(slurm, "--partition=urgent", "--nodelist=n1", "--exclusive")
    assert slurm.comes_to(low, "PENDING")
    assert slurm.state(high) == "RUNNING"


def test_gpus_are_handed_out(slurm, tmp_path):
    job = slurm.sbatch("echo $CUDA_VISIBLE_DEVICES", "--gres=gpu:2", f"--output={tmp_path}/log")
    assert slurm.comes_to(job, "COMPLETED")
    assert (tmp_path / "log").read_text() == "0,1\n"
    assert slurm.job(job)["Partition"] == "debug"


def test_too_much_memory_is_seen(slurm):
    hog = f"{sys.executable} -c 'x = bytearray(300_000_000); import time; time.sleep(1000)'"
    job = slurm.sbatch(hog, "--mem=50")
    assert slurm.comes_to(job, "FAILED", "OUT_OF_MEMORY")


def test_a_job_that_has_ended_is_forgotten(slurm):
    slurm.configure(MinJobAge=2)
    job = slurm.sbatch("true")
    assert slurm.comes_to(job, "COMPLETED")
    assert eventually(lambda: slurm.state(job) == "")


def test_settings_and_commands_are_what_they_were(slurm):
    slurm.configure(MaxArraySize=5)
    assert "Invalid job array specification" in typed("sbatch", "--array=0-9", "--wrap", "true", code=1)
    slurm.twist("squeue", 'echo "the network is tired" >&2; exit 1')
    assert typed("squeue", code=1) == "the network is tired\n"
    slurm.twist("squeue", '"$REAL" "$@"; exit 3')
    assert typed("squeue", "-ho", "%i", code=3) == ""
    slurm.stop_controller()
    slurm.kill_node("n1")
    slurm.heal()
    assert typed("squeue", "-h") == ""
    assert typed("sbatch", "--hold", "--parsable", "--array=0-9", "--wrap", "true").strip().isdecimal()
    assert set(slurm.ask("sinfo", "-hN", "-p", "debug", "-o", "%t").split()) == {"idle"}


def test_accounts_remember(slurm_accounting):
    job = slurm_accounting.sbatch("exit 3")
    assert eventually(lambda: typed("sacct", "-nXP", "-j", job, "-o", "State,ExitCode") == "FAILED|3:0\n")


def test_accounts_limit(slurm_accounting):
    slurm_accounting.limit_submissions(2)
    for _ in range(2):
        slurm_accounting.sbatch(WAIT)
    assert "AssocMaxSubmitJobLimit" in typed("sbatch", "--wrap", WAIT, code=1)
    slurm_accounting.heal()
    for _ in range(3):
        slurm_accounting.sbatch(WAIT)


def test_accounts_are_of_a_cluster_of_its_own(slurm_cluster, slurm_accounting):
    shown = typed("scontrol", "show", "config")
    assert f"= {slurm_accounting.folder}/state\n" in shown
    assert f"= {slurm_cluster.folder}/state\n" not in shown
