"""A study as a job of a Ray cluster: submitted once, followed, left and joined again."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.errors import StudyError
from study.extras import require_extra
from study.job_server import Job, JobServer, UnreachableError, connect, in_the_clear
from study.parcel import Parcel
from study.private_environment import write_private

INCOMPLETE, INTERRUPTED, NOT_FOUND = 3, 130, 127
_BEGINS = re.compile(r"^Running entrypoint for job .*\n", re.MULTILINE)
"""The last line that Ray writes before the first one of a study."""
_SHORTEST, _LONGEST = 0.5, 5.0
_PATIENCE = 300.0
"""Seconds without an answer after which following ends: a laptop slept, a tunnel broke."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Submission:
    """One attempt at a study on a cluster.

    Attributes
    ----------
    parcel : Parcel
    server : JobServer
    launch : sequence of str
        Further options of the ``study launch`` that runs there.
    """

    parcel: Parcel
    server: JobServer
    launch: Sequence[str] = ()

    @property
    def stem(self) -> str:
        """Submission id without the attempt: the study's name and content."""
        return f"study-{self.parcel.spec.name}-{self.parcel.digest[:10]}"

    def latest(self) -> Job | None:
        """Return the last attempt at this study, None if there is none."""
        attempts = [job for job in self.server.jobs() if self._attempt(job)]
        return max(attempts, key=self._attempt, default=None)

    def next_id(self) -> str:
        """Return the submission id of the next attempt."""
        latest = self.latest()
        return f"{self.stem}-{1 + (self._attempt(latest) if latest else 0)}"

    def _attempt(self, job: Job) -> int:
        """Return the number of an attempt, 0 for the job of something else."""
        stem, _, number = job.id.rpartition("-")
        return int(number) if stem == self.stem and number.isdecimal() else 0


def submit(
    parcel: Parcel, address: str, say: Say, *, launch: Sequence[str] = (), follow: bool = True
) -> int:
    """Submit a study, or join it where it runs, and follow it to its end.

    Parameters
    ----------
    parcel : Parcel
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
    submission = Submission(parcel, connect(address), launch)
    if in_the_clear(submission.server.url):
        say(
            "note: the token crosses the network unencrypted; a tunnel (`ray dashboard`) hides it\n"
        )
    job_id = _running(submission, say) or _begin(submission, say)
    if not follow:
        say(_left(job_id, submission.server.url))
        return 0
    try:
        return _follow(submission.server, job_id, say)
    except KeyboardInterrupt:
        say(f"\nleft; {job_id} goes on\n{_left(job_id, submission.server.url)}")
        return INTERRUPTED


def _running(submission: Submission, say: Say) -> str | None:
    """Return the attempt that still runs, if one does."""
    latest = submission.latest()
    if latest is None or latest.ended:
        return None
    say(f"joining {latest.id}, which runs already\n")
    return latest.id


def _begin(submission: Submission, say: Say) -> str:
    """Upload the study and start it; return its submission id."""
    job_id = submission.next_id()
    with tempfile.TemporaryDirectory(prefix="study-submit-") as scratch:
        folder = Path(scratch) / "study"
        folder.mkdir()
        submission.parcel.write(folder)
        variables = write_private(folder, submission.parcel.variables)
        runtime = Path(scratch) / "runtime.json"
        runtime.write_text(json.dumps({"env_vars": {"PYTHONUNBUFFERED": "1", **variables}}))
        done = subprocess.run(  # noqa: S603 (Ray's own command line, of this environment)
            _command(submission, job_id, folder, runtime),
            env={**os.environ, "RAY_AUTH_MODE": "token" if submission.server.token else "disabled"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        say(f"submitted {submission.parcel.spec.name} as {job_id}\n")
        return job_id
    job = submission.server.job(job_id)
    if job is None:
        raise StudyError(f"`ray job submit` failed: {_last_line(done.stderr or done.stdout)}")
    say(f"joining {job_id}, which was submitted at the same moment\n")
    return job_id


def _command(submission: Submission, job_id: str, folder: Path, runtime: Path) -> list[str]:
    launch = ["study", "launch", submission.parcel.name, "--address", "auto", *submission.launch]
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--no-wait"),
        *("--address", submission.server.url, "--submission-id", job_id),
        *("--working-dir", str(folder), "--runtime-env", str(runtime), "--", *launch),
    ]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no reason given"


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
            text = _printed(server.logs(job_id))
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
            if job is None or job.ended:
                return _ended(job, job_id)
        time.sleep(pause)


def _printed(logs: str) -> str:
    """Return what the study has printed, without what Ray writes before."""
    begins = _BEGINS.search(logs)
    return logs[begins.end() :] if begins else ""


def _ended(job: Job | None, job_id: str) -> int:
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
    if job.exit_code == NOT_FOUND:
        raise StudyError(
            "the head of the cluster has no command `study`; install this project on every node, "
            "and start Ray there with its folder of programs on the PATH"
        )
    if job.exit_code is None or job.exit_code < 0:
        raise StudyError(f"{job_id} was lost ({_last_line(job.message)}); {again}")
    return job.exit_code
