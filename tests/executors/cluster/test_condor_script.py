"""The description says what its sheet says, and the script does it in a real shell, whatever is in it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.stage import Gate
from hand import PATIENCE
from weft.executors.cluster.condor_script import Facts, description, facts_in, script_of
from weft.executors.cluster.formats import EXIT_EMPTY
from weft.executors.cluster.system import Sheet
from weft.executors.terms import THREADS
from weft.resources import Resources

NASTY = "sp ace 'q' \"dq\" \\ $HOME `id` %a {place} *?[x] #!; &|<>()\n\ttab\r\ncrlf äß☃ \x01 ~"
TELL = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"


def sheet(**fields):
    defaults = {
        "name": "fit-3f2a",
        "places": range(10),
        "command": ("true",),
        "log": "/logs/{place}.log",
        "directory": "/",
        "resources": Resources(),
    }
    return Sheet(**{**defaults, **fields})


def said(script="/runs/3/script.sh", *, transfer=False, **fields):
    lines = description(sheet(**fields), script, transfer=transfer).splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


def bash(text, folder, *, element="7", code=0, **variables):
    """Run a script as HTCondor would."""
    path = folder / "script.sh"
    path.write_text(text, errors="surrogateescape")
    environ = {"PATH": os.environ["PATH"], **variables}
    ended = subprocess.run(
        ["/bin/bash", "script.sh", element], cwd=folder, capture_output=True, text=True, check=False, env=environ
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture
def ads(tmp_path):
    """What HTCondor lays beside a job: variables that say where."""

    def ads(starts, cpus=2):
        (tmp_path / ".job.ad").write_text(f"NumJobStarts = 0\nNumShadowStarts = {starts}\nOther = 5\n")
        (tmp_path / ".machine.ad").write_text(f"CpusBusy = 8\nCpus = {cpus}\n")
        return {"_CONDOR_JOB_AD": f"{tmp_path}/.job.ad", "_CONDOR_MACHINE_AD": f"{tmp_path}/.machine.ad"}

    return ads


def told(tmp_path, variables, **fields):
    log = tmp_path / "7.log"
    log.unlink(missing_ok=True)
    written = sheet(command=(sys.executable, "-c", TELL), log=f"{tmp_path}/{{place}}.log", **fields)
    assert bash(script_of(written, transfer=False), tmp_path, **variables) == ""
    return json.loads(log.read_text().splitlines()[-1])


# The description ---------------------------------------------------------------------------------------------


def test_a_description_can_be_read():
    written = sheet(
        places=range(100),
        throttle=10,
        resources=Resources.read("@task", cpus=4, gpus=1, memory="8GB", time="1h"),
        setup=('#CONDOR +ProjectName = "x"', "# CUDA", "module load cuda", "#CONDOR job_lease_duration = 20"),
        options=(("accounting_group", "physics"), ("getenv", None), ("nice_user", True)),
    )
    assert (
        description(written, "/runs/a b/3/script.sh", transfer=False)
        == """\
batch_name = fit-3f2a
universe = vanilla
initialdir = /runs/a b/3
executable = /bin/bash
arguments = "script.sh $(Process)"
transfer_executable = False
log = script.events
kill_sig = SIGTERM
job_max_vacate_time = 30
keep_claim_idle = 10
max_materialize = 10
should_transfer_files = NO
request_cpus = 4
request_gpus = 1
request_memory = 8192MB
periodic_remove = JobStatus == 2 && time() - JobCurrentStartDate > 3630
accounting_group = physics
nice_user = True
+ProjectName = "x"
job_lease_duration = 20
queue 100
"""
    )


def test_what_is_not_asked_for_is_left_to_the_site():
    assert set(said()) == {
        *("batch_name", "universe", "initialdir", "executable", "arguments", "transfer_executable", "log", "kill_sig"),
        *("job_max_vacate_time", "job_lease_duration", "keep_claim_idle", "should_transfer_files", "getenv"),
    }
    assert "request_gpus" not in said(resources=Resources(gpus=0))


@pytest.mark.parametrize(("size", "asked"), [(1, "1MB"), (2**20, "1MB"), (2**20 + 1, "2MB"), (8 * 2**30, "8192MB")])
def test_memory_is_the_next_whole_megabyte(size, asked):
    assert said(resources=Resources(memory=size))["request_memory"] == asked


def test_the_pool_gives_the_worker_time_to_keep_its_own_limit():
    assert said(resources=Resources(time=1.5))["periodic_remove"].endswith("> 32")


def test_one_element_needs_no_throttle():
    assert "max_materialize" not in said(places=range(1), throttle=2)


def test_the_users_words_go_before_ours_and_are_said_once():
    words = description(
        sheet(setup=("#CONDOR GetEnv = False",), options=(("job_lease_duration", 7),)), "/s.sh", transfer=False
    )
    assert words.lower().count("getenv") == words.count("job_lease_duration") == 1
    assert "GetEnv = False\n" in words


def test_a_dollar_in_a_path_is_no_macro():
    assert said("/a/$(Process) $x/script.sh")["initialdir"] == "/a/$(DOLLAR)(Process) $(DOLLAR)x"


@pytest.mark.parametrize("folder", ["/a\tb", "/caf\udce9", "/a\x01", "/trail "])
def test_a_folder_that_no_value_can_say_is_where_it_is_submitted_from(folder):
    words = said(f"{folder}/script.sh")
    assert "initialdir" not in words
    assert (words["arguments"], words["log"]) == ('"script.sh $(Process)"', "script.events")


@given(
    st.one_of(
        st.integers(1, 300).map(range),
        st.lists(st.integers(0, 10_000), min_size=1, max_size=50, unique=True).map(sorted),
    ),
    st.none() | st.integers(1, 5),
)
def test_which_elements_there_are_can_be_read_again(places, throttle):
    text = description(sheet(places=places, throttle=throttle), "/s.sh", transfer=False)
    facts = facts_in(text)
    assert list(facts.places) == list(places)
    assert facts.throttled == (throttle is not None and len(places) > 1)
    assert not facts.releases


def test_what_else_decides_is_read_again():
    text = description(sheet(options=(("periodic_release", "NumHolds < 3"),)), "/s.sh", transfer=False)
    assert facts_in(text) == Facts(range(10), throttled=False, releases=True)


@pytest.mark.parametrize("text", ["", "queue\n", "queue 3 in (a b)\n", "queue place from (\n3\n", "log = queue 3\n"])
def test_what_is_no_description_of_ours_is_not_understood(text):
    with pytest.raises(ValueError, match="does not end as"):
        facts_in(text)


def test_elements_with_gaps_say_their_place():
    text = description(sheet(places=[3, 5]), "/script.sh", transfer=False)
    assert 'arguments = "script.sh $(place)"' in text
    assert text.endswith("My.WeftPlace = $(place)\nqueue place from (\n3\n5\n)\n")


# The script --------------------------------------------------------------------------------------------------


def test_command_directory_and_environment_may_be_anything(tmp_path, ads):
    directory = tmp_path / NASTY
    directory.mkdir()
    env = (("PLAIN", NASTY), ("not.for-the shell", NASTY), ("EMPTY", ""))
    argv, where, environ = told(tmp_path, ads(1), directory=str(directory), env=env)
    assert (argv, where) == (["7"], str(directory))
    assert {name: environ[name] for name, _ in env} == dict(env)


def test_lines_of_shell_are_run_and_directives_are_not(tmp_path, ads):
    _, _, environ = told(tmp_path, ads(1), setup=("#CONDOR +A = 1", "export B=2"), env=(("A", "1"),))
    assert (environ["A"], environ["B"]) == ("1", "2")
    assert "#CONDOR" not in (tmp_path / "script.sh").read_text()


def test_the_log_goes_on_from_try_to_try(tmp_path):
    folder = tmp_path / NASTY
    folder.mkdir()
    text = script_of(sheet(command=("echo", "hi"), log=f"{folder}/{{place}}.log"), transfer=False)
    bash(text, tmp_path), bash(text, tmp_path)
    assert (folder / "7.log").read_text() == "hi 7\nhi 7\n"


def test_a_log_that_cannot_be_written_is_told_by_an_exit_code(tmp_path):
    bash(script_of(sheet(log="/no/such/{place}.log"), transfer=False), tmp_path, code=125)


def test_the_try_is_told(tmp_path, ads):
    assert told(tmp_path, ads(1))[2]["WEFT_TRY"] == "0"
    assert told(tmp_path, ads(3))[2]["WEFT_TRY"] == "2"
    assert told(tmp_path, {})[2]["WEFT_TRY"] == "0"  # by hand


def test_libraries_get_as_many_threads_as_cpus_unless_somebody_has_said_otherwise(tmp_path, ads):
    variables = {**ads(1, cpus=5), THREADS[1]: "3"}
    _, _, environ = told(tmp_path, variables, setup=(f"export {THREADS[4]}=6",))
    assert [environ[name] for name in THREADS] == ["5", "3", "5", "5", "6", "5"]
    _, _, environ = told(tmp_path, ads(1, cpus=5), resources=Resources(cpus=2))
    assert {environ[name] for name in THREADS} == {"2"}
    assert {told(tmp_path, {})[2][name] for name in THREADS} == {"1"}


# Exit codes, and who is told to end


class Proven:
    """Runs what leaves a proof, or does not."""

    def __init__(self, folder):
        self.folder = folder
        self.gate = Gate(folder / "gate")

    def start(self, code):
        written = sheet(
            command=(sys.executable, "-c", code, str(self.folder)),
            log=f"{self.folder}/{{place}}.log",
            directory=str(self.folder),
            proof=f"{self.folder}/good/{{place}}.{{try}}",
        )
        (self.folder / "good").mkdir(exist_ok=True)
        script = self.folder / "script.sh"
        script.write_text(script_of(written, transfer=False))
        return subprocess.Popen(["/bin/bash", script, "1"], start_new_session=True)

    def ends(self, code):
        return self.start(code).wait(PATIENCE)

    @property
    def log(self):
        return (self.folder / "1.log").read_text()


@pytest.fixture
def proven(tmp_path):
    proven = Proven(tmp_path)
    yield proven
    proven.gate.close()


GOOD = "open(sys.argv[1] + '/good/1.0', 'w'); "
HERE = "import os, signal, sys, time; "
AT_GATE = "open(sys.argv[1] + '/gate/arrivals', 'w').write('.'); "


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        (GOOD, 0),
        ("pass", EXIT_EMPTY),  # it seems to have done well, and has left nothing
        (GOOD + "sys.exit(3)", 3),
        ("sys.exit(97)", 97),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.abort()", -6),
    ],
)
def test_the_exit_code_is_that_of_the_command_but_for_one_that_proves_nothing(proven, code, ends):
    assert proven.ends(HERE + code) == ends


def test_who_is_told_to_end_is_the_command(proven):
    """HTCondor tells the shell alone."""
    code = (
        HERE + "signal.signal(15, lambda *_: (print('heard', flush=True), sys.exit(7))); " + AT_GATE + "time.sleep(99)"
    )
    process = proven.start(code)
    proven.gate.arrived()
    process.send_signal(signal.SIGTERM)
    assert (process.wait(PATIENCE), proven.log) == (7, "heard\n")


def test_one_that_listens_to_nobody_dies_of_it(proven):
    process = proven.start(HERE + AT_GATE + "time.sleep(99)")
    proven.gate.arrived()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM


def test_one_that_takes_its_time_to_end_is_waited_for(proven):
    wait = "[time.sleep(0.01) for _ in iter(lambda: os.path.exists(sys.argv[1] + '/go'), True)]; "
    code = HERE + "signal.signal(15, lambda *_: print('heard', flush=True)); " + AT_GATE + wait + GOOD
    process = proven.start(code)
    proven.gate.arrived()
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    (proven.folder / "go").touch()
    assert process.wait(PATIENCE) == 0


def test_it_is_not_deaf_to_ctrl_c(proven):
    assert proven.ends(HERE + GOOD + "sys.exit(signal.getsignal(2) is not signal.default_int_handler)") == 0


# Where files are carried -------------------------------------------------------------------------------------


class Carried:
    """A folder of an executor, and another one to which HTCondor would carry what its description says."""

    def __init__(self, folder):
        self.home = folder / "it's here" / "x"
        self.group = self.home / "groups" / "0"
        self.sandbox = folder / "sandbox"
        self.sandbox.mkdir()
        (self.group / "outcomes").mkdir(parents=True)
        (self.home / "worker.py").write_text("the worker\n")
        (self.group / "calls").write_text("the calls\n")

    def sheet(self, command, **fields):
        group = str(self.group)
        return sheet(
            command=command,
            log=f"{group}/logs/{{place}}.log",
            directory=group,
            proof=f"{group}/outcomes/{{place}}.{{try}}",
            home=str(self.home),
            inputs=(f"{self.home}/worker.py", f"{group}/calls"),
            outputs=f"{group}/outcomes",
            **fields,
        )

    def carry(self, written):
        script = self.group / "script.sh"
        script.write_text(script_of(written, transfer=True))
        words = said(str(script), transfer=True, **written._asdict())
        for name in words["transfer_input_files"].split(","):
            file = self.group / name.replace("$(DOLLAR)", "$")
            (self.sandbox / file.name).write_bytes(file.read_bytes())
        return words


def test_what_is_carried_is_where_the_worker_looks_for_it_and_what_it_leaves_is_fetched(tmp_path):
    carried = Carried(tmp_path)
    lines = 'cat "$0/worker.py" "$0/groups/0/calls"; echo "$1" "$PWD"; echo done > "$0/groups/0/outcomes/$1.0"'
    words = carried.carry(carried.sheet(("sh", "-c", lines, str(carried.home))))
    output = bash((carried.sandbox / "script.sh").read_text(), carried.sandbox)
    assert output == f"the worker\nthe calls\n7 {carried.sandbox}\n"
    fetched = carried.sandbox / words["transfer_output_files"]
    assert [file.name for file in fetched.iterdir()] == ["7.0"]
    assert (words["should_transfer_files"], words["output"], words["error"]) == (
        "YES",
        "logs/$(Process).log",
        "logs/$(Process).log",
    )
    assert "getenv" not in words


def test_the_folder_that_is_fetched_is_there_whatever_becomes_of_the_worker(tmp_path):
    carried = Carried(tmp_path)
    words = carried.carry(carried.sheet(("false",)))
    bash((carried.sandbox / "script.sh").read_text(), carried.sandbox, code=1)
    assert list((carried.sandbox / words["transfer_output_files"]).iterdir()) == []


def test_the_user_may_have_files_carried_too(tmp_path):
    carried = Carried(tmp_path)
    written = carried.sheet(("true",), setup=("#CONDOR Transfer_Input_Files = /data/a.csv, https://b/c",))
    words = said("/x/groups/0/script.sh", transfer=True, **{**written._asdict(), "inputs": ("/x/worker.py",)})
    assert words["transfer_input_files"] == "script.sh,../../worker.py,/data/a.csv, https://b/c"
    assert Path(words["initialdir"]) == Path("/x/groups/0")
