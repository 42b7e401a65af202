"""Preemption notices of spot machines: watch for them, and pass them to Ray and to trainings."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from study.errors import InputError, StudyError

VARIABLE = "OLFACTION_NOTICE"
"""Environment variable with the path of the notice file."""

PREEMPTION_CAUSE = "its machine is about to be taken away"
"""Cause of a task that ended because of a notice; it resumes elsewhere from its checkpoint."""


class PreemptedError(StudyError):
    """A task ended early, with a checkpoint, since its machine is about to be taken away."""


def preemption_notice_file() -> Path:
    """Return the path of this machine's notice file. Default: in the temporary folder."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "olfaction-notice")


def preemption_noticed() -> bool:
    """Return whether this machine has a preemption notice."""
    return preemption_notice_file().exists()


AWS = "http://169.254.169.254"
GCP = "http://metadata.google.internal"
_TIMEOUT = 2.0
_GCP_SECONDS = 30
_log = logging.getLogger("study.executors.preemption")
# The metadata address is local to each machine: a proxy would return its own machine's notice.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Node:
    """A machine of a Ray cluster: the cluster's address and the machine's node id."""

    address: str
    id: str


def query_seconds_left(provider: str, url: str | None = None) -> int | None:
    """Query the provider's metadata service once for a preemption notice.

    Parameters
    ----------
    provider : {'aws', 'gcp'}
    url : str, optional
        Address of the metadata service. Default: the provider's.

    Returns
    -------
    int or None
        Seconds until this machine is taken away; None without a notice.

    Raises
    ------
    OSError
        Nothing answers at the address, or not as the provider does.
    """
    if provider == "aws":
        return _query_aws(url or AWS)
    if provider == "gcp":
        return _query_gcp(url or GCP)
    raise InputError(f"'{provider}' is no provider with spot notices; allowed: aws, gcp")


def _query_aws(url: str) -> int | None:
    """Query the instance metadata service, version 2, which needs a session token.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _fetch(f"{url}/latest/api/token", lifetime, method="PUT")
    page = f"{url}/latest/meta-data/spot/instance-action"
    answer = _fetch(page, {"X-aws-ec2-metadata-token": token or ""})
    if answer is None:
        return None
    deadline = datetime.fromisoformat(json.loads(answer)["time"])
    return max(0, round((deadline - datetime.now(UTC)).total_seconds()))


def _query_gcp(url: str) -> int | None:
    """Query whether the machine is preempted; it then has 30 seconds.

    Source: https://cloud.google.com/compute/docs/instances/create-use-preemptible
    """
    page = f"{url}/computeMetadata/v1/instance/preempted"
    answer = _fetch(page, {"Metadata-Flavor": "Google"})
    return _GCP_SECONDS if answer is not None and answer.strip() == "TRUE" else None


def _fetch(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """Return the content of a page; None if there is no such page."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310 (the metadata address, or the one the user gave)
    try:
        with _opener.open(request, timeout=_TIMEOUT) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return text


def find_this_node() -> Node | None:
    """Return this machine's node in its Ray cluster; None if Ray does not run here.

    Read from the command line of the raylet, so that no connection to the cluster is needed.
    """
    for arguments in _list_command_lines():
        if Path(arguments[0]).name == "raylet":
            options = dict(
                argument[2:].split("=", 1)
                for argument in arguments
                if argument[:2] == "--" and "=" in argument
            )
            return Node(options["gcs-address"], options["node_id"])
    return None


def _list_command_lines() -> Iterator[list[str]]:
    """Yield the command line of every process of this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_text(encoding="utf-8", errors="replace").split("\0")
        except OSError:
            continue  # the process has ended meanwhile
        yield arguments


def write_preemption_notice(seconds: int, node: Node | None) -> None:
    """Notify Ray, then the trainings of this machine, that it is taken away in `seconds`.

    Ray comes first: a task that ended before Ray knows would be restarted on the same machine.
    """
    file = preemption_notice_file()
    if node is None:
        _log.warning("Ray does not run here: nothing to drain")
    elif problem := _drain(node, seconds):
        _log.error(
            "Ray may start tasks on this machine that will be lost (%s); trainings are notified",
            problem,
        )
    file.write_text(f"{seconds} s from {datetime.now(UTC).isoformat()}\n", encoding="utf-8")
    _log.warning("notice: this machine is taken away in %d s (%s)", seconds, file)


def _drain(node: Node, seconds: int) -> str | None:
    """Stop Ray from starting tasks on a machine; return the reason if that fails."""
    program = str(Path(sys.executable).with_name("ray"))
    options = {
        "--address": node.address,
        "--node-id": node.id,
        "--reason": "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message": "spot notice",
        "--deadline-remaining-seconds": str(seconds),
    }
    arguments = [argument for option in options.items() for argument in option]
    timeout = max(1.0, seconds / 4)  # the rest is left for trainings to finish their epochs
    try:
        process = subprocess.run(  # noqa: S603 (Ray's own program; no argument is a user's)
            [program, "drain-node", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {timeout:g} s"
    except OSError as error:
        return str(error)
    if process.returncode:
        ended = f"'ray drain-node' ended with exit code {process.returncode}"
        return process.stderr.strip()[-300:] or ended
    return None


def watch_for_preemption(
    provider: Annotated[str, typer.Option(help="aws or gcp")] = "aws",
    url: Annotated[str | None, typer.Option(help="Address of the metadata service.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between two queries.", min=0.1)] = 5.0,
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster. Default: that of this machine.")
    ] = None,
    node_id: Annotated[
        str | None, typer.Option(help="Node id of this machine in the Ray cluster.")
    ] = None,
) -> None:
    """Wait for a preemption notice of this machine, pass it to Ray and to trainings, and exit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    preemption_notice_file().unlink(missing_ok=True)  # left from before a restart of the machine
    answered = True
    while True:
        try:
            seconds = query_seconds_left(provider, url)
        except OSError as error:
            if answered:  # warn once, not at every query
                _log.warning(
                    "the metadata service does not answer (%s); trying again every %g s",
                    error,
                    every,
                )
            answered = False
        else:
            answered = True
            if seconds is not None:
                node = Node(address, node_id) if address and node_id else find_this_node()
                write_preemption_notice(seconds, node)
                return
        time.sleep(every)


if __name__ == "__main__":
    typer.run(watch_for_preemption)
