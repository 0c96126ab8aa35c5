"""``tools/slurm``: up, down and what is in between; and that nothing is left, reachable or shared."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.daemons import TOOL, Slurm, tool
from cluster.fixtures import _programs
from contract.stage import Gate, ended, is_alive
from hand import PATIENCE, eventually
from onemachine import network, packages
from onemachine.processes import open_files
from onemachine.trouble import Trouble

WEIRD = "it's a $HOME; [1-2] *wéird* (folder) & 木"


@pytest.fixture
def folder(slurm_programs):
    """Of a cluster which the test brings up and down. Its path is short, since those of sockets are."""
    folder = Path(tempfile.mkdtemp(prefix="weft-"))
    yield folder
    if (folder / "etc").exists():
        tool("down", "--wipe", "--rootless", folder)
    shutil.rmtree(folder, ignore_errors=True)


def daemons(folder: Path) -> dict[str, int]:
    """The processes that its records speak of."""
    records = (folder / "run").glob("*.pid")
    return {record.stem: int(record.read_text().split()[0]) for record in records}


def up(folder, *words):
    """Bring it up; returns what it prints for the shell, and what it says."""
    ended = tool("up", "--rootless", folder, *words)
    return ended.stdout, ended.stderr


def squeue(folder, *words) -> str:
    environ = {**os.environ, "SLURM_CONF": str(folder / "etc" / "slurm.conf")}
    return subprocess.run(["squeue", *words], env=environ, check=True, capture_output=True, text=True).stdout


def listeners(pids) -> set[tuple[str, int]]:
    """Where these processes listen."""
    opened = {name for pid in pids for name in open_files(pid)}
    return {(address, port) for address, port, inode in network.listeners() if f"socket:[{inode}]" in opened}


def scripts_of(job, folder) -> list[int]:
    """The processes of a job, once they are there: its script, and the one that this runs."""
    slurm = Slurm(folder)
    assert eventually(lambda: len(slurm.pids(job)) == 2)
    return slurm.pids(job)


# Up and down


def test_up_runs_jobs_and_down_leaves_nothing(folder):
    told, _ = up(folder)
    assert told == f"export SLURM_CONF={folder}/etc/slurm.conf\n"
    cluster = Slurm(folder)
    job = cluster.sbatch("echo hello from $SLURMD_NODENAME", f"--output={folder}/log/job", "--nodelist=n3")
    assert cluster.comes_to(job, "COMPLETED")
    assert (folder / "log" / "job").read_text() == "hello from n3\n"
    pids = daemons(folder)
    assert sorted(pids) == ["munged", "n1", "n2", "n3", "n4", "slurmctld"]
    tool("down", "--wipe", "--rootless", folder)
    assert not any(is_alive(pid) for pid in pids.values())
    assert not folder.exists()


def test_up_twice_changes_nothing(folder):
    first = up(folder)
    pids, conf = daemons(folder), (folder / "etc" / "slurm.conf").read_text()
    again = up(folder)
    assert again[0] == first[0]
    assert "was up already" in again[1]
    assert "started" not in again[1]
    assert (daemons(folder), (folder / "etc" / "slurm.conf").read_text()) == (pids, conf)


def test_down_twice_changes_nothing(folder):
    up(folder)
    tool("down", "--rootless", folder)
    left = sorted(folder.rglob("*"))
    assert "nothing was running" in tool("down", "--rootless", folder).stderr
    assert sorted(folder.rglob("*")) == left
    tool("down", "--wipe", "--rootless", folder)
    assert "nothing was running" in tool("down", "--wipe", "--rootless", folder).stderr


def test_two_that_bring_it_up_at_once_bring_up_one(folder):
    command = [sys.executable, TOOL, "up", "--rootless", folder]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(PATIENCE) for process in both] == [0, 0]
    assert "was up already" in up(folder)[1]


def test_jobs_and_their_numbers_outlive_down_without_wipe(folder):
    up(folder)
    cluster = Slurm(folder)
    held = cluster.sbatch("true", "--hold")
    tool("down", "--rootless", folder)
    up(folder)
    assert cluster.state(held) in ("CANCELLED", "")
    assert int(cluster.sbatch("true")) > int(held)


def test_other_settings_restart_it(folder):
    up(folder)
    cluster = Slurm(folder)
    before = daemons(folder)
    up(folder, "--nodes", 2, "MaxArraySize=11", "killwait=7")
    after = daemons(folder)
    assert sorted(after) == ["munged", "n1", "n2", "slurmctld"]
    assert after["munged"] == before["munged"]
    assert not any(is_alive(pid) for name, pid in before.items() if name != "munged")
    config = cluster.ask("scontrol", "show", "config")
    assert re.search(r"^MaxArraySize\s+= 11$", config, re.MULTILINE)
    assert re.search(r"^KillWait\s+= 7 sec$", config, re.MULTILINE)


def test_up_starts_what_has_died_and_sets_up_what_is_down(folder):
    up(folder)
    cluster = Slurm(folder)
    cluster.set_down("n2")
    cluster.kill_node("n1")
    cluster.stop_controller()
    tool("status", "--rootless", folder, code=1)
    _, said = up(folder)
    assert "started: slurmctld n1" in said
    assert set(cluster.ask("sinfo", "-hN", "-p", "debug", "-o", "%t").split()) == {"idle"}


def test_status_tells_what_runs(folder):
    tool("status", "--rootless", folder, code=1)
    exports, _ = up(folder)
    pids = daemons(folder)
    told = tool("status", "--rootless", folder).stdout
    assert told.endswith(exports)
    for name, pid in pids.items():
        assert re.search(rf"^{name} +running, pid {pid}$", told, re.MULTILINE)
    assert re.search(r"^debug\* +up +infinite +4 +idle +n\[1-4\]$", told, re.MULTILINE)
    tool("stop", "n2", "--rootless", folder)
    told = tool("status", "--rootless", folder, code=1).stdout
    assert re.search(r"^n2 +stopped$", told, re.MULTILINE)


def test_what_jobs_leave_behind_ends_with_the_cluster(folder, tmp_path):
    gate = Gate(tmp_path / "gate")
    up(folder, "KillWait=1")
    cluster = Slurm(folder)
    wait = f'echo $$ >>{tmp_path}/pids; echo >"{gate.folder}/arrivals"; trap "" TERM; while :; do sleep 1000; done'
    # One script, one process that leaves its group, and one whose node has died.
    job = cluster.sbatch(f"setsid sh -c '{wait}' & {wait}", "--nodelist=n1")
    cluster.sbatch(wait, "--nodelist=n2")
    gate.arrived(3)
    assert cluster.pids(job)
    cluster.kill_node("n2")
    tool("down", "--rootless", folder)
    assert all(ended(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    gate.close()


# Alone


def test_two_side_by_side_do_not_meet(folder):
    folders = [folder / "a", folder / "b"]
    command = [sys.executable, TOOL, "up", "--rootless"]
    both = [
        subprocess.Popen([*command, each], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for each in folders
    ]
    try:
        assert [process.wait(PATIENCE) for process in both] == [0, 0]
        one, other = map(Slurm, folders)
        held = one.sbatch("true", "--hold", "--job-name=mine")
        assert squeue(folders[0], "-ho", "%i %j") == f"{held} mine\n"
        assert squeue(folders[1], "-h") == ""
        assert not listeners(daemons(folders[0]).values()) & listeners(daemons(folders[1]).values())
        tool("down", "--wipe", "--rootless", folders[0])
        tool("down", "--wipe", "--rootless", folder)  # they are below it, and not of it
        job = other.sbatch("true")
        assert other.comes_to(job, "COMPLETED")
    finally:
        for each in folders:
            tool("down", "--wipe", "--rootless", each)


def test_it_listens_on_loopback_alone(slurm_cluster):
    found = listeners(daemons(slurm_cluster.folder).values())
    assert len(found) >= 5  # slurmctld, four slurmds
    assert {address.partition(".")[0] for address, _ in found} == {"127"}


def test_accounting_listens_on_loopback_alone(slurm_accounting_cluster):
    found = listeners(daemons(slurm_accounting_cluster.folder).values())
    assert len(found) == 4  # slurmdbd, slurmctld, two slurmds; MariaDB has no port
    assert {address.partition(".")[0] for address, _ in found} == {"127"}


def test_a_folder_is_private(slurm_cluster):
    assert slurm_cluster.folder.stat().st_mode & 0o777 == 0o700
    assert (slurm_cluster.folder / "munge" / "key").stat().st_mode & 0o777 == 0o400


def test_ports_that_are_held_are_granted_to_nobody_else():
    held = network.hold_ports("127.0.0.1", 3)
    first = held[0].getsockname()[1]
    with pytest.raises(Trouble, match=f"no 2 free ports {first + 1} to {first + 2}"):
        network.hold_ports("127.0.0.1", 2, first + 1, only=True)
    for each in held:
        each.close()
    for each in network.hold_ports("127.0.0.1", 2, first + 1, only=True):
        each.close()


# Its end


OWNER = """
import os, subprocess, sys, time
subprocess.run([sys.executable, sys.argv[1], "up", "--rootless", sys.argv[2], "--while", str(os.getpid())], check=True)
print("up", flush=True)
time.sleep(1000)
"""


def test_a_cluster_goes_away_with_its_owner_even_by_kill_9(folder):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, TOOL, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert owner.stdout.readline().startswith(b"export")
        assert owner.stdout.readline() == b"up\n"
        pids = daemons(folder)
        assert "keeper" in pids
        Slurm(folder).sbatch("sleep 1000")
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    assert all(ended(pid) for name, pid in pids.items() if name != "owner")
    assert eventually(lambda: not folder.exists())


def test_a_cluster_whose_folder_is_removed_can_still_be_taken_down(folder):
    up(folder)
    pids = [*daemons(folder).values(), *scripts_of(Slurm(folder).sbatch("sleep 1000"), folder)]
    shutil.rmtree(folder)
    assert len([pid for pid in pids if is_alive(pid)]) == 8  # six daemons, a script, sleep
    tool("down", "--wipe", "--rootless", folder)
    assert not any(is_alive(pid) for pid in pids)


def test_an_owner_takes_even_a_cluster_without_a_folder_with_it(folder):
    owner = subprocess.Popen(["sleep", "1000"])
    up(folder, "--while", owner.pid)
    pids = [pid for name, pid in daemons(folder).items() if name != "owner"]
    shutil.rmtree(folder)
    owner.kill()
    owner.wait()
    assert all(ended(pid) for pid in pids)


def test_an_owner_that_is_gone_is_no_owner(folder):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert f"there is no process {gone.pid}" in tool("up", "--rootless", folder, "--while", gone.pid, code=1).stderr


# For everybody

# In a machine of its own, as far as that goes: with another name, which leads nowhere, and lo alone.
SYSTEM = """
set -eu
mkdir -p /var/lib/weft-slurm /etc/slurm
mount -t tmpfs none /var/lib/weft-slurm
mount -t tmpfs none /etc/slurm
echo "10.0.0.7 elsewhere" >"$FOLDER/hosts"
mount --bind "$FOLDER/hosts" /etc/hosts
hostname elsewhere
"""


@pytest.fixture
def machine(folder):
    """Runs lines of shell as root of a machine that knows no Slurm; returns what they print."""
    if os.geteuid() != 0:
        pytest.skip("a cluster for everybody is for root")

    def run(lines):
        command = ["unshare", "--mount", "--uts", "--net", "bash", "-c", SYSTEM + lines]
        environ = {**os.environ, "FOLDER": str(folder), "TOOL": f"{sys.executable} {TOOL}"}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    if subprocess.run(["unshare", "--mount", "--uts", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces here")
    yield run
    with contextlib.suppress(OSError):  # it is somebody's cluster, then
        os.rmdir("/var/lib/weft-slurm")


def test_a_cluster_for_everybody(machine):
    told, said = machine("""
        $TOOL up --nodes 2 --while $$
        setpriv --reuid=nobody --regid=nogroup --clear-groups sbatch --wait --output=/tmp/none --wrap 'sleep 0' -D /
        setpriv --reuid=nobody --regid=nogroup --clear-groups sbatch --hold --output=/tmp/none --wrap 'sleep 0' -D /
        squeue -ho 'seen %u'
        ls -l /etc/slurm/slurm.conf
        ps -o user= -C slurmctld
        $TOOL up --nodes 2
        cat /etc/hosts
        $TOOL down --wipe
        echo wiped
        cat /etc/hosts
        ls /etc/slurm /var/lib/weft-slurm
    """)
    assert "seen nobody" in told
    assert "/etc/slurm/slurm.conf -> /var/lib/weft-slurm/etc/slurm.conf" in told
    assert re.search(r"^slurm$", told, re.MULTILINE)
    assert "was up already" in said
    assert "127.0.0.1 elsewhere # weft tools\n10.0.0.7 elsewhere\n" in told
    assert told.endswith("wiped\n10.0.0.7 elsewhere\n/etc/slurm:\n\n/var/lib/weft-slurm:\n")


def test_a_slurm_that_is_somebody_elses_is_left_alone(machine):
    told, _ = machine("""
        echo "ClusterName=theirs" >/etc/slurm/slurm.conf
        $TOOL up 2>&1 && exit 1
        $TOOL down --wipe 2>&1
        cat /etc/slurm/slurm.conf
    """)
    assert "this machine has a Slurm already" in told
    assert told.endswith("ClusterName=theirs\n")


def test_an_ordinary_user_has_a_cluster_but_none_for_everybody(ordinary):
    told = ordinary.run("""
import os, subprocess
tool = os.path.join(os.environ["HOME"], "tools", "slurm")
print(subprocess.run([tool, "up"], capture_output=True, text=True).stderr)
print(subprocess.run([tool, "up", "--rootless", "/var"], capture_output=True, text=True).stderr)
print(subprocess.run([tool, "up", "--rootless", "/proc/x"], capture_output=True, text=True).stderr)
print(subprocess.run(["sbatch", "--wait", "--output=job", "--wrap", "id -un"], capture_output=True, text=True).stderr)
print(open("job").read())
""").stdout
    assert "is for root to start" in told
    assert "/var has other things in it" in told
    assert "error: [Errno 2] No such file or directory: '/proc/x'\n" in told
    assert told.endswith(f"\n{ordinary.name}\n\n")


# Wrong words and places


def test_a_weird_folder_is_as_good_as_any(folder):
    weird = folder / WEIRD
    told, _ = up(weird)
    try:
        conf = subprocess.run(
            ["bash", "-c", f'{told}printf %s "$SLURM_CONF"'], capture_output=True, text=True, check=True
        ).stdout
        assert conf == f"{weird}/etc/slurm.conf"
        cluster = Slurm(weird)
        assert cluster.comes_to(cluster.sbatch("true"), "COMPLETED")
    finally:
        tool("down", "--wipe", "--rootless", weird)


@pytest.mark.parametrize("name", ['a"b', "a#b", "a\nb", "a\\b", "a,b", "a%b"])
def test_a_folder_that_slurm_cannot_have_is_refused(folder, name):
    assert "in its path" in tool("up", "--rootless", folder / name, code=1).stderr
    assert not any(folder.iterdir())


def test_a_path_that_is_too_long_for_a_socket_is_refused(folder):
    long = folder / ("x" * (70 - len(bytes(folder))))
    assert "has 72 bytes, and may have 71" in tool("up", "--rootless", f"{long}x", code=1).stderr
    up(long)
    try:
        slurm = Slurm(long)
        assert slurm.comes_to(slurm.sbatch("true"), "COMPLETED")
    finally:
        tool("down", "--wipe", "--rootless", long)


def test_a_folder_that_is_used_is_left_alone(folder):
    (folder / "log").mkdir()
    (folder / "thesis.tex").touch()
    assert "has other things in it" in tool("up", "--rootless", folder, code=1).stderr
    assert "nothing was running" in tool("down", "--wipe", "--rootless", folder).stderr
    assert (folder / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["KillWait"], "write KEY=VALUE"),
        (["SlurmctldPort=1"], "is up to tools/slurm"),
        (["--nodes", "0"], "no number above zero"),
    ],
)
def test_a_wrong_word_starts_nothing(folder, words, told):
    code = 2 if words[0].startswith("--") else 1
    assert told in tool("up", "--rootless", folder, *words, code=code).stderr
    assert not any(folder.iterdir())


def test_a_setting_that_slurm_refuses_is_told_in_its_words(folder):
    said = tool("up", "--rootless", folder, "NoSuchKey=1", code=1).stderr
    assert "slurmctld has ended" in said
    assert "NoSuchKey" in said
    tool("up", "--rootless", folder)


def test_a_daemon_that_is_not_there_is_no_daemon(slurm_cluster):
    said = tool("stop", "n99", "--rootless", slurm_cluster.folder, code=1).stderr
    assert "no daemon is called 'n99'; there are: munged, slurmctld, n1, n2, n3, n4" in said


# Programs that are not there


def test_programs_that_are_missing_are_named_with_their_packages():
    wanted = {"sh": "dash", "no-such-program": "b", "/no/such/*.so": "a", "/proc/self/st*s": "c"}
    assert packages.missing(wanted) == ["a", "b"]


def test_what_an_ordinary_user_may_do_about_missing_packages(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "\n    apt-get install --no-install-recommends munge" in packages.obstacle(["munge"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "This is no Debian" in packages.obstacle(["munge"])
    assert packages.obstacle([]) == ""


def test_a_name_of_the_machine_that_leads_elsewhere_is_told(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    assert network.loopback(print) == "127.0.0.1"
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("10.0.0.7", 0))])
    with pytest.raises(Trouble, match=r"'localhost', resolves to 10\.0\.0\.7, which others may reach"):
        network.loopback(print)


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_programs_tests_are_left_out_unless_they_are_required(monkeypatch, tmp_path, required, outcome):
    lacking = tmp_path / "tool"
    lacking.write_text("import sys; print('not installed: munge'); sys.exit(1)")
    monkeypatch.setattr("cluster.fixtures.TOOL", lacking)
    monkeypatch.setenv("WEFT_REQUIRE_SLURM", required)
    with pytest.raises(outcome, match="no Slurm here: not installed: munge"):
        _programs()
