"""A study as a RayJob of KubeRay (``ray.io/v1``), printed for ``kubectl apply``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import yaml

from study.errors import InputError
from study.kuberay_pods import (
    CLAIM,
    PAGES,
    SHARED,
    VARIABLES,
    Manifest,
    Rented,
    gigabytes_of,
    on_spot,
    pod_of,
)
from study.parcel import Parcel

TOKEN = "olfaction-token"  # noqa: S105 (the name of a Secret, not what it holds)
"""The Secret of the token of the clusters."""
CPUS, WAIT = 8, 30
"""CPUs of a worker without a GPU (more if one trial needs more); minutes to wait for a GPU."""
RETRIES, MOST_WORKERS, KEPT = 5, 8, 3600
_CREDENTIALS = "a password in run.tracking would stand in the manifest; write ${NAME} there"


def manifest(parcel: Parcel, launch: Sequence[str] = ()) -> str:
    """Return the manifest of a study: the study file as a ConfigMap, and the job.

    Parameters
    ----------
    parcel : Parcel
        The study; its variables become references to a Secret.
    launch : sequence of str
        Further options of ``study launch``.

    Raises
    ------
    InputError
        Something would not be there in a pod: a local file, storage that is not mounted; or a
        password would stand in the manifest.
    """
    _check(parcel)
    rented = Rented(replace(parcel, sections=_settled(parcel)), launch)
    parts = [_config_map(rented), _job(rented)]
    return _head_note(rented) + "---\n".join(
        yaml.safe_dump(part, sort_keys=False, width=100, allow_unicode=True) for part in parts
    )


def _check(parcel: Parcel) -> None:
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


def _settled(parcel: Parcel) -> dict[str, Any]:
    """Return the study file as the pods read it: pages by a variable, patience for machines."""
    run = {"wait": WAIT, **parcel.sections.get("run", {})}
    if parcel.spec.run.tracking and "${" not in str(run["tracking"]):
        run["tracking"] = f"${{{PAGES}}}"
    run.pop("address", None)
    return {**parcel.sections, "run": run}


def _config_map(rented: Rented) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": rented.name},
        "data": {rented.parcel.name: rented.parcel.text},
    }


def _job(rented: Rented) -> Manifest:
    launch = ["python", "-m", "study", "launch", f"/study/{rented.parcel.name}"]
    pip = {
        "packages": [f"{SHARED}/olfaction-study"],
        "pip_install_options": ["--constraint", f"{SHARED}/olfaction-study/constraints.txt"],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": rented.name},
        "spec": {
            "entrypoint": " ".join([*launch, "--address", "auto", *rented.launch]),
            "runtimeEnvYAML": yaml.safe_dump({"pip": pip}, sort_keys=False),
            "backoffLimit": RETRIES,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT,
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token", "secretName": TOKEN},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {"idleTimeoutSeconds": 1800, "upscalingMode": "Default"},
                "headGroupSpec": {
                    "serviceType": "ClusterIP",
                    "rayStartParams": {"num-cpus": "0"},
                    "template": pod_of(rented, "ray-head", cpus=4, gigabytes=16),
                },
                "workerGroupSpecs": _workers(rented),
            },
        },
    }


def _workers(rented: Rented) -> list[Manifest]:
    """Return the groups of workers: spot machines, as many as the work needs."""
    cpus = max(CPUS, math.ceil(rented.cpus))
    pod = pod_of(rented, "ray-worker", cpus=cpus, gigabytes=gigabytes_of(int(cpus / rented.cpus)))
    groups = [_group("cpu", on_spot(pod), least=1)]
    if rented.per_gpu:
        cpus = math.ceil(rented.cpus * rented.per_gpu)
        pod = pod_of(
            rented, "ray-worker", cpus=cpus, gigabytes=gigabytes_of(rented.per_gpu), gpus=1
        )
        groups.append(_group("gpu", on_spot(pod, gpu=True), least=0))
    return groups


def _group(name: str, pod: Manifest, *, least: int) -> Manifest:
    return {
        "groupName": name,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": MOST_WORKERS,
        "rayStartParams": {},
        "template": pod,
    }


def _head_note(rented: Rented) -> str:
    """Say what the cluster must have, and what to do with the manifest."""
    keys = "".join(f" --from-literal={key}=..." for key in rented.parcel.variables)
    lines = [
        f"The study '{rented.parcel.spec.name}' for KubeRay 1.6 or newer. Once, in its namespace:",
        f"- a volume that every node may write (ReadWriteMany), claimed as '{CLAIM}'; on it this",
        "  project in olfaction-study/, archives in data/, weights in weights/;",
        f"- the token: kubectl create secret generic {TOKEN} --from-literal=auth_token=$(openssl "
        "rand -hex 32)",
        *([f"- kubectl create secret generic {VARIABLES}{keys}"] if keys else []),
        "Then: kubectl apply -f FILE; kubectl logs -f -l job-name=" + rented.name,
        f"An attempt that ends badly is followed by up to {RETRIES} more, each on a new cluster; "
        "finished trials",
        "lie on the volume and are not run again. Later: kubectl replace --force -f FILE goes on.",
        "An image of your own with the project in it starts faster than runtimeEnvYAML.",
    ]
    return "".join(f"# {line}\n" for line in lines)
