"""The run directory: what is written there is whole, the user's own, and found again."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundir.conftest import full_disk
from weft.errors import ChoiceError, RunInUse, StorageError, TamperedError
from weft.rundir import (
    Journal,
    Recorder,
    RunFolder,
    all_runs,
    find_run,
    home,
    latest_run,
    make_folder,
    read_journal,
    read_outcomes,
    remove_rests,
    safe_name,
    task_folder,
    write_atomic,
)
from weft.rundir.folder import Driver
from weft.rundir.seal import key_path, seal, unseal

ROOT = os.geteuid() == 0


@pytest.fixture
def run():
    run = RunFolder.create("pi", "script pi.py")
    yield run
    run.unlock()


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@contextmanager
def umask(mask: int):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# Modes and owners


@pytest.mark.parametrize("mask", [0, 0o022, 0o277])
def test_all_is_for_the_user_alone_whatever_the_umask(mask):
    with umask(mask):
        run = RunFolder.create("a", "identity")
        run.write_facts({})
        Journal(run.journal).close()
        recorder = Recorder(run.path)
        recorder.record("job", None, ok=True, payload=b"x")
        recorder.record("job", 3, ok=True, payload=bytes(100_000))
        recorder.close()
        run.unlock()
    files = [Path(folder, name) for folder, _, names in os.walk(home()) for name in names]
    folders = [Path(folder) for folder, _, _ in os.walk(home())]
    assert len(files) == 6
    assert {mode(path) for path in [*files, key_path()]} == {0o600}
    assert {mode(path) for path in folders} == {0o700}


@pytest.mark.parametrize("writable", [0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(base, writable):
    base.mkdir()
    base.chmod(writable)
    with pytest.raises(StorageError, match=r"(?s)others may write to .*chmod go-w"):
        RunFolder.create("a", "identity")
    assert list(base.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
@pytest.mark.parametrize("what", [".", "runs", "heads"])
def test_a_folder_of_somebody_else_is_refused(base, run, what):
    os.chown(base / what, 12345, -1)
    with pytest.raises(StorageError, match="belongs to user 12345, not to you"):
        RunFolder.create("a", "identity")


@pytest.mark.parametrize("what", ["runs", "heads"])
def test_a_link_in_the_place_of_a_folder_is_refused(base, tmp_path, what):
    RunFolder.create("a", "identity").unlock()
    (base / what).rename(tmp_path / "elsewhere")
    (base / what).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a symbolic link, not a folder"):
        RunFolder.create("a", "identity")


def test_runs_may_lie_behind_a_link_of_the_users_own(base, tmp_path):
    make_folder(tmp_path / "large disk")
    base.symlink_to(tmp_path / "large disk")
    run = RunFolder.create("a", "identity")
    assert run.path.parent.parent == tmp_path / "large disk"
    run.unlock()


@pytest.mark.parametrize("name", ["events.jsonl", "lock", "run.json"])
def test_a_link_in_the_place_of_a_file_is_not_followed(run, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text('{"kept": true}')
    run.unlock()
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(victim)
    with pytest.raises(StorageError, match="is a symbolic link"):
        {"events.jsonl": lambda: Journal(run.journal), "lock": run.lock, "run.json": run.facts}[name]()
    assert victim.read_text() == '{"kept": true}'


def test_what_replaces_a_link_leaves_alone_what_it_leads_to(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (run.path / "run.json").symlink_to(victim)
    run.write_facts({"a": 1})
    assert (victim.read_text(), run.facts()) == ("kept", {"a": 1})


def test_the_folder_is_where_the_script_was_when_the_run_was_made(tmp_path, monkeypatch):
    monkeypatch.delenv("WEFT_DIR")
    monkeypatch.chdir(tmp_path)
    run = RunFolder.create("a", "identity")
    monkeypatch.chdir("/")
    run.write_facts({"a": 1})
    assert run.path.parent == tmp_path / ".weft" / "runs"
    run.unlock()


# Names


@given(st.text(max_size=300))
def test_any_text_has_a_name_that_is_one_file(text):
    name = safe_name(text)
    assert 1 <= len(name) <= 100
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert name not in (".", "..")
    assert not name.startswith((".", "-"))


@given(st.text(max_size=100), st.text(max_size=100))
def test_different_texts_have_different_names(one, other):
    assert (safe_name(one) == safe_name(other)) is (one == other)


def test_names_that_are_fine_stay_as_they_are():
    assert [safe_name(name) for name in ("fit_0.1", "a-b", "X")] == ["fit_0.1", "a-b", "X"]
    assert safe_name("../etc/passwd").startswith("_etc_passwd") is False
    assert "/" not in safe_name("../etc/passwd")


# Files


def test_a_file_that_cannot_be_replaced_whole_stays_as_it_was(run):
    path = run.path / "file"
    write_atomic(path, b"before")
    with full_disk(1000), pytest.raises(StorageError, match=r"(?s)cannot write .*file: File too large"):
        write_atomic(path, bytes(5000))
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in run.path.iterdir() if "file" in entry.name] == ["file"]


# Signatures


def test_what_was_sealed_is_read_for_the_same_purpose_only():
    sealed = seal(b"data", "job a")
    assert unseal(sealed, "job a", "it") == b"data"
    for wrong in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:10], b"", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(TamperedError, match="it is not what weft wrote there"):
            unseal(wrong, "job a", "it")
    with pytest.raises(TamperedError):
        unseal(sealed, "job b", "it")


def test_all_processes_have_one_key():
    code = "from weft.rundir.seal import seal; print(seal(b'data', 'x').hex())"
    found = {
        process.communicate()[0]
        for process in [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)
        ]
    }
    assert len(found) == 1
    assert [entry.name for entry in key_path().parent.iterdir()] == ["key"]


def test_a_key_that_others_can_read_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "other key"
    path.write_bytes(bytes(32))
    path.chmod(0o640)
    monkeypatch.setenv("WEFT_KEY_FILE", str(path))
    with pytest.raises(StorageError, match=r"others may read .* chmod 600"):
        seal(b"data", "x")


def test_a_key_that_is_too_short_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "other key"
    path.write_bytes(bytes(31))
    path.chmod(0o600)
    monkeypatch.setenv("WEFT_KEY_FILE", str(path))
    with pytest.raises(StorageError, match=r"the key .* is too short; remove it"):
        seal(b"data", "x")


def test_what_was_written_with_another_key_is_refused(run, monkeypatch, tmp_path):
    recorder = Recorder(run.path)
    recorder.record("a", None, ok=True, payload=b"x")
    recorder.close()
    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "another key"))
    with pytest.raises(TamperedError, match="is not what weft wrote there"):
        read_outcomes(run.path)


def test_a_key_that_cannot_be_made_is_an_error_that_says_where_else(monkeypatch, tmp_path):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setenv("WEFT_KEY_FILE", str(tmp_path / "another key"))
    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(StorageError, match=r"cannot make the key .*another key: no links here; WEFT_KEY_FILE says"):
        seal(b"data", "x")
    assert list(tmp_path.glob(".another*")) == []


# Outcomes


def test_outcomes_are_read_back_small_and_large(run):
    recorder = Recorder(run.path)
    recorder.record("a", None, ok=True, payload=b"small", stamp=b"s")
    recorder.record("b", 0, ok=False, payload=b"failed")
    recorder.record("b", 1, ok=True, payload=b"x" * 200_000)
    recorder.record("a", None, ok=True, payload=b"later")
    found = read_outcomes(run.path)
    assert {key: (outcome.ok, outcome.read()) for key, outcome in found.items()} == {
        ("a", None): (True, b"later"),
        ("b", 0): (False, b"failed"),
        ("b", 1): (True, b"x" * 200_000),
    }
    recorder.close()


def test_a_small_outcome_costs_no_file_of_its_own(run):
    recorder = Recorder(run.path)
    for number in range(100):
        recorder.record(f"job{number}", None, ok=True, payload=b"x")
    assert len(list((run.path / "outcomes").iterdir())) == 1
    assert list((run.path / "tasks").iterdir()) == []
    recorder.close()


@pytest.mark.parametrize("cut", [1, 20, 40, 60])
def test_a_record_that_was_cut_short_is_read_around(run, cut):
    recorder = Recorder(run.path)
    for number in range(3):
        recorder.record("a", number, ok=True, payload=b"x" * 30)
    recorder.close()
    [path] = (run.path / "outcomes").iterdir()
    os.truncate(path, path.stat().st_size - cut)
    assert sorted(read_outcomes(run.path)) == [("a", 0), ("a", 1)]


def test_empty_blocks_after_a_power_cut_are_read_around(run):
    recorder = Recorder(run.path)
    recorder.record("a", None, ok=True, payload=b"x")
    recorder.close()
    [path] = (run.path / "outcomes").iterdir()
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert list(read_outcomes(run.path)) == [("a", None)]


@pytest.mark.parametrize("cut", [1, 30, 70, 200])
def test_records_that_a_power_cut_left_half_empty_are_read_around(run, cut):
    recorder = Recorder(run.path)
    for number in range(3):
        recorder.record("a", number, ok=True, payload=b"x" * 30)
    recorder.close()
    [path] = (run.path / "outcomes").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-cut] + bytes(cut))
    assert sorted(read_outcomes(run.path)) == [("a", number) for number in range(3 - -(-cut * 3 // len(data)))]


@pytest.mark.parametrize("at", [10, 36, 50])
def test_a_record_that_was_changed_is_refused_and_named(run, at):
    recorder = Recorder(run.path)
    for number in range(3):
        recorder.record("a", number, ok=True, payload=b"x" * 30)
    recorder.close()
    [path] = (run.path / "outcomes").iterdir()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(TamperedError, match=path.name):
        read_outcomes(run.path)


def test_a_large_value_that_was_changed_or_taken_from_elsewhere_is_refused(run):
    recorder = Recorder(run.path)
    recorder.record("a", None, ok=True, payload=b"x" * 100_000)
    recorder.record("b", None, ok=True, payload=b"y" * 100_000)
    recorder.close()
    found = read_outcomes(run.path)
    there, other = (task_folder(run.path, key, None) / "outcome" for key in "ab")
    there.write_bytes(other.read_bytes())
    with pytest.raises(TamperedError, match="outcome is not what weft wrote"):
        found["a", None].read()
    assert found["b", None].read() == b"y" * 100_000


def test_records_of_another_run_are_refused(run):
    other = RunFolder.create("other", "other identity")
    recorder = Recorder(other.path)
    recorder.record("a", None, ok=True, payload=b"x")
    recorder.close()
    make_folder(run.path / "outcomes")
    [path] = (other.path / "outcomes").iterdir()
    write_atomic(run.path / "outcomes" / path.name, path.read_bytes())
    with pytest.raises(TamperedError):
        read_outcomes(run.path)
    other.unlock()


def test_a_full_disk_costs_the_record_that_does_not_fit_and_no_other(run):
    recorder = Recorder(run.path)
    recorder.record("a", 0, ok=True, payload=b"x" * 1000)
    with full_disk(2000), pytest.raises(StorageError, match=r"(?s)cannot write .*outcomes.*: File too large"):
        recorder.record("a", 1, ok=True, payload=b"x" * 1000)
    recorder.record("a", 2, ok=True, payload=b"x" * 1000)
    assert sorted(read_outcomes(run.path)) == [("a", 0), ("a", 2)]
    recorder.close()


def test_threads_record_side_by_side(run):
    recorder = Recorder(run.path)

    def work(thread):
        for number in range(200):
            recorder.record(f"t{thread}", number, ok=True, payload=b"x" * (number % 50))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert len(read_outcomes(run.path)) == 800


# The journal


def test_events_are_read_in_order_and_torn_lines_are_left_out(run):
    journal = Journal(run.journal)
    journal.write(job="a", state="running")
    journal.write(job="a\nb", state="succeeded")
    journal.close()
    with run.journal.open("ab") as file:
        file.write(b'{"job":"torn","st')
    journal = Journal(run.journal)
    journal.write(run="taken over")
    journal.close()
    assert list(read_journal(run.journal)) == [
        {"job": "a", "state": "running"},
        {"job": "a\nb", "state": "succeeded"},
        {"run": "taken over"},
    ]


def test_a_line_that_does_not_fit_is_an_error_that_names_the_file(run):
    journal = Journal(run.journal)
    with full_disk(10), pytest.raises(StorageError, match=r"(?s)cannot write .*events\.jsonl"):
        journal.write(job="a" * 100)
    journal.close()


# Drivers


def test_a_second_driver_is_told_of_the_first(run):
    with pytest.raises(RunInUse, match=f"process {os.getpid()} on .* drives it") as caught:
        RunFolder(run.path).lock()
    assert (caught.value.run, caught.value.pid) == (run.name, os.getpid())
    assert RunFolder(run.path).is_live()
    run.unlock()
    again = RunFolder(run.path)
    assert not again.is_live()
    again.lock()
    again.unlock()


def test_a_child_that_is_being_made_does_not_keep_the_lock(run):
    copy = os.dup(run._lock)  # as such a child has it, until it has become another program
    run.unlock()
    again = RunFolder(run.path)
    again.lock()
    again.unlock()
    os.close(copy)


def test_a_forked_child_takes_the_lock_from_nobody(run):
    if (child := os.fork()) == 0:
        os._exit(run._lock != -1)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(RunInUse):
        RunFolder(run.path).lock()
    run.unlock()


def test_a_driver_that_cannot_say_who_it_is_lets_go_of_the_run(run):
    run.unlock()
    with full_disk(5), pytest.raises(StorageError, match=r"(?s)cannot write .*lock: File too large"):
        run.lock()
    assert not run.is_live()
    run.lock()


@pytest.mark.parametrize("pid", [-1, 0, 1, "x"])
def test_what_is_no_process_is_no_driver(run, pid):
    (run.path / "lock").write_text(json.dumps(["host", pid, None]))
    assert run.driver() is None


def test_a_run_is_free_when_its_driver_is_killed(run):
    run.unlock()
    code = "import sys; from weft.rundir import find_run; find_run(sys.argv[1]).lock(); print(1, flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, run.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline() == "1\n"
        assert run.is_live()
        with pytest.raises(RunInUse, match=f"process {child.pid} on"):
            run.lock()
        child.kill()
        child.wait()
    assert not run.is_live()
    assert run.driver().is_gone()
    run.lock()


def test_a_child_does_not_keep_the_run_of_its_parent(run):
    (reads, writes), (told, tell) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writes)
        os.write(tell, b"x")
        os.read(reads, 1)
        os._exit(0)
    os.read(told, 1)
    run.unlock()
    assert not run.is_live()
    for file in (writes, reads, told, tell):
        os.close(file)
    os.waitpid(pid, 0)


def test_without_locks_a_run_is_free_when_its_driver_is_certainly_gone(run, monkeypatch):
    run.unlock()

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    other = RunFolder(run.path)
    lock = run.path / "lock"
    lock.write_text(json.dumps(Driver.here()))
    with pytest.raises(RunInUse):
        other.lock()
    lock.write_text(json.dumps(Driver.here()._replace(host="elsewhere")))
    assert other.is_live()
    lock.write_text(json.dumps(Driver.here()._replace(started=1)))  # the pid has been used again
    assert not other.is_live()
    other.lock()
    other.unlock()


# Finding runs


def test_runs_are_found_by_path_name_part_and_place():
    runs = [RunFolder.create(name, name) for name in ("pi", "fit", "fit a b")]
    names = {run.name for run in runs}
    assert {run.name for run in all_runs()} == names
    for run in runs:
        assert find_run(run.name).path == find_run(run.path).path == find_run(str(run.path)).path == run.path
        run.unlock()
    assert find_run("-pi-").name == runs[0].name
    latest = all_runs()
    assert [find_run(f"-{back}").name for back in (1, 2, 3)] == [run.name for run in latest]
    with pytest.raises(ChoiceError, match=r"'fit' fits 2 runs: .*; write more of the name"):
        find_run("fit")
    for unknown in ("nonsense", "-4", "", "/no/folder"):
        with pytest.raises(ChoiceError, match=r"there is no run|is not the folder"):
            find_run(unknown)


def test_the_latest_run_of_an_identity_is_found():
    first, second, other = (RunFolder.create("a", identity) for identity in ("x", "x", "y"))
    assert latest_run("x").name == second.name
    assert latest_run("y").name == other.name
    assert latest_run("z") is None
    for run in (first, second, other):
        run.unlock()
    second.remove()
    assert latest_run("x") is None


def test_a_head_that_leads_out_of_the_runs_is_not_followed(base, run):
    [head] = (base / "heads").iterdir()
    head.write_text("../../..")
    assert latest_run("script pi.py") is None


def test_a_run_that_goes_on_is_not_removed(run):
    with pytest.raises(RunInUse):
        RunFolder(run.path).remove()
    run.unlock()
    with full_disk(0):  # which is when one wants to
        run.remove()
    assert not run.path.exists()
    assert all_runs() == []


def test_what_is_left_of_a_removal_that_was_interrupted_is_no_run(run, base):
    run.unlock()
    run.path.rename(base / "runs" / f".{run.name}")
    assert all_runs() == []
    remove_rests()
    assert list((base / "runs").iterdir()) == []


def test_a_run_that_others_can_write_to_is_not_opened(run):
    run.path.chmod(0o770)
    for name in (run.name, "-1", run.path):
        with pytest.raises(StorageError, match="others may write to"):
            find_run(name)
    if ROOT:
        run.path.chmod(0o700)
        os.chown(run.path, 12345, -1)
        for name in (run.name, "-1", run.path):
            with pytest.raises(StorageError, match="belongs to user 12345"):
                find_run(name)


def test_a_run_that_is_nearly_named_is_suggested():
    runs = [RunFolder.create(name, name) for name in ("estimate", "fit")]
    for typed in ("estimtae", runs[0].name.replace("estimate", "estimat")):
        with pytest.raises(ChoiceError, match=f"did you mean {runs[0].name}\\?"):
            find_run(typed)
    for run in runs:
        run.unlock()


def test_where_there_are_no_runs_it_says_where_they_would_be(base):
    assert all_runs() == []
    assert not base.exists()
    with pytest.raises(ChoiceError, match="there are no runs in"):
        find_run("x")
