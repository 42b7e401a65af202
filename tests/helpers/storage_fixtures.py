"""A store that speaks the protocol of S3, and studies on it."""

import logging
import subprocess
import warnings

import pytest

from study.cli.app import main
from study.training import tasks


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """URL of a bucket of a server on loopback, whose keys are in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "known-to-nobody")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("OLFACTION_CACHE", str(tmp_path_factory.mktemp("copies")))
        import s3fs

        s3fs.S3FileSystem().mkdir("studies")
        yield "s3://studies"
    server.stop()


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, 8 MB large; gone afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting takes rights: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run ``study`` with arguments in this process; -> exit code and all that was printed."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["study", *map(str, arguments)])
        tasks.load_data.cache_clear()  # a command is a process of its own
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as ended:
                main()
        return ended.value.code or 0, "".join(capfd.readouterr())

    monkeypatch.setattr("warnings.formatwarning", warnings.formatwarning)  # `main` sets it
    return run
