"""The notice that a machine is about to be taken away: heard, passed on, and obeyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from node_launch import Launch, quick_cluster

from study.errors import InputError
from study.executors.preemption import (
    PREEMPTION_CAUSE,
    VARIABLE,
    Node,
    preemption_noticed,
    query_seconds_left,
    write_preemption_notice,
)

pytestmark = pytest.mark.ray


class Metadata(BaseHTTPRequestHandler):
    """What AWS and Google serve to a machine of theirs."""

    def do_PUT(self) -> None:
        known = (
            self.path == "/latest/api/token"
            and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        )
        self._answer(200 if known else 400, "secret")

    def do_GET(self) -> None:
        given = self.server.given.is_set()  # type: ignore[attr-defined]
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != "secret":
                self._answer(401, "")
            end = (datetime.now(UTC) + timedelta(seconds=120)).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._answer(200 if given else 404, json.dumps({"action": "terminate", "time": end}))
        elif self.path == "/computeMetadata/v1/instance/preempted":
            google = self.headers["Metadata-Flavor"] == "Google"
            self._answer(200 if google else 403, "TRUE" if given else "FALSE")
        else:
            self._answer(500, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def metadata() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.given = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(("provider", "seconds"), [("aws", 120), ("gcp", 30)])
def test_a_notice_is_heard(provider: str, seconds: int, metadata: ThreadingHTTPServer) -> None:
    assert query_seconds_left(provider, _url(metadata)) is None
    metadata.given.set()  # type: ignore[attr-defined]
    began = time.monotonic()
    left = query_seconds_left(provider, _url(metadata))
    took = time.monotonic() - began
    assert left is not None
    assert seconds - 1 - took <= left <= seconds  # notices are given in whole seconds


def test_only_providers_with_notices_are_known() -> None:
    with pytest.raises(InputError, match=r"'azure' is no provider .* allowed: aws, gcp"):
        query_seconds_left("azure")


def test_a_server_that_refuses_is_no_answer(metadata: ThreadingHTTPServer) -> None:
    with pytest.raises(OSError, match="500"):
        query_seconds_left("gcp", _url(metadata) + "/elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize("missing", [False, True])
def test_trainings_are_told_even_if_ray_does_not_answer(
    missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing answers at the address, or there is no program ``ray`` beside this Python."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "notice"))
    if missing:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    write_preemption_notice(4, Node("127.0.0.1:9", "0" * 56))
    assert ("No such file" if missing else "no answer in 1 s") in caplog.text
    assert preemption_noticed()


ENCODER = {
    "name": "warned",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "grid": [{"features": [["graph"]]}],
    "modalities": {"graph": {"training": {"epochs": 30, "patience": 30, "epoch_steps": 3}}},
    "training": {"epochs": 2, "hidden": [8]},
}


@pytest.mark.slow
def test_a_training_leaves_a_machine_with_a_notice_and_goes_on_elsewhere(
    metadata: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine is warned when its training has kept an epoch; it is never removed."""
    file, store, notice = tmp_path / "warned.json", tmp_path / "store", tmp_path / "notice"
    file.write_text(json.dumps({**ENCODER, "run": {"storage": str(store)}}), encoding="utf-8")
    with quick_cluster(monkeypatch) as cluster:
        spot = cluster.add_node(num_cpus=1, env_vars={VARIABLE: str(notice)})
        options = ["--every", "0.1", "--address", spot.address, "--node-id", spot.node_id]
        watcher = subprocess.Popen(
            [sys.executable, "-m", "study.executors.preemption", "--url", _url(metadata), *options],
            env={**os.environ, VARIABLE: str(notice)},
        )
        launch = Launch(cluster.address, file)
        try:
            launch.until("began")
            cluster.add_node(num_cpus=1)
            while not any(store.rglob("*.checkpoint")):
                time.sleep(0.02)
            metadata.given.set()  # type: ignore[attr-defined]
            launch.end()
        finally:
            launch.kill()
            watcher.kill()
        assert watcher.wait() == 0
    assert [cause for _, cause in launch.of("died")] == [PREEMPTION_CAUSE]
    assert launch.of("record") == [["0", "2", "0"]]
