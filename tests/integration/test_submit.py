"""``study submit`` against a real job server: submitted, followed, left, joined again, refused."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from study.errors import InputError
from study.executors.environment import MARK, load_private_environment, write_private_environment
from study.submission.bundle import MAX_BYTES, build_job_bundle
from study.submission.ray_jobs import (
    JobServer,
    Submission,
    UnreachableError,
    is_unencrypted,
    require_extra,
)

pytestmark = pytest.mark.ray

Done = subprocess.CompletedProcess[str]
TOKEN = secrets.token_hex(32)
SECRET = f"secret-{secrets.token_hex(16)}"
ARMS = 5
SLOW = ["--set", "training.epochs=150", "--set", "training.patience=150",
        "--set", "training.epoch_steps=1", "--set", "split.folds=4"]  # fmt: skip


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


@contextmanager
def _head(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start the head of a cluster; yield the address of its job server."""
    dashboard, agent, client = _free_ports(3)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port=0"]
    ray += ["--num-cpus=2", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    ray += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    ray += [f"--temp-dir={folder}", "--disable-usage-stats", "--min-worker-port=0"]
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        process = subprocess.Popen(
            [*ray, "--max-worker-port=0"], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_until(lambda: _listens(dashboard), 180)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        process.kill()
        process.wait()
        for number in _processes_of(str(folder)):  # a gentle end takes half a minute
            os.kill(number, signal.SIGKILL)


def _processes_of(folder: str) -> list[int]:
    """Processes of the Ray whose files lie in this folder, and of its jobs."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # none, or ended meanwhile
        if entry.name.isdigit() and f"{folder}/".encode() in told:
            found.append(int(entry.name))
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder with a short name: Ray's sockets lie below it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="submit-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def environment(scratch: Path) -> dict[str, str]:
    """A user with the token of the cluster and `study` on the PATH, and no other setting."""
    home = scratch / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(TOKEN)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "TUNE_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "HOME": str(home), "PATH": programs, "RAY_AUTH_MODE": "token", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def address(scratch: Path, environment: dict[str, str]) -> Iterator[str]:
    with _head(scratch / "ray", environment) as server:
        yield server


@pytest.fixture(scope="module")
def server(address: str) -> JobServer:
    return JobServer(address, TOKEN)


@pytest.fixture
def file(tmp_path: Path, tiny_study: dict[str, object]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_study), encoding="utf-8")
    return path


@pytest.fixture
def command(
    file: Path, tmp_path: Path, address: str, study_command: list[str]
) -> Callable[..., list[str]]:
    """Arguments -> the command that submits the tiny study with them."""

    def make(*more: str) -> list[str]:
        place = ["--storage", str(tmp_path / "store"), "--address", address]
        return [*study_command, "submit", str(file), *place, *more]

    return make


@pytest.fixture
def submit(
    command: Callable[..., list[str]], environment: dict[str, str], tmp_path: Path
) -> Callable[..., Done]:
    def run(*more: str, **variables: str) -> Done:
        return subprocess.run(
            command(*more),
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_submitted_study_is_followed_and_tells_no_secret(
    submit: Callable[..., Done], server: JobServer, scratch: Path
) -> None:
    """A variable that the file reads arrives; a secret is in no log, screen or answer of Ray's."""
    epochs = ["--set", "training.epochs=${EPOCHS_OF_TEST}"]
    done = submit(*epochs, "--env", "KEY_OF_TEST", EPOCHS_OF_TEST="2", KEY_OF_TEST=SECRET)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    job_id = first.removeprefix("submitted tiny as ")
    assert first.startswith("submitted tiny as study-tiny-")
    assert lines[0] == "10 trials, 0 already in the ledger"
    assert sum(line.endswith("  2/2") for line in lines) == ARMS
    assert SECRET not in done.stdout
    told = repr(server.client.get_job_info(job_id))
    assert ("env_vars" in told, SECRET in told) == (True, False)
    logs = [path for path in (scratch / "ray").glob("session_latest/logs/**/*") if path.is_file()]
    assert f"job-driver-{job_id}.log" in {path.name for path in logs}
    assert [path for path in logs if SECRET.encode() in path.read_bytes()] == []
    (packed,) = (scratch / "ray").glob("session_latest/runtime_resources/**/.private-*.json")
    assert SECRET in packed.read_text(encoding="utf-8")
    assert packed.stat().st_mode & 0o077 == 0


def test_a_left_study_goes_on_and_is_joined_again(
    submit: Callable[..., Done],
    command: Callable[..., list[str]],
    environment: dict[str, str],
    server: JobServer,
    tmp_path: Path,
) -> None:
    begun = submit("--no-follow", *SLOW, RAY_ADDRESS="127.0.0.1:1")  # gives way to --address
    assert (begun.returncode, begun.stderr) == (0, "")
    job_id = begun.stdout.splitlines()[0].removeprefix("submitted tiny as ")
    assert f"ray job stop {job_id} --address {server.url}" in begun.stdout

    follower = subprocess.Popen(
        ["env", "--default-signal=INT", *command(*SLOW)],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == f"joining {job_id}, which is already running\n"
    assert follower.stdout.readline() == "20 trials, 0 already in the ledger\n"
    os.killpg(follower.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    told, _ = follower.communicate(timeout=120)
    assert follower.returncode == 130
    assert f"stopped following; {job_id} keeps running" in told
    left = server.job(job_id)
    assert left is not None
    assert not left.status.is_terminal()

    joined = submit(*SLOW)
    assert (joined.returncode, joined.stderr) == (0, "")
    assert joined.stdout.startswith(
        f"joining {job_id}, which is already running\n20 trials, 0 already"
    )
    assert joined.stdout.count("20 trials, ") == 1
    assert sum(line.endswith("  4/4") for line in joined.stdout.splitlines()) == ARMS

    again = submit(*SLOW)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(f"submitted tiny as {job_id.removesuffix('-1')}-2\n")
    assert "20 trials, 20 already in the ledger" in again.stdout


TABLE = "smiles,sweet\nCCO,1\nCCN,yes\n"


@pytest.mark.parametrize(
    ("more", "code", "cause"),
    [
        (["--set", "training.learning_rate=1e30"], 3, "failed: "),
        (["--set", "data={sources: [{source: csv, file: own/table.csv}]}"], 2, "table.csv row 3"),
    ],
)
def test_the_exit_code_of_the_job_is_passed_on(
    submit: Callable[..., Done], tmp_path: Path, more: list[str], code: int, cause: str
) -> None:
    """The second one reads a small table that travels with its study."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "table.csv").write_text(TABLE, encoding="utf-8")
    done = submit("--set", "name=failing", *more)
    assert (done.returncode, cause in done.stdout) == (code, True), done.stdout + done.stderr


def test_a_stopped_job_is_an_incomplete_study(
    submit: Callable[..., Done], environment: dict[str, str], address: str, server: JobServer
) -> None:
    begun = submit("--no-follow", "--set", "name=stopped", *SLOW)
    job_id = begun.stdout.splitlines()[0].removeprefix("submitted stopped as ")
    _wait_until(lambda: "trials" in server.logs(job_id), 180)
    follow = [sys.executable, "-m", "ray.scripts.scripts", "job", "stop", job_id, "--no-wait"]
    follower = subprocess.Popen(
        [*follow, "--address", address], env=environment, stdout=subprocess.DEVNULL
    )
    done = submit("--set", "name=stopped", *SLOW)
    follower.wait()
    assert done.returncode == 3
    assert "run the same `study submit` again to run what is missing" in done.stderr


def test_the_server_must_answer_and_take_the_token(
    submit: Callable[..., Done], address: str, tmp_path: Path
) -> None:
    nobody = submit("--address", f"127.0.0.1:{_free_ports(1)[0]}")
    assert (nobody.returncode, "no job server answers" in nobody.stderr) == (2, True)
    wrong = submit(RAY_AUTH_TOKEN="another-token")  # noqa: S106 (a wrong one)
    assert (wrong.returncode, "refuses the token" in wrong.stderr) == (2, True)
    broken = submit(RAY_AUTH_TOKEN=f"two words {SECRET}")
    assert (broken.returncode, "RAY_AUTH_TOKEN must be ASCII characters" in broken.stderr) == (
        2,
        True,
    )
    assert SECRET not in broken.stderr
    without = submit(HOME=str(tmp_path))
    assert (without.returncode, "there is none here" in without.stderr) == (2, True)
    assert not (tmp_path / "store").exists()


def test_a_job_that_the_server_does_not_know_is_none(server: JobServer) -> None:
    assert server.job("study-nobody-1") is None


def test_a_server_that_accepts_and_says_nothing_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"no answer in 0\.2 seconds"):
            JobServer(url, timeout=0.2).jobs()


def test_a_cluster_that_anyone_may_use_is_refused(
    submit: Callable[..., Done], environment: dict[str, str], scratch: Path
) -> None:
    with _head(scratch / "open", {**environment, "RAY_AUTH_MODE": "disabled"}) as unguarded:
        done = submit("--address", unguarded)
    assert (done.returncode, "runs jobs without a token" in done.stderr) == (2, True)


def test_a_part_of_ray_that_is_missing_is_named_with_its_command() -> None:
    require_extra("ray", "default", "`ray job submit`")
    with pytest.raises(InputError, match=r'needs .*install with: pip install "ray\[serve\]=='):
        require_extra("ray", "serve", "nothing here")


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://127.0.0.1:8265", False),
        ("http://localhost:8265", False),
        ("https://ray.example", False),
        ("http://10.0.0.1:8265", True),
    ],
)
def test_a_token_without_a_tunnel_is_told(url: str, clear: bool) -> None:
    assert is_unencrypted(url) is clear


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


STORED = ["run.storage=/shared/studies"]


@pytest.mark.parametrize(
    ("overrides", "names", "message"),
    [
        ([], [], "run.storage is 'studies', relative to a folder that Ray removes"),
        (STORED, ["NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set here"),
        ([*STORED, "training.epochs=0"], [], "training.epochs"),
        ([*STORED, "data={sources: [{source: csv, file: ../above.csv}]}"], [], "is outside of"),
        ([*STORED, "data={sources: [{source: csv, file: large.csv}]}"], [], "MB are sent with"),
    ],
)
def test_what_cannot_travel_is_refused(
    file: Path, here: Path, overrides: list[str], names: list[str], message: str
) -> None:
    (here.parent / "above.csv").write_text(TABLE, encoding="utf-8")
    with (here / "large.csv").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=message):
        build_job_bundle(str(file), overrides, names)


def test_a_bundle_holds_the_study_and_its_files(file: Path, here: Path) -> None:
    """Absolute paths are the cluster's; what is not here is looked for there."""
    (here / "own").mkdir()
    (here / "own" / "table.csv").write_text(TABLE, encoding="utf-8")
    sources = ["own/table.csv", "/shared/table.csv", "not/here.csv"]
    data = json.dumps({"sources": [{"source": "csv", "file": name} for name in sources]})
    bundle = build_job_bundle(str(file), [*STORED, f"data={data}"], [])
    (here / "out").mkdir()
    bundle.write(here / "out")
    found = {str(p.relative_to(here / "out")) for p in (here / "out").rglob("*") if p.is_file()}
    assert found == {"tiny.yaml", "own/table.csv"}
    assert (here / "out" / "own" / "table.csv").read_text(encoding="utf-8") == TABLE
    assert yaml.safe_load((here / "out" / "tiny.yaml").read_text())["data"] == json.loads(data)


def test_the_submission_id_tells_name_and_content(file: Path, here: Path) -> None:
    def stem(*overrides: str) -> str:
        bundle = build_job_bundle(str(file), [*STORED, *overrides], [])
        return Submission(bundle, JobServer("http://127.0.0.1:1")).stem

    data = "data={sources: [{source: csv, file: table.csv}]}"
    assert stem() == stem()
    assert stem().startswith("study-tiny-")
    found = {stem(), stem("name=other"), stem("training.epochs=3"), stem(data)}
    (here / "table.csv").write_text(TABLE, encoding="utf-8")
    found.add(stem(data))
    (here / "table.csv").write_text(TABLE.replace("yes", "0"), encoding="utf-8")
    found.add(stem(data))
    assert len(found) == 6


def test_a_process_of_a_job_adopts_the_private_variables(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ONE_OF_OURS": "a b\n'c'", "SET_BY_THE_MACHINE": "ours"}
    monkeypatch.setenv("SET_BY_THE_MACHINE", "its own")
    monkeypatch.setenv("ONE_OF_OURS", "")  # taken away again after the test
    del os.environ["ONE_OF_OURS"]
    assert write_private_environment(here, {}) == {}
    mark = write_private_environment(here, values)
    load_private_environment()
    assert "ONE_OF_OURS" not in os.environ  # a folder alone changes nothing
    monkeypatch.setenv(MARK, mark[MARK])
    load_private_environment()
    assert os.environ["ONE_OF_OURS"] == values["ONE_OF_OURS"]
    assert os.environ["SET_BY_THE_MACHINE"] == "its own"
