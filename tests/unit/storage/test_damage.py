"""Whatever file of a storage is damaged, a launch sets it aside, says so, and makes it anew."""

import json
import shutil

import pytest

from study.artifacts.study_data import StudyData
from study.errors import InputError
from study.results.ledger import Failure, LedgerError
from study.results.study_results import load_results
from study.storage.storage import Storage
from study.training import tasks
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
    tasks.load_data.cache_clear()
    return tmp_path, lambda: run_tiny(spec_of(raw, tmp_path))


def kept_files(root, finished):
    """One file of every kind, all of them needed to make the trials of both arms anew."""
    study, record, _ = finished[2]
    ids = {t.arm.features[0].name: study.data.trial_id(t) for t in study.plan.trials()}
    StoredCheckpoints(Storage(str(root / "cache/checkpoints")), ids["moving"]).save({"losses": []})
    for trial_id in ids.values():
        (root / "ledger" / f"{trial_id}.trial").unlink()
    done = next(iter(record.by_id.keys() - set(ids.values())))
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
def test_every_damaged_file_is_set_aside_said_and_made_anew(how, copy, finished):
    root, relaunch = copy
    damaged = {}
    for file in kept_files(root, finished):
        damaged[file] = DAMAGE[how](file.read_bytes())
        file.write_bytes(damaged[file])
    _, record, notes = relaunch()
    said = [text for text in notes.notes if "set aside" in text]
    for file, content in damaged.items():
        aside = file.with_name(f"{file.name}.corrupt")
        assert aside.read_bytes() == content
        assert sum(str(aside) in text for text in said) == 1, file.name
    for trial_id, result in finished[2][1].by_id.items():
        assert (record.by_id[trial_id].scores == result.scores).all()
    assert record.failures == ()
    _, _, notes = relaunch()
    assert notes.notes == ["4 trials, 4 already in the ledger"]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", [*CHECKED, "trial", "failed.json"])
def test_reading_a_damaged_study_names_the_file_and_the_remedy(name, how, copy, finished):
    root, _ = copy
    places = {file.name.partition(".")[2]: file for file in kept_files(root, finished)[:2]}
    place = places.get(name, root / "small" / name)
    if name == "failed.json":
        places["trial"].unlink()
    place.write_bytes(DAMAGE[how](place.read_bytes()))
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    with pytest.raises((InputError, LedgerError), match="launch the study again") as caught:
        load_results(root / "small")
    assert str(place) in str(caught.value)
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before


def test_files_written_before_there_were_checksums_are_read(copy, finished):
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
    record = load_results(small)
    assert (len(record.by_id), record.failures) == (3, (Failure(**old),))
    assert StudyData.load(small).dataset.digest == inputs.dataset.digest
    _, record, notes = relaunch()
    assert notes.notes[0] == "4 trials, 3 already in the ledger"
    assert not list(root.rglob("*.corrupt"))
