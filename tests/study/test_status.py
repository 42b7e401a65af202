"""`study status` and two launches of one study at once, as a user meets them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from study.standing import status_text


@pytest.fixture
def command(tiny, tmp_path):
    """A launch in a process of its own."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny), encoding="utf-8")
    start = [sys.executable, "-m", "study", "launch", str(tmp_path / "tiny.yaml"), "--no-ray"]
    return [*start, "--no-mlflow", "--storage", str(tmp_path / "store")]


def test_a_finished_study_says_so(launched):
    text, complete = status_text("tiny", str(launched[0].folder.parent))
    assert complete
    assert text == "tiny: 10 of 10 trials finished\nno launch is running\n"


def test_missing_and_failed_trials_are_told(tiny, spec_of, run_tiny, tmp_path):
    tiny["grid"][1]["training"] = {"learning_rate": [1e30]}
    run_tiny(spec_of(tiny, tmp_path))
    text, complete = status_text("tiny", str(tmp_path))
    assert not complete
    assert "trials finished" in text
    assert "failed: " in text
    assert "learning_rate" in text
    assert text.endswith("trials are missing; launch the study again to run them\n")


def test_a_second_launch_is_refused_while_the_first_runs(command, tmp_path):
    """The first one is suspended meanwhile, so it cannot end before the second looks."""
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "store" / "tiny" / "launch-owner.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGSTOP)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 3
        assert f"process {first.pid}" in second.stderr
        assert "--wait" in second.stderr
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(120) == 0
    finally:
        first.kill()
        first.communicate()
    assert status_text("tiny", str(tmp_path / "store"))[1]
