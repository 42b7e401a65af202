"""Frozen before the redesign: identities, texts and a ledger that every later version must keep.

The files of `tests/golden` were written by the code of commit 1824d5a. They are not made anew when
a test fails: what a file says is what users have on their disks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from study.artifacts.embeddings import encoder_job_for
from study.artifacts.study_data import StudyData
from study.config.loading import read_study
from study.data import load_or_build
from study.planning.plan import make_plan
from study.runner.prepare import build_split
from study.storage.storage import Storage

GOLDEN = Path(__file__).parents[1] / "golden"
PRESETS = ["data_fraction", "kdd2023", "quickstart", "search", "transfer"]
NEED_ARCHIVES = {"data_fraction", "kdd2023", "transfer"}
FAKE = {
    "kdd2023": ["smiles", "graph"],
    "transfer": [
        f"{name}_pretrained{frozen}"
        for name in ("smiles", "iupac", "graph", "mordred")
        for frozen in ("", "_frozen")
    ],
}
"""Modalities with weights; an identity holds the digest of the file, which need not exist."""
IDENTITIES = json.loads((GOLDEN / "identities.json").read_text(encoding="utf-8"))


def digest_of(ids):
    """One digest of many identities, in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def read_preset(name, storage, *more):
    overrides = [f"run.storage={json.dumps(str(storage))}", *more]
    for modality in FAKE.get(name, ()):
        place = f"modalities.{modality}"
        overrides += [f"{place}.weights=not/here.pt", f"{place}.sha256={'f' * 64}"]
    return read_study(name, overrides)


def identities(name, storage):
    """Everything that identities are made of, from the study file of a preset.

    The number of the training code is that of the golden files: raising it is meant to change
    every identity, and nothing else may.
    """
    spec = read_preset(name, storage)
    plan = make_plan(spec)
    dataset = load_or_build(spec.data, Storage(str(storage / "datasets")))
    inputs = StudyData(dataset, build_split(spec, dataset), storage / "cache")
    trials = list(plan.trials())
    jobs = (encoder_job_for(feature, trial) for trial in trials for feature in trial.arm.features)
    ids = sorted({inputs.job_id(job) for job in jobs if job is not None})
    return {
        "dataset": dataset.digest,
        "split": inputs.split.digest,
        "trials": {"count": len(trials), "digest": digest_of(map(inputs.trial_id, trials))},
        "encoder_jobs": {"count": len(ids), "digest": digest_of(ids)},
    }


@pytest.mark.parametrize("name", PRESETS)
def test_arms_of_presets_keep_their_identity(name, tmp_path):
    plan = make_plan(read_preset(name, tmp_path))
    assert [[str(arm), arm.id, arm.curve_id] for arm in plan.arms] == IDENTITIES[name]["arms"]


@pytest.mark.archives
@pytest.mark.parametrize("name", PRESETS)
def test_trials_and_encoder_jobs_keep_their_identity(name, tmp_path, monkeypatch):
    monkeypatch.setattr("study.artifacts.study_data.CODE", 4)
    if name in NEED_ARCHIVES and "OLFACTION_ARCHIVE" not in os.environ:
        pytest.skip("needs the odor archives (OLFACTION_ARCHIVE)")
    expected = {key: value for key, value in IDENTITIES[name].items() if key != "arms"}
    assert identities(name, tmp_path) == expected


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A working folder with the storage that the earlier code left."""
    folder = tmp_path_factory.mktemp("frozen")
    with tarfile.open(GOLDEN / "store.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    shutil.copy(GOLDEN / "frozen.yaml", folder)
    return folder


BEFORE = """
import study.artifacts.study_data as study_data
from study.cli.app import main
study_data.CODE = 4
main()
"""
"""The program with the number of the training code that made the golden files."""


def run(folder, *words, program=("-m", "study")):
    """What a command prints; it must end with 0 and without a word on standard error."""
    command = [sys.executable, *program, *words]
    environment = {**os.environ, "PYTHONPATH": str(GOLDEN.parents[1])}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def without_times(plan):
    """The lines of a plan that do not depend on the number of cores."""
    lines = plan.splitlines()
    kept = [line for line in lines if not line.startswith(("training", "time"))]
    assert len(kept) == len(lines) - 2
    return kept


def text(name):
    return (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["table", "md", "csv", "json", "latex"])
def test_a_comparison_of_earlier_results_keeps_its_text(frozen, kind):
    words = ("compare", "frozen", "--storage", "store", "--format", kind)
    assert run(frozen, *words, program=("-c", BEFORE)) == text(f"compare.{kind}.txt")


def test_contrasts_of_earlier_results_keep_their_text(frozen):
    words = ("compare", "frozen", "--storage", "store", "--contrasts", "all")
    assert run(frozen, *words, program=("-c", BEFORE)) == text("contrasts.txt")


def test_learning_curves_of_earlier_results_keep_their_text(frozen):
    words = ("scaling", "frozen", "--storage", "store")
    assert run(frozen, *words, program=("-c", BEFORE)) == text("scaling.txt")


def test_the_present_version_reads_the_same_numbers_and_names_their_version(frozen):
    shown = run(frozen, "compare", "frozen", "--storage", "store", "--format", "json")
    rows = json.loads(shown)
    assert {row.pop("version").split(",")[0] for row in rows} == {"code 4"}
    assert rows == json.loads(text("compare.json.txt"))


def test_the_plan_of_a_preset_keeps_its_text(tmp_path):
    shown = run(tmp_path, "plan", "quickstart")
    assert without_times(shown) == without_times(text("plan.txt"))


def test_a_launch_redoes_nothing_of_earlier_results(frozen):
    ledger = frozen / "store" / "ledger"
    before = {file.name: file.read_bytes() for file in ledger.glob("*.trial")}
    words = ("launch", "frozen.yaml", "--storage", "store", "--no-ray", "--no-mlflow")
    shown = run(frozen, *words, program=("-c", BEFORE))
    assert shown.splitlines()[0] == "56 trials, 56 already in the ledger"
    run(frozen, *words, "--keep")
    assert {file.name: file.read_bytes() for file in ledger.glob("*.trial")} == before


def test_a_report_is_made_of_earlier_results(frozen):
    run(frozen, "report", "frozen", "--storage", "store", "--out", "report")
    page = (frozen / "report" / "report.html").read_text(encoding="utf-8")
    arms = {row.split(",")[1] for row in text("compare.csv.txt").splitlines()[1:]}
    assert arms
    assert all(arm in page for arm in arms)
