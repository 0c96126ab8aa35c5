"""The script does in a real shell what its sheet says, whatever is in it."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weft.executors.cluster.script import shell
from weft.executors.cluster.slurm_script import script_of
from weft.executors.cluster.system import Sheet
from weft.executors.terms import THREADS
from weft.resources import Resources

NASTY = "sp ace 'q' \"dq\" \\ $HOME `id` %a {place} *?[x] #!; &|<>()\n\ttab\r\ncrlf äß☃ \x01 ~"
# Tells what it was given.
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


def directives(**fields):
    return [line[8:] for line in script_of(sheet(**fields)).splitlines() if line.startswith("#SBATCH ")]


def bash(text, *, code=0, **variables):
    """Run a script as Slurm would; what it wrote."""
    file = text.encode("utf-8")  # which it always is
    environ = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "7", **variables}
    assert subprocess.run(["bash", "-n"], input=file, capture_output=True, check=False).stderr == b""
    ended = subprocess.run(["bash", "-c", text], capture_output=True, check=False, env=environ)
    assert ended.returncode == code, ended.stderr
    return ended.stdout.decode("utf-8", "surrogateescape")


def told(**fields):
    variables = fields.pop("variables", {})
    output = bash(script_of(sheet(command=(sys.executable, "-c", TELL), **fields)), **variables)
    return json.loads(output.splitlines()[-1])


# What it looks like ------------------------------------------------------------------------------------------


def test_a_script_can_be_read():
    text = script_of(
        sheet(
            places=range(100),
            throttle=10,
            command=("/opt/python", "/runs/a b/worker.py", "calls"),
            log="/runs/a b/logs/{place}.log",
            directory="/home/me",
            resources=Resources.read("@task", cpus=4, gpus=1, memory="8GB", time="1h"),
            setup=("#SBATCH --account=physics  # ours", "# CUDA", "module load cuda"),
            env=(("DATA", "/scratch/me"),),
            options=(("partition", "debug"), ("exclusive", None), ("nice", False)),
        )
    )
    assert (
        text
        == """\
#!/bin/bash
#SBATCH --job-name=fit-3f2a
#SBATCH --array=0-99%10
#SBATCH --output="/runs/a b/logs/%a.log"
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --mem=8192M
#SBATCH --time=01:00:00
#SBATCH --partition=debug
#SBATCH --exclusive
#SBATCH --account=physics  # ours

export DATA=/scratch/me

# CUDA
module load cuda

# As many threads as cpus, where nobody has said otherwise.
export OMP_NUM_THREADS="${OMP_NUM_THREADS-4}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS-4}"
export MKL_NUM_THREADS="${MKL_NUM_THREADS-4}"
export BLIS_NUM_THREADS="${BLIS_NUM_THREADS-4}"
export VECLIB_MAXIMUM_THREADS="${VECLIB_MAXIMUM_THREADS-4}"
export NUMEXPR_NUM_THREADS="${NUMEXPR_NUM_THREADS-4}"

cd /home/me || exit
export WEFT_TRY="${SLURM_RESTART_COUNT:-0}"
exec /opt/python '/runs/a b/worker.py' calls "$SLURM_ARRAY_TASK_ID"
"""
    )


# What Slurm is asked for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        *((0.5, "00:01:00"), (60, "00:01:00"), (61, "00:02:00"), (90, "00:02:00"), (3600, "01:00:00")),
        *((86399, "1-00:00:00"), (86400 * 2 + 3600, "2-01:00:00"), (60.0001, "00:02:00")),
    ],
)
def test_a_time_limit_is_the_next_whole_minute(seconds, limit):
    assert f"--time={limit}" in directives(resources=Resources(time=seconds))


@pytest.mark.parametrize(("size", "asked"), [(1, "1M"), (2**20, "1M"), (2**20 + 1, "2M"), (8 * 2**30, "8192M")])
def test_memory_is_the_next_whole_megabyte(size, asked):
    assert f"--mem={asked}" in directives(resources=Resources(memory=size))


def test_what_is_not_asked_for_is_left_to_the_site():
    assert directives() == [
        *("--job-name=fit-3f2a", "--array=0-9", "--output=/logs/%a.log", "--open-mode=append", "--no-requeue"),
    ]
    assert not any("gres" in line for line in directives(resources=Resources(gpus=0)))


def test_one_element_alone_is_no_array():
    text = script_of(sheet(places=[3], throttle=2))
    assert "--array" not in text
    assert "--output=/logs/3.log" in text
    assert text.endswith("exec true 3\n")


def test_elements_with_gaps_are_written_in_short():
    assert "--array=0-6:2,9,12-13" in directives(places=[0, 2, 4, 6, 9, 12, 13])


def test_options_are_passed_on_as_they_are():
    options = (("mail_type", "END"), ("exclusive", None), ("hold", True), ("nice", 5), ("reboot", False), ("p", "x y"))
    asked = directives(options=options)
    assert asked[-5:] == ["--mail-type=END", "--exclusive", "--hold", "--nice=5", '-p "x y"']


def test_a_user_may_ask_for_requeueing():
    asked = directives(options=(("requeue", None), ("open_mode", "truncate")))
    assert asked[-2:] == ["--requeue", "--open-mode=truncate"]
    assert "--no-requeue" not in asked
    assert "--open-mode=append" not in asked
    assert "--no-requeue" in directives(options=(("requeue", False),))
    assert "--no-requeue" not in directives(options=(("no_requeue", False),))


def test_a_name_that_lists_and_files_cannot_have_is_made_one_that_they_can():
    [name] = [line for line in directives(name="a,b c\n") if "job-name" in line]
    assert name.startswith("--job-name=a_b_c_-")


def test_percents_in_the_path_of_a_log_are_no_patterns():
    assert "--output=/50%%/%%j/%a.log" in directives(log="/50%/%j/{place}.log")


def test_the_last_place_is_that_of_the_element():
    assert "--output=/{place}/%a.log" in directives(log="/{place}/{place}.log")


# What each element runs --------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20))
@example([NASTY, "", "-n", "~", "\x7f", "\x011"])
@settings(max_examples=25)
def test_any_text_is_one_word(texts):
    script = f"printf '%s\\0' {' '.join(map(shell, texts))}"
    assert "\n" not in script
    assert bash(script) == "".join(f"{text}\0" for text in texts or [""])


def test_bytes_that_are_no_text_come_through():
    text = os.fsdecode(b"caf\xe9 9")
    assert bash(f"printf %s {shell(text)}") == text


def test_command_directory_and_environment_may_be_anything(tmp_path):
    directory = tmp_path / NASTY
    directory.mkdir()
    env = (("PLAIN", NASTY), ("not.for-the shell", NASTY), ("UID", "5"), ("EMPTY", ""))
    argv, where, environ = told(directory=str(directory), env=env)
    assert argv == ["7"]
    assert where == str(directory)
    assert {name: environ[name] for name, _ in env} == dict(env)


def test_words_of_the_command_may_be_anything():
    output = bash(script_of(sheet(command=("printf", "<%s>", NASTY, "", "$(id)", "-x"))))
    assert output == f"<{NASTY}><><$(id)><-x><7>"


def test_a_log_that_no_directive_can_name_is_written_all_the_same(tmp_path):
    folder = tmp_path / NASTY
    folder.mkdir()
    text = script_of(sheet(log=f"{folder}/{{place}}.log", command=("echo", "hi"), setup=("echo setup; echo err >&2",)))
    assert "--output=/dev/null" in text
    assert bash(text) == ""
    assert (folder / "7.log").read_text() == "setup\nerr\nhi 7\n"
    bash(script_of(sheet(log=f"{folder}/{{place}}.log", command=("echo", "hi"), places=[3])))
    assert (folder / "3.log").read_text() == "hi 3\n"


def test_setup_sees_the_environment_and_may_change_it():
    _, _, environ = told(env=(("A", "1"),), setup=("export B=$A$A", "export A=2"))
    assert (environ["A"], environ["B"]) == ("2", "11")


def test_setup_may_be_a_text_of_several_lines():
    _, _, environ = told(setup=("read -r -d '' A <<'END'", "  #SBATCH in a text", "END", "export A", "cd /tmp"))
    assert environ["A"] == "#SBATCH in a text"


def test_the_try_is_told():
    assert told()[2]["WEFT_TRY"] == "0"
    assert told(variables={"SLURM_RESTART_COUNT": "2"})[2]["WEFT_TRY"] == "2"


def test_libraries_get_as_many_threads_as_cpus_unless_somebody_has_said_otherwise():
    variables = {THREADS[1]: "3", THREADS[2]: ""}
    own = {"env": ((THREADS[3], "5"),), "setup": (f"export {THREADS[4]}=6",)}
    _, _, environ = told(resources=Resources(cpus=4), variables=variables, **own)
    assert [environ[name] for name in THREADS] == ["4", "3", "", "5", "6", "4"]


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, "1"),
        ({"SLURM_CPUS_ON_NODE": "8"}, "8"),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}, "2"),
    ],
)
def test_without_cpus_there_are_as_many_threads_as_slurm_gives(variables, count):
    assert told(variables=variables)[2][THREADS[0]] == count


def test_the_exit_code_is_that_of_the_command():
    bash(script_of(sheet(command=("sh", "-c", "exit 3"))), code=3)
    bash(script_of(sheet(command=("/no/such/python",))), code=127)


def test_nothing_runs_where_the_directory_is_gone():
    text = script_of(sheet(directory="/no/such/directory", command=("echo", "hi")))
    assert bash(text, code=1) == ""


def test_the_worker_takes_the_place_of_the_shell():
    text = script_of(sheet(command=("sh", "-c", "echo $$")))
    ended = subprocess.Popen(
        ["bash", "-c", text], stdout=subprocess.PIPE, env={**os.environ, "SLURM_ARRAY_TASK_ID": "1"}
    )
    output, _ = ended.communicate()
    assert int(output) == ended.pid
