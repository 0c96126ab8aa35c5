"""Workers of a run: who takes the run over waits for them, and nobody joins late."""

import os
import signal
import subprocess
import sys

import pytest

from rundir.conftest import full_disk
from weft.errors import RunInUse, StorageError
from weft.rundir import Crew, Member, RunFolder, crew, dismiss, keep_log, log_path


@pytest.fixture
def run():
    run = RunFolder.create("pi", "script pi.py")
    yield run
    run.unlock()


MEMBER = """
import os, sys, time
from pathlib import Path
from weft.rundir import Member
member = Member(Path(sys.argv[1]))
member.is_at("fit", 3)
os.write(member.out, b"last words\\n")
if sys.argv[2] == "fork":
    if not os.fork():
        os.write(1, b"child\\n")
        time.sleep(60)
        os._exit(0)
os.write(1, b"ready\\n")
time.sleep(60)
"""


def worker(path, what="wait"):
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, str(path), what], stdout=subprocess.PIPE, start_new_session=True
    )
    lines = [process.stdout.readline() for _ in range(2 if what == "fork" else 1)]
    assert b"ready\n" in lines
    return process


def end(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_what_a_dead_worker_was_at_and_had_written_is_found(run):
    members = Crew.form(run.path)
    end(worker(members.path))
    place = members.at("fit", 3)
    assert (place.key, place.place, place.out.read_bytes()) == ("fit", 3, b"last words\n")
    assert members.at("fit", 2) is None
    assert members.left() == [place]


def test_who_takes_over_waits_for_workers_that_live(run, monkeypatch):
    members = Crew.form(run.path)
    process = worker(members.path)
    try:
        monkeypatch.setattr(crew, "PATIENCE", 0.05)
        with pytest.raises(RunInUse, match=f"its worker process {process.pid} on .* still runs; end that") as caught:
            dismiss(run.path, run.name)
        assert caught.value.pid == process.pid
    finally:
        end(process)
    (gone,) = dismiss(run.path, run.name)  # again: their folder has been moved away already
    assert [(place.key, place.place) for place in gone.left()] == [("fit", 3)]
    gone.disband()
    assert not (run.path / "workers").exists()


def test_a_worker_that_comes_too_late_is_refused(run):
    members = Crew.form(run.path)
    dismiss(run.path, run.name)
    with pytest.raises(FileNotFoundError):
        Member(members.path)


def test_a_worker_that_is_overtaken_while_it_joins_is_refused(run, monkeypatch):
    members = Crew.form(run.path)
    overtaking = crew.fcntl.flock

    def flock(*args):
        monkeypatch.setattr(crew.fcntl, "flock", overtaking)
        dismiss(run.path, run.name)
        overtaking(*args)

    monkeypatch.setattr(crew.fcntl, "flock", flock)
    with pytest.raises(FileNotFoundError, match="is not there any more"):
        Member(members.path)


def test_a_child_that_a_job_leaves_behind_is_no_worker(run):
    members = Crew.form(run.path)
    process = worker(members.path, "fork")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        assert len(dismiss(run.path, run.name)) == 1
    finally:
        end(process)


def test_without_workers_there_is_nothing_to_wait_for(run):
    assert dismiss(run.path, run.name) == []


def test_output_becomes_a_log_and_that_of_a_further_try_is_added(run):
    member = Member(Crew.form(run.path).path)
    out = member.path.with_name(member.path.name + ".out")
    for text in (b"first try\n", b"second try\n"):
        os.write(member.out, text)
        keep_log(run.path, "fit", 3, out)
        member.renew()
    member.close()
    assert log_path(run.path, "fit", 3).read_bytes() == b"first try\nsecond try\n"
    assert out.read_bytes() == b""


def test_output_that_a_full_disk_cuts_short_is_not_lost(run):
    member = Member(Crew.form(run.path).path)
    out = member.path.with_name(member.path.name + ".out")
    for text in (b"first\n", b"second" * 100):
        os.write(member.out, text)
        if text == b"first\n":
            keep_log(run.path, "fit", 3, out)
            member.renew()
    with full_disk(50), pytest.raises(StorageError, match=r"(?s)cannot write .*log: File too large"):
        keep_log(run.path, "fit", 3, out)
    assert out.read_bytes() == b"second" * 100
    member.close()


def test_what_is_put_away_while_one_looks_is_passed_over(run, monkeypatch):
    members = Crew.form(run.path)
    member = Member(members.path)
    member.is_at("fit", None)
    os.write(member.out, b"x")
    assert len(members.left()) == 1
    reading = crew._read

    def read(path):
        members.disband()
        return reading(path)

    monkeypatch.setattr(crew, "_read", read)
    assert members.left() == []
    assert members.left() == []
    member.close()


def test_what_a_worker_is_at_is_replaced_whole(run):
    members = Crew.form(run.path)
    member = Member(members.path)
    os.write(member.out, b"x")
    for key, place in (("a" * 80, 10**6), ("b", None), ("c", 0)):
        member.is_at(key, place)
        assert [(found.key, found.place) for found in members.left()] == [(key, place)]
    member.close()
