"""The examples of jobs, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(tmp_path):
    def run(script, *arguments, code=0):
        command = [sys.executable, EXAMPLES / script, *arguments]
        environ = {**os.environ, "WEFT_KEY_FILE": str(tmp_path / "key")}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.mark.parametrize("backend", ["local", "threads", "serial"])
def test_pi_is_estimated_once_and_what_is_missing_is_made_again(run, tmp_path, backend):
    first = run("pi.py", "--backend", backend).stdout
    assert first.count("estimate ") == 8
    assert "pi is about 3.141" in first
    second = run("pi.py", "--backend", backend).stdout
    assert "estimate " not in second
    assert "up to date" in second
    (tmp_path / "pi" / "estimate-3.json").unlink()
    third = run("pi.py", "--backend", backend).stdout
    assert third.count("estimate ") == 1
    assert "estimate 3: 3.1347" in third
    assert (tmp_path / "pi" / "pi.json").stat().st_mtime >= (tmp_path / "pi" / "estimate-3.json").stat().st_mtime


def test_a_graph_from_a_loop_finds_the_best_fit(run):
    said = run("dynamic.py").stdout
    assert "best: fit_0.5" in said
    assert "fit_0.1/fit_0.2: second is better" in said


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_an_experiment_survives_a_closed_shutter(run, tmp_path, backend):
    said = run("experiment.py", "--backend", backend).stdout
    assert "9 succeeded, 1 unreachable" in said
    assert "lights off" in said
    assert (tmp_path / "experiment" / "report.txt").read_text().startswith("mean 10.")
    assert json.loads((tmp_path / "experiment" / "raw.json").read_text())


def test_an_experiment_with_a_broken_detector_is_cleaned_up(run, tmp_path):
    said = run("experiment.py", "--break-detector", code=1).stdout
    assert "raw data removed" in said
    assert "lights off" in said
    assert "failed: reduce failed: ValueError: the detector saw 200 pictures" in said
    assert "failed: calibrate_by_lamp failed: RuntimeError: the lamp is off" in said
    assert sorted(path.name for path in (tmp_path / "experiment").iterdir()) == ["offset.json"]
