"""`study status` and two launches of one study at once, as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from study.runner.status import format_status
from study.training import packs


@pytest.fixture
def command(tiny, tmp_path):
    """A launch in a process of its own."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny), encoding="utf-8")
    start = [sys.executable, "-m", "study", "launch", str(tmp_path / "tiny.yaml"), "--no-ray"]
    return [*start, "--no-mlflow", "--storage", str(tmp_path / "store")]


def test_a_finished_study_says_so(launched):
    text, complete = format_status("tiny", str(launched[0].folder.parent))
    assert complete
    assert text == "tiny: 10 of 10 trials finished\nno launch is running\n"


def test_missing_and_failed_trials_are_told(tiny, spec_of, run_tiny, tmp_path):
    tiny["grid"][1]["training"] = {"learning_rate": [1e30]}
    run_tiny(spec_of(tiny, tmp_path))
    text, complete = format_status("tiny", str(tmp_path))
    assert not complete
    assert "trials finished" in text
    assert "failed: " in text
    assert "learning_rate" in text
    assert text.endswith("trials are missing; launch the study again to run them\n")


@pytest.fixture
def failed(tiny, spec_of, run_tiny, tmp_path, monkeypatch):
    """A study with a mistake in the program: in one member of a pack, and in an encoder job."""
    run_trial = packs.run_trial

    def slips(trial, *others, **named):
        if trial.arm.names == ("counts",) and trial.fold == 0:
            raise KeyError("s3://me:secret@host/" + "long" * 30)
        return run_trial(trial, *others, **named)

    def breaks(*_):
        raise IndexError("no such row")

    monkeypatch.setattr(packs, "run_trial", slips)
    monkeypatch.setattr("study.training.encoders.run_encoder_job", breaks)
    return run_tiny(spec_of(tiny, tmp_path))


def test_an_unexpected_failure_leaves_its_traceback_on_the_storage(failed, tmp_path):
    _, record, _ = failed
    by_error = {}
    for failure in record.failures:
        for name in ("KeyError", "IndexError"):
            if name in failure.cause:
                by_error.setdefault(name, []).append(failure)
    (slip,) = by_error["KeyError"]
    assert slip.traceback.startswith("Traceback (most recent call last):\n")
    assert "in slips" in slip.traceback
    assert "s3://me:***@host/" in slip.traceback
    kept = json.loads((tmp_path / "ledger" / f"{slip.id}.failed.json").read_text())
    assert kept["traceback"] == slip.traceback
    log = (tmp_path / "tiny" / "logs" / f"{slip.id}.txt").read_text()
    assert log == f"{slip.trial}\n\n{slip.traceback}"
    assert all("in breaks" in failure.traceback for failure in by_error["IndexError"])
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "tiny/logs").iterdir())
    averages = [failure for failure in record.failures if "independent_mean" in failure.trial]
    assert averages
    assert not any(failure.traceback for failure in averages)


def test_tracebacks_are_printed_on_request(failed, tmp_path):
    _, record, _ = failed
    plain, _ = format_status("tiny", str(tmp_path))
    assert "Traceback" not in plain
    text, complete = format_status("tiny", str(tmp_path), tracebacks=True)
    assert not complete
    assert text.startswith(plain)
    said = text.removeprefix(plain)
    assert said.count("KeyError: ") == 1
    assert said.count("IndexError: no such row") == 1  # one job, several trials
    for failure in record.failures:
        assert (failure.id in said) is bool(failure.traceback)
    assert max(map(len, said.splitlines())) <= 80


def test_no_traceback_is_kept_of_a_failure_that_is_explained(tiny, spec_of, run_tiny, tmp_path):
    tiny["grid"][1]["training"] = {"learning_rate": [1e30]}
    _, record, _ = run_tiny(spec_of(tiny, tmp_path))
    assert record.failures
    assert not any(failure.traceback for failure in record.failures)
    assert not (tmp_path / "tiny" / "logs").exists()
    text, _ = format_status("tiny", str(tmp_path), tracebacks=True)
    assert text.endswith("there is no traceback: no trial failed unexpectedly\n")


def test_a_second_launch_is_refused_while_the_first_runs(command, tmp_path):
    """The first one is suspended meanwhile, so it cannot end before the second looks."""
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 180
        while not (tmp_path / "store" / "tiny" / "launch-owner.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGSTOP)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 3
        assert f"process {first.pid}" in second.stderr
        assert "--wait" in second.stderr
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(300) == 0
    finally:
        first.kill()
        first.communicate()
    assert format_status("tiny", str(tmp_path / "store"))[1]
