"""The job server of a Ray cluster, over its documented HTTP interface. Does not import Ray."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from study.answering import knock
from study.errors import InputError, StudyError

_SECONDS = 30.0
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_HOW = (
    "an address looks like http://127.0.0.1:8265, a tunnel to the head of the cluster "
    "(`ray dashboard ray_cluster.yaml` opens it)"
)


class UnreachableError(StudyError, RuntimeError):
    """The job server does not answer."""


@dataclass(frozen=True)
class Job:
    """A submitted job.

    Attributes
    ----------
    id, status : str
        Submission id and Ray's word for its state.
    exit_code : int or None
        Of its entrypoint, once that has ended.
    message : str
        Ray's explanation.
    """

    id: str
    status: str
    exit_code: int | None
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status in _ENDED


@dataclass(frozen=True)
class JobServer:
    """A job server that answers and accepts the token, as `connect` has made sure.

    Attributes
    ----------
    url : str
    token : str or None
    """

    url: str
    token: str | None = None

    def jobs(self) -> list[Job]:
        """Return every submitted job that the server knows."""
        return [_job(raw) for raw in self._get("/api/jobs/") if raw.get("submission_id")]

    def job(self, job_id: str) -> Job | None:
        """Return a job; None if the server does not know it (a head that was started anew)."""
        try:
            return _job(self._get(f"/api/jobs/{quote(job_id)}"))
        except FileNotFoundError:
            return None

    def logs(self, job_id: str) -> str:
        """Return everything a job has printed so far."""
        try:
            return str(self._get(f"/api/jobs/{quote(job_id)}/logs")["logs"] or "")
        except FileNotFoundError:
            return ""

    def takes_tokens(self) -> bool:
        """Whether the cluster works only for those who show its token."""
        try:
            told = self._get("/api/authentication_mode")
        except FileNotFoundError:  # Ray before 2.52 knows no tokens
            return False
        return bool(told["authentication_mode"] == "token")

    def _get(self, path: str) -> Any:  # noqa: ANN401 (what the server says, as JSON)
        """Return an answer; FileNotFoundError if there is none of this name."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = Request(self.url + path, headers=headers)  # noqa: S310 (http or https: `_url`)
        try:
            with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 (as above)
                return json.load(answer)
        except HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(path) from None
            if error.code in (401, 403):
                raise InputError(
                    f"the cluster at {self.url} refuses the token; copy the token file of its head "
                    "(~/.ray/auth_token) here, or name it with RAY_AUTH_TOKEN_PATH"
                ) from None
            raise UnreachableError(f"the job server at {self.url} says {error}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise UnreachableError(f"no job server answers at {self.url} ({error})") from error


def in_the_clear(url: str) -> bool:
    """Whether the token would cross a network unencrypted on the way to a job server."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "::1") or str(parts.hostname).startswith("127.")
    return parts.scheme == "http" and not local


def connect(address: str) -> JobServer:
    """Return the job server at an address: it answers, asks for a token, and accepts ours.

    Raises
    ------
    InputError
        One of these does not hold; the message says what to do.
    """
    url = _url(address)
    try:
        knock(url)
        guarded = JobServer(url).takes_tokens()
    except (OSError, ValueError, UnreachableError) as error:
        raise InputError(f"no job server answers at {url} ({error}); {_HOW}") from error
    if not guarded:
        _check_open(url)
        return JobServer(url)
    server = JobServer(url, _token())
    server.jobs()
    return server


def _url(address: str) -> str:
    full = address if "://" in address else f"http://{address}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
        raise InputError(f"'{address}' is no address of a job server; {_HOW}")
    return full.rstrip("/")


def _check_open(url: str) -> None:
    """Refuse a cluster that runs whatever anyone sends it, unless that is what was asked for."""
    if os.environ.get("RAY_AUTH_MODE") != "disabled":
        raise InputError(
            f"the cluster at {url} runs jobs without a token, for anyone who reaches it; start its "
            "nodes with RAY_AUTH_MODE=token, or set RAY_AUTH_MODE=disabled here to submit all the "
            "same"
        )


def _token() -> str:
    """Return the token as Ray finds it: variable, named file, file in the home folder."""
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        token = file.expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"the cluster asks for a token and there is none here ({error}); copy the token file "
            "of its head (~/.ray/auth_token) here, or name it with RAY_AUTH_TOKEN_PATH"
        ) from error
    if not token:
        raise InputError(f"the token file {file} is empty; copy that of the cluster's head here")
    return token


def _job(raw: dict[str, Any]) -> Job:
    code = raw.get("driver_exit_code")
    return Job(
        id=str(raw["submission_id"]),
        status=str(raw["status"]),
        exit_code=None if code is None else int(code),
        message=str(raw.get("message") or ""),
    )
