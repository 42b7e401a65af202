"""Searched trials: chosen on the inner validation part alone, then run like any other trial."""

import copy
from dataclasses import replace

import pytest

from study.data import OdorDataset
from study.errors import TrialError
from study.planning.search_budget import build_rungs
from study.results.search_log import SearchLog
from study.results.trial_result import TrialResult
from study.runner.prepare import prepare
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints
from study.training.distributed import ProcessGroup, torch_settings
from study.training.encoders import EncoderCache
from study.training.search import evaluate
from study.training.search.evaluate import SearchJournal, SequentialEvaluator
from study.training.search.trial import apply_configuration, run_searched_trial
from study.training.trial import run_trial

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "scale": "log"},
    "hidden": {"low": 2, "high": 32, "scale": "log"},
    "dropout": [0.0, 0.5, 0.8],
}
METHODS = {"random": 5, "tpe": 11, "asha": 9}
ARMS = [("random", "label_balancer"), ("tpe", "mlp_head"), ("asha", "label_balancer")]


@pytest.fixture
def study(tiny, spec_of, tmp_path):
    """A study of generated molecules with both kinds of heads; nothing is trained yet."""

    def make(method="random", **modalities):
        raw = copy.deepcopy(tiny)
        raw["training"] |= {"epochs": 6, "patience": 3, "epoch_steps": 2}
        raw["split"] |= {"validation": 0.3}
        raw["modalities"] = {
            "counts": raw["modalities"]["counts"],
            "pairs": {"modality": "fingerprint", "radius": 1, "size": 128},
            **modalities,
        }
        names = [*modalities, "counts", "pairs"][:2]
        techniques = ["mlp_head", "label_balancer"]
        raw["grid"] = [{"features": [names], "technique": techniques, "partition": ["affinity"]}]
        raw["search"] = {"method": method, "budget": METHODS[method], "space": SPACE}
        return prepare(spec_of(raw, tmp_path))

    return make


def trial_of(study, technique="mlp_head"):
    return next(t for t in study.plan.trials() if t.arm.technique == technique)


def searched(trial, data, checkpoints=None):
    with torch_settings(1):
        return run_searched_trial(trial, data, checkpoints=checkpoints)


def poisoned(data, rows):
    """Return the data with flipped labels and alkanes as molecules in some rows."""
    old = data.dataset
    labels, smiles = old.labels.copy(), list(old.smiles)
    labels[rows] = 1 - labels[rows]
    for row in rows:
        smiles[row] = "C" * (row + 1)
    return replace(data, dataset=OdorDataset(old.name, tuple(smiles), labels, old.label_names))


def same_search(one, other):
    """Whether two searches agree in all but the time they took."""
    return replace(log_of(one), seconds=0) == replace(log_of(other), seconds=0)


def log_of(result):
    return SearchLog.from_json(result.search)


@pytest.mark.parametrize(("method", "technique"), ARMS)
def test_the_test_fold_never_affects_the_choice(method, technique, study):
    made = study(method)
    trial, data = trial_of(made, technique), made.data
    fold = data.fold(trial)
    clean = searched(trial, data)
    assert same_search(clean, searched(trial, poisoned(data, fold.test)))
    # Control: the same change of the validation part affects every candidate.
    other = searched(trial, poisoned(data, fold.validation[1.0]))
    assert log_of(clean).tried[0].monitored != log_of(other).tried[0].monitored
    assert log_of(clean).winner.numbers != log_of(other).winner.numbers


def test_each_fold_chooses_its_own_hyperparameters(study):
    made = study()
    folds = [t for t in made.plan.trials() if t.arm.technique == "mlp_head"]
    chosen = [log_of(searched(trial, made.data)).winner.numbers for trial in folds]
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize(("method", "technique"), ARMS)
def test_a_searched_trial_equals_one_configured_so(method, technique, study):
    made = study(method)
    trial = trial_of(made, technique)
    result = searched(trial, made.data)
    log = log_of(result)
    with torch_settings(1):
        plain = run_trial(apply_configuration(trial, log.winner.numbers), made.data)
    assert (result.scores == plain.scores).all()
    assert (result.history, result.counts) == (plain.history, plain.counts)
    # The candidate's values were the same: rungs and other candidates do not change them.
    assert log.winner.monitored == plain.history["monitored"]
    assert log.winner.finished
    assert (result.id, result.trial) == (made.data.trial_id(trial), trial.to_json())
    assert plain.search is None
    assert result.spec == trial
    assert result.seconds > log.seconds > 0


@pytest.mark.parametrize("method", METHODS)
def test_all_candidates_are_logged_the_arms_own_first(method, study):
    made = study(method)
    trial = trial_of(made)
    log = log_of(searched(trial, made.data))
    assert (log.method, log.budget, len(log.tried)) == (method, METHODS[method], METHODS[method])
    own = trial.arm.training
    assert log.tried[0].numbers == {
        "learning_rate": own.learning_rate,
        "hidden": [8],
        "dropout": 0.5,
    }
    assert log.tried[0].finished
    assert log.winner.value == max(each.value for each in log.tried) >= log.tried[0].value
    assert log.epochs == sum(len(each.monitored) for each in log.tried)


def test_successive_halving_drops_candidates_at_rungs(study):
    made = study("asha")
    log = log_of(searched(trial_of(made), made.data))
    rungs = build_rungs(9, 6)
    assert [(rung.candidates, rung.epochs) for rung in rungs] == [(9, 1), (3, 2), (1, 6)]
    assert all(each.epochs >= 1 for each in log.tried)
    went_on = [each for each in log.tried[1:] if each.epochs > 1]
    assert 2 <= len(went_on) <= 3
    first = sorted((each.monitored[0] for each in log.tried[1:]), reverse=True)
    assert min(each.monitored[0] for each in went_on) >= first[len(went_on) - 1]
    assert sum(each.epochs > 2 for each in log.tried) <= 2
    whole = log_of(searched(trial_of(study("random")), made.data))
    assert log.epochs / 9 < whole.epochs / 5


def test_failed_candidates_are_logged_and_never_chosen(study, monkeypatch):
    made = study()
    trial, real = trial_of(made), evaluate.prepare_trial

    def broken(spec, data, shared):
        if spec.arm.training.dropout == 0.5:
            raise TrialError("the loss became nan")
        return real(spec, data, shared)

    monkeypatch.setattr(evaluate, "prepare_trial", broken)
    log = log_of(searched(trial, made.data))
    causes = {each.cause for each in log.tried if each.numbers["dropout"] == 0.5}
    assert causes == {"the loss became nan"}
    assert log.tried[0].value is None
    assert log.winner.numbers["dropout"] != 0.5

    monkeypatch.setattr(evaluate, "prepare_trial", lambda *_: broken(replace(trial), None, None))
    with pytest.raises(TrialError, match="none of 5 configurations could be trained"):
        searched(trial, made.data)


class Killed(BaseException):
    """Stands for the end of the process at a chosen point."""


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_search_resumes(method, study, tmp_path, monkeypatch):
    made = study(method)
    trial, real, begun = trial_of(made), evaluate.prepare_trial, []
    whole = searched(trial, made.data)
    kept = StoredCheckpoints(Storage(str(tmp_path / "checkpoints")), "mine")
    kept.storage.prepare()

    def killed_at(count):
        def ready(spec, *rest):
            begun.append(spec)
            if len(begun) == count:
                raise Killed
            return real(spec, *rest)

        return ready

    monkeypatch.setattr(evaluate, "prepare_trial", killed_at(4))
    with pytest.raises(Killed):
        searched(trial, made.data, kept)
    begun.clear()
    monkeypatch.setattr(evaluate, "prepare_trial", killed_at(0))
    again = searched(trial, made.data, kept)
    assert same_search(whole, again)
    assert (again.scores == whole.scores).all()
    if method != "asha":  # with ASHA, candidates of later rungs start over
        assert len(begun) == METHODS[method] - 3


def test_a_killed_search_resumes_within_an_encoders_training(study, tmp_path, monkeypatch):
    joint = {
        "modality": "smiles", "layers": 1, "width": 8, "heads": 2, "feedforward": 8,
        "calibration": "joint",
    }  # fmt: skip
    made = study("asha", characters=joint)
    trial = trial_of(made)
    assert trial.arm.trains_encoders
    whole = searched(trial, made.data)
    kept = StoredCheckpoints(Storage(str(tmp_path / "checkpoints")), "mine")
    kept.storage.prepare()
    save, saved = StoredCheckpoints.save, []

    def killing(self, state):
        save(self, state)
        saved.append(state["name"])
        if len(saved) == 25:
            raise Killed

    monkeypatch.setattr(StoredCheckpoints, "save", killing)
    with pytest.raises(Killed):
        searched(trial, made.data, kept)
    again = searched(trial, made.data, kept)
    assert same_search(whole, again)
    assert (again.scores == whole.scores).all()


def test_training_continues_and_dropped_candidates_are_forgotten(study):
    made = study()
    trial = trial_of(made)
    plain = apply_configuration(trial, {})
    ranks = ProcessGroup()
    trainer = SequentialEvaluator(
        plain, made.data, EncoderCache(), ranks, SearchJournal(None, ranks)
    )
    candidates = [evaluate.Configuration(index, trial.arm.training) for index in range(2)]
    with torch_settings(1):
        first = trainer(candidates, 2)
        (after,) = trainer(candidates[:1], 6)
        history = run_trial(plain, made.data).history["monitored"]
    assert [len(score.monitored) for score in first] == [2, 2]
    # The second candidate was dropped, the first one is finished.
    assert after.monitored == history
    assert after.monitored[:2] == first[0].monitored
    assert trainer.unfinished == set()


def test_results_keep_the_search_log(launched, study):
    made = study()
    result = searched(trial_of(made), made.data)
    again = TrialResult.from_bytes(result.to_bytes())
    assert again == result
    assert log_of(again) == log_of(result)
    plain = next(iter(launched[1].by_id.values()))
    assert b"search" not in plain.to_bytes()
    assert TrialResult.from_bytes(plain.to_bytes()).search is None


def test_arms_of_a_fold_try_the_same_configurations(study):
    made = study()
    logs = [
        log_of(searched(trial_of(made, technique), made.data))
        for technique in ("mlp_head", "label_balancer")
    ]
    numbers = [[each.numbers for each in log.tried] for log in logs]
    assert numbers[0] == numbers[1]
