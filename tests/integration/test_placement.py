"""What runs where on mixed clusters, what is waited for, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from node_launch import QUICK, quick_cluster

from study.errors import InputError
from study.executors.base import WorkerGroup
from study.executors.capacity import check_capacity, count_slots

pytestmark = pytest.mark.ray

PORT = 6379
DRIVER = Path(__file__).parents[1] / "helpers" / "placement_driver.py"


def _driver(*words: str) -> Any:
    command = [sys.executable, str(DRIVER), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.usefixtures("python_path")
def test_encoders_share_the_gpus_that_machines_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two encoders at a time on the one GPU; its CPUs would have room for four."""
    with quick_cluster(monkeypatch) as cluster:
        cluster.add_node(num_cpus=1, num_gpus=0, env_vars={"WHERE": "cpu"})
        cluster.add_node(num_cpus=4, num_gpus=1, env_vars={"WHERE": "gpu"})
        cluster.wait_for_nodes()
        found = _driver("place", cluster.address)
    encoders = [found[f"gpu {n}"] for n in range(4)]
    assert [run["where"] for run in encoders] == ["gpu"] * 4
    at_once = [sum(r["began"] <= run["began"] < r["ended"] for r in encoders) for run in encoders]
    assert max(at_once) == 2
    assert {found[f"cpu {n}"]["where"] for n in range(2)} <= {"cpu", "gpu"}


@pytest.mark.slow
@pytest.mark.usefixtures("python_path")
def test_a_pair_that_is_left_in_a_hurry_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tune that ends a trial of Ray Train leaves its workers' places; leaving the cluster frees."""
    with quick_cluster(monkeypatch) as cluster:
        cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        assert _driver("leave", cluster.address, str(tmp_path / "mark")) == "left"
        assert _driver("again", cluster.address) == {"rest": {}}


def _autoscaled() -> dict[str, object]:
    """Return a cluster file of Ray's provider for tests, which starts machines on this one."""
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu": {
            "resources": {"CPU": 1, "GPU": 1},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        },
    }
    lists = "initialization_commands setup_commands head_setup_commands worker_setup_commands"
    lists += " head_start_ray_commands worker_start_ray_commands cluster_synced_files"
    lists += " rsync_exclude rsync_filter"
    return {
        "cluster_name": "study-test",
        "max_workers": 1,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {"type": "fake_multinode"},
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists.split()},
    }


@pytest.fixture
def autoscaled(tmp_path: Path) -> Iterator[str]:
    """A cluster whose only machine has no CPU, and which starts one when it is asked."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken, where Ray's provider for tests looks for the head")
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(_autoscaled()), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ray"))
    options = ["--head", "--num-cpus=0", f"--port={PORT}", "--include-dashboard=false"]
    options += [f"--autoscaling-config={file}", "--block"]
    fakes = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with (tmp_path / "log").open("w") as log:
        head = subprocess.Popen(
            [program, "start", *options],
            env={**os.environ, **QUICK, **fakes},
            stdout=log,
            stderr=log,
        )
        try:
            while "Ray runtime started" not in (tmp_path / "log").read_text():
                assert head.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
            yield f"127.0.0.1:{PORT}"
        finally:
            below = psutil.Process(head.pid).children(recursive=True)
            head.terminate()
            head.wait(60)
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.mark.slow
def test_a_machine_that_is_asked_for_is_waited_for(autoscaled: str) -> None:
    assert _driver("wait", autoscaled, "120", "1") == "room"
    refused = _driver("wait", autoscaled, "1", "2")
    assert refused.startswith("an encoder's training asks for 2 GPUs per worker and no machine")
    assert "(the largest has 1)" in refused


@pytest.mark.slow
@pytest.mark.usefixtures("python_path")
def test_a_trial_without_memory_fails_and_the_others_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray itself ends the process, and Ray Tune the whole grid with it."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + 2.5e9) / memory.total
    if limit > 0.9:
        pytest.skip("this machine has not enough free memory to run out of it in a test")
    monkeypatch.setenv("RAY_memory_usage_threshold", str(limit))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    found = _driver("hog", "local")
    cause = "its process was ended since its machine ran out of memory, in the last of 2 tries"
    assert found == {"hog": cause, **{f"rest {n}": {} for n in range(4)}}


MACHINES = ({"CPU": 16.0}, {"CPU": 2.0, "GPU": 2.0})


@pytest.mark.parametrize(
    ("crew", "cpus", "room"),
    [
        (WorkerGroup(1, 0.6), 1, 2),  # each on one GPU: what is left of two makes no third
        (WorkerGroup(1, 0.5), 1, 2),  # four by the GPUs, two by the CPUs beside them
        (WorkerGroup(1, 0.25), 0.25, 8),
        (WorkerGroup(1, 1), 1, 2),
    ],
)
def test_parts_of_gpus_are_counted_on_each(crew: WorkerGroup, cpus: float, room: int) -> None:
    assert count_slots(MACHINES, crew, cpus) == room


def test_cpus_beside_the_gpus_are_named() -> None:
    message = r"asks for 4 CPUs and the largest machine with GPUs has 2; lower 'run.cpus_per_trial'"
    with pytest.raises(InputError, match=message):
        check_capacity(MACHINES, WorkerGroup(1, 1), 4)
