"""Removal of passwords and tokens from the addresses that are printed or stored."""

from __future__ import annotations

import re

from study.config.study import StudySpec

_HIDDEN = "***"
_RULES = (
    (re.compile(r"(?<=://)([^\s/@:]*):[^\s@]+(?=@)"), rf"\1:{_HIDDEN}"),  # user:password@host
    # A lookbehind must have a fixed length, so it omits the h of https.
    (re.compile(r"(?<=http://|ttps://)[^\s/@:]+(?=@)"), _HIDDEN),  # token@host
    (
        re.compile(
            r"(?i)(?<=[?&])((?:[a-z_]*(?:password|passwd|token|secret|key|sig))=)[^&\s'\"]+"
        ),
        rf"\1{_HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """Replace the secrets in the addresses of a text by ``***``.

    ``postgresql://user:secret@host/db`` becomes ``postgresql://user:***@host/db``. Tokens before
    the host of a web address, and passwords, tokens and keys in its query, are replaced too.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def usable(address: str) -> str:
    """Remove the ``***`` from a redacted address, so that the environment provides the secret.

    PostgreSQL's client reads ``PGPASSWORD`` and ``~/.pgpass``, MLflow's client reads
    ``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_PASSWORD`` and ``MLFLOW_TRACKING_TOKEN``.
    """
    if address.startswith("http"):
        return re.sub(r"(?<=://)[^\s/@]*\*\*\*@", "", address)
    return address.replace(f":{_HIDDEN}@", "@")


def remove_secrets(spec: StudySpec) -> StudySpec:
    """Return a study with redacted addresses, as it is stored and tracked."""
    addresses = {
        name: redact(value)
        for name in ("storage", "tracking", "address")
        if (value := getattr(spec.run, name)) is not None
    }
    return spec.model_copy(update={"run": spec.run.model_copy(update=addresses)})
