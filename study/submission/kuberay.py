"""A study as a RayJob of KubeRay (``ray.io/v1``), printed for ``kubectl apply``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from study.config.study import RunConfig
from study.errors import InputError
from study.submission.bundle import JobBundle

SHARED = "/shared"
"""Where the pods mount the shared volume."""
TOKEN, VARIABLES = "olfaction-token", "olfaction-variables"
"""The Secrets of the clusters' token and of the user's variables."""
PAGES = "MLFLOW_TRACKING_URI"
CPUS, WAIT = 8, 30
"""CPUs of a worker without a GPU (more if one trial needs more); minutes to wait for a GPU."""
_TEMPLATE = "kuberay.yaml.j2"
_CREDENTIALS = "a password in run.tracking would stand in the manifest; write ${NAME} there"


def build_manifest(parcel: JobBundle, launch: Sequence[str] = ()) -> str:
    """Return the manifest of a study: the study file as a ConfigMap, and the job.

    Parameters
    ----------
    parcel : JobBundle
        The study; its variables become references to a Secret.
    launch : sequence of str
        Further options of ``study launch``.

    Raises
    ------
    InputError
        A pod would lack something: a local file, storage that is not mounted. Or a password
        would stand in the manifest.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    _check(parcel)
    sent = replace(parcel, sections=_sections_in_pods(parcel))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 (the page is YAML, not HTML: its filters quote values)
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": quoted, "literal": literal}
    command = ["python", "-m", "study", "launch", f"/study/{sent.name}", "--address", "auto"]
    return environment.get_template(_TEMPLATE).render(
        study=sent.spec.name,
        job=_job_name(sent),
        file=sent.name,
        text=sent.text,
        entrypoint=" ".join([*command, *launch]),
        variables=list(sent.variables),
        pages=_plain_pages(sent),
        groups=_worker_groups(sent.spec.run),
        ray_version=version("ray"),
        shared=SHARED,
        token_secret=TOKEN,
        variables_secret=VARIABLES,
        pages_variable=PAGES,
    )


def quoted(text: str) -> str:
    """Return a text as a YAML string in double quotes, on one line."""
    return _scalar(text, '"')


def literal(text: str, indent: int) -> str:
    """Return a text as a YAML block, in double quotes where a block would change it."""
    block = _scalar(text, "|")
    if not block.startswith("|\n"):  # it has control characters, or begins or ends with spaces
        return quoted(text)
    return block.replace("\n  ", "\n" + indent * " ")


def _scalar(text: str, style: str) -> str:
    written = yaml.safe_dump(text, default_style=style, allow_unicode=True, width=math.inf)
    return written.rstrip("\n")


def _check(parcel: JobBundle) -> None:
    """Refuse what a pod would not have, and a password."""
    storage, tracking = parcel.spec.run.storage, parcel.sections.get("run", {}).get("tracking")
    if "://" not in storage and not f"{storage}/".startswith(f"{SHARED}/"):
        raise InputError(
            f"run.storage is '{storage}', but the pods mount their shared volume at {SHARED}; "
            f"give a folder below it or a URL, for example --storage {SHARED}/studies"
        )
    if parcel.files:
        raise InputError(
            f"'{next(iter(parcel.files))}' is a file of this machine, which a manifest cannot "
            f"carry: copy it to the shared volume and give its path there ({SHARED}/...)"
        )
    if tracking and urlsplit(str(tracking)).password and "${" not in str(tracking):
        raise InputError(f"{_CREDENTIALS}, set NAME here and in the Secret '{VARIABLES}'")


def _sections_in_pods(parcel: JobBundle) -> dict[str, Any]:
    """Return the study file for the pods: tracking from a variable, time for an autoscaler."""
    run = {"wait": WAIT, **parcel.sections.get("run", {})}
    if parcel.spec.run.tracking and "${" not in str(run["tracking"]):
        run["tracking"] = f"${{{PAGES}}}"
    run.pop("address", None)
    return {**parcel.sections, "run": run}


def _job_name(parcel: JobBundle) -> str:
    """Return the name of the job and its ConfigMap; KubeRay takes 47 characters."""
    words = parcel.spec.name.replace("_", "-")
    return f"study-{words[:28].strip('-')}-{parcel.digest[:8]}"


def _plain_pages(parcel: JobBundle) -> str | None:
    """Return the tracking address, None if there is none or it is made of secret variables."""
    written = str(parcel.sections["run"].get("tracking"))
    secret = any(f"${{{name}}}" in written for name in parcel.variables)
    return None if secret or PAGES in parcel.variables else parcel.spec.run.tracking


def _worker_groups(run: RunConfig) -> list[dict[str, str | int]]:
    """Return the groups of workers: one without GPUs, and one with a GPU a pod if asked for.

    ``least`` is the number of pods that are kept even when there is no work.
    """
    cpus = max(CPUS, math.ceil(run.cpus_per_trial))
    memory = _gigabytes(int(cpus / run.cpus_per_trial))
    groups: list[dict[str, str | int]] = [
        {"name": "cpu", "cpus": cpus, "gigabytes": memory, "gpus": 0, "least": 1}
    ]
    if run.gpus_per_worker:
        processes = math.floor(1 / run.gpus_per_worker + 1e-9)
        cpus, memory = math.ceil(run.cpus_per_trial * processes), _gigabytes(processes)
        groups.append({"name": "gpu", "cpus": cpus, "gigabytes": memory, "gpus": 1, "least": 0})
    return groups


def _gigabytes(processes: int) -> int:
    """Return the memory of a worker: 3 GiB a process, and what Ray keeps for objects."""
    return 4 + 3 * processes
