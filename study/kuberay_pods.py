"""The pods that a study rents from Kubernetes: image, variables, volumes, spot machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from study.parcel import Parcel

SHARED = "/shared"
VARIABLES, CLAIM = "olfaction-variables", "olfaction-shared"
"""The Secret of the user's variables, and the claim of the shared volume."""
PAGES = "MLFLOW_TRACKING_URI"
_SPOT = (  # each provider marks its spot machines; a toleration without such machines does nothing
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
    ("spot", "true"),
)

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rented:
    """A study and the machines it is given.

    Attributes
    ----------
    parcel : Parcel
    launch : sequence of str
        Further options of ``study launch``.
    """

    parcel: Parcel
    launch: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Name of the job and its parts; KubeRay takes 47 characters."""
        words = self.parcel.spec.name.replace("_", "-")
        return f"study-{words[:28].strip('-')}-{self.parcel.digest[:8]}"

    @property
    def cpus(self) -> float:
        """CPUs of every process of the study."""
        return self.parcel.spec.run.cpus_per_trial

    @property
    def per_gpu(self) -> int:
        """Processes that share one GPU; 0 if the study wants none."""
        share = self.parcel.spec.run.gpus_per_worker
        return math.floor(1 / share + 1e-9) if share else 0


def pod_of(rented: Rented, name: str, *, cpus: int, gigabytes: int, gpus: int = 0) -> Manifest:
    """Return the template of a pod with these amounts, the study and the shared volume."""
    amount = {"cpu": str(cpus), "memory": f"{gigabytes}Gi"}
    amount |= {"nvidia.com/gpu": str(gpus)} if gpus else {}
    container = {
        "name": name,
        "image": f"rayproject/ray:{version('ray')}-py311-{'gpu' if gpus else 'cpu'}",
        "env": _environment(rented.parcel),
        "resources": {"requests": dict(amount), "limits": dict(amount)},
        "volumeMounts": [
            {"name": "shared", "mountPath": SHARED},
            {"name": "study", "mountPath": "/study", "readOnly": True},
        ],
    }
    volumes = [
        {"name": "shared", "persistentVolumeClaim": {"claimName": CLAIM}},
        {"name": "study", "configMap": {"name": rented.name}},
    ]
    # the group of the image's user, so that it may write to the volume
    return {
        "spec": {
            "securityContext": {"fsGroup": 100},
            "containers": [container],
            "volumes": volumes,
        }
    }


def gigabytes_of(processes: int) -> int:
    """Memory of a worker: 3 GiB a process, and what Ray keeps for objects."""
    return 4 + 3 * processes


def on_spot(pod: Manifest, *, gpu: bool = False) -> Manifest:
    """Let a pod run on spot machines, and on those that are kept for GPUs."""
    allowed = [
        {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
        for key, value in _SPOT
    ]
    if gpu:
        allowed.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    return {"spec": {**pod["spec"], "tolerations": allowed}}


def _environment(parcel: Parcel) -> list[Manifest]:
    """Return the variables of a container; those of the user only by reference."""
    plain = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
        "OLFACTION_ARCHIVE": f"{SHARED}/data",
        "OLFACTION_WEIGHTS": f"{SHARED}/weights",
    }
    pages = parcel.spec.run.tracking
    if pages and PAGES not in parcel.variables and not _secret(parcel):
        plain[PAGES] = pages
    given = [{"name": key, "value": value} for key, value in plain.items()]
    secret = [{"secretKeyRef": {"name": VARIABLES, "key": key}} for key in parcel.variables]
    named = zip(parcel.variables, secret, strict=True)
    return [*given, *({"name": key, "valueFrom": value} for key, value in named)]


def _secret(parcel: Parcel) -> bool:
    """Whether the address of the pages is made of variables."""
    written = str(parcel.sections.get("run", {}).get("tracking"))
    return any(f"${{{name}}}" in written for name in parcel.variables)
