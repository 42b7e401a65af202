"""Write a study as a RayJob of KubeRay (``ray.io/v1``) for ``kubectl apply``."""

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
"""Folder at which the pods mount the shared volume."""
TOKEN, VARIABLES = "olfaction-token", "olfaction-variables"
"""Names of the Secrets with the cluster's token and with the user's variables."""
PAGES = "MLFLOW_TRACKING_URI"
CPUS, WAIT = 8, 30
"""CPUs of a worker pod without a GPU (more if one trial needs more); minutes to wait for a GPU."""
_TEMPLATE = "kuberay.yaml.j2"
_CREDENTIALS = "a password in run.tracking would be visible in the manifest; write ${NAME} instead"


def build_manifest(bundle: JobBundle, launch: Sequence[str] = ()) -> str:
    """Build the manifest of a study: its file and plug-ins as a ConfigMap, and the RayJob.

    Parameters
    ----------
    bundle : JobBundle
        The study; its variables become references to a Secret.
    launch : sequence of str
        Further options of ``study launch``.

    Raises
    ------
    InputError
        A pod would lack something (a local file, storage that is not mounted), or a password
        would be visible in the manifest.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    _check_bundle(bundle)
    pod_bundle = replace(bundle, sections=_build_pod_sections(bundle))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 (the page is YAML, not HTML: its filters quote values)
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": quoted, "literal": literal}
    command = ["python", "-m", "study", "launch", f"/study/{pod_bundle.name}", "--address", "auto"]
    return environment.get_template(_TEMPLATE).render(
        study=pod_bundle.spec.name,
        job=_build_job_name(pod_bundle),
        file=pod_bundle.name,
        text=pod_bundle.text,
        plugins={
            name: path.read_text(encoding="utf-8") for name, path in pod_bundle.plugins.items()
        },
        entrypoint=" ".join([*command, *launch]),
        variables=list(pod_bundle.variables),
        pages=_find_public_tracking_uri(pod_bundle),
        groups=_build_worker_groups(pod_bundle.spec.run),
        ray_version=version("ray"),
        shared=SHARED,
        token_secret=TOKEN,
        variables_secret=VARIABLES,
        pages_variable=PAGES,
    )


def quoted(text: str) -> str:
    """Format a text as a YAML string in double quotes, on one line."""
    return _format_scalar(text, '"')


def literal(text: str, indent: int) -> str:
    """Format a text as a YAML block, or in double quotes where a block would change it."""
    block = _format_scalar(text, "|")
    if not block.startswith("|\n"):  # it has control characters, or begins or ends with spaces
        return quoted(text)
    return block.replace("\n  ", "\n" + indent * " ")


def _format_scalar(text: str, style: str) -> str:
    written = yaml.safe_dump(text, default_style=style, allow_unicode=True, width=math.inf)
    return written.rstrip("\n")


def _check_bundle(bundle: JobBundle) -> None:
    """Reject storage and files that a pod would not have, and passwords."""
    storage, tracking = bundle.spec.run.storage, bundle.sections.get("run", {}).get("tracking")
    if "://" not in storage and not f"{storage}/".startswith(f"{SHARED}/"):
        raise InputError(
            f"run.storage is '{storage}', but the pods mount their shared volume at {SHARED}; "
            f"give a folder below it or a URL, for example --storage {SHARED}/studies"
        )
    if bundle.files:
        raise InputError(
            f"'{next(iter(bundle.files))}' is a file of this machine, which a manifest cannot "
            f"carry: copy it to the shared volume and give its path there ({SHARED}/...)"
        )
    if tracking and urlsplit(str(tracking)).password and "${" not in str(tracking):
        raise InputError(f"{_CREDENTIALS}, set NAME here and in the Secret '{VARIABLES}'")


def _build_pod_sections(bundle: JobBundle) -> dict[str, Any]:
    """Return the study file for the pods: tracking from a variable, time for an autoscaler."""
    # Starting a node takes minutes, so a launch in a pod waits for machines by default.
    run = {"wait": WAIT, **bundle.sections.get("run", {})}
    if bundle.spec.run.tracking and "${" not in str(run["tracking"]):
        run["tracking"] = f"${{{PAGES}}}"
    run.pop("address", None)
    return {**bundle.sections, "run": run}


def _build_job_name(bundle: JobBundle) -> str:
    """Return the name of the job and its ConfigMap; KubeRay allows 47 characters."""
    name = bundle.spec.name.replace("_", "-")
    return f"study-{name[:28].strip('-')}-{bundle.digest[:8]}"


def _find_public_tracking_uri(bundle: JobBundle) -> str | None:
    """Return the tracking URI; None if there is none or it contains secret variables."""
    raw_uri = str(bundle.sections["run"].get("tracking"))
    secret = any(f"${{{name}}}" in raw_uri for name in bundle.variables)
    return None if secret or PAGES in bundle.variables else bundle.spec.run.tracking


def _build_worker_groups(run: RunConfig) -> list[dict[str, str | int]]:
    """Return the worker groups: one without GPUs and, if the study uses GPUs, one with them.

    ``least`` is the number of pods that stay up even when there is no work.
    """
    cpus = max(CPUS, math.ceil(run.cpus_per_trial))
    memory = _estimate_memory(int(cpus / run.cpus_per_trial))
    groups: list[dict[str, str | int]] = [
        {"name": "cpu", "cpus": cpus, "gigabytes": memory, "gpus": 0, "least": 1}
    ]
    if run.gpus_per_worker:
        processes = math.floor(1 / run.gpus_per_worker + 1e-9)
        cpus, memory = math.ceil(run.cpus_per_trial * processes), _estimate_memory(processes)
        groups.append({"name": "gpu", "cpus": cpus, "gigabytes": memory, "gpus": 1, "least": 0})
    return groups


def _estimate_memory(processes: int) -> int:
    """Return the memory of a worker pod in GiB: 3 a process, and 4 for Ray's object store."""
    return 4 + 3 * processes
