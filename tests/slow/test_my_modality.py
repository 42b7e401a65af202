"""The example of a plug-in, installed into a fresh environment without a touch of our packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A copy of the example's folder, beside an environment in which it is installed."""
    home = tmp_path_factory.mktemp("my_modality")
    folder = home / "source"
    shutil.copytree(ROOT / "examples" / "my_modality", folder)
    venv.create(home / "env", with_pip=False)
    site = next((home / "env").glob("lib/python*/site-packages"))
    present = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({present!r})\n"  # its packages, below the new ones
    (site / "present.pth").write_text(line, encoding="utf-8")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(folder, "pip", "install", "--quiet", *offline, ".")
    assert (site / "my_modality.py").is_file()
    (folder / "my_modality.py").unlink()  # the installed one is used
    return folder


def run(folder, *words):
    """What a module prints in the environment beside a folder; it must end with 0."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    python = folder.parent / "env" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_present_environment_does_not_have_it():
    command = [sys.executable, "-c", "import my_modality"]
    done = subprocess.run(command, cwd="/", capture_output=True, check=False)
    assert b"No module named 'my_modality'" in done.stderr


def test_its_contract_suite_passes(example):
    shown = run(example, "pytest", "-q", "-p", "no:cacheprovider", "test_my_modality.py")
    assert "41 passed" in shown


@pytest.mark.ray
def test_its_study_runs_with_and_without_ray(example):
    launch = ("study", "launch", "composition.yaml", "--no-mlflow", "--storage")
    alone = run(example, *launch, "alone", "--no-ray")
    with_ray = run(example, *launch, "with_ray")

    def table(shown):
        return [line for line in shown.splitlines() if line.startswith(("compo", "finger"))]

    assert table(alone)[1:] == table(with_ray)[1:]
    assert {line.split()[0] for line in table(alone)[1:]} == {
        "composition",
        "fingerprint",
        "composition+fingerprint",
    }
    records = list((example / "alone" / "ledger").glob("*.trial"))
    assert sum(b"my-modality 0.1.0" in record.read_bytes() for record in records) == 4
