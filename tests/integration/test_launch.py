"""A launch from end to end in this process: only what is missing runs, and damage is redone."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from study.errors import InputError, TrialError
from study.results.study_results import load_snapshot
from study.runner.prepare import prepare
from study.training import trial as trial_module


@pytest.fixture
def again(launched, spec_of, run_tiny, tmp_path, tiny):
    """A copy of the launched study, and a function that launches it again."""
    shutil.copytree(launched[0].folder.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path, lambda: run_tiny(spec_of(tiny, tmp_path))


def record_file(root, launched, technique):
    study = launched[0]
    trial = next(t for t in study.plan.trials() if t.arm.technique == technique)
    return root / "ledger" / f"{study.data.trial_id(trial)}.trial"


def state(root):
    """Every record with the time of its last writing."""
    files = [*(root / "ledger").iterdir(), *(root / "cache" / "embeddings").iterdir()]
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def same_results(one, other):
    """Whether two launches agree in all but the time they took."""
    assert one.by_id.keys() == other.by_id.keys()
    for trial_id, result in one.by_id.items():
        twin = other.by_id[trial_id]
        assert (result.scores == twin.scores).all()
        assert (result.test_rows == twin.test_rows).all()
        assert (result.history, result.counts) == (twin.history, twin.counts)


def test_a_launch_finishes_every_trial_of_the_plan(launched):
    study, record, notes = launched
    assert record.missing == 0
    assert record.failures == ()
    assert len(record.by_id) == 10
    assert (notes.stages["encoders"], notes.stages["trials"]) == (1, 8)
    rows = np.concatenate([r.test_rows for r in record.results_of(study.plan.arms[0])])
    assert sorted(rows) == list(range(len(study.data.dataset)))
    for summary in record.summaries:
        assert (summary.repeats, summary.missing, summary.undefined) == (2, 0, 0)
        assert all(0 <= fold <= 1 for fold in summary.folds)


def test_results_belong_to_the_molecules_and_labels_of_the_table(launched):
    study, record, _ = launched
    for result in record.by_id.values():
        assert (result.test_labels == study.data.dataset.labels[result.test_rows]).all()
        assert result.label_names == study.data.dataset.label_names


def test_launching_again_runs_nothing(again):
    root, relaunch = again
    before = state(root)
    _, record, notes = relaunch()
    assert notes.stages == {}
    assert notes.notes == ["10 trials, 10 already in the ledger"]
    assert state(root) == before
    assert record.missing == 0


def test_two_fresh_launches_give_the_same_numbers(launched, tiny, spec_of, run_tiny, tmp_path):
    _, record, _ = run_tiny(spec_of(tiny, tmp_path))
    same_results(launched[1], record)


def test_another_name_for_a_modality_finds_the_same_results(
    again, launched, spec_of, run_tiny, tiny
):
    root, _ = again
    raw = {
        "name": "renamed",
        "data": tiny["data"],
        "split": {"folds": 2, "min_positives": 2},
        "modalities": {"type": {"modality": "fingerprint", "size": 256}},
        "grid": [{"features": [["type"]]}],
        "training": {"epochs": 2, "hidden": [8], "batch_size": 32},
    }
    _, record, notes = run_tiny(spec_of(raw, root))
    assert notes.stages == {}
    assert [s.arm.names for s in record.summaries] == [("type",)]
    assert record.summaries[0].auroc == launched[1].summaries[0].auroc


def test_names_that_torch_uses_itself_can_name_modalities(tiny, spec_of, run_tiny, tmp_path):
    tiny["modalities"]["training"] = tiny["modalities"].pop("counts")
    tiny["modalities"]["type"] = tiny["modalities"].pop("characters") | {"calibration": "joint"}
    tiny["grid"] = [
        {"features": [["training", "type"]], "technique": ["mlp_head", "label_balancer"]}
    ]
    tiny["training"]["epochs"] = 1
    _, record, _ = run_tiny(spec_of(tiny, tmp_path))
    assert (record.missing, record.failures) == (0, ())


@pytest.mark.parametrize("technique", ["mlp_head", "single", "independent_mean"])
def test_a_deleted_record_is_redone_and_nothing_else(technique, again, launched):
    root, relaunch = again
    path = record_file(root, launched, technique)
    path.unlink()
    before = state(root)
    _, record, notes = relaunch()
    assert notes.stages == ({} if technique == "independent_mean" else {"trials": 1})
    after = state(root)
    assert {name for name in after if after[name] != before.get(name)} == {path.name}
    same_results(launched[1], record)


DRIVES = """
import sys
from study.cli.app import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""


def test_a_driver_loads_no_torch(again, launched, tiny, tmp_path):
    """It prepares, averages, compares and prints; what trains is in workers."""
    root, _ = again
    record_file(root, launched, "independent_mean").unlink()
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**tiny, "run": {"storage": str(root)}}, sort_keys=False))
    command = [sys.executable, "-c", DRIVES, "launch", str(file), "--no-mlflow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("10 trials, 9 already in the ledger", "False")


@pytest.mark.parametrize("technique", ["label_balancer", "independent_mean"])
def test_a_damaged_record_is_set_aside_said_and_redone(technique, again, launched):
    root, relaunch = again
    path = record_file(root, launched, technique)
    damaged = path.read_bytes()[:-9]
    path.write_bytes(damaged)
    _, record, notes = relaunch()
    assert notes.notes[0].startswith("damaged record set aside, its trial runs again: ")
    assert path.name in notes.notes[0]
    assert path.with_name(path.name + ".corrupt").read_bytes() == damaged
    same_results(launched[1], record)


def test_damaged_embeddings_are_made_again_when_a_trial_needs_them(again, launched):
    root, relaunch = again
    (path,) = (root / "cache" / "embeddings").glob("*.safetensors")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    record_file(root, launched, "mlp_head").unlink()
    _, record, notes = relaunch()
    (note,) = [text for text in notes.notes if "damaged embeddings set aside" in text]
    assert path.name in note
    assert notes.stages == {"encoders": 1, "trials": 1}
    assert path.read_bytes() == sound
    same_results(launched[1], record)


@pytest.mark.parametrize("name", ["dataset.table", "split.json", "cache.json", "study.json"])
def test_a_damaged_file_of_the_study_is_written_again(name, again, launched):
    root, relaunch = again
    (root / "tiny" / name).write_bytes(b"{")
    record_file(root, launched, "mlp_head").unlink()
    _, record, _ = relaunch()
    assert record.missing == 0
    same_results(launched[1], load_snapshot(root / "tiny"))


def test_a_failing_trial_is_named_and_stops_no_other(again, launched, monkeypatch):
    root, relaunch = again
    for technique in ("mlp_head", "label_balancer"):
        record_file(root, launched, technique).unlink()
    sound = trial_module.fit

    def breaking(model, *args, **keys):
        if type(model.head).__name__ == "Concat":
            raise TrialError("the training loss became nan in epoch 3")
        return sound(model, *args, **keys)

    monkeypatch.setattr(trial_module, "fit", breaking)
    _, record, notes = relaunch()
    assert record.missing == 1
    (failure,) = record.failures
    assert failure.trial == "counts+characters / mlp_head / concat / 1 / repeat 0 fold 0 seed 0"
    assert failure.cause == "the training loss became nan in epoch 3"
    assert f"failed: {failure.trial}: {failure.cause}" in notes.notes
    monkeypatch.undo()
    _, record, _ = relaunch()
    assert (record.missing, record.failures) == (0, ())
    same_results(launched[1], record)


def test_a_loss_that_is_not_finite_fails_its_trials_and_the_average_of_them(
    tiny, spec_of, run_tiny, tmp_path
):
    tiny["grid"] = [
        {"features": [["characters"]]},
        {"features": [["counts", "characters"]], "technique": ["independent_mean"]},
    ]
    tiny["grid"][0]["training"] = {"learning_rate": [1e30, 1e-3]}
    _, record, _ = run_tiny(spec_of(tiny, tmp_path))
    assert [(s.arm.training.learning_rate, s.missing) for s in record.summaries[:2]] == [
        (1e30, 2),
        (1e-3, 0),
    ]
    assert {f.trial.split(" / ")[0] for f in record.failures} == {"characters"}
    causes = {f.cause for f in record.failures}
    assert all("in epoch" in cause or "not finite" in cause for cause in causes), causes


def test_a_failing_encoder_fails_the_trials_that_need_it_with_its_cause(
    tiny, spec_of, run_tiny, tmp_path, monkeypatch
):
    def broken(*_):
        raise TrialError("no such luck")

    monkeypatch.setattr("study.training.encoders.run_encoder_job", broken)
    _, record, _ = run_tiny(spec_of(tiny, tmp_path))
    done = {summary.arm.names for summary in record.summaries if not summary.missing}
    assert done == {("counts",)}
    causes = {f.cause for f in record.failures if "independent_mean" not in f.trial}
    assert causes == {"encoder characters seed 0: no such luck"}
    averages = {f.cause for f in record.failures if "independent_mean" in f.trial}
    assert len(averages) == 2
    assert all("has no result" in cause for cause in averages)


def test_a_changed_table_under_the_same_name_is_another_study(again, tiny, spec_of, run_tiny):
    root, _ = again
    tiny["data"]["sources"][0]["seed"] = 1
    study, record, notes = run_tiny(spec_of(tiny, root))
    assert "10 trials, 0 already in the ledger" in notes.notes
    assert record.missing == 0
    read = load_snapshot(root / "tiny")
    assert read.data.dataset.digest == study.data.dataset.digest
    same_results(record, read)


def test_storage_that_nothing_reads_is_refused(tiny, spec_of):
    with pytest.raises(InputError, match=r"storage 'nowhere://x' cannot be used here"):
        prepare(spec_of(tiny, "nowhere://x"))


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no study: launch it first, or pass --storage"):
        load_snapshot(tmp_path)
