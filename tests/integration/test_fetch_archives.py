"""Downloading from a local HTTP server: hashes, pointers, failures that leave nothing."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from study.data import FetchError, archive_names, archive_terms, download, fetch_archives

CONTENT = {"alpha/behavior.csv": b"a,b\n1,2\n", "beta/deep.csv": b"c\n3\n"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _small_registry(monkeypatch):
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in CONTENT.items()
    }
    monkeypatch.setattr(
        download,
        "read_archive_registry",
        lambda: {"repository": "x/y", "commit": "c" * 40, "files": files},
    )


def kept(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_files_arrive_whole_and_a_second_run_only_checks(address, tmp_path):
    told = []
    folder = tmp_path / "archive"
    report = fetch_archives(folder, base_url=address, progress=lambda *now: told.append(now))
    assert report.fetched == tuple(CONTENT)
    assert all((folder / name).read_bytes() == content for name, content in CONTENT.items())
    assert told == [("alpha/behavior.csv", 8, 12), ("beta/deep.csv", 12, 12)]
    again = fetch_archives(folder, base_url="http://127.0.0.1:9/nothing")
    assert (again.fetched, again.present) == ((), tuple(CONTENT))


def test_only_some_archives(address, tmp_path):
    fetch_archives(tmp_path / "archive", only=["beta"], base_url=address)
    assert kept(tmp_path / "archive") == ["beta/deep.csv"]
    with pytest.raises(FetchError, match="unknown archive 'gamma'; known: alpha, beta"):
        fetch_archives(tmp_path, only=["gamma"], base_url=address)


def test_wrong_hash_is_named_and_leaves_nothing(address, site, tmp_path):
    (site / "beta/deep.csv").write_bytes(b"changed")
    with pytest.raises(FetchError, match=r"beta/deep.csv from http://.* has a wrong sha256"):
        fetch_archives(tmp_path / "archive", base_url=address)
    assert kept(tmp_path / "archive") == ["alpha/behavior.csv"]


def test_missing_page_is_named_and_leaves_nothing(address, site, tmp_path):
    (site / "alpha/behavior.csv").unlink()
    with pytest.raises(FetchError, match=r"alpha/behavior.csv could not be fetched from .*404"):
        fetch_archives(tmp_path / "archive", base_url=address)
    assert kept(tmp_path / "archive") == []


def test_file_that_is_another_is_never_overwritten(address, tmp_path):
    mine = tmp_path / "archive" / "alpha" / "behavior.csv"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own notes")
    with pytest.raises(FetchError, match=r"is not the published file.*move or delete it"):
        fetch_archives(tmp_path / "archive", base_url=address)
    assert mine.read_bytes() == b"my own notes"


def test_folder_that_cannot_be_made_is_named(address, tmp_path):
    (tmp_path / "archive").write_text("a file stands here", encoding="utf-8")
    with pytest.raises(FetchError, match=r"could not be fetched .* into .*archive"):
        fetch_archives(tmp_path / "archive", base_url=address)


def test_large_file_pointer_is_followed(address, site, tmp_path):
    large = site / "media" / "beta" / "deep.csv"
    large.parent.mkdir(parents=True)
    (site / "beta/deep.csv").rename(large)
    (site / "beta/deep.csv").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n")
    fetch_archives(tmp_path / "archive", base_url=address, large_file_url=address + "media")
    assert (tmp_path / "archive/beta/deep.csv").read_bytes() == CONTENT["beta/deep.csv"]


def test_terms_say_what_is_not_licensed():
    for part in ("goodscents states no licence", "leffingwell is CC BY-NC", "No table is shipped"):
        assert part in archive_terms()


def test_shipped_registry_covers_every_archive_source(monkeypatch, tmp_path):
    monkeypatch.undo()
    files = download.read_archive_registry()["files"]
    assert {"goodscents", "leffingwell", "ifra_2019", "dravnieks_1985"} <= set(archive_names())
    for name in ("goodscents/behavior.csv", "prediction_targets/keller_2016.csv"):
        assert len(files[name]["sha256"]) == 64
    address = download.format_archive_url(download.RAW_URL)
    assert address.endswith("pyrfume/pyrfume-data/8054ea98ed675005ec10e67359902f500e4911b0/")
