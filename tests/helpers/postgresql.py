"""A real PostgreSQL of Debian's packages, in a folder and on a port of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tracking_servers import free_port

USER = "postgres"  # of the system: the server refuses to run as root
SECRET = "not-for-the-eyes-of-readers"  # noqa: S105 (of the test's own database)


def programs() -> Path | None:
    """Folder of the server's programs; installed first where that can be done."""
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(
                ["apt-get", "-q", *command], env=environment, capture_output=True, check=False
            )
        found = _installed()
    return found


def _installed() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    beside = shutil.which("initdb")
    folders += [Path(beside).resolve().parent] if beside else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgreSQL:
    """A server on loopback with one database, reached with a password."""

    def __init__(self, programs: Path) -> None:
        self._programs, self.port = programs, free_port()
        self._root = Path(tempfile.mkdtemp(prefix="postgresql-"))
        password = self._root / "password"
        password.write_text(SECRET)
        if os.geteuid() == 0:
            for path in (self._root, password):
                shutil.chown(path, USER)
        self._data = str(self._root / "data")
        signs = ["--username=mlflow", f"--pwfile={password}", "--auth=scram-sha-256"]
        self._do("initdb", "--pgdata", self._data, "--no-sync", *signs)
        self.control("start")

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow:{SECRET}@127.0.0.1:{self.port}/postgres"

    def control(self, *what: str) -> None:
        """Start, stop or restart it; ``-m immediate`` is a crash."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self._root} -c fsync=off"
        log = str(self._root / "log")
        self._do("pg_ctl", "--pgdata", self._data, "-w", "-l", log, "-o", options, *what)

    def close(self) -> None:
        self.control("stop", "-m", "immediate")
        shutil.rmtree(self._root)

    def _do(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        done = subprocess.run(
            command, cwd=self._root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
