"""A study as a job of a Ray cluster: submitted once, followed, left running and joined again."""

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
_BEGINS = re.compile(r"^Running entrypoint for job .*\n", re.MULTILINE)
"""The last line that Ray writes to the log of a job before the job's own first line."""
_SHORTEST, _LONGEST = 0.5, 5.0
"""Seconds between two questions about a job."""
_PATIENCE = 300.0
"""Seconds without an answer after which following ends: a laptop slept, a tunnel broke."""
_HOW = (
    "an address looks like http://127.0.0.1:8265, a tunnel to the head of the cluster "
    "(`ray dashboard ray_cluster.yaml` opens it)"
)

Say = Callable[[str], None]
_T = TypeVar("_T")


class UnreachableError(StudyError, RuntimeError):
    """The job server does not answer, or cannot answer this."""


class TokenRefusedError(InputError):
    """The job server asks for a token, or refuses the given one."""


@dataclass(frozen=True)
class JobServer:
    """The job server of a Ray cluster.

    Attributes
    ----------
    url : str
    token : str or None
    timeout : float
        Seconds that an answer may take; an upload takes as long as it takes.
    """

    url: str
    token: str | None = None
    timeout: float = 30.0

    @cached_property
    def client(self) -> JobSubmissionClient:
        """Ray's client of this server; creating it sends a first request.

        RAY_API_SERVER_ADDRESS and RAY_ADDRESS override the address that a client is given, so
        they are hidden from it. The header is set even without a token, because Ray's client
        would look for one itself: `connect_to_jobs` asks first whether the cluster answers without.
        """
        set_defaults()
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # "Uploading package ..." stays off the screen
        elsewhere = {
            name: os.environ.pop(name)
            for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
            if name in os.environ
        }
        header = f"Bearer {self.token}" if self.token else ""
        try:
            return JobSubmissionClient(self.url, headers={"Authorization": header})
        finally:
            os.environ.update(elsewhere)

    def jobs(self) -> list[JobDetails]:
        """Return every submitted job that the server knows."""
        return [job for job in self._ask(lambda client: client.list_jobs()) if job.submission_id]

    def job(self, job_id: str) -> JobDetails | None:
        """Return a job; None if the server does not know it (a head that was started anew)."""
        try:
            return self._ask(lambda client: client.get_job_info(job_id))
        except UnreachableError:  # Ray's client raises the same error for an unknown job
            if any(job.submission_id == job_id for job in self.jobs()):
                raise
            return None

    def logs(self, job_id: str) -> str:
        """Return everything a job has printed so far, without what Ray writes before."""
        text = self._ask(lambda client: client.get_job_logs(job_id)) or ""
        begins = _BEGINS.search(text)
        return text[begins.end() :] if begins else ""

    def begin(
        self, job_id: str, command: Sequence[str], folder: Path, variables: Mapping[str, str]
    ) -> None:
        """Upload a working directory and start a command in it."""
        self._ask(
            lambda client: client.submit_job(
                entrypoint=shlex.join(command),
                submission_id=job_id,
                runtime_env={"working_dir": str(folder), "env_vars": dict(variables)},
            ),
            bounded=False,
        )

    def _ask(self, question: Callable[[JobSubmissionClient], _T], *, bounded: bool = True) -> _T:
        """Return an answer. Ray's client has no timeout, so it is asked in a thread."""
        set_defaults()
        from ray.exceptions import AuthenticationError

        answer = run_in_thread(lambda: question(self.client), "job server")
        try:
            return answer.result(self.timeout if bounded else None)
        except AuthenticationError:
            raise TokenRefusedError(
                f"the cluster at {self.url} refuses the token; copy the token file of its head "
                "(~/.ray/auth_token) here, or name it with RAY_AUTH_TOKEN_PATH"
            ) from None
        except RuntimeError as error:
            raise UnreachableError(
                f"the job server at {self.url} says {shorten_error(str(error))}"
            ) from error
        except (OSError, ValueError, LookupError) as error:
            cause = str(error) or f"no answer in {self.timeout:g} seconds"
            raise UnreachableError(f"no job server answers at {self.url} ({cause})") from error


def connect_to_jobs(address: str) -> JobServer:
    """Return the job server at an address: it answers, asks for a token, and accepts ours.

    Raises
    ------
    InputError
        One of these does not hold; the message says what to do.
    """
    url = _url(address)
    server = JobServer(url)
    try:
        check_reachable(url)
        server.jobs()
    except TokenRefusedError:
        server = JobServer(url, _token())
        server.jobs()
        return server
    except (OSError, ValueError, UnreachableError) as error:
        raise InputError(f"no job server answers at {url} ({error}); {_HOW}") from error
    _check_open(url)
    return server


def _url(address: str) -> str:
    full = address if "://" in address else f"http://{address}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
        raise InputError(f"'{address}' is no address of a job server; {_HOW}")
    return full.rstrip("/")


def is_unencrypted(url: str) -> bool:
    """Whether the token would cross a network unencrypted on the way to a job server."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "::1") or str(parts.hostname).startswith("127.")
    return parts.scheme == "http" and not local


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
        return _one_word(given, "RAY_AUTH_TOKEN")
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
    return _one_word(token, str(file))


def _one_word(token: str, place: str) -> str:
    """Refuse a token that fits no HTTP header, whose error message would show the token."""
    if not re.fullmatch("[!-~]+", token):
        raise InputError(
            f"the token in {place} must be one word of ASCII characters; copy that of the "
            "cluster's head here"
        )
    return token


def require_extra(package: str, extra: str, what: str) -> None:
    """Check that everything which an extra of a library asks for is installed.

    Parameters
    ----------
    package, extra : str
        ``ray`` and ``default`` for ``ray[default]``.
    what : str
        What needs it, for the message.

    Raises
    ------
    InputError
        Something is missing, with the command that installs it.
    """
    asked = [Requirement(text) for text in distribution(package).requires or ()]
    names = {r.name for r in asked if r.marker is not None and r.marker.evaluate({"extra": extra})}
    lacking = [name for name in sorted(names) if not _installed(name)]
    if lacking:
        raise InputError(
            f"{what} needs {', '.join(lacking)}; install with: "
            f'pip install "{package}[{extra}]=={distribution(package).version}"'
        )


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class Submission:
    """A study for a cluster, and its attempts there.

    Attributes
    ----------
    parcel : JobBundle
    server : JobServer
    launch : sequence of str
        Further options of the ``study launch`` that runs there.
    """

    parcel: JobBundle
    server: JobServer
    launch: Sequence[str] = ()

    @property
    def stem(self) -> str:
        """Submission id without the attempt: the study's name and content."""
        return f"study-{self.parcel.spec.name}-{self.parcel.digest[:10]}"

    def latest(self) -> JobDetails | None:
        """Return the last attempt at this study, None if there is none."""
        attempts = [job for job in self.server.jobs() if self._attempt(job)]
        return max(attempts, key=self._attempt, default=None)

    def next_id(self) -> str:
        """Return the submission id of the next attempt."""
        latest = self.latest()
        return f"{self.stem}-{1 + (self._attempt(latest) if latest else 0)}"

    def _attempt(self, job: JobDetails) -> int:
        """Return the number of an attempt, 0 for a job of something else."""
        stem, _, number = str(job.submission_id).rpartition("-")
        return int(number) if stem == self.stem and number.isdecimal() else 0


def submit_study(
    parcel: JobBundle, address: str, say: Say, *, launch: Sequence[str] = (), follow: bool = True
) -> int:
    """Submit a study, or join it where it runs, and follow it to its end.

    Parameters
    ----------
    parcel : JobBundle
        The study.
    address : str
        Of the job server.
    say : function of str
        Takes text to be shown, with its line ends.
    launch : sequence of str
        Further options of ``study launch``.
    follow : bool
        Wait and show what the job prints.

    Returns
    -------
    int
        Exit code of the job: as of ``study launch``; 0 if it was not followed, 130 if it was left.

    Raises
    ------
    InputError
        The job server cannot be used; the message says what to do.
    StudyError
        The job could not be begun.
    """
    require_extra("ray", "default", "`ray job submit`")
    submission = Submission(parcel, connect_to_jobs(address), launch)
    server = submission.server
    if is_unencrypted(server.url):
        say(
            "note: the token crosses the network unencrypted; a tunnel (`ray dashboard`) hides it\n"
        )
    job_id = _running(submission, say) or _begin(submission, say)
    if not follow:
        say(_left(job_id, server.url))
        return 0
    try:
        return _follow(server, job_id, say)
    except KeyboardInterrupt:
        say(f"\nleft; {job_id} goes on\n{_left(job_id, server.url)}")
        return INTERRUPTED


def _running(submission: Submission, say: Say) -> str | None:
    """Return the submission id of the attempt that still runs, None if none does."""
    latest = submission.latest()
    if latest is None or latest.status.is_terminal():
        return None
    say(f"joining {latest.submission_id}, which runs already\n")
    return latest.submission_id


def _begin(submission: Submission, say: Say) -> str:
    """Upload the study and start it; return its submission id."""
    job_id, parcel = submission.next_id(), submission.parcel
    command = ["study", "launch", parcel.name, "--address", "auto", *submission.launch]
    with tempfile.TemporaryDirectory(prefix="study-submit-") as scratch:
        folder = Path(scratch)
        parcel.write(folder)
        variables = {"PYTHONUNBUFFERED": "1", **write_private_environment(folder, parcel.variables)}
        try:
            submission.server.begin(job_id, command, folder, variables)
        except UnreachableError as error:
            if submission.server.job(job_id) is None:
                raise StudyError(f"`ray job submit` failed: {error}") from error
            say(f"joining {job_id}, which was submitted at the same moment\n")
            return job_id
    say(f"submitted {parcel.spec.name} as {job_id}\n")
    return job_id


def _left(job_id: str, url: str) -> str:
    """Say how to join a job again, and how to stop it."""
    at = f"--address {shlex.quote(url)}"
    return (
        "the same `study submit` follows it again; "
        f"`RAY_AUTH_MODE=token ray job stop {job_id} {at}` stops it\n"
    )


def _follow(server: JobServer, job_id: str, say: Say) -> int:
    """Show what a job prints until it ends; return its exit code."""
    shown, pause, answered = 0, _SHORTEST, time.monotonic()
    while True:
        try:
            job = server.job(job_id)  # asked first: what it printed before it ended is complete
            text = server.logs(job_id) if job else ""
        except UnreachableError as error:
            if time.monotonic() - answered > _PATIENCE:
                raise StudyError(
                    f"{error} for {_PATIENCE / 60:.0f} minutes; the job goes on as long as its "
                    "head lives: the same `study submit` follows it again"
                ) from error
            pause = _LONGEST
        else:
            answered = time.monotonic()
            if len(text) > shown:
                say(text[shown:])
            pause = _SHORTEST if len(text) > shown else min(_LONGEST, 1.5 * pause)
            shown = max(shown, len(text))
            if job is None or job.status.is_terminal():
                return _ended(job, job_id)
        time.sleep(pause)


def _ended(job: JobDetails | None, job_id: str) -> int:
    """Return the exit code of a job that runs no more.

    Raises
    ------
    StudyError
        It did not end by itself, with the reason; the same command goes on with what is missing.
    """
    again = "the same `study submit` runs what is missing"
    if job is None:
        raise StudyError(f"the cluster knows {job_id} no more (a new head?); {again}")
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        raise StudyError(f"{job_id} was stopped; {again}")
    if job.driver_exit_code == NOT_FOUND:
        raise StudyError(
            "the head of the cluster has no command `study`; install this project on every node, "
            "and start Ray there with its folder of programs on the PATH"
        )
    if job.driver_exit_code is None or job.driver_exit_code < 0:
        raise StudyError(f"{job_id} was lost ({shorten_error(job.message or '')}); {again}")
    return job.driver_exit_code
