"""Passwords and tokens in addresses are for the program, not for its readers."""

from __future__ import annotations

import re

from study.config.study import StudySpec

_HIDDEN = "***"
_RULES = (
    (re.compile(r"(?<=://)([^\s/@:]*):[^\s@]+(?=@)"), rf"\1:{_HIDDEN}"),  # user:password@host
    # A lookbehind has one length: the h of https is left out.
    (re.compile(r"(?<=http://|ttps://)[^\s/@:]+(?=@)"), _HIDDEN),  # token@host
    (
        re.compile(
            r"(?i)(?<=[?&])((?:[a-z_]*(?:password|passwd|token|secret|key|sig))=)[^&\s'\"]+"
        ),
        rf"\1{_HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """Return a text with the secrets of its addresses as ``***``.

    ``postgresql://user:secret@host/db`` becomes ``postgresql://user:***@host/db``; so do tokens
    before the host of a web address, and passwords, tokens and keys after its question mark.
    """
    for rule, shown in _RULES:
        text = rule.sub(shown, text)
    return text


def usable(address: str) -> str:
    """Return an address that was redacted without its dots: the environment has the secret.

    PostgreSQL's client reads ``PGPASSWORD`` and ``~/.pgpass``, MLflow's
    ``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_PASSWORD`` and ``MLFLOW_TRACKING_TOKEN``.
    """
    if address.startswith("http"):
        return re.sub(r"(?<=://)[^\s/@]*\*\*\*@", "", address)
    return address.replace(f":{_HIDDEN}@", "@")


def remove_secrets(spec: StudySpec) -> StudySpec:
    """Return a study whose places are redacted: what its folder and its page may show."""
    shown = {
        name: redact(value)
        for name in ("storage", "tracking", "address")
        if (value := getattr(spec.run, name)) is not None
    }
    return spec.model_copy(update={"run": spec.run.model_copy(update=shown)})
