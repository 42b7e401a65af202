"""Studies with components from outside: launched, changed, refused, sent to a cluster."""

from __future__ import annotations

import pytest
import yaml

from study.config.loading import read_study
from study.errors import InputError
from study.executors.base import LocalExecutor
from study.executors.factory import build_executor
from study.plugins import catalog
from study.plugins.registry import register
from study.progress import ProgressCallback
from study.results.study_results import load_snapshot, open_study
from study.runner.launcher import LaunchOptions, OtherVersions, launch, run_study
from study.runner.prepare import prepare
from study.submission.bundle import build_job_bundle
from study.submission.kuberay import build_manifest

MODALITY = """
import numpy as np
from modalities import DescriptorScaler, featurizer_version, parse_smiles

class Atoms:
    letter, trainable, fitted = "A", False, True
    @property
    def version(self):
        return featurizer_version("atoms", 1, "rdkit")
    def featurize(self, smiles):
        atoms = [atom.GetSymbol() for atom in parse_smiles(smiles).GetAtoms()]
        counts = [atoms.count(element) for element in "CNOS"]
        return {"values": np.array([counts], dtype=np.float32)}
    def encoder(self, *, seed):
        return DescriptorScaler(max_missing=0.2, max_value=1e6, clip=5.0)
"""
OPERATOR = """
from fusion.operators.concat import Concat

class Plain(Concat):
    def __init__(self, dims, n_labels, head):
        super().__init__(dims, n_labels, head, stage="logit")
"""
STUDY = """
name: mine
plugins: [./atoms.py, ./plain.py]
data: starter
split: {folds: 2}
modalities: {counts: {modality: fingerprint, size: 64}}
grid:
  - features: [[atoms], [counts]]
  - features: [[atoms, counts]]
    fusion: [plain, concat]
training: {epochs: 1, hidden: [8]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a study file and its two plug-ins, in a process without any."""
    for name in ("_claims", "_plugins", "_broken"):
        monkeypatch.setattr(catalog, name, {})
    monkeypatch.chdir(tmp_path)
    files = {"atoms.py": MODALITY, "plain.py": OPERATOR, "mine.yaml": STUDY}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _launch(*overrides, **options):
    spec = read_study("mine.yaml", overrides)
    return run_study(spec, LaunchOptions(ray=False, mlflow=False, **options))


def _lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_changed_plugin_trains_its_arms_only(folder, capsys):
    assert _launch()
    assert _lines(capsys)[0] == "8 trials, 0 already in the ledger"
    (folder / "plain.py").write_text(f"{OPERATOR}\n# other bytes\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"version: 'code \d+, .*plain.py \w{16}.* takes 2 trials"):
        _launch()
    capsys.readouterr()
    assert _launch(others=OtherVersions.RERUN)
    assert _lines(capsys)[0] == "8 trials, 6 already in the ledger"
    versions = open_study(folder / "studies" / "mine").versions
    names = [dict(version.version.parts)["plain.py"] for version in versions]
    assert len(set(names)) == 2
    assert all(len(version.ids) == 8 for version in versions)
    assert load_snapshot(folder / "studies" / "mine", f"plain.py {names[1]}").missing == 0


def test_changed_modality_names_another_version(folder, capsys):
    assert _launch()
    (folder / "atoms.py").write_text(f"{MODALITY}\n# other bytes\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"version: 'code \d+, atoms.py .* takes 6 trials"):
        _launch()


def test_results_are_read_without_the_file_or_named(folder, monkeypatch, tmp_path_factory):
    assert _launch()
    home = folder / "studies" / "mine"
    for name in ("_claims", "_plugins", "_broken"):  # as in another process
        monkeypatch.setattr(catalog, name, {})
    assert load_snapshot(home).missing == 0
    for name in ("_claims", "_plugins", "_broken"):
        monkeypatch.setattr(catalog, name, {})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(InputError, match=r"study.json needs a plug-in: .*'./atoms.py' is not a fi"):
        load_snapshot(home)
    assert (home / "study.json").exists()


def test_registered_class_runs_in_this_process_only(folder, capsys):
    namespace = {"__name__": "__main__"}
    exec(MODALITY, namespace)  # noqa: S102 (a cell of a notebook)
    register("modality", "atoms", namespace["Atoms"])
    study = prepare(read_study("mine.yaml", ["plugins=[./plain.py]"]))
    with pytest.raises(InputError, match="the modality 'atoms' was registered in this process"):
        launch(study, build_executor(ray=True), None, ProgressCallback())
    study.data.save(study.home)
    assert launch(study, LocalExecutor(), None, ProgressCallback()).missing == 0


def test_plugins_travel_with_a_submitted_study(folder, monkeypatch):
    (folder / "deep").mkdir()
    for name in ("atoms.py", "mine.yaml"):
        (folder / name).rename(folder / "deep" / name)
    overrides = ["run.storage=/shared/studies", f"plugins=[./atoms.py, '{folder / 'plain.py'}']"]
    bundle = build_job_bundle("deep/mine.yaml", overrides, [])
    there = folder / "there"
    there.mkdir()
    bundle.write(there)
    for name in ("_claims", "_plugins", "_broken"):
        monkeypatch.setattr(catalog, name, {})
    monkeypatch.chdir(there)
    spec = read_study("mine.yaml")
    assert spec.plugins == ("./atoms.py", "./plain.py")
    digest = bundle.digest
    (folder / "plain.py").write_text(f"{OPERATOR}\n# other bytes\n", encoding="utf-8")
    assert bundle.digest != digest
    config_map, _ = yaml.safe_load_all(build_manifest(bundle))
    assert config_map["data"]["atoms.py"] == MODALITY
    assert config_map["data"]["plain.py"] == (folder / "plain.py").read_text(encoding="utf-8")


@pytest.mark.ray
def test_workers_of_ray_have_the_plugins(folder, capsys):
    assert _launch()
    alone = _lines(capsys)
    (folder / "elsewhere").mkdir()
    spec = read_study("mine.yaml", ["run.storage=elsewhere/studies"])
    assert run_study(spec, LaunchOptions(ray=True, mlflow=False))
    with_ray = _lines(capsys)

    def table(lines):
        return [line for line in lines if line.startswith(("atoms", "counts"))]

    assert table(with_ray) == table(alone)
    assert len(table(alone)) == 4
