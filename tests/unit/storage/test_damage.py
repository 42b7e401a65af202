"""A launch quarantines every damaged file of a storage, reports it, and rebuilds it."""

import json
import shutil

import pytest

from study.artifacts.study_data import StudyData
from study.errors import InputError
from study.results.ledger import Failure, LedgerError
from study.results.study_results import load_snapshot
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints

DAMAGE = {
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",  # noqa: ARG005 (each takes the sound bytes)
    "zeroed": lambda data: bytes(len(data)),
}
CHECKED = ["dataset.table", "split.json", "cache.json", "study.json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, spec_of, run_tiny):
    """A small launched study: an encoder that is frozen, and one that trains in its trials."""
    source = {"source": "simulated", "molecules": 120, "labels": 6, "stereo": 0.0}
    smiles = {"modality": "smiles", "layers": 1, "width": 8, "heads": 2, "feedforward": 8}
    raw = {
        "name": "small",
        "data": {"preset": "simulated", "sources": [{**source, "permuted": 0.2, "skew": 2.0}]},
        "split": {"folds": 2, "min_positives": 2},
        "modalities": {
            "still": {**smiles, "calibration": "frozen"},
            "moving": {**smiles, "calibration": "joint"},
        },
        "grid": [{"features": [["still"], ["moving"]]}],
        "training": {"epochs": 1, "hidden": [4], "batch_size": 32},
    }
    root = tmp_path_factory.mktemp("finished")
    return raw, root, run_tiny(spec_of(raw, root))


@pytest.fixture
def copy(finished, tmp_path, spec_of, run_tiny):
    """A copy of its storage, and a function that launches it again."""
    raw, root, _ = finished
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return tmp_path, lambda: run_tiny(spec_of(raw, tmp_path))


def find_required_files(root, finished):
    """Return one file of every kind; rerunning the trials of both arms needs all of them."""
    study, results, _ = finished[2]
    ids = {t.arm.features[0].name: study.data.trial_id(t) for t in study.plan.trials()}
    StoredCheckpoints(Storage(str(root / "cache/checkpoints")), ids["moving"]).save({"losses": []})
    for trial_id in ids.values():
        (root / "ledger" / f"{trial_id}.trial").unlink()
    done = next(iter(results.by_id.keys() - set(ids.values())))
    study.ledger.__class__(Storage(str(root / "ledger"))).put_failure(Failure(done, "a", "b"))
    features = root / "cache" / "features"
    return [
        root / "ledger" / f"{done}.trial",
        root / "ledger" / f"{done}.failed.json",
        root / "cache" / "checkpoints" / f"{ids['moving']}.checkpoint",
        next((root / "cache" / "embeddings").glob("*.safetensors")),
        next(features.glob("*/buckets/*.safetensors")),
        next(features.glob("*/tables/*.safetensors")),
        next((root / "cache" / "datasets").glob("*.table")),
        *(root / "small" / name for name in CHECKED),
    ]


@pytest.mark.filterwarnings("ignore::modalities.FeatureStoreWarning")
@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_files_are_quarantined_reported_and_rewritten(how, copy, finished):
    root, relaunch = copy
    damaged = {}
    for file in find_required_files(root, finished):
        damaged[file] = DAMAGE[how](file.read_bytes())
        file.write_bytes(damaged[file])
    _, results, notes = relaunch()
    messages = [text for text in notes.notes if "set aside" in text]
    for file, content in damaged.items():
        aside = file.with_name(f"{file.name}.corrupt")
        assert aside.read_bytes() == content
        assert sum(str(aside) in text for text in messages) == 1, file.name
    for trial_id, result in finished[2][1].by_id.items():
        assert (results.by_id[trial_id].scores == result.scores).all()
    assert results.failures == ()
    _, _, notes = relaunch()
    assert notes.notes == ["4 trials, 4 already in the ledger"]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", [*CHECKED, "trial", "failed.json"])
def test_reading_damage_names_file_and_remedy(name, how, copy, finished):
    root, _ = copy
    paths = {file.name.partition(".")[2]: file for file in find_required_files(root, finished)[:2]}
    path = paths.get(name, root / "small" / name)
    if name == "failed.json":
        paths["trial"].unlink()
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    with pytest.raises((InputError, LedgerError), match="launch the study again") as caught:
        load_snapshot(root / "small")
    assert str(path) in str(caught.value)
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before


def test_files_without_checksums_are_read(copy, finished):
    root, relaunch = copy
    study = finished[2][0]
    inputs, small = study.data, root / "small"
    table = (small / "dataset.table").read_bytes().partition(b"\n")[2]
    (small / "dataset.table").write_bytes(table)
    (small / "cache.json").write_text(json.dumps(str(root / "cache")))
    (small / "study.json").write_text(study.spec.model_dump_json(indent=2))
    trial = inputs.trial_id(next(study.plan.trials()))
    (root / "ledger" / f"{trial}.trial").unlink()
    old = {"id": trial, "trial": "a", "cause": "b"}
    (root / "ledger" / f"{trial}.failed.json").write_text(json.dumps(old))
    results = load_snapshot(small)
    assert (len(results.by_id), results.failures) == (3, (Failure(**old),))
    assert StudyData.load(small).dataset.digest == inputs.dataset.digest
    _, results, notes = relaunch()
    assert notes.notes[0] == "4 trials, 3 already in the ledger"
    assert not list(root.rglob("*.corrupt"))
