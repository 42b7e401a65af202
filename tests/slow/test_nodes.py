"""A study on a cluster that loses processes and machines while it runs, and ends complete."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from node_launch import QUICK, Launch, quick_cluster
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.ray

TRIALS = 4


@pytest.fixture
def study_file(tiny_study: dict[str, object], tmp_path: Path) -> Path:
    """The tiny study in trials of some seconds, so that there is something to interrupt."""
    slow = {
        **tiny_study,
        "modalities": {"descriptors": {"modality": "fingerprint", "radius": 1}},
        "grid": [{"features": [["fingerprint"], ["descriptors"]]}],
        "training": {"epochs": 4000, "patience": 4000, "epoch_steps": 1, "hidden": [8]},
        "run": {"storage": str(tmp_path / "store")},
    }
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(slow), encoding="utf-8")
    return file


def check_complete(launch: Launch, cause: str) -> None:
    """Check that every trial ended once, without a cause, and that some were tried again."""
    assert launch.of("record") == [["0", str(TRIALS), "0"]]
    ended = launch.of("ended")
    assert len(ended) == len({task for task, _ in ended}) == TRIALS
    assert {why for _, why in ended} == {""}
    assert launch.of("died")
    assert {why for _, why in launch.of("died")} == {cause}


# --- one machine in place of several


@pytest.fixture
def cluster_of_two(
    python_path: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cluster, list[object]]]:
    """A head without CPUs, and two machines of one CPU each."""
    with quick_cluster(monkeypatch) as cluster:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        yield cluster, nodes


def _raylet(node: object) -> psutil.Process:
    (info,) = node.all_processes["raylet"]  # type: ignore[attr-defined]  # Ray's own
    return psutil.Process(info.process.pid)


def remove(cluster: Cluster, node: object) -> None:
    cluster.remove_node(node)


def kill_raylet(cluster: Cluster, node: object) -> None:
    _raylet(node).send_signal(signal.SIGKILL)


def kill_worker(cluster: Cluster, node: object) -> None:
    workers = [p for p in _raylet(node).children() if "Trainable" in " ".join(p.cmdline())]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (kill_worker, "its process died (killed, crashed or out of memory)"),
        (kill_raylet, "its machine left the cluster"),
        (remove, "its machine left the cluster"),
    ],
)
def test_a_study_ends_complete_when_something_is_lost(
    damage: Callable[[Cluster, object], None],
    cause: str,
    cluster_of_two: tuple[Cluster, list[object]],
    study_file: Path,
) -> None:
    cluster, nodes = cluster_of_two
    launch = Launch(cluster.address, study_file)
    try:
        launch.until("began", 3)
        damage(cluster, nodes[1])
        launch.end()
    finally:
        launch.kill()
    check_complete(launch, cause)


# --- two machines with their own addresses


class Machine:
    """A network namespace with one end of a cable, and what is run in it."""

    def __init__(self, name: str, address: str, environment: dict[str, str]) -> None:
        self.name, self.address, self.environment = name, address, environment
        self.inside = ("ip", "netns", "exec", name)

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [*self.inside, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ray(self, *options: str) -> None:
        program = str(Path(sys.executable).with_name("ray"))
        common = ("--node-ip-address", self.address, "--disable-usage-stats")
        self.run(program, "start", *options, *common, "--object-store-memory", "80000000")

    def end(self) -> None:
        """End what runs in it, and remove it with its cable."""
        command = ["ip", "netns", "pids", self.name]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        for pid in listed.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


@pytest.fixture
def machines(python_path: None) -> Iterator[list[Machine]]:
    """Two namespaces joined by a cable."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the program 'ip'")
    names = [f"study{os.getpid()}{end}" for end in "ab"]
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **QUICK, **token}
    made = [
        Machine(name, f"10.211.7.{number}", environment) for number, name in enumerate(names, 1)
    ]
    try:
        first, second = (f"v{name}"[-15:] for name in names)
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], check=False).returncode:
                pytest.skip("this machine gives no network namespaces")
        command = (
            f"ip link add {first} netns {names[0]} type veth peer name {second} netns {names[1]}"
        )
        subprocess.run(command.split(), check=True)
        for machine, end in zip(made, (first, second), strict=True):
            machine.run("ip", "address", "add", f"{machine.address}/24", "dev", end)
            machine.run("ip", "link", "set", end, "up")
            machine.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        for machine in made:
            machine.end()


def test_a_study_ends_complete_when_a_cable_is_pulled(
    machines: list[Machine], study_file: Path
) -> None:
    head, worker = machines
    head.ray("--head", "--port", "6399", "--num-cpus", "1", "--include-dashboard", "false")
    worker.ray("--address", f"{head.address}:6399", "--num-cpus", "1")
    launch = Launch(f"{head.address}:6399", study_file, *head.inside, environment=head.environment)
    try:
        launch.until("began", 3)
        worker.run("ip", "link", "set", f"v{worker.name}"[-15:], "down")
        launch.end()
    finally:
        launch.kill()
    check_complete(launch, "its machine left the cluster")
