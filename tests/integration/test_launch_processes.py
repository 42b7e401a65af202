"""Launches as a user starts them: what they print, how they die, how they go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.ray

QUICK_EXIT = 20.0


@pytest.fixture(scope="session")
def bare_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without a Ray token or any settings."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environment(bare_home: Path) -> dict[str, str]:
    """The environment of a new user: no setting of Ray or MLflow, token mode asked for."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "TUNE_"))}
    return {**kept, "HOME": str(bare_home), "RAY_AUTH_MODE": "token", "COLUMNS": "200"}


@pytest.fixture
def file(tmp_path: Path, tiny_study: dict[str, object]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_study), encoding="utf-8")
    return path


def _ray_processes(mark: str) -> list[int]:
    """Processes of a Ray started under the home folder `mark`, told by their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
            command = (entry / "cmdline").read_bytes() if environment else b""
        except OSError:
            continue  # ended meanwhile
        if f"HOME={mark}\0".encode() in environment and b"ray" in command:
            found.append(int(entry.name))
    return found


def _wait_until(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.1)
    return False


def _records(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (store / "ledger").glob("*.trial")}


def test_a_launch_prints_our_lines_only(
    file: Path, tmp_path: Path, environment: dict[str, str], study_command: list[str]
) -> None:
    """With Ray and MLflow, no home, no token file: standard error stays empty."""
    command = [*study_command, "launch", str(file), "--storage", str(tmp_path / "store")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("ray", "tune", "mlflow.store", "alembic", "warning", "INFO"):
        assert word.lower() not in done.stdout.lower().replace("pages:   mlflow ui", "")
    lines = done.stdout.splitlines()
    assert "10 trials, 0 already in the ledger" in lines
    assert any(line.startswith("counts") for line in lines)
    assert _ray_processes(environment["HOME"]) == []
    assert not list((tmp_path / "store").rglob("scratch"))


def test_a_trial_larger_than_the_machine_is_bad_input(
    file: Path, tmp_path: Path, environment: dict[str, str], study_command: list[str]
) -> None:
    command = [*study_command, "launch", str(file), "--storage", str(tmp_path), "--no-mlflow"]
    command += ["--set", "run.cpus_per_trial=10000"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "asks for 10000 CPUs" in done.stderr
    assert "Traceback" not in done.stderr
    assert _ray_processes(environment["HOME"]) == []


def test_a_ray_that_does_not_come_up_is_named(
    file: Path, tmp_path: Path, environment: dict[str, str], study_command: list[str]
) -> None:
    """Its raylet refuses a setting and ends, so it never answers within Ray's 30 seconds."""
    command = [*study_command, "launch", str(file), "--storage", str(tmp_path), "--no-mlflow"]
    broken = {**environment, "RAY_memory_usage_threshold": "2"}
    done = subprocess.run(command, env=broken, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error: Ray did not come up on this machine (")
    assert "run the same command again when it has less to do" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert _wait_until(lambda: not _ray_processes(environment["HOME"]), 120)


@pytest.fixture
def slow(file: Path, tmp_path: Path, study_command: list[str]) -> list[str]:
    """A launch long enough to be stopped half way."""
    command = [*study_command, "launch", str(file), "--storage", str(tmp_path / "store")]
    return [*command, "--no-mlflow", "--set", "training.epochs=800", "--set", "split.folds=4",
            "--set", "training.patience=800", "--set", "training.epoch_steps=1"]  # fmt: skip


@pytest.fixture
def running(
    slow: list[str], environment: dict[str, str], tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """A launch with at least two finished trials, in a process group of its own.

    It hears Ctrl-C even where these tests run in the background of a shell, which ignores it.
    """
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *slow],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert _wait_until(lambda: len(_records(tmp_path / "store")) >= 2, 300), process.communicate()
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def _goes_on(slow: list[str], environment: dict[str, str], store: Path) -> None:
    """The same command finishes what is missing and touches no finished trial."""
    before = _records(store)
    assert 2 <= len(before) < 16
    done = subprocess.run(slow, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    after = _records(store)
    assert len(after) == 20
    assert {name: after[name] for name in before} == before
    known = int(done.stdout.split(" already in the ledger")[0].split()[-1])
    assert known >= len(before)  # a worker may have ended its trial after its driver
    assert not list((store / "ledger").glob(".writing-*"))


@pytest.mark.slow
def test_an_interrupted_launch_exits_130_and_goes_on(
    running: subprocess.Popen[str], slow: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    started = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    _, errors = running.communicate(timeout=180)
    assert time.monotonic() - started < QUICK_EXIT
    assert running.returncode == 130
    assert errors == "interrupted: finished work is kept; run the same command again to continue\n"
    assert _wait_until(lambda: not _ray_processes(environment["HOME"]), 120)
    _goes_on(slow, environment, tmp_path / "store")


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_machines(
    file: Path, tmp_path: Path, environment: dict[str, str], study_command: list[str]
) -> None:
    command = ["env", "--default-signal=INT", *study_command, "launch", str(file), "--no-mlflow"]
    command += ["--storage", str(tmp_path), "--set", "run.wait=600"]
    process = subprocess.Popen(
        [*command, "--set", "run.cpus_per_trial=10000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while "already in the ledger" not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopping: " in output
    assert errors == "interrupted: finished work is kept; run the same command again to continue\n"
    assert _wait_until(lambda: not _ray_processes(environment["HOME"]), 120)


@pytest.mark.slow
def test_a_killed_driver_loses_and_repeats_nothing(
    running: subprocess.Popen[str], slow: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    running.kill()
    running.communicate(timeout=180)
    _goes_on(slow, environment, tmp_path / "store")
    assert _wait_until(lambda: not _ray_processes(environment["HOME"]), 120)


@pytest.mark.slow
def test_a_launch_whose_own_node_dies_says_so_and_goes_on(
    running: subprocess.Popen[str], slow: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """Nothing that it waits for would come: it must not wait for ever."""
    for name in (b"raylet/raylet", b"ray::ResourceTrainable"):
        for pid in _ray_processes(environment["HOME"]):
            if name in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    _, errors = running.communicate(timeout=180)
    assert running.returncode == 3
    assert errors.startswith("error: the Ray node of this launch has died")
    _goes_on(slow, environment, tmp_path / "store")
