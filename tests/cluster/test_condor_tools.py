"""``tools/condor``: up, down and what is in between; and that nothing is left, reachable or shared."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.condor import TOOL, Condor, tool
from cluster.condor_fixtures import _programs
from cluster.ordinary import Ordinary
from cluster.required import leave_out
from contract.stage import Gate, ended, is_alive
from hand import PATIENCE, eventually
from onemachine import network
from onemachine.condor import identity, programs
from onemachine.processes import open_files
from onemachine.trouble import Trouble

WEIRD = "it's a $HOME; [1-2] *wéird* (folder) & 木"
DAEMONS = ["collector", "n1", "n2", "negotiator", "schedd"]


@pytest.fixture
def folder(condor_programs):
    """Of a pool which the test brings up and down."""
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


def evaluated(told: str, command: str) -> str:
    """What a command prints in a shell that has taken in what ``up`` has printed."""
    environ = {name: value for name, value in os.environ.items() if name != "CONDOR_CONFIG"}
    ended = subprocess.run(["bash", "-c", told + command], capture_output=True, text=True, check=True, env=environ)
    return ended.stdout


def at_once(command: list, *folders: Path) -> list[int]:
    """How it ends, for each of these folders at the same time."""
    nothing = subprocess.DEVNULL
    started = [subprocess.Popen([*command, folder], stdout=nothing, stderr=nothing) for folder in folders]
    return [process.wait(2 * PATIENCE) for process in started]


def listeners(pids) -> set[tuple[str, int]]:
    """Where these processes listen."""
    opened = {name for pid in pids for name in open_files(pid)}
    return {(address, port) for address, port, inode in network.listeners() if f"socket:[{inode}]" in opened}


# Up and down


def test_up_runs_jobs_and_down_leaves_nothing(folder):
    told, said = up(folder)
    assert re.search(r"^HTCondor \S+ is up: 2 nodes of 8 CPUs and 16000 MB \(", said, re.MULTILINE)
    assert evaluated(told, 'printf %s "$CONDOR_CONFIG"') == str(folder / "etc" / "condor_config")
    assert evaluated(told, "command -v condor_q condor_reconfig").count(str(programs.found().commands)) == 2
    pool = Condor(folder)
    pool.up()
    job = pool.submit("echo hello from $_CONDOR_SLOT", output=folder / "log" / "job", requirements='regexp("n2", Name)')
    assert pool.comes_to(job, "COMPLETED")
    assert (folder / "log" / "job").read_text() == "hello from slot1_1\n"
    assert "@n2@" in pool.job(job)["LastRemoteHost"]
    pids = daemons(folder)
    assert sorted(set(pids) - {"keeper", "owner"}) == DAEMONS
    tool("down", "--wipe", "--rootless", folder)
    assert all(ended(pid) for name, pid in pids.items() if name != "owner")
    assert not folder.exists()


def test_up_twice_changes_nothing(folder):
    first = up(folder)
    pids, conf = daemons(folder), (folder / "etc" / "condor_config").read_text()
    again = up(folder)
    assert again[0] == first[0]
    assert "was up already" in again[1]
    assert "started" not in again[1]
    assert (daemons(folder), (folder / "etc" / "condor_config").read_text()) == (pids, conf)


def test_down_twice_changes_nothing(folder):
    up(folder)
    tool("down", "--rootless", folder)
    left = sorted(folder.rglob("*"))
    assert "nothing was running" in tool("down", "--rootless", folder).stderr
    assert sorted(folder.rglob("*")) == left
    tool("down", "--wipe", "--rootless", folder)
    assert "nothing was running" in tool("down", "--wipe", "--rootless", folder).stderr


def test_two_that_bring_it_up_at_once_bring_up_one(folder):
    assert at_once([sys.executable, TOOL, "up", "--rootless"], folder, folder) == [0, 0]
    assert "was up already" in up(folder)[1]


def test_one_that_is_killed_while_it_brings_it_up_is_no_obstacle(folder):
    killed = subprocess.Popen([sys.executable, TOOL, "up", "--rootless", folder], stderr=subprocess.DEVNULL)
    assert eventually(lambda: (folder / "run" / "collector.pid").exists())
    killed.kill()
    killed.wait()
    up(folder)
    assert sorted(daemons(folder)) == DAEMONS
    assert "was up already" in up(folder)[1]


def test_numbers_of_jobs_outlive_down_without_wipe(folder, monkeypatch):
    pool = Condor(folder)
    pool.up()
    held = pool.submit("true", hold="True")
    tool("down", "--rootless", folder)
    pool.up()
    assert pool.state(held) in ("REMOVED", "")
    assert int(pool.submit("true").partition(".")[0]) > int(held.partition(".")[0])


def test_other_settings_restart_it(folder):
    up(folder)
    before = daemons(folder)
    told, _ = up(folder, "--nodes", 1, "--cpus", 3, "MAX_JOBS_PER_SUBMISSION=11", "negotiator_interval=7")
    assert sorted(daemons(folder)) == ["collector", "n1", "negotiator", "schedd"]
    assert not any(is_alive(pid) for pid in before.values())
    assert evaluated(told, "condor_config_val MAX_JOBS_PER_SUBMISSION NEGOTIATOR_INTERVAL") == "11\n7\n"
    assert evaluated(told, "condor_status -af Cpus") == "3\n"


def test_a_setting_of_one_node_is_that_nodes(folder):
    told, _ = up(folder, "n2.FILESYSTEM_DOMAIN=elsewhere")
    names = evaluated(told, "condor_status -af FileSystemDomain | sort").split()
    assert len(names) == 2
    assert "elsewhere" in names
    assert names != ["elsewhere"] * 2


def test_up_starts_what_has_died(folder):
    up(folder)
    pool = Condor(folder)
    tool("stop", "n1", "--kill", "--rootless", folder)
    tool("stop", "schedd", "--rootless", folder)
    tool("status", "--rootless", folder, code=1)
    _, said = up(folder)
    assert "started: schedd n1" in said
    tool("status", "--rootless", folder)
    assert pool.comes_to(pool.submit("true", requirements='regexp("n1", Name)'), "COMPLETED")


def test_status_tells_what_runs_and_how_to_use_it(folder):
    assert "there is no cluster in" in tool("status", "--rootless", folder, code=1).stderr
    exports, _ = up(folder)
    pids = daemons(folder)
    told = tool("status", "--rootless", folder).stdout
    for name, pid in pids.items():
        assert re.search(rf"^{name} +running, pid {pid}$", told, re.MULTILINE)
    assert re.search(r"^slot1@n2@\S+ +LINUX +\S+ +Unclaimed +Idle ", told, re.MULTILINE)
    assert told.endswith(exports)
    tool("stop", "n2", "--rootless", folder)
    told = tool("status", "--rootless", folder, code=1).stdout
    assert re.search(r"^n2 +stopped$", told, re.MULTILINE)


@pytest.mark.parametrize("words", [[], ["--wipe"]])
def test_what_jobs_leave_behind_ends_with_the_pool(folder, tmp_path, words):
    gate = Gate(tmp_path / "gate")
    pool = Condor(folder)
    pool.up()
    wait = f'echo $$ >>{tmp_path}/pids; echo >"{gate.folder}/arrivals"; trap "" TERM; while :; do sleep 1000; done'
    (tmp_path / "job").write_text(f"setsid sh -c '{wait}' & {wait}")
    # One program, one process that leaves its session, and one whose node has died.
    job = pool.submit(f"exec sh {tmp_path}/job", requirements='regexp("n1", Name)', environment="GATE=1")
    pool.submit(f"exec sh {tmp_path}/job", requirements='regexp("n2", Name)')
    gate.arrived(4)
    assert len(pool.pids(job)) >= 2
    pool.kill_node("n2")
    tool("down", *words, "--rootless", folder)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert all(ended(pid) for pid in pids)
    gate.close()


# What is done to it


def test_a_job_runs_on_while_the_schedd_is_away(condor, tmp_path):
    gate = Gate(tmp_path / "gate")
    job = condor.submit(f"echo >{gate.folder}/arrivals; exec sleep 1000", log=tmp_path / "log")
    gate.arrived(1)
    pids = condor.pids(job)
    tool("stop", "schedd", "--kill", "--rootless", condor.folder)
    assert all(is_alive(pid) for pid in pids)
    condor.start_schedd()
    assert eventually(lambda: "\n022 " in (tmp_path / "log").read_text())  # 023 comes within 8 seconds
    assert condor.comes_to(job, "RUNNING")
    assert condor.pids(job) == pids
    gate.close()


def test_a_job_of_a_node_that_dies_goes_on_as_a_ghost(condor, tmp_path):
    gate = Gate(tmp_path / "gate")
    job = condor.submit(f"echo >{gate.folder}/arrivals; exec sleep 1000", log=tmp_path / "log", job_lease_duration=1200)
    gate.arrived(1)
    pids = condor.pids(job)
    condor.kill_node(condor.node_of(job))
    assert eventually(lambda: "\n022 " in (tmp_path / "log").read_text())
    assert pids
    assert all(is_alive(pid) for pid in pids)
    gate.close()


def test_a_job_that_takes_too_much_memory_is_held(condor):
    take = "import time; taken = bytearray(300_000_000); time.sleep(1000)"
    job = condor.submit(f"exec {sys.executable} -c '{take}'", request_memory=100)
    assert condor.comes_to(job, "HELD")
    assert "memory usage exceeded request_memory" in condor.job(job)["HoldReason"]


def test_gpus_that_are_none_are_given_to_jobs(condor, tmp_path):
    job = condor.submit("echo $CUDA_VISIBLE_DEVICES", request_gpus=1, output=tmp_path / "out")
    assert condor.comes_to(job, "COMPLETED")
    assert (tmp_path / "out").read_text() in ("CUDA0\n", "CUDA1\n")


def test_a_pool_that_is_used_is_like_new_for_the_next_test(condor):
    job = condor.submit("sleep 1000")
    assert condor.comes_to(job, "RUNNING")
    condor.twist("condor_q", "exit 7")
    condor.heal()
    assert condor.ask("condor_q", "-af", "ClusterId") == ""
    assert subprocess.run(["condor_q"], check=False, capture_output=True).returncode == 0


# Alone


def test_two_side_by_side_do_not_meet(folder):
    folders = [folder / "a", folder / "b"]
    try:
        assert at_once([sys.executable, TOOL, "up", "--rootless"], *folders) == [0, 0]
        one, other = map(Condor, folders)
        for pool in one, other:
            pool.up()
        held = one.submit("true", hold="True")
        assert one.ask("condor_q", "-af:j", "JobStatus") == f"{held} 5"
        assert other.ask("condor_q", "-af:j", "JobStatus") == ""
        assert not listeners(daemons(folders[0]).values()) & listeners(daemons(folders[1]).values())
        tool("down", "--wipe", "--rootless", folders[0])
        tool("down", "--wipe", "--rootless", folder)  # they are below it, and not of it
        assert other.comes_to(other.submit("true"), "COMPLETED")
    finally:
        for each in folders:
            tool("down", "--wipe", "--rootless", each)


def test_it_listens_on_loopback_alone(condor_cluster):
    pids = [pid for name, pid in daemons(condor_cluster.folder).items() if name != "owner"]
    found = listeners(pids)
    assert len(found) >= 5
    assert {address.partition(".")[0] for address, _ in found} == {"127"}


def test_a_folder_is_private(condor_cluster):
    assert condor_cluster.folder.stat().st_mode & 0o777 == 0o700
    assert (condor_cluster.folder / "run" / "secret").stat().st_mode & 0o777 == 0o600


# Its end


OWNER = """
import os, subprocess, sys, time
subprocess.run([sys.executable, sys.argv[1], "up", "--rootless", sys.argv[2], "--while", str(os.getpid())], check=True)
print("up", flush=True)
time.sleep(1000)
"""


def test_a_pool_goes_away_with_its_owner_even_by_kill_9(folder):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, TOOL, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while owner.stdout.readline() != b"up\n":
            assert owner.poll() is None
        pids = daemons(folder)
        assert "keeper" in pids
        Condor(folder).submit("sleep 1000")
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    assert all(ended(pid) for name, pid in pids.items() if name != "owner")
    assert eventually(lambda: not folder.exists())


def test_a_pool_whose_folder_is_removed_can_still_be_taken_down(folder, tmp_path):
    gate = Gate(tmp_path / "gate")
    up(folder)
    pool = Condor(folder)
    job = pool.submit(f"echo >{gate.folder}/arrivals; exec sleep 1000")
    gate.arrived(1)
    pids = [*daemons(folder).values(), *pool.pids(job)]
    assert len(pids) == 6  # five daemons, sleep
    shutil.rmtree(folder)
    tool("down", "--wipe", "--rootless", folder)
    assert all(ended(pid) for pid in pids)
    gate.close()


def test_an_owner_that_is_gone_is_no_owner(folder):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert f"there is no process {gone.pid}" in tool("up", "--rootless", folder, "--while", gone.pid, code=1).stderr


# Who it is for


ORDINARY = """
import os, subprocess
tool, pool = os.path.join(os.environ["HOME"], "tools", "condor"), os.path.join(os.environ["HOME"], "pool")
print(subprocess.run([tool, "up", "--rootless", "/var"], capture_output=True, text=True).stderr)
up = f'eval "$({tool} up --rootless {pool})"'
open("d", "w").write("executable=/usr/bin/id\\narguments=-un\\noutput=out\\nlog=log\\nshould_transfer_files=NO\\nqueue")
print(subprocess.run(["bash", "-c", up + "; condor_submit d && condor_wait log"], capture_output=True, text=True))
print(subprocess.run([tool, "down", "--wipe", "--rootless", pool], capture_output=True, text=True).stderr)
print(open("out").read())
"""


def test_an_ordinary_user_has_a_pool(condor_programs):
    try:
        ordinary = Ordinary(Path(tempfile.mkdtemp(prefix="weft-user-")))
    except LookupError as error:
        leave_out(str(error), "WEFT_REQUIRE_CONDOR")
    if os.geteuid() != 0:  # what root has fetched is for everybody; what we have fetched is for us
        ordinary.environ["XDG_CACHE_HOME"] = str(programs.caches()[-1].parents[1])
    try:
        told = ordinary.run(ORDINARY).stdout
    finally:
        shutil.rmtree(ordinary.folder)
    assert "/var has other things in it" in told
    assert "stopped: collector negotiator schedd n1 n2" in told
    assert told.endswith(f"\n{ordinary.name}\n\n")


def test_root_is_an_ordinary_user_to_it_whose_files_are_roots(condor, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "in").write_text("from here")
    job = condor.submit(
        f"id -u; stat -c %u {private}/in; cat {private}/in; echo there >{private}/out", output=private / "log"
    )
    assert condor.comes_to(job, "COMPLETED")
    me, owner, text = (private / "log").read_text().split("\n")
    assert me == owner != "0"
    assert text == "from here"
    assert (private / "out").stat().st_uid == os.geteuid()
    assert condor.job(job)["Owner"] == f'"{identity.name()}"'


def test_where_root_cannot_be_somebody_else_it_says_so(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    identity.obstacle.cache_clear()
    assert "HTCondor takes no jobs from root" in identity.obstacle()
    assert identity.obstacle().endswith("Run this as an ordinary user.")
    identity.obstacle.cache_clear()


# Wrong words and places


def test_a_weird_folder_is_as_good_as_any(folder):
    weird = folder / WEIRD
    told, _ = up(weird)
    try:
        assert evaluated(told, 'printf %s "$CONDOR_CONFIG"') == f"{weird}/etc/condor_config"
        pool = Condor(weird)
        pool.up()
        job = pool.submit("pwd", output=folder / "out", initialdir=weird)
        assert pool.comes_to(job, "COMPLETED")
        assert (folder / "out").read_text() == f"{weird}\n"
    finally:
        tool("down", "--wipe", "--rootless", weird)


@pytest.mark.parametrize("name", ["a\nb", "a$(b", "a\\"])
def test_a_folder_that_htcondor_cannot_have_is_refused(folder, name):
    assert "in its path" in tool("up", "--rootless", folder / name, code=1).stderr
    assert not any(folder.iterdir())


def test_a_folder_that_is_used_is_left_alone(folder):
    (folder / "log").mkdir()
    (folder / "thesis.tex").touch()
    assert "has other things in it" in tool("up", "--rootless", folder, code=1).stderr
    assert "nothing was running" in tool("down", "--wipe", "--rootless", folder).stderr
    assert (folder / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["NEGOTIATOR_INTERVAL"], "write KEY=VALUE"),
        (["COLLECTOR_HOST=there"], "is up to tools/condor"),
        (["n1.EXECUTE=/"], "is up to tools/condor"),
        (["n2.START=\\"], "write KEY=VALUE"),
        (["--nodes", "0"], "no number above zero"),
    ],
)
def test_a_wrong_word_starts_nothing(folder, words, told):
    code = 2 if words[0].startswith("--") else 1
    assert told in tool("up", "--rootless", folder, *words, code=code).stderr
    assert not any(folder.iterdir())


def test_a_setting_that_htcondor_refuses_is_told_in_its_words(folder):
    said = tool("up", "--rootless", folder, "SLOT_TYPE_2=cpus=999", "NUM_SLOTS_TYPE_2=1", code=1).stderr
    assert re.search(r"n[12] has ended. The end of its log:\n", said)
    assert "ERROR" in said
    tool("up", "--rootless", folder)


def test_a_daemon_that_is_not_there_is_no_daemon(condor_cluster):
    said = tool("stop", "n99", "--rootless", condor_cluster.folder, code=1).stderr
    assert "no daemon is called 'n99'; there are: collector, negotiator, schedd, n1, n2" in said


# Programs


def test_two_that_fetch_at_once_fetch_once_and_half_a_fetch_is_no_obstacle(condor_programs, tmp_path, monkeypatch):
    cache = tmp_path / "a cache"
    (cache / "part" / "made" / "usr").mkdir(parents=True)  # as one leaves it that is killed
    (cache / "part" / "log").write_text("half")
    fetches = []

    class Fetch:
        def __init__(self, cache, say):
            self.cache = cache

        def done(self):
            fetches.append(self.cache)
            (self.cache / "1.2+x" / "usr").mkdir(parents=True)
            return programs.found()

    monkeypatch.setattr(programs, "caches", lambda: [cache])
    monkeypatch.setattr(programs, "_Fetch", Fetch)
    assert programs.found() is None
    assert [programs.require(print).version for _ in range(2)] == ["1.2", "1.2"]
    assert fetches == [cache]


@pytest.mark.slow
def test_programs_come_from_debian_into_a_folder_of_their_own(condor_programs, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "caches", lambda: [tmp_path / "a cache"])
    part = tmp_path / "a cache" / "part"
    (part / "made" / "usr").mkdir(parents=True)  # half a fetch
    said = []
    try:
        fetched = programs.require(said.append)
    except Trouble as trouble:
        leave_out(f"Debian cannot be reached: {trouble}", "WEFT_REQUIRE_CONDOR")
    assert not part.exists()
    told = subprocess.run([fetched.commands / "condor_version"], capture_output=True, text=True, check=True).stdout
    assert f"$CondorVersion: {fetched.version} " in told
    special = [file for file in fetched.folder.rglob("*") if not file.is_symlink() and file.stat().st_mode & 0o6000]
    assert special == []
    assert programs.require(said.append).folder == fetched.folder
    assert len(said) == 2


def test_what_can_be_done_without_debian_is_told(monkeypatch):
    monkeypatch.setattr(programs, "found", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "this is no Debian" in programs.obstacle()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(programs, "KEYS", Path("/no/such/keys"))
    assert programs.obstacle().startswith("not installed: debian-archive-keyring")


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_programs_tests_are_left_out_unless_they_are_required(monkeypatch, tmp_path, required, outcome):
    lacking = tmp_path / "tool"
    lacking.write_text("import sys; print('not here: HTCondor'); sys.exit(1)")
    monkeypatch.setattr("cluster.condor_fixtures.TOOL", lacking)
    monkeypatch.setenv("WEFT_REQUIRE_CONDOR", required)
    with pytest.raises(outcome, match="no HTCondor here: not here: HTCondor"):
        _programs()
