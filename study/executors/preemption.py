"""Preemption notices of spot machines: watch for them, tell Ray and the trainings."""

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

LEAVING = "its machine is about to be taken away"
"""Cause of a task that gave way to the notice: it goes on elsewhere from its checkpoint."""


class PreemptedError(StudyError):
    """A task ends early, with its state kept, since its machine is about to be taken away."""


def preemption_notice_file() -> Path:
    """Return where a notice lies on this machine; without the variable in the temporary folder."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "olfaction-notice")


def preemption_noticed() -> bool:
    """Return whether there is a notice."""
    return preemption_notice_file().exists()


AWS = "http://169.254.169.254"
GCP = "http://metadata.google.internal"
_TIMEOUT = 2.0
_GCP_SECONDS = 30
_log = logging.getLogger("study.executors.preemption")
# the address is one of this machine's own network; a proxy would ask for its own notice
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Node:
    """A machine of a Ray cluster: the cluster's address and the machine's id in it."""

    address: str
    id: str


def seconds_left(provider: str, url: str | None = None) -> int | None:
    """Ask the provider once.

    Parameters
    ----------
    provider : {'aws', 'gcp'}
    url : str, optional
        Where its metadata are served; without it the provider's own address.

    Returns
    -------
    int or None
        Seconds until this machine is taken away; None without a notice.

    Raises
    ------
    OSError
        Nothing answers there, or not as the provider does.
    """
    if provider == "aws":
        return _aws(url or AWS)
    if provider == "gcp":
        return _gcp(url or GCP)
    raise InputError(f"'{provider}' is no provider with spot notices; allowed: aws, gcp")


def _aws(url: str) -> int | None:
    """Ask the instance metadata service, version 2: a token first.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _ask(f"{url}/latest/api/token", lifetime, method="PUT")
    place = f"{url}/latest/meta-data/spot/instance-action"
    answer = _ask(place, {"X-aws-ec2-metadata-token": token or ""})
    if answer is None:
        return None
    told = datetime.fromisoformat(json.loads(answer)["time"])
    return max(0, round((told - datetime.now(UTC)).total_seconds()))


def _gcp(url: str) -> int | None:
    """Ask whether the machine is preempted; it has 30 seconds then.

    Source: https://cloud.google.com/compute/docs/instances/create-use-preemptible
    """
    place = f"{url}/computeMetadata/v1/instance/preempted"
    answer = _ask(place, {"Metadata-Flavor": "Google"})
    return _GCP_SECONDS if answer is not None and answer.strip() == "TRUE" else None


def _ask(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """Return what a page says; None if there is no such page."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310 (an address of this machine's network, or the one that was given)
    try:
        with _opener.open(request, timeout=_TIMEOUT) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return text


def find_this_node() -> Node | None:
    """Return the machine that this one is in its Ray cluster; None if Ray does not run here."""
    for words in _commands():
        if Path(words[0]).name == "raylet":
            options = dict(
                word[2:].split("=", 1) for word in words if word[:2] == "--" and "=" in word
            )
            return Node(options["gcs-address"], options["node_id"])
    return None


def _commands() -> Iterator[list[str]]:
    """Give the command line of every process of this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_text(encoding="utf-8", errors="replace").split("\0")
        except OSError:
            continue  # ended meanwhile
        yield words


def write_preemption_notice(seconds: int, node: Node | None) -> None:
    """Tell Ray, then the trainings of this machine, that it is taken away in so many seconds.

    Ray first: a training that leaves before Ray knows would begin anew on the same machine.
    """
    file = preemption_notice_file()
    if node is None:
        _log.warning("Ray does not run here: nothing to drain")
    elif trouble := _drain(node, seconds):
        _log.error("Ray may begin work here that is lost (%s); trainings are told", trouble)
    file.write_text(f"{seconds} s from {datetime.now(UTC).isoformat()}\n", encoding="utf-8")
    _log.warning("notice: this machine is taken away in %d s (%s)", seconds, file)


def _drain(node: Node, seconds: int) -> str | None:
    """Let Ray begin nothing more on a machine; return why it does not, None if it obeys."""
    program = str(Path(sys.executable).with_name("ray"))
    options = {
        "--address": node.address,
        "--node-id": node.id,
        "--reason": "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message": "spot notice",
        "--deadline-remaining-seconds": str(seconds),
    }
    words = [word for option in options.items() for word in option]
    longest = max(1.0, seconds / 4)  # the rest is for the trainings to end their epochs in
    try:
        done = subprocess.run(  # noqa: S603 (Ray's own program, and words that are no user's)
            [program, "drain-node", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=longest,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {longest:g} s"
    except OSError as error:
        return str(error)
    if done.returncode:
        return done.stderr.strip()[-300:] or f"'ray drain-node' ended with {done.returncode}"
    return None


def watch_for_preemption(
    provider: Annotated[str, typer.Option(help="aws or gcp")] = "aws",
    url: Annotated[str | None, typer.Option(help="Where its metadata are served.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between two questions.", min=0.1)] = 5.0,
    address: Annotated[str | None, typer.Option(help="Ray's address, if not found.")] = None,
    node_id: Annotated[str | None, typer.Option(help="Ray's id of this machine.")] = None,
) -> None:
    """Wait for the notice that this machine is about to be taken away, pass it on, and end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    preemption_notice_file().unlink(missing_ok=True)  # of an earlier life of this machine
    answered = True
    while True:
        try:
            seconds = seconds_left(provider, url)
        except OSError as error:
            if answered:
                _log.warning("no answer about notices (%s); asked again every %g s", error, every)
            answered = False
        else:
            answered = True
            if seconds is not None:
                given = Node(address, node_id) if address and node_id else find_this_node()
                write_preemption_notice(seconds, given)
                return
        time.sleep(every)


if __name__ == "__main__":
    typer.run(watch_for_preemption)
