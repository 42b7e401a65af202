"""Identities: equal arms have one id however they are written, different arms have others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.config.loading import check_study
from study.config.training import TrainingConfig
from study.planning.plan import make_plan
from study.planning.trials import Trial, iterate_trials

PAIR = ["graph", "mordred"]
WEIGHTS = {"weights": "/a/model.pth", "sha256": "0" * 64}


def arms(modalities=None, **keys):
    raw = {
        "name": "mine",
        "data": "starter",
        "modalities": modalities or {},
        "grid": [{"features": [PAIR], **keys.pop("grid", {})}],
        **keys,
    }
    return make_plan(check_study(raw, "x")).arms


def only(modalities=None, **keys):
    (arm,) = arms(modalities, **keys)
    return arm


@pytest.mark.parametrize(
    "same",
    [
        {"grid": {"features": [["mordred", "graph"]]}},
        {"grid": {"fusion": ["concat"], "technique": ["mlp_head"]}},
        {"grid": {"fusion": [{"operator": "concat", "stage": "label"}]}},
        {"grid": {"training": {"dropout": [TrainingConfig().dropout]}}},
        {"training": TrainingConfig().model_dump(mode="json")},
        {"modalities": {"mordred": {"clip": 5}}},
        {"modalities": {"mordred": {"modality": "mordred", "calibration": "frozen"}}},
        {
            "modalities": {
                "graph": {
                    "calibration": "finetune",
                    "training": {"epochs": TrainingConfig().epochs},
                }
            }
        },
        {"modalities": {"net": {"modality": "graph"}}, "grid": {"features": [["net", "mordred"]]}},
        {"name": "another", "description": "words"},
        {"split": {"folds": 3}, "seeds": [7], "run": {"storage": "elsewhere"}},
    ],
)
def test_an_arm_has_one_id_however_it_is_written(same):
    assert only(**same).id == only().id


@pytest.mark.parametrize(
    "other",
    [
        {"grid": {"features": [["graph", "fingerprint"]]}},
        {"grid": {"fusion": ["product"]}},
        {"grid": {"fusion": [{"operator": "concat", "stage": "logit"}]}},
        {"grid": {"technique": ["label_balancer"]}},
        {"grid": {"technique": ["independent_mean"], "features": [PAIR]}},
        {"modalities": {"mordred": {"clip": 6}}},
        {"modalities": {"graph": {"encoder": "gin"}}},
        {"modalities": {"graph": {"calibration": "frozen"}}},
        {"modalities": {"graph": {"calibration": "joint"}}},
        {"modalities": {"graph": {"training": {"epochs": 7}}}},
        {"fractions": [0.5]},
    ],
)
def test_another_model_has_another_id(other):
    assert only().id not in {arm.id for arm in arms(**other)}


@pytest.mark.parametrize("setting", TrainingConfig.model_fields)
def test_every_training_setting_changes_the_id(setting):
    changed = {
        "average": 0.5,
        "dropout": 0.15,
        "hidden": [3],
        "monitor": "loss",
        "precision": "bfloat16",
    }.get(setting, 3)
    assert only(training={setting: changed}).id != only().id


def test_partitions_and_their_options_change_the_id():
    keys = {"technique": ["label_balancer"]}
    rules = ["density", {"partition": "density", "densest": "last"}, "affinity"]
    assert len({arm.id for arm in arms(grid={**keys, "partition": rules})}) == 3


def test_weights_count_by_content_and_not_by_path():
    def arm(**weights):
        return only({"graph": {**WEIGHTS, **weights}})

    assert arm(weights="/b/other.pth").id == arm().id
    assert arm(sha256="1" * 64).id != arm().id
    assert only({"graph": {"calibration": "frozen"}}).id != arm().id
    assert arm().features[0].config.resolved == "frozen"


def test_training_settings_of_a_frozen_encoder_do_not_count():
    frozen = {"graph": {"calibration": "frozen"}}
    numbers = {"graph": {"calibration": "frozen", "training": {"epochs": 7}}}
    assert only(frozen).id == only(numbers).id


def test_fractions_of_an_arm_are_one_curve():
    half, whole = arms(fractions=[0.5, 1.0])
    assert half.id != whole.id
    assert half.curve_id == whole.curve_id
    assert half.curve_id != only(grid={"fusion": ["product"]}).curve_id


STUDY = {
    "name": "mine",
    "data": "starter",
    "modalities": {
        "zebra": {"modality": "fingerprint", "size": 64, "chirality": True},
        "apple": {"modality": "smiles", "training": {"epochs": 3}},
        "graph": WEIGHTS,
    },
    "grid": [
        {
            "features": [["apple", "zebra"], ["graph", "mordred", "zebra"], ["apple"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
            "fusion": ["concat", {"operator": "parallel", "stage": "logit", "combine": "learned"}],
            "partition": ["density", {"partition": "affinity", "shrinkage": 3}],
            "training": {"hidden": [[8], [8, 4]], "learning_rate": [1e-3]},
        }
    ],
    "fractions": [0.1, 1],
}
ALL = make_plan(check_study(STUDY, "x")).arms


@given(
    arm=st.sampled_from(ALL),
    repeat=st.integers(0, 9),
    fold=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_a_trial_and_its_jobs_survive_json(arm, repeat, fold, seed):
    trial = Trial(arm, repeat, fold, seed)
    text = json.dumps(trial.to_json(), sort_keys=True, allow_nan=False)
    again = Trial.from_json(json.loads(text))
    assert again == trial
    assert again.arm.id == arm.id
    assert str(again) == str(trial)
    for feature in arm.features:
        job = encoder_job_for(feature, trial)
        if job is not None:
            assert EncoderJob.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_arms_share_equal_encoder_jobs():
    jobs = {}
    for arm in ALL:
        for trial in iterate_trials(arm, repeats=1, folds=1, seeds=(0,)):
            for feature in trial.arm.features:
                job = encoder_job_for(feature, trial)
                jobs.setdefault((feature.name, arm.fraction), set()).add(str(job))
    assert jobs["apple", 1.0] == {
        "encoder apple / fraction 1 fold 0 seed 0",
        "encoder apple on its labels of density / fraction 1 fold 0 seed 0",
    }
    assert jobs["graph", 1.0] == {"encoder graph seed 0"} == jobs["graph", 0.1]
    assert jobs["zebra", 1.0] == {"None"}


def test_seeds_differ_by_fold_repeat_and_seed():
    trials = list(iterate_trials(ALL[0], repeats=4, folds=5, seeds=(0, 1, 2)))
    assert len({trial.torch_seed for trial in trials}) == len(trials) == 60
