"""A launch in a process of its own, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from mlflow.tracking import MlflowClient

Marks = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Launches:
    """Launches of one study into one storage."""

    command: Sequence[str]
    environment: Mapping[str, str]
    store: Path
    name: str

    @property
    def log(self) -> Path:
        """What the last launch printed: a pipe that nobody reads would stop it when it is full."""
        return self.store.with_suffix(".log")

    def start(self) -> subprocess.Popen[bytes]:
        """Begin a launch in a session of its own."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def records(self) -> Marks:
        """Every finished trial, and when and where it was written."""
        found = (self.store / "ledger").glob("*.trial")
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    def pages(self) -> dict[str, int]:
        """How many pages there are, by role and status."""
        client = MlflowClient(f"sqlite:///{self.store / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(self.name)
        counts: dict[str, int] = {}
        for run in client.search_runs([experiment.experiment_id]):
            key = f"{run.data.tags['olfaction.role']} {run.info.status}"
            counts[key] = counts.get(key, 0) + 1
        return counts

    def table(self, study: Sequence[str]) -> str:
        """What `study compare` prints."""
        command = [*study, "compare", self.name, "--storage", str(self.store), "--format", "csv"]
        done = subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def leftovers(self, word: str = "ray") -> list[int]:
        """Processes that were started under the home of these launches."""
        mark = f"HOME={self.environment['HOME']}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                environment = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
                command = (entry / "cmdline").read_bytes() if mark in environment else b""
            except OSError:
                continue  # ended meanwhile
            if word.encode() in command:
                found.append(int(entry.name))
        return found

    def sweep(self) -> None:
        """Kill what a killed driver left, as a machine does that vanishes."""
        for pid in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def launches(
    study: Mapping[str, object], store: Path, command: Sequence[str], environment: Mapping[str, str]
) -> Launches:
    """Write a study's file and return its launches."""
    store.mkdir()
    file = store.parent / f"{store.name}.yaml"
    file.write_text(yaml.safe_dump(dict(study)), encoding="utf-8")
    whole = [*command, "launch", str(file), "--storage", str(store)]
    return Launches(whole, environment, store, str(study["name"]))


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Look until it is so, for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.1)
    return False
