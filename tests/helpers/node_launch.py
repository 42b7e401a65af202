"""Launches in processes of their own, and clusters on this machine, for the tests beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

HERE = Path(__file__).parent
QUICK = {
    # a machine that answers nothing is given up after 8 seconds: a busy one is not
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def quick_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without CPUs, which soon sees that a machine is lost."""
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()


class Launch:
    """A launch in a process of its own, and what it said."""

    def __init__(
        self, address: str, file: Path, *before: str, environment: dict[str, str] | None = None
    ) -> None:
        command = [*before, sys.executable, str(HERE / "node_driver.py"), address, str(file)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.said: list[list[str]] = []

    def until(self, word: str, times: int = 1) -> None:
        """Read on until a word was said so often."""
        assert self._process.stdout is not None
        while len(self.of(word)) < times:
            line = self._process.stdout.readline()
            assert line, f"the launch ended: {self.said}"
            self.said.append(line.rstrip("\n").split("\t"))

    def of(self, word: str) -> list[list[str]]:
        return [rest for first, *rest in self.said if first == word]

    def end(self) -> None:
        self.until("record")
        assert self._process.wait(180) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
