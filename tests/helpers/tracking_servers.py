"""Tracking servers as a team has them, and what goes wrong with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from study.progress import ProgressCallback
from study.tracking.background import BackgroundSync


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """A real server on loopback, on the same port after every start."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.port, self._backend, self._folder = free_port(), backend, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self._backend]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its workers cost as much
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        _wait_for(self._is_up, 120, lambda: (self._folder / "server.log").read_text()[-4000:])

    def _is_up(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:  # noqa: S310 (loopback)
            return bool(answer.status == 200)
        return False

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: takes connections and says nothing; SIGCONT; SIGKILL."""
        assert self._process is not None
        os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)


class SlowRoad:
    """A way to a server on which every call can be made to take some seconds more."""

    def __init__(self, port: int) -> None:
        self.delayed = 0
        self._delay, self._over = 0.0, threading.Event()
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._take, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def slow(self, seconds: float) -> None:
        """Hold up every call for so long, or until `quick` is called."""
        self._over.clear()
        self._delay = seconds

    def quick(self) -> None:
        """Let every call pass, also those that are held up."""
        self._delay = 0.0
        self._over.set()

    def close(self) -> None:
        self.quick()
        self._door.shutdown(socket.SHUT_RDWR)  # wakes who waits at it
        self._door.close()

    def _take(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._door.accept()
                with suppress(OSError):
                    self._lead(near)

    def _lead(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:  # the server is down
            near.close()
            raise
        turn = threading.Event()  # set: the next bytes of the client begin a call
        turn.set()
        for ends, calls in (((near, far), True), ((far, near), False)):
            arguments = (*ends, turn, calls)
            threading.Thread(target=self._carry, args=arguments, daemon=True).start()

    def _carry(
        self, near: socket.socket, far: socket.socket, turn: threading.Event, calls: bool
    ) -> None:
        with suppress(OSError), near, far:
            while data := near.recv(1 << 16):
                if not calls:
                    turn.set()
                elif turn.is_set():
                    turn.clear()
                    self.delayed += self._delay > 0
                    self._over.wait(self._delay)
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


class Feeding(ProgressCallback):
    """A reporter that feeds a projector, does things at trials, and measures what that costs."""

    def __init__(self, projector: BackgroundSync, at: dict[int, Callable[[], object]]) -> None:
        self._projector, self._at, self._stage = projector, at, ""
        self.done, self.blocked = 0, 0.0

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 (contract)
        self._stage = name

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:  # noqa: ARG002 (contract)
        for _ in range(pieces if self._stage == "trials" else 0):
            self.done += 1
            self._at.get(self.done, lambda: None)()
            began = time.perf_counter()
            self._projector.request_sync()
            self.blocked += time.perf_counter() - began


def _wait_for(happened: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, told()
        time.sleep(0.2)
