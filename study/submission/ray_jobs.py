"""Run a study as a job of a Ray cluster: submit it once, follow it, rejoin it later."""

from __future__ import annotations

import logging
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from study.errors import InputError, StudyError
from study.executors.environment import set_defaults, shorten_error, write_private_environment
from study.network import check_reachable, run_in_thread
from study.submission.bundle import JobBundle

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

INTERRUPTED, NOT_FOUND = 130, 127
_JOB_STARTS = re.compile(r"^Running entrypoint for job .*\n", re.MULTILINE)
"""The last line that Ray writes to a job's log before the first line of the job itself."""
_SHORTEST, _LONGEST = 0.5, 5.0
"""Seconds between two status requests for a job."""
_PATIENCE = 300.0
"""Seconds without an answer before following ends: long enough to restart a tunnel."""
_ADDRESS_HINT = (
    "an address looks like http://127.0.0.1:8265, a tunnel to the head of the cluster "
    "(`ray dashboard ray_cluster.yaml` opens it)"
)

Printer = Callable[[str], None]
_T = TypeVar("_T")


class UnreachableError(StudyError, RuntimeError):
    """The job server does not answer, or answers with an error."""


class TokenRefusedError(InputError):
    """The job server requires a token, or rejects ours."""


@dataclass(frozen=True)
class JobServer:
    """The job server of a Ray cluster.

    Attributes
    ----------
    url : str
    token : str or None
    timeout : float
        Seconds to wait for an answer; uploads have no limit.
    """

    url: str
    token: str | None = None
    timeout: float = 30.0

    @cached_property
    def client(self) -> JobSubmissionClient:
        """Ray's client for this server; creating it sends a first request.

        RAY_API_SERVER_ADDRESS and RAY_ADDRESS would override the address, so they are hidden
        while the client is created. The header is set even without a token, because Ray's client
        would otherwise look for one: `connect_to_jobs` first tries the cluster without a token.
        """
        set_defaults()
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # "Uploading package ..." stays off the screen
        hidden = {
            name: os.environ.pop(name)
            for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
            if name in os.environ
        }
        header = f"Bearer {self.token}" if self.token else ""
        try:
            return JobSubmissionClient(self.url, headers={"Authorization": header})
        finally:
            os.environ.update(hidden)

    def jobs(self) -> list[JobDetails]:
        """Return every submitted job that the server knows."""
        jobs = self._request(lambda client: client.list_jobs())
        return [job for job in jobs if job.submission_id]

    def job(self, job_id: str) -> JobDetails | None:
        """Return a job; None if the server does not know it (its head node was restarted)."""
        try:
            return self._request(lambda client: client.get_job_info(job_id))
        except UnreachableError:  # Ray's client raises the same error for an unknown job
            if any(job.submission_id == job_id for job in self.jobs()):
                raise
            return None

    def logs(self, job_id: str) -> str:
        """Return everything a job has printed so far, without Ray's own lines before it."""
        text = self._request(lambda client: client.get_job_logs(job_id)) or ""
        match = _JOB_STARTS.search(text)
        return text[match.end() :] if match else ""

    def begin(
        self, job_id: str, command: Sequence[str], folder: Path, variables: Mapping[str, str]
    ) -> None:
        """Upload a working directory and start a command in it."""
        self._request(
            lambda client: client.submit_job(
                entrypoint=shlex.join(command),
                submission_id=job_id,
                runtime_env={"working_dir": str(folder), "env_vars": dict(variables)},
            ),
            bounded=False,
        )

    def _request(self, call: Callable[[JobSubmissionClient], _T], *, bounded: bool = True) -> _T:
        """Call Ray's client in a thread, because it has no timeout; return its answer."""
        set_defaults()
        from ray.exceptions import AuthenticationError

        answer = run_in_thread(lambda: call(self.client), "job server")
        try:
            return answer.result(self.timeout if bounded else None)
        except AuthenticationError:
            raise TokenRefusedError(
                f"the cluster at {self.url} refuses the token; copy the token file of its head "
                "node (~/.ray/auth_token) to this machine, or give its path in RAY_AUTH_TOKEN_PATH"
            ) from None
        except RuntimeError as error:
            raise UnreachableError(
                f"the job server at {self.url} reports: {shorten_error(str(error))}"
            ) from error
        except (OSError, ValueError, LookupError) as error:
            cause = str(error) or f"no answer in {self.timeout:g} seconds"
            raise UnreachableError(f"no job server answers at {self.url} ({cause})") from error


def connect_to_jobs(address: str) -> JobServer:
    """Connect to the job server at an address, with our token.

    Raises
    ------
    InputError
        The server does not answer, does not require a token, or rejects ours; the message says
        what to do.
    """
    url = _parse_address(address)
    server = JobServer(url)
    try:
        check_reachable(url)
        server.jobs()
    except TokenRefusedError:
        server = JobServer(url, _read_token())
        server.jobs()
        return server
    except (OSError, ValueError, UnreachableError) as error:
        raise InputError(f"no job server answers at {url} ({error}); {_ADDRESS_HINT}") from error
    _check_authentication(url)
    return server


def _parse_address(address: str) -> str:
    full = address if "://" in address else f"http://{address}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
        raise InputError(f"'{address}' is not the address of a job server; {_ADDRESS_HINT}")
    return full.rstrip("/")


def is_unencrypted(url: str) -> bool:
    """Return whether the token would cross a network unencrypted on the way to a job server."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "::1") or str(parts.hostname).startswith("127.")
    return parts.scheme == "http" and not local


def _check_authentication(url: str) -> None:
    """Reject a cluster that runs anyone's jobs without a token, unless the user allows it."""
    if os.environ.get("RAY_AUTH_MODE") != "disabled":
        raise InputError(
            f"the cluster at {url} runs jobs without a token, for anyone who can reach it; start "
            "its nodes with RAY_AUTH_MODE=token, or set RAY_AUTH_MODE=disabled here to submit "
            "anyway"
        )


def _read_token() -> str:
    """Return the token, from the same places as Ray: variable, named file, file in the home."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return _check_token(token, "RAY_AUTH_TOKEN")
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        token = file.expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"the cluster requires a token and there is none here ({error}); copy the token file "
            "of its head node (~/.ray/auth_token) to this machine, or give its path in "
            "RAY_AUTH_TOKEN_PATH"
        ) from error
    if not token:
        raise InputError(
            f"the token file {file} is empty; replace it by that of the cluster's head node"
        )
    return _check_token(token, str(file))


def _check_token(token: str, place: str) -> str:
    """Return a token, or reject one that no HTTP header can hold.

    The error of the HTTP library would show the token.
    """
    if not re.fullmatch("[!-~]+", token):
        raise InputError(
            f"the token in {place} must be ASCII characters without spaces; replace it by that "
            "of the cluster's head node"
        )
    return token


def require_extra(package: str, extra: str, what: str) -> None:
    """Check that all requirements of an extra of a library are installed.

    Parameters
    ----------
    package, extra : str
        ``ray`` and ``default`` for ``ray[default]``.
    what : str
        What needs it, for the message.

    Raises
    ------
    InputError
        A requirement is missing; the message has the command that installs it.
    """
    requirements = [Requirement(text) for text in distribution(package).requires or ()]
    names = {
        requirement.name
        for requirement in requirements
        if requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
    }
    missing = [name for name in sorted(names) if not _is_installed(name)]
    if missing:
        raise InputError(
            f"{what} needs {', '.join(missing)}; install with: "
            f'pip install "{package}[{extra}]=={distribution(package).version}"'
        )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class Submission:
    """A study to run on a cluster, and the jobs that were submitted for it before.

    Attributes
    ----------
    bundle : JobBundle
    server : JobServer
    launch : sequence of str
        Further options of the ``study launch`` that the job runs.
    """

    bundle: JobBundle
    server: JobServer
    launch: Sequence[str] = ()

    @property
    def stem(self) -> str:
        """Submission id without the attempt number: the study's name and content digest."""
        return f"study-{self.bundle.spec.name}-{self.bundle.digest[:10]}"

    def latest(self) -> JobDetails | None:
        """Return the last job of this study, None if there is none."""
        attempts = [job for job in self.server.jobs() if self._attempt_number(job)]
        return max(attempts, key=self._attempt_number, default=None)

    def next_id(self) -> str:
        """Return the submission id of the next attempt."""
        latest = self.latest()
        return f"{self.stem}-{1 + (self._attempt_number(latest) if latest else 0)}"

    def _attempt_number(self, job: JobDetails) -> int:
        """Return the attempt number of a job, 0 if it is not a job of this study."""
        stem, _, number = str(job.submission_id).rpartition("-")
        return int(number) if stem == self.stem and number.isdecimal() else 0


def submit_study(
    bundle: JobBundle,
    address: str,
    show_text: Printer,
    *,
    launch: Sequence[str] = (),
    follow: bool = True,
) -> int:
    """Submit a study, or rejoin its running job, and follow it to its end.

    Parameters
    ----------
    bundle : JobBundle
        The study.
    address : str
        Address of the job server.
    show_text : function of str
        Prints text, which includes its line ends.
    launch : sequence of str
        Further options of ``study launch``.
    follow : bool
        Wait for the job and print its output.

    Returns
    -------
    int
        Exit code of the job, as of ``study launch``; 0 without `follow`, 130 if the user stopped
        following.

    Raises
    ------
    InputError
        The job server cannot be used; the message says what to do.
    StudyError
        The job could not be started.
    """
    require_extra("ray", "default", "`ray job submit`")
    submission = Submission(bundle, connect_to_jobs(address), launch)
    server = submission.server
    if is_unencrypted(server.url):
        show_text(
            "note: the token crosses the network unencrypted; a tunnel (`ray dashboard`) hides it\n"
        )
    job_id = _join_running_job(submission, show_text) or _submit_job(submission, show_text)
    if not follow:
        show_text(_format_hints(job_id, server.url))
        return 0
    try:
        return _follow_job(server, job_id, show_text)
    except KeyboardInterrupt:
        show_text(
            f"\nstopped following; {job_id} keeps running\n{_format_hints(job_id, server.url)}"
        )
        return INTERRUPTED


def _join_running_job(submission: Submission, show_text: Printer) -> str | None:
    """Return the submission id of the job that is still running, None if there is none."""
    latest = submission.latest()
    if latest is None or latest.status.is_terminal():
        return None
    show_text(f"joining {latest.submission_id}, which is already running\n")
    return latest.submission_id


def _submit_job(submission: Submission, show_text: Printer) -> str:
    """Upload the study and start its job; return the submission id."""
    job_id, bundle = submission.next_id(), submission.bundle
    command = ["study", "launch", bundle.name, "--address", "auto", *submission.launch]
    with tempfile.TemporaryDirectory(prefix="study-submit-") as scratch:
        folder = Path(scratch)
        bundle.write(folder)
        variables = {"PYTHONUNBUFFERED": "1", **write_private_environment(folder, bundle.variables)}
        try:
            submission.server.begin(job_id, command, folder, variables)
        except UnreachableError as error:
            if submission.server.job(job_id) is None:
                raise StudyError(f"`ray job submit` failed: {error}") from error
            show_text(f"joining {job_id}, which was submitted at the same moment\n")
            return job_id
    show_text(f"submitted {bundle.spec.name} as {job_id}\n")
    return job_id


def _format_hints(job_id: str, url: str) -> str:
    """Return the commands that rejoin a job and that stop it."""
    at = f"--address {shlex.quote(url)}"
    return (
        "to follow it again, run the same `study submit`; to stop it, run "
        f"`RAY_AUTH_MODE=token ray job stop {job_id} {at}`\n"
    )


def _follow_job(server: JobServer, job_id: str, show_text: Printer) -> int:
    """Print the output of a job until it ends; return its exit code."""
    shown, pause, answered = 0, _SHORTEST, time.monotonic()
    while True:
        try:
            job = server.job(job_id)  # before the logs: those of an ended job are then complete
            text = server.logs(job_id) if job else ""
        except UnreachableError as error:
            if time.monotonic() - answered > _PATIENCE:
                raise StudyError(
                    f"{error} for {_PATIENCE / 60:.0f} minutes; the job runs as long as its head "
                    "node does: run the same `study submit` to follow it again"
                ) from error
            pause = _LONGEST
        else:
            answered = time.monotonic()
            if len(text) > shown:
                show_text(text[shown:])
            pause = _SHORTEST if len(text) > shown else min(_LONGEST, 1.5 * pause)
            shown = max(shown, len(text))
            if job is None or job.status.is_terminal():
                return _exit_code(job, job_id)
        time.sleep(pause)


def _exit_code(job: JobDetails | None, job_id: str) -> int:
    """Return the exit code of a job that has ended.

    Raises
    ------
    StudyError
        The job was stopped or lost; the message has the reason.
    """
    again = "run the same `study submit` again to run what is missing"
    if job is None:
        raise StudyError(
            f"the cluster no longer knows {job_id} (was its head node restarted?); {again}"
        )
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        raise StudyError(f"{job_id} was stopped; {again}")
    if job.driver_exit_code == NOT_FOUND:
        raise StudyError(
            "the head node of the cluster has no command `study`; install this package on every "
            "node, and start Ray there with the folder of its commands on the PATH"
        )
    if job.driver_exit_code is None or job.driver_exit_code < 0:
        raise StudyError(f"{job_id} was lost ({shorten_error(job.message or '')}); {again}")
    return job.driver_exit_code
