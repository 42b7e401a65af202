"""A pretraining from its file to a study that uses its weights; kill and resume; refusals."""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pretraining_files import TEXT, molecules, write_file, write_table

from modalities.weights.model_card import read_model_card
from study.cli.app import main
from study.errors import InputError
from study.executors.base import LocalExecutor
from study.plugins.registry import Registry
from study.pretraining import training
from study.pretraining.config import read_pretraining
from study.pretraining.molecules import PretrainingMolecules
from study.pretraining.run import prepare_pretraining, run_pretraining, train_pretraining
from study.pretraining.training import HistoryCheckpoints, cosine_schedule
from study.progress import ProgressCallback
from study.runner.prepare import prepare
from study.splits import group_rows
from study.storage.lock import LockedError, StudyLock, is_lock
from study.storage.storage import Storage

CLEAN = ["--no-ray", "--no-mlflow"]


def command(monkeypatch, capsys, *arguments):
    """Run the command as the shell would: -> exit code, output, errors."""
    monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return (stop.value.code or 0, *capsys.readouterr())


@pytest.fixture
def pretrain(monkeypatch, capsys):
    return lambda *arguments: command(monkeypatch, capsys, "pretrain", *arguments, *CLEAN)


@pytest.fixture
def done(tmp_path, pretrain):
    """A finished pretraining: -> its folder of weights, what was printed."""
    code, out, err = pretrain(write_file(tmp_path))
    assert (code, err) == (0, "")
    return tmp_path / "out" / "weights" / "small", out


def test_it_ends_in_a_folder_with_a_card(done, tmp_path):
    folder, _ = done
    card = read_model_card(folder)
    assert card.sha256 == hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
    assert (card.modality, card.options["width"]) == ("smiles", 8)
    assert (card.objective, card.objective_options["share"]) == ("masked_characters", 0.15)
    assert card.training["batch_size"] == 16
    counts = {key: card.data[key] for key in ("molecules", "held_out", "left_out", "merged")}
    assert counts == {"molecules": 40, "held_out": 8, "left_out": 0, "merged": 0}
    assert card.measures.keys() >= {"training_loss", "loss", "token_accuracy"}
    assert (card.started_from, card.terms) == ("random", "made up")
    assert card.created_by.startswith("olfaction-study ")
    left = {"weights.pt", "card.json", "epochs.json", "left_out.json", "pretraining.json"}
    assert {path.name for path in folder.iterdir()} == left


def test_it_prints_an_epoch_a_line_and_what_a_study_file_needs(done):
    folder, out = done
    assert out.count("epoch 1: loss ") == out.count("epoch 2: loss ") == 1
    pasted = yaml.safe_load(out.partition("under 'modalities':\n")[2])
    assert pasted["small"]["weights"] == str(folder)
    assert pasted["small"]["sha256"] == read_model_card(folder).sha256


def test_the_weights_are_those_of_the_epoch_with_the_lowest_held_out_loss(done):
    folder, _ = done
    epochs = json.loads((folder / "epochs.json").read_text())
    best = min(epochs, key=lambda epoch: epoch["loss"])
    card = read_model_card(folder)
    assert (card.epochs, card.measures["loss"]) == (best["epoch"], best["loss"])


def test_a_finished_one_is_left_alone(done, tmp_path, pretrain):
    folder, _ = done
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    code, out, _ = pretrain(tmp_path / "pretraining.yaml")
    assert (code, "is finished; nothing to do" in out) == (0, True)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_second_launch_of_one_that_runs_is_refused_or_waits(tmp_path, pretrain):
    """The one that runs ends meanwhile: the other has nothing to do and leaves no trace."""
    file, folder = write_file(tmp_path), tmp_path / "out" / "weights" / "small"
    pretraining = prepare_pretraining(read_pretraining(str(file)))
    with ThreadPoolExecutor(1) as pool:
        with StudyLock(Storage(str(folder))).hold():
            code, _, err = pretrain(file)
            assert (code, f"{folder} is being launched by" in err) == (3, True)
            assert all(is_lock(path.name) for path in folder.iterdir())
            waiting = pool.submit(
                run_pretraining, pretraining.spec, ray=False, mlflow=False, wait=True
            )
            train_pretraining(pretraining, LocalExecutor(), ProgressCallback())
            made = (folder / "weights.pt").stat().st_mtime_ns
            assert not waiting.done()
        waiting.result(60)
    assert (folder / "weights.pt").stat().st_mtime_ns == made
    assert not any(is_lock(path.name) for path in folder.iterdir())


def test_one_whose_work_was_taken_over_says_so(tmp_path):
    pretraining = prepare_pretraining(read_pretraining(str(write_file(tmp_path))))
    with pytest.raises(LockedError, match="another launch of pretraining 'small' took over"):
        train_pretraining(pretraining, LocalExecutor(), ProgressCallback(), lambda: True)
    assert pretraining.card is None


def test_other_numbers_under_the_same_name_are_refused(done, tmp_path, pretrain):
    folder, _ = done
    before = (folder / "weights.pt").read_bytes()
    code, _, err = pretrain(tmp_path / "pretraining.yaml", "--set", "training.epochs=3")
    assert (code, (folder / "weights.pt").read_bytes()) == (2, before)
    assert "holds another pretraining (training.epochs: 2, not 3)" in err
    write_table(tmp_path, molecules(40)[1:])
    code, _, err = pretrain(tmp_path / "pretraining.yaml")
    assert (code, "holds another pretraining (molecules: " in err) == (2, True)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_and_resumed_it_ends_as_if_it_had_not_been(moment, tmp_path, pretrain, monkeypatch):
    numbers = ["--set", "training.epochs=3"]
    straight = tmp_path / "straight"
    straight.mkdir()
    pretrain(write_file(straight), *numbers)
    save, epochs = HistoryCheckpoints.save, []

    def killed(diary, state):
        if moment == "after":
            save(diary, state)
        epochs.append(len(state["losses"]))
        if epochs[-1] == 2:
            raise KeyboardInterrupt
        if moment == "before":
            save(diary, state)

    with monkeypatch.context() as patch:
        patch.setattr(HistoryCheckpoints, "save", killed)
        assert pretrain(write_file(tmp_path), *numbers)[0] == 130
    folder = tmp_path / "out" / "weights" / "small"
    assert not (folder / "card.json").exists()
    code, out, _ = pretrain(tmp_path / "pretraining.yaml", *numbers)
    assert (code, f"continuing after epoch {2 if moment == 'after' else 1}" in out) == (0, True)
    twin = straight / "out" / "weights" / "small"
    for name in ("weights.pt", "epochs.json"):
        assert (folder / name).read_bytes() == (twin / name).read_bytes()


def test_a_failing_training_ends_with_3_and_says_how_to_go_on(tmp_path, pretrain):
    code, _, err = pretrain(write_file(tmp_path), "--set", "training.learning_rate=1e30")
    assert code == 3
    assert "pretraining 'small' failed: " in err
    assert "run the same command again to continue after the last finished epoch" in err


@pytest.mark.parametrize("calibration", ["frozen", "finetune"])
def test_a_study_uses_the_weights(done, calibration, tiny, spec_of, run_tiny, tmp_path):
    _, out = done
    choice = yaml.safe_load(out.partition("under 'modalities':\n")[2])["small"]
    tiny["modalities"] = {"small": choice | {"calibration": calibration}}
    tiny["modalities"]["small"]["training"] = {"epochs": 1}
    tiny["grid"] = [{"features": [["small"]]}]
    _, record, _ = run_tiny(spec_of(tiny, tmp_path / "study"))
    assert (record.missing, record.failures) == (0, ())


def test_options_other_than_the_cards_are_refused_with_the_cards(done, tiny, spec_of, tmp_path):
    folder, _ = done
    own = {"weights": str(folder), "sha256": read_model_card(folder).sha256}
    tiny["modalities"] = {"small": {**TEXT, **own, "layers": 2, "width": 16}}
    tiny["grid"] = [{"features": [["small"]]}]
    with pytest.raises(InputError, match="card of these weights says layers=1, width=8: use"):
        prepare(spec_of(tiny, tmp_path / "study"))
    tiny["modalities"] = {"small": {"modality": "graph", **own}}
    with pytest.raises(InputError, match="card of these weights says modality=smiles, layers=1"):
        prepare(spec_of(tiny, tmp_path / "study"))


def test_a_study_takes_the_hash_from_the_card(done, tiny, spec_of, tmp_path):
    folder, _ = done
    tiny["modalities"] = {"small": {**TEXT, "weights": str(folder)}}
    tiny["grid"] = [{"features": [["small"]]}]
    choice = spec_of(tiny, tmp_path / "study").modalities["small"]
    assert choice.options["sha256"] == read_model_card(folder).sha256


def test_it_goes_on_from_weights(done, tmp_path, pretrain):
    folder, _ = done
    card = read_model_card(folder)
    modality = {**TEXT, "weights": str(folder), "sha256": card.sha256}
    file = write_file(tmp_path, name="further", modality=modality)
    assert pretrain(file)[0] == 0
    further = read_model_card(folder.parent / "further")
    assert further.started_from == card.sha256
    assert further.sha256 != card.sha256
    assert "weights" not in further.options


def test_nothing_is_left_out_quietly(tmp_path, pretrain):
    some = molecules(24)
    table = write_table(tmp_path, [*some, "C1CC", "", some[0], "C" * 300])
    table.write_text(table.read_text().replace(f"{some[1]},name-1", f"{some[1]},"))
    file = write_file(tmp_path, objective="translation")
    code, out, _ = pretrain(file)
    assert code == 0
    assert "left out, not a SMILES of at least one atom: 2 (row 26 'C1CC'; row 27 '')" in out
    assert f"left out, no name: 1 ({some[1]})" in out
    assert "left out, not to be had as 'smiles': 1 (molecule 'CCCC" in out
    assert "23 molecules of" in out
    assert "duplicate rows merged: 1" in out
    folder = tmp_path / "out" / "weights" / "small"
    listed = json.loads((folder / "left_out.json").read_text())
    assert sum(map(len, listed.values())) == read_model_card(folder).data["left_out"] == 4


def test_molecules_of_a_study_can_be_excluded(tmp_path, pretrain, tiny):
    study = tmp_path / "study.yaml"
    rows = molecules(40)
    seen = tmp_path / "seen.csv"
    seen.write_text("smiles,sweet\n" + "".join(f"{s},{i % 2}\n" for i, s in enumerate(rows[:6])))
    source = {"source": "csv", "file": str(seen)}
    data = {"sources": [source], "vocabulary": "union", "unlabelled": "keep"}
    study.write_text(yaml.safe_dump({**tiny, "data": data}))
    file = write_file(tmp_path)
    content = yaml.safe_load(file.read_text())
    content["molecules"]["exclude"] = str(study)
    file.write_text(yaml.safe_dump(content))
    code, out, _ = pretrain(file)
    assert code == 0
    assert "28 molecules of" in out  # the six and their mirror images are gone
    assert f"left out, molecules of the study '{study}': 12 (" in out


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"molecules": {"file": "nowhere.csv"}}, "there is no 'nowhere.csv' (tried nowhere.csv"),
        ({"modality": {**TEXT, "width": 9}}, "width must be a multiple of heads=2, not 9"),
        ({"modality": {**TEXT, "weights": "no.pt", "sha256": "0" * 64}}, "'no.pt' not found"),
        ({"training": {"workers": 2}}, "asks for 2 workers, which needs Ray"),
        (
            {"objective": {"objective": "translation", "direction": "name_to_smiles"}},
            "no molecule is left to train on: objective 'translation': direction name_to_smiles",
        ),
        ({"run": {"storage": "memory://x"}}, "storage 'memory://x' is not a folder"),
    ],
)
def test_bad_input_ends_with_2_before_anything_is_trained(sections, message, tmp_path, pretrain):
    code, _, err = pretrain(write_file(tmp_path, **sections))
    assert (code, message in err) == (2, True), err
    assert not list(tmp_path.rglob("epochs.json"))


def test_a_foreign_folder_is_not_written_into(tmp_path, pretrain):
    folder = tmp_path / "out" / "weights" / "small"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    code, _, err = pretrain(write_file(tmp_path))
    assert (code, "is not a folder of a pretraining; move it away" in err) == (2, True)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("word", Registry("objective").names())
def test_every_objective_ends_in_weights_that_its_modality_loads(word, tmp_path, pretrain):
    modality = Registry("objective").load(word).modalities[0]
    write_table(tmp_path, molecules(12))
    file = write_file(tmp_path, objective=word, modality=modality)
    code, out, err = pretrain(file, "--set", "training.epochs=1")
    assert (code, err) == (0, "")
    choice = yaml.safe_load(out.partition("under 'modalities':\n")[2])["small"]
    del choice["modality"]
    loaded = Registry("modality").load(modality)(**choice).encoder(seed=1).state_dict()
    saved = torch.load(choice["weights"] + "/weights.pt", weights_only=True)
    assert loaded.keys() >= saved.keys()
    assert all(torch.equal(loaded[name], values) for name, values in saved.items())


@given(share=st.floats(0.01, 0.49), seed=st.integers(0, 99))
def test_a_constitution_is_on_one_side_of_the_held_out_line(share, seed):
    smiles = tuple(molecules(40))
    held = CHOSEN.draw_held_out(share, seed)
    groups = group_rows(smiles, "constitution", folds=5)
    assert not set(groups[held]) & set(np.delete(groups, held))
    assert share * 40 - 1 <= len(held) <= share * 40 + 2
    assert (held == CHOSEN.draw_held_out(share, seed)).all()


CHOSEN = PretrainingMolecules(tuple(molecules(40)), (None,) * 40, 0, (), "here")


def test_too_few_molecules_cannot_be_held_out():
    mirrored = PretrainingMolecules(("C[C@H](O)F", "C[C@@H](O)F"), (None, None), 0, (), "here")
    with pytest.raises(InputError, match="2 molecules of 1 constitutions leave fewer than two"):
        mirrored.draw_held_out(0.1, 0)


def test_the_learning_rate_rises_in_a_line_and_falls_as_a_cosine():
    assert [cosine_schedule(0.2, x) for x in (0, 0.1, 0.2)] == [0, 0.5, 1]
    assert cosine_schedule(0.2, 0.6) == pytest.approx(0.5)
    assert cosine_schedule(0.2, 0.4) == pytest.approx((2 + 2**0.5) / 4)
    assert cosine_schedule(0.0, 1 - 1e-9) == pytest.approx(0, abs=1e-6)


def test_the_process_that_trains_is_told_its_threads(tmp_path, pretrain, monkeypatch):
    told = []
    monkeypatch.setattr(training.torch, "set_num_threads", told.append)
    pretrain(write_file(tmp_path), "--set", "run.cpus_per_trial=2", "--set", "training.epochs=1")
    assert told == [2, torch.get_num_threads()]  # and the caller gets back its own
