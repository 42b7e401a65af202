"""Download of the public archives from a pinned commit, with a sha256 for every file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from modalities import sha256_of
from study.errors import InputError

if TYPE_CHECKING:
    import pooch

RAW_URL = "https://raw.githubusercontent.com/{repository}/{commit}/"
LARGE_FILE_URL = "https://media.githubusercontent.com/media/{repository}/{commit}/"
_POINTER = b"version https://git-lfs.github.com/spec/"

Progress = Callable[[str, int, int], None]
"""Callback after every file: its name, bytes so far, total bytes."""


class FetchError(InputError):
    """An archive file cannot be downloaded, or differs from the published one."""


class _File(TypedDict):
    sha256: str
    bytes: int


class _Registry(TypedDict):
    repository: str
    commit: str
    files: dict[str, _File]


@dataclass(frozen=True)
class FetchReport:
    """The result of `fetch_archives`.

    Attributes
    ----------
    folder : Path
        The archive folder, for `data.archive` or OLFACTION_ARCHIVE.
    fetched, present : tuple of str
        Files that were downloaded, and files that were present with the right sha256.
    """

    folder: Path
    fetched: tuple[str, ...]
    present: tuple[str, ...]


@cache
def read_archive_registry() -> _Registry:
    """Read the shipped registry: repository, commit, and sha256 and size of every file."""
    text = (Path(__file__).parent / "files" / "archives.json").read_text(encoding="utf-8")
    registry: _Registry = json.loads(text)
    return registry


def archive_names() -> tuple[str, ...]:
    """Return the names of the archives that can be downloaded."""
    return tuple(sorted({name.split("/")[0] for name in read_archive_registry()["files"]}))


def archive_terms() -> str:
    """Return the terms of use of the archives, for the command line."""
    commit = read_archive_registry()["commit"]
    return (
        f"From the public repository {read_archive_registry()['repository']}, commit "
        f"{commit[:7]}:\n"
        "- goodscents states no licence: its terms of use are unknown.\n"
        "- leffingwell is CC BY-NC 4.0 by its deposit: not for commercial use.\n"
        "- ifra_2019 is drawn from a members' document of the International Fragrance "
        "Association.\n"
        "- dravnieks_1985 comes from ASTM DS61; keller_2016 from a CC BY 4.0 article.\n"
        "The files stay in your folder. No table is shipped with this project; do not publish "
        "them."
    )


def fetch_archives(
    folder: Path,
    *,
    only: Collection[str] = (),
    base_url: str | None = None,
    large_file_url: str | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Download the archives into a folder; verify files that are already present.

    Parameters
    ----------
    folder : Path
        Created if missing. A file appears in it only complete and with the right sha256.
    only : collection of str
        Names of archives; default: all.
    base_url, large_file_url : str, optional
        Addresses of the files; default: the pinned commit on GitHub. Files in Git LFS are short
        pointers at the first address and are downloaded from the second.
    progress : callable, optional
        Called after every file with its name, bytes so far, total bytes.

    Raises
    ------
    FetchError
        A download fails or has a wrong sha256, or a file in the folder differs.
    """
    wanted = _select_files(only)
    present = tuple(name for name in wanted if _is_published(folder / name, wanted[name]))
    store = _build_downloads(folder, base_url or format_archive_url(RAW_URL))
    downloader = _Downloader(large_file_url or format_archive_url(LARGE_FILE_URL))
    done, total = 0, sum(file["bytes"] for file in wanted.values())
    for name, file in wanted.items():
        if name not in present:
            _download_file(store, name, downloader)
        done += file["bytes"]
        if progress is not None:
            progress(name, done, total)
    fetched = tuple(name for name in wanted if name not in present)
    return FetchReport(folder, fetched, present)


def _select_files(only: Collection[str]) -> dict[str, _File]:
    unknown = [name for name in only if name not in archive_names()]
    if unknown:
        raise FetchError(f"unknown archive '{unknown[0]}'; known: {', '.join(archive_names())}")
    files = read_archive_registry()["files"].items()
    return {name: file for name, file in files if not only or name.split("/")[0] in only}


def _is_published(path: Path, file: _File) -> bool:
    """Return whether the file is present; raise rather than overwrite a different file."""
    if not path.is_file():
        return False
    sha256 = sha256_of(path)
    if sha256 != file["sha256"]:
        raise FetchError(
            f"{path} is not the published file: sha256 {sha256}, expected {file['sha256']}; "
            "move or delete it, then fetch again"
        )
    return True


def format_archive_url(form: str) -> str:
    """Fill the repository and its pinned commit into the form of an address."""
    return form.format(
        repository=read_archive_registry()["repository"], commit=read_archive_registry()["commit"]
    )


def _build_downloads(folder: Path, base_url: str) -> pooch.Pooch:
    import pooch

    hashes = {
        name: f"sha256:{file['sha256']}" for name, file in read_archive_registry()["files"].items()
    }
    pooch.get_logger().setLevel("WARNING")  # progress is reported by the callback
    return pooch.create(path=folder, base_url=base_url.rstrip("/") + "/", registry=hashes)


def _download_file(store: pooch.Pooch, name: str, downloader: _Downloader) -> None:
    try:
        store.fetch(name, downloader=downloader)
    except ValueError as error:  # a wrong hash; pooch has removed the download
        raise FetchError(
            f"{name} from {store.get_url(name)} has a wrong sha256 and was not kept: {error}"
        ) from error
    except OSError as error:  # no network, no such page, no space, no permission
        raise FetchError(
            f"{name} could not be fetched from {store.get_url(name)} into {store.abspath}: {error}"
        ) from error


class _Downloader:
    """A downloader over HTTP that follows Git LFS pointers to the real file."""

    def __init__(self, large_file_url: str) -> None:
        self._large_file_url = large_file_url.rstrip("/") + "/"

    def __call__(self, url: str, output_file: str, pooch_: pooch.Pooch) -> None:
        import pooch

        http = pooch.HTTPDownloader(timeout=60)
        http(url, output_file, pooch_)
        with Path(output_file).open("rb") as stream:
            is_pointer = stream.read(len(_POINTER)) == _POINTER
        if is_pointer:
            http(self._large_file_url + url.removeprefix(pooch_.base_url), output_file, pooch_)
