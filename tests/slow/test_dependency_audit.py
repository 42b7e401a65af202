"""No pinned dependency has a known vulnerability that nobody has looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
ACCEPTED: dict[str, str] = {}
"""Vulnerability -> why it does not touch this project, and until when."""
CONTROL = "pip==22.0\n"
"""A release with known vulnerabilities: a service that knows none of them is none."""


def audit(file):
    """Return what PyPI's vulnerability service knows of the pins in a file."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--requirement", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        pytest.skip(f"the vulnerability service does not answer: {done.stderr[-300:]}")


def findings(dependencies):
    """Vulnerability -> package, version and the versions that mend it."""
    return {
        fault["id"]: f"{entry['name']} {entry['version']}, mended in {fault['fix_versions']}"
        for entry in dependencies
        for fault in entry.get("vulns", ())
    }


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    control = tmp_path_factory.mktemp("audit") / "control.txt"
    control.write_text(CONTROL, encoding="utf-8")
    if not findings(audit(control)):
        pytest.skip("PyPI's vulnerability service is not reached from here: nothing was audited")
    return audit(CONSTRAINTS)


def test_findings_are_read_from_a_report():
    fault = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
    report = [
        {"name": "a", "version": "1.0", "vulns": [fault]},
        {"name": "b", "version": "2.0", "vulns": []},
        {"name": "c", "skip_reason": "not on PyPI"},
    ]
    assert findings(report) == {"PYSEC-1": "a 1.0, mended in ['1.1']"}


def test_every_pin_was_audited(audited):
    assert [entry["name"] for entry in audited if "skip_reason" in entry] == []


def test_no_pin_has_an_unknown_vulnerability(audited):
    found = findings(audited)
    assert {name: what for name, what in found.items() if name not in ACCEPTED} == {}
    assert [name for name in ACCEPTED if name not in found] == [], "no longer found: strike them"
