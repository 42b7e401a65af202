"""What runs where on mixed clusters, what is waited for, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from node_launch import QUICK, quick_cluster
from ray.cluster_utils import AutoscalingCluster

from study.errors import InputError
from study.executor import Crew
from study.room import check_room, places

DRIVER = Path(__file__).with_name("placement_driver.py")


def _driver(*words: str) -> Any:
    command = [sys.executable, str(DRIVER), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.usefixtures("python_path")
def test_parts_of_a_gpu_are_shared_and_heads_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two encoders at a time on the one GPU; its CPUs would have room for four."""
    with quick_cluster(monkeypatch) as cluster:
        cluster.add_node(num_cpus=1, num_gpus=0, env_vars={"WHERE": "cpu"})
        cluster.add_node(num_cpus=4, num_gpus=1, env_vars={"WHERE": "gpu"})
        cluster.wait_for_nodes()
        found = _driver("place", cluster.address)
    encoders = [found[f"gpu {n}"] for n in range(4)]
    assert [run["where"] for run in encoders] == ["gpu"] * 4
    assert (
        max(sum(r["began"] <= run["began"] < r["ended"] for r in encoders) for run in encoders) == 2
    )
    assert "cpu" in {found[f"cpu {n}"]["where"] for n in range(2)}


def test_a_machine_that_is_asked_for_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster starts with no machine that can do anything."""
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    kinds = {
        "gpu": {
            "resources": {"CPU": 1, "GPU": 1},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        }
    }
    cluster = AutoscalingCluster(head_resources={"CPU": 0}, worker_node_types=kinds)
    cluster.start(override_env=dict(QUICK))
    try:
        assert _driver("wait", "auto", "120", "1") == "room"
        refused = _driver("wait", "auto", "1", "2")
    finally:
        cluster.shutdown()
    assert refused.startswith("an encoder's training asks for 2 GPUs a worker and no machine")
    assert "(the largest has 1)" in refused


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
        (Crew(1, 0.6), 1, 2),  # each on one GPU: what is left of two makes no third
        (Crew(1, 0.5), 1, 2),  # four by the GPUs, two by the CPUs beside them
        (Crew(1, 0.25), 0.25, 8),
        (Crew(1, 1), 1, 2),
    ],
)
def test_parts_of_gpus_are_counted_on_each(crew: Crew, cpus: float, room: int) -> None:
    assert places(MACHINES, crew, cpus) == room


def test_cpus_beside_the_gpus_are_named() -> None:
    message = r"asks for 4 CPUs and the largest machine with GPUs has 2; lower 'run.cpus_per_trial'"
    with pytest.raises(InputError, match=message):
        check_room(MACHINES, Crew(1, 1), 4)
