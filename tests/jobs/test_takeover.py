"""The driver dies: the next schedule of the same script takes over what has finished, and runs the rest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from contract.stage import ended as process_ended
from hand import PATIENCE
from jobs.samples import make
from jobs.scripts import finish, start, write
from weft import Run, State, job, schedule
from weft.errors import RunInUse, TamperedError
from weft.jobs.past import is_over
from weft.rundir import RunFolder, all_runs, read_journal


@pytest.fixture
def counted(tmp_path):
    """Makes jobs that count how often each of them runs."""

    class Counted:
        runs: list[str] = []

        def job(self, name, function=lambda *args: len(args), **options):
            def run(*args):
                self.runs.append(name)
                return function(*args)

            return job(name=name, **options)(run)

        def taken(self):
            runs, self.runs[:] = list(self.runs), []
            return runs

    counted = Counted()
    counted.runs = []
    return counted


def cut_short(run):
    """Make of a finished run one whose driver died before it could say that it is finished."""
    journal = run.path / "events.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"finished"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # torn
    return run


def test_a_finished_run_is_not_taken_over(counted):
    a = counted.job("a")
    first = schedule(a, backend="serial")
    second = schedule(a, backend="serial")
    assert (counted.taken(), first.path == second.path) == (["a", "a"], False)


def test_a_run_that_was_cut_short_is_taken_over_in_its_folder(counted, capfd):
    a, b = counted.job("a", lambda: {"x": 1}), counted.job("b", lambda: 1 / 0)
    c = counted.job("c").after(a)
    first = cut_short(schedule(c, b, backend="serial", raise_on_failure=False))
    counted.taken()
    capfd.readouterr()
    second = schedule(c, b, backend="serial", raise_on_failure=False)
    assert counted.taken() == ["b"]
    assert capfd.readouterr().err.splitlines()[0] == f"weft: taking over run {first.name}: 2 of 3 jobs were done"
    assert second.path == first.path
    assert second.states == {a: State.SUCCEEDED, b: State.FAILED, c: State.SUCCEEDED}
    assert second[a] == {"x": 1}
    events = [event["run"] for event in read_journal(second.path / "events.jsonl") if "run" in event]
    assert events == ["started", "taken over", "finished"]
    assert Run.load(second.path).states == {"a": State.SUCCEEDED, "b": State.FAILED, "c": State.SUCCEEDED}
    assert len(all_runs()) == 1


def test_fresh_ignores_earlier_runs(counted):
    a = counted.job("a").ensure(lambda: False)
    a.conditions = ()
    first = cut_short(schedule(a, backend="serial"))
    assert schedule(a, backend="serial", fresh=True).path != first.path
    assert counted.taken() == ["a", "a"]


def test_ctrl_c_leaves_a_run_to_be_taken_over_and_cancel_does_not(counted, monkeypatch):
    def interrupted(self, over):
        raise KeyboardInterrupt

    a, b = counted.job("a"), counted.job("b", backend="threads")
    from weft.jobs import places

    with monkeypatch.context() as patch:
        patch.setattr(places.Serial, "work", interrupted)
        with pytest.raises(KeyboardInterrupt):
            schedule(a.after(b), backend="serial")
    counted.taken()
    (folder,) = all_runs()
    run = schedule(a, backend="serial")
    assert run.path == folder.path
    cancelled = schedule(a, backend="threads", wait=False)
    cancelled.cancel()
    assert cancelled.path != folder.path
    if cancelled.states[a] is State.CANCELLED or not cancelled.ok:
        assert schedule(a, backend="serial").path != cancelled.path


@pytest.mark.parametrize("what", ["code", "arguments", "conditions", "element"])
def test_what_has_changed_runs_again(counted, what):
    def script(changed):
        def old(x):
            counted.runs.append("old")
            return x

        def new(x):
            counted.runs.append("new")
            return x

        made = job(name="a", array=[1, 2] if what != "element" or not changed else [1, 3])(
            new if changed and what == "code" else old
        )
        if what == "arguments":
            made = job(name="a")(old).bind(5 if changed else 4)
        if what == "conditions":
            made.ensure((lambda i: True) if changed else (lambda i: bool(i)), when="before")
        return made

    cut_short(schedule(script(changed=False), backend="serial"))
    counted.taken()
    schedule(script(changed=False), backend="serial")
    assert counted.taken() == []
    cut_short(schedule(script(changed=False), backend="serial", fresh=True))
    counted.taken()
    schedule(script(changed=True), backend="serial")
    assert len(counted.taken()) == (1 if what in ("arguments", "element") else 2)


def test_who_takes_a_result_that_is_made_anew_runs_again(counted):
    def script(number):
        a = counted.job("a", lambda: number)
        other = counted.job("other").after(a)
        return counted.job("taker", lambda x: x).bind(a), other

    cut_short(schedule(*script(1), backend="serial"))
    counted.taken()
    run = schedule(*script(2), backend="serial")
    assert (counted.taken(), run["taker"]) == (["a", "taker"], 2)


def test_an_outcome_that_was_lost_makes_its_takers_run_again(counted):
    def script():
        return counted.job("taker", lambda x: x).bind(counted.job("a", lambda: 5))

    run = cut_short(schedule(script(), backend="serial"))
    (file,) = (run.path / "outcomes").iterdir()
    data = file.read_bytes()
    length = 4 + 32 + int.from_bytes(data[:4], "little")
    file.write_bytes(data[length:])  # the record of a
    counted.taken()
    assert schedule(script(), backend="serial")["taker"] == 5
    assert counted.taken() == ["a", "taker"]


def test_a_postcondition_that_does_not_hold_says_more_than_what_was_recorded(counted, tmp_path):
    path = tmp_path / "file"
    a = counted.job("a", path.touch).ensure(path.exists)
    cut_short(schedule(a, backend="serial"))
    path.unlink()
    counted.taken()
    schedule(a, backend="serial")
    assert counted.taken() == ["a"]


def test_elements_that_have_finished_do_not_run_again(counted):
    fails = {2}
    array = counted.job("array", lambda i: 1 / 0 if i in fails else 10 * i, array=4)
    last = counted.job("last", lambda xs: xs).bind(array)
    cut_short(schedule(last, backend="serial", raise_on_failure=False))
    counted.taken()
    fails.clear()
    run = schedule(last, backend="serial")
    # `fails` belongs to the function, and has changed; so all run again.
    assert counted.taken() == ["array"] * 4 + ["last"]
    assert run[last] == [0, 10, 20, 30]


def test_of_an_array_only_the_rest_runs_again(counted, tmp_path):
    (tmp_path / "bad").touch()
    array = counted.job("array", lambda i: 1 / 0 if i == 2 and (tmp_path / "bad").exists() else 10 * i, array=4)
    last = counted.job("last", lambda xs: xs).bind(array)
    cut_short(schedule(last, backend="serial", raise_on_failure=False))
    counted.taken()
    (tmp_path / "bad").unlink()
    run = schedule(last, backend="serial")
    assert counted.taken() == ["array", "last"]
    assert run[last] == [0, 10, 20, 30]
    assert set(run.elements(array).values()) == {State.SUCCEEDED}


def test_a_run_that_goes_on_is_refused_with_its_driver():
    gate = threading.Event()
    a = job(name="a")(lambda: gate.wait(PATIENCE))
    run = schedule(a, backend="threads", wait=False)
    try:
        text = f"run {run.name} goes on: process {os.getpid()} on .* drives it; look at it with: weft status {run.name}"
        with pytest.raises(RunInUse, match=text) as caught:
            schedule(a, backend="threads")
        assert (caught.value.run, caught.value.pid) == (run.name, os.getpid())
        assert schedule(make("a"), backend="serial", name="beside it").ok
        assert schedule(make("other"), backend="serial").ok
    finally:
        gate.set()
        run.wait()
    assert schedule(a, backend="threads").ok


def test_a_tampered_outcome_is_refused_before_anything_starts(counted):
    run = cut_short(schedule(counted.job("a", lambda: "result"), backend="serial"))
    (file,) = (run.path / "outcomes").iterdir()
    file.write_bytes(file.read_bytes().replace(b"result", b"tamper"))
    counted.taken()
    with pytest.raises(TamperedError, match=file.name):
        schedule(counted.job("a", lambda: "result"), backend="serial")
    assert counted.taken() == []
    assert schedule(counted.job("a", lambda: "result"), backend="serial", fresh=True).ok


def test_a_run_that_died_before_it_had_said_anything_is_taken_over(counted):
    a = counted.job("a")
    run = schedule(a, backend="serial")
    for name in ("run.json", "events.jsonl"):
        (run.path / name).unlink()
    assert schedule(a, backend="serial").path == run.path


def test_a_schedule_that_is_refused_leaves_the_run_that_it_would_have_taken_over(counted):
    a = counted.job("a")
    run = cut_short(schedule(a, backend="serial"))
    broken = counted.job("a").ensure(lambda: 1 / 0)
    with pytest.raises(RuntimeError):
        schedule(broken, backend="serial")
    assert not RunFolder(run.path).is_live()
    counted.taken()
    schedule(a, backend="serial")
    assert counted.taken() == []


# Results of earlier runs


def test_the_result_of_a_pruned_job_is_that_of_the_run_that_made_it(counted, tmp_path):
    path = tmp_path / "file"
    a = counted.job("a", lambda: path.touch() or {"x": 1}).ensure(path.exists)
    b = counted.job("b").after(a)
    schedule(b, backend="serial")
    for _ in range(3):
        run = schedule(b, backend="serial")
        assert (run[a], run.states[a]) == ({"x": 1}, State.UP_TO_DATE)
        assert Run.load(run.path)["a"] == {"x": 1}
    assert counted.taken() == ["a", "b", "b", "b", "b"]


def test_a_job_that_takes_a_known_result_of_a_pruned_job_gets_it(counted, tmp_path):
    path = tmp_path / "file"
    a = counted.job("a", lambda: path.touch() or 5).ensure(path.exists)
    taker = counted.job("taker", lambda x: x).bind(a)
    for _ in range(2):
        assert schedule(taker, backend="serial")[taker] == 5
    assert counted.taken() == ["a", "taker", "taker"]


def test_a_pruned_job_whose_result_is_needed_and_not_known_runs_again(counted, tmp_path):
    path = tmp_path / "file"
    path.touch()
    a = counted.job("a", lambda: 5).ensure(path.exists)
    taker = counted.job("taker", lambda x: x).bind(a)
    assert schedule(a, backend="serial")[a] is None
    assert schedule(taker, backend="serial")[taker] == 5
    assert counted.taken() == ["a", "taker"]


def test_elements_come_from_the_runs_that_made_them(counted, tmp_path):
    def write(i):
        (tmp_path / str(i)).touch()
        return 10 * i

    (tmp_path / "2").touch()
    array = counted.job("array", write, array=4).ensure(lambda i: (tmp_path / str(i)).exists())
    assert schedule(array, backend="serial")[array] == [0, 10, None, 30]
    (tmp_path / "2").unlink()
    (tmp_path / "0").unlink()
    run = schedule(array, backend="serial")
    assert run[array] == [0, 10, 20, 30]
    assert [state.name for state in run.elements(array).values()] == [
        *("SUCCEEDED", "UP_TO_DATE", "SUCCEEDED", "UP_TO_DATE")
    ]
    again = schedule(array, backend="serial")
    assert (again[array], set(again.elements(array).values())) == ([0, 10, 20, 30], {State.UP_TO_DATE})


def test_where_the_earlier_run_was_deleted_its_results_are_not_known(counted, tmp_path):
    path = tmp_path / "file"
    a = counted.job("a", lambda: path.touch() or 5).ensure(path.exists)
    first = schedule(a, backend="serial")
    schedule(a, backend="serial")
    RunFolder(first.path).remove()
    assert schedule(a, backend="serial")[a] is None


# Killed drivers


def script(count: int, seconds: float) -> str:
    """Layers of jobs that pass on numbers; each writes a line as its last act."""
    return f"""
    import random
    lines = os.open("lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(text):
        os.write(os.open("lines", os.O_WRONLY | os.O_APPEND), f"{{text}}\\n".encode())

    def work(number, before):
        time.sleep(random.random() * {2 * seconds})
        result = (number + sum(before)) % 1000003
        print("job", number)
        os.write(fd(), b"%d\\n" % number)
        return result

    def fd():
        global _fd
        try:
            return _fd
        except NameError:
            _fd = os.open("lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            return _fd

    jobs = []
    for number in range({count}):
        before = [jobs[k] for k in (number - 7, number // 2) if 0 <= k < number]
        jobs.append(job(name=f"j{{number}}")(work).bind(number, before))
    run = schedule(*jobs, max_workers=2)
    print([run[made] for made in jobs])
    """


def expected(count: int) -> list[int]:
    results: list[int] = []
    for number in range(count):
        before = [results[k] for k in (number - 7, number // 2) if 0 <= k < number]
        results.append((number + sum(before)) % 1000003)
    return results


def killed_until_it_ends(folder: Path, count: int, seconds: float, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    path = write(folder, script(count, seconds))
    whole = count * seconds / 2 + 0.3
    for _ in range(kills):
        process = start(path)
        try:
            process.wait(rng.uniform(0.1, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        # Killed after its end, and before its script's, a run is over: to run the script again is to begin anew.
        if any(is_over(RunFolder(run)) for run in runs_in(folder)):
            break
    else:
        ended = finish(start(path))
        assert ended.returncode == 0, ended.stderr
        assert f"{expected(count)}" in ended.stdout
    lines = (folder / "lines").read_text().split()
    assert sorted(map(int, lines)) == list(range(count)), "a job that had finished has run again"
    # A driver may have been killed before it had begun; then nothing had been done.
    (run,) = (run for run in runs_in(folder) if (run / "outcomes").exists())
    loaded = Run.load(run)
    assert [loaded[f"j{number}"] for number in range(count)] == expected(count)


def runs_in(folder: Path) -> list[Path]:
    return [*(folder / ".weft" / "runs").glob("*")]


def test_a_killed_driver_costs_no_finished_job(tmp_path):
    killed_until_it_ends(tmp_path, 200, 0.004, kills=3, seed=1)


@pytest.mark.slow(30)
@pytest.mark.timeout(600)
def test_fifty_killed_drivers_cost_no_finished_job(tmp_path):
    kills = 0
    seed = 0
    while kills < 50:
        folder = tmp_path / f"round {seed}"
        folder.mkdir()
        killed_until_it_ends(folder, 200, 0.004, kills=5, seed=seed)
        kills += 5
        seed += 1


def test_workers_of_a_killed_driver_are_gone_and_what_they_wrote_is_kept(tmp_path):
    os.mkfifo(tmp_path / "started")
    body = """
    @job
    def first():
        Path("pid").write_text(str(os.getpid()))
        print("begun", flush=True)
        with open("started", "w"):
            pass
        time.sleep(0 if Path("again").exists() else 60)
        return 5

    print(schedule(first)[first])
    """
    process = start(write(tmp_path, body))
    open(tmp_path / "started").close()
    pid = int((tmp_path / "pid").read_text())
    process.kill()
    process.communicate()
    assert process_ended(pid)
    (tmp_path / "again").touch()
    (tmp_path / "started").unlink()
    ended = finish(start(tmp_path / "script.py"))
    assert ended.stdout.endswith("5\n")
    assert "taking over run" in ended.stderr
    (log,) = (tmp_path / ".weft").rglob("log")
    assert log.read_text() == "begun\nbegun\n"
