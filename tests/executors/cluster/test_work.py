"""The worker at the other end, started as a script starts it: what it leaves behind, and how it ends."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest

from contract.stage import ended as over
from hand import PATIENCE
from weft import on_terminate
from weft.errors import ChoiceError, StorageError, TamperedError, TaskError, TaskExited, TaskTimeout
from weft.executors.cluster.carry import files_for
from weft.executors.cluster.executor import _packed
from weft.executors.cluster.folder import Call, Folder, Plan
from weft.executors.cluster.formats import EXIT_FAILED
from weft.executors.cluster.future import Terms
from weft.executors.worker import Setting
from weft.payload import pack, unpack, unpack_failure
from weft.resources import Resources
from weft.rundir.signer import user_key

WEIRD = 'it\'s "a"\nfolder ü'
COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / WEIRD)


class Bench:
    """A folder, and calls that are made in it one submission after the other."""

    def __init__(self, path, *, carried=False):
        self.folder = Folder.create(path, carried=carried)
        for name, data in files_for(self.folder).items():
            (path / name).write_bytes(data)
        self.next = 0

    def write(self, *calls, each=1, seconds=None, setting=None):
        group = self.folder.group(self.next)
        self.next += 1
        shared = [_packed(setting or Setting(os.getcwd(), sys.path, ()), (), carried=self.folder.carried)]
        shared += [pack(function) for function, *_ in calls]
        sent = [
            Call(number, number + 1, 0, pack((tuple(args), {})) if args else b"")
            for number, (_, *args) in enumerate(calls)
        ]
        terms = Terms(Resources(), (), (), (), each)
        names = ["", *(f"call{number}" for number in range(len(calls)))]
        group.write(Plan(sent, shared, names, each, seconds, "name", terms), {})
        return group

    def start(self, group, place=0, **environ):
        return subprocess.Popen(
            [sys.executable, self.folder.path / "worker.py", str(group.number), str(place)],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *calls, place=0, environ=None, **options):
        group = self.write(*calls, **options)
        process = self.start(group, place, **(environ or {}))
        output, _ = process.communicate(timeout=PATIENCE)
        return Ended(group, process.returncode, output)


class Ended:
    def __init__(self, group, code, output):
        self.group, self.code, self.output = group, code, output

    def outcome(self, name="0.0"):
        kind, payload = self.group.outcome(name)
        if kind == "stopped":
            return "stopped"
        return unpack(payload) if kind == "result" else unpack_failure(payload)


def double(x):
    print("doubling", x)
    return 2 * x


def fail():
    raise ValueError("no good")


def test_a_result_is_written_down_and_the_exit_code_is_0(bench):
    ended = bench.run((double, 21))
    assert (ended.code, ended.output, ended.group.arrived(), ended.outcome()) == (0, "doubling 21\n", ["0.0"], 42)


def test_a_failure_is_written_down_and_the_exit_code_says_so(bench):
    ended = bench.run((fail,))
    error = ended.outcome()
    assert (ended.code, repr(error)) == (EXIT_FAILED, "ValueError('no good')")
    assert "raise ValueError" in str(error.__cause__)
    assert "cluster/work.py" not in str(error.__cause__)


@pytest.mark.parametrize("code", [0, 1, "text", None])
def test_an_exit_of_the_task_is_an_ordinary_exception(bench, code):
    ended = bench.run((sys.exit, code))
    error = ended.outcome()
    assert (ended.code, type(error), error.code) == (EXIT_FAILED, TaskExited, code)


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_ends_at_once_leaves_no_outcome_and_never_seems_to_have_done_well(bench, code):
    ended = bench.run((os._exit, code))
    assert ended.group.arrived() == []
    assert ended.code == code  # which is what the batch script makes a failure of, where it is 0


def test_each_try_has_an_outcome_of_its_own(bench):
    ended = bench.run((double, 1), environ={"WEFT_TRY": "2"})
    assert (ended.group.arrived(), ended.outcome("0.2")) == (["0.2"], 2)


def test_several_calls_of_a_job_are_made_one_after_the_other_and_do_not_harm_each_other(bench):
    calls = [(double, 0), (fail,), (double, 2), (double, 3)]
    ended = bench.run(*calls, each=2)
    assert (ended.code, sorted(ended.group.arrived())) == (EXIT_FAILED, ["0.0", "1.0"])
    again = bench.start(ended.group, 1)
    again.communicate(timeout=PATIENCE)
    assert (again.returncode, "all-1.0" in ended.group.arrived()) == (0, True)
    assert [ended.outcome(f"{index}.0") for index in (0, 2, 3)] == [0, 4, 6]


def test_a_call_that_was_cancelled_is_not_begun(bench):
    group = bench.write((double, 0), (double, 1), each=2)
    group.leave_out(0)
    output, _ = bench.start(group).communicate(timeout=PATIENCE)
    assert (output, sorted(group.arrived())) == ("doubling 1\n", ["0.cancelled", "1.0", "all-0.0"])


def test_a_result_that_does_not_pickle_is_a_failure_that_says_so(bench):
    ended = bench.run((threading.Lock,))
    error = ended.outcome()
    assert (ended.code, type(error)) == (EXIT_FAILED, TaskError)
    assert "cannot be sent back" in str(error)


def test_a_task_finds_itself_where_it_was_submitted(bench, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "odd_module.py").write_text("def where():\n    import os\n    return os.getcwd()\n")
    setting = Setting(str(tmp_path), [str(tmp_path / "there"), *sys.path], ((COLOUR, "red"),))
    ended = bench.run((lambda: (__import__("odd_module").where(), COLOUR.get()),), setting=setting)
    assert ended.outcome() == (str(tmp_path), "red")


def test_a_working_directory_that_is_gone_is_not_missed(bench, tmp_path):
    ended = bench.run((double, 1), setting=Setting(str(tmp_path / "gone"), sys.path, ()))
    assert ended.outcome() == 2


def wait_for_the_end(told):
    def save():
        with open(told, "w") as file:
            file.write("saved")

    on_terminate(save)
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        with open(told, "a") as file:
            file.write(" and tidied")


def test_sigterm_calls_what_the_task_asked_for_unwinds_it_and_ends_the_process_by_that_signal(bench, tmp_path):
    group = bench.write((wait_for_the_end, str(tmp_path / "told")))
    process = bench.start(group)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "told").read_text() == "saved and tidied"
    assert Ended(group, 0, "").outcome() == "stopped"


def start_and_hang(pids):
    """A child that does not listen, with a child of its own; both have noted their pids when this goes on."""
    script = f"trap '' TERM; sleep 1000 & echo $! $$ >'{pids}.part' && mv '{pids}.part' '{pids}'; wait; wait"
    subprocess.run(["sh", "-c", script], check=False)


def test_what_a_task_that_takes_too_long_has_started_ends_with_it(bench, tmp_path):
    pids = tmp_path / "pids"
    ended = bench.run((start_and_hang, str(pids)), (double, 21), seconds=1.0, each=2)
    assert [type(ended.outcome()), ended.outcome("1.0")] == [TaskTimeout, 42]
    assert all(over(int(pid)) for pid in pids.read_text().split())


def test_a_task_that_takes_too_long_is_told_ends_and_says_so(bench, tmp_path):
    ended = bench.run((wait_for_the_end, str(tmp_path / "told")), seconds=0.5)
    error = ended.outcome()
    assert (ended.code, type(error), error.seconds) == (EXIT_FAILED, TaskTimeout, 0.5)
    assert (tmp_path / "told").read_text() == "saved and tidied"


def test_what_raises_when_it_is_told_to_save_does_not_keep_others_from_it(bench):
    def task():
        on_terminate(lambda: 1 / 0)
        on_terminate(lambda: print("second", flush=True))
        time.sleep(60)

    ended = bench.run((task,), seconds=0.3)
    assert "ZeroDivisionError" in ended.output
    assert "second" in ended.output


def test_a_child_that_a_task_forks_writes_no_outcome(bench):
    def task():
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return pid != 0

    ended = bench.run((task,))
    assert (ended.code, ended.group.arrived(), ended.outcome()) == (0, ["0.0"], True)


def test_a_full_disk_is_told_in_the_log_and_leaves_no_outcome(bench):
    def task():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        return "x" * 1000

    ended = bench.run((task,))
    assert ended.code == 1
    assert "weft: cannot write the outcome" in ended.output
    assert "0.0" not in ended.group.arrived()


def test_calls_that_were_changed_are_not_unpickled(bench):
    group = bench.write((double, 1))
    path = group.path / "calls"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    output, _ = bench.start(group).communicate(timeout=PATIENCE)
    assert "TamperedError" in output
    with pytest.raises(TamperedError):
        group.read()


def test_an_outcome_of_another_call_or_another_try_is_refused(bench):
    ended = bench.run((double, 1), (double, 2), each=2)
    outcomes = ended.group.path / "outcomes"
    (outcomes / "1.0").rename(outcomes / "0.1")
    with pytest.raises(TamperedError):
        ended.group.outcome("0.1")
    (outcomes / "0.1").write_bytes(b"")
    with pytest.raises(StorageError):
        ended.group.outcome("0.1")


def test_what_is_to_be_done_reads_as_it_was_written(bench):
    group = bench.write((double, 1), (fail,), each=2, seconds=3)
    plan = group.read()
    assert ([call.number for call in plan.calls], plan.names, plan.each) == ([0, 1], ["", "call0", "call1"], 2)
    assert (plan.seconds, plan.name, plan.terms.each) == (3, "name", 2)
    assert unpack(plan.shared[2]) is fail or unpack(plan.shared[2]).__name__ == "fail"
    assert (group.job(), group.submitted("12;a"), group.job()) == (None, None, "12;a")


# Carried to where nothing of here is to be seen ---------------------------------------------------------------


@pytest.fixture
def carried(tmp_path):
    return Bench(tmp_path / "mine", carried=True)


def bring(group, there):
    """As a batch system would: what is needed to another folder, and after its end what was left back."""
    home = there / "mine"
    (home / "groups" / "0" / "outcomes").mkdir(parents=True)
    for path in group.inputs:
        shutil.copyfile(path, home / os.path.relpath(path, group.home))
    ended = subprocess.run(
        [sys._base_executable, "-s", home / "worker.py", "0", "0"],
        cwd=there,
        env={"PATH": os.defpath, "HOME": "/no/such/home"},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.copytree(home / "groups" / "0" / "outcomes", group.outcomes, dirs_exist_ok=True)
    return ended


def test_a_worker_that_is_carried_needs_a_python_and_nothing_else(carried, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "brought.py").write_text("value = 7\n")

    def look(x):
        import brought

        import weft

        return os.getcwd(), weft.__file__, brought.value + x

    group = carried.write((look, 1), setting=Setting("/no/such/folder", ["/no/such/path"], ()))
    ended = bring(group, tmp_path / "there")
    assert (ended.returncode, ended.stderr) == (0, "")
    where, file, value = Ended(group, 0, "").outcome()
    assert (where, value) == (str(tmp_path / "there"), 8)
    assert "weft.zip" in file


def test_a_failure_that_is_carried_is_the_users_own(carried, tmp_path):
    group = carried.write((fail_there,))
    assert bring(group, tmp_path / "there").returncode == EXIT_FAILED
    error = Ended(group, 0, "").outcome()
    assert "ModuleNotFoundError" in repr(error)  # this module was not carried


def fail_there():
    raise ValueError("no good")


def test_what_is_carried_has_a_key_of_its_own(carried, tmp_path):
    group = carried.write((abs, -1))
    bring(group, tmp_path / "there")
    assert Ended(group, 0, "").outcome() == 1
    key = (carried.folder.path / "key").read_bytes()
    assert key == carried.folder.key != user_key()
    assert Folder.create(tmp_path / "other", carried=True).key != key
    with pytest.raises(TamperedError):
        Folder(carried.folder.path, carried=False).group(0).outcome("0.0")


def test_a_folder_says_itself_whether_it_is_carried(carried):
    path = carried.folder.path
    token = carried.folder.token("condor", lambda: {})
    assert Folder(path).carried
    assert Folder(path).token("condor", lambda: {}) == token
    with pytest.raises(ChoiceError, match="belongs to an executor with transfer=True"):
        Folder.create(path).token("condor", lambda: {})
    with pytest.raises(ChoiceError, match="belongs to an executor on condor, not on slurm"):
        Folder(path).token("slurm", lambda: {})


def test_an_archive_is_the_same_each_time(carried):
    files = files_for(carried.folder)
    assert files == files_for(carried.folder)
    assert len(files["weft.zip"]) < 2_000_000
