"""Training: uses training labels only, keeps its best epoch, names the epoch of a failure."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fusion import HeadShape, MultimodalModel, SingleHead, seeded
from study.artifacts.embeddings import EmbeddingStore, encoder_job_for
from study.artifacts.study_data import StudyData
from study.config.training import TrainingConfig
from study.data import OdorDataset
from study.errors import TrialError
from study.metrics import auroc
from study.results.ledger import LedgerError
from study.storage.storage import Storage
from study.training.distributed import torch_settings
from study.training.encoders import run_encoder_job
from study.training.evaluation import run_average_trial
from study.training.supervised import (
    LabeledRows,
    fit,
    predict,
    shuffle_batches,
    to_trainer_config,
)
from study.training.trainer import TrainingState
from study.training.trial import run_trial

N, WIDTH, LABELS = 60, 4, 3


class Linear(nn.Module):
    """A model whose logits are linear in its only modality."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(WIDTH, LABELS)
        for values in self.parameters():
            nn.init.zeros_(values)

    def forward(self, batch):
        return self.head(batch["x"])


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, WIDTH)).astype(np.float32)
    labels = (features[:, :LABELS] + rng.normal(size=(N, LABELS)) > 0).astype(np.uint8)
    rows = np.arange(N)
    parts = LabeledRows(rows[:40], labels[:40]), LabeledRows(rows[40:], labels[40:])
    return {"x": lambda some: torch.from_numpy(features[some])}, *parts


def numbers(**changed):
    base = {"epochs": 30, "batch_size": 8, "learning_rate": 0.05, "epoch_steps": 1}
    return TrainingConfig(**{**base, **changed})


@pytest.mark.parametrize(("n", "size"), [(1, 4), (4, 4), (5, 4), (9, 4), (10, 4), (33, 8)])
def test_batches_hold_each_row_once_and_never_one_row(n, size):
    batches = list(shuffle_batches(n, size, torch.Generator().manual_seed(0)))
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert n == 1 or min(map(len, batches)) > 1
    assert max(map(len, batches)) <= size + 1


@pytest.mark.parametrize("average", [0, 0.9])
@pytest.mark.parametrize("monitor", ["auroc", "loss"])
def test_the_weights_of_the_best_epoch_are_kept(average, monitor, table):
    gather, training, validation = table
    model = Linear()
    chosen = numbers(average=average, monitor=monitor, patience=4)
    history = fit(model, gather, training, validation, chosen, seed=0)
    values = history.monitored
    assert history.best_epoch == 1 + int(np.argmax(values))  # the first of equals
    stopped = min(chosen.epochs, history.best_epoch + chosen.patience)
    assert len(values) == len(history.loss) == stopped
    scores = predict(model, gather, validation.rows)
    if monitor == "auroc":
        value = auroc(validation.labels, scores).mean()
    else:
        true = np.where(validation.labels == 1, scores, 1 - scores)
        value = np.log(true).mean()
    assert value == pytest.approx(max(values), abs=1e-6)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_training_equals_a_plain_loop(average):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, WIDTH)).astype(np.float32)
    y = (x[:, :LABELS] + rng.normal(size=(N, LABELS)) > 0).astype(np.uint8)
    rows = np.arange(N)
    training, validation = LabeledRows(rows[:40], y[:40]), LabeledRows(rows[40:], y[40:])
    chosen = numbers(epochs=4, batch_size=16, average=average)
    with seeded(7):
        head = SingleHead({"x": WIDTH}, LABELS, HeadShape((8,), 0.4))
    with seeded(7):
        linear = nn.Linear(WIDTH, 8), nn.Linear(8, LABELS)
        plain = nn.Sequential(linear[0], nn.ReLU(), nn.Dropout(0.4), linear[1])
    model, gather = MultimodalModel({"x": None}, head), {"x": lambda r: torch.from_numpy(x[r])}
    history = fit(model, gather, training, validation, chosen, seed=3)
    scores = plain_scores(plain, torch.from_numpy(x), torch.from_numpy(y).float(), chosen)
    predicted = predict(model, gather, rows)
    assert np.abs(scores[history.best_epoch - 1] - predicted).max() < 1e-5


def plain_scores(model, x, y, chosen):
    """Train with a plain loop; return the scores of all molecules after each epoch."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
    )
    average = None
    state, scores = TrainingState(to_trainer_config(chosen), seed=3), []
    for epoch in range(1, chosen.epochs + 1):
        model.train()
        order = torch.Generator().manual_seed(state.epoch_seed(epoch))
        with seeded(state.epoch_seed(epoch, 0)):
            for rows in torch.randperm(40, generator=order).split(chosen.batch_size):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(model(x[rows]), y[rows]).backward()
                optimizer.step()
                weights = [values.detach().clone() for values in model.parameters()]
                average = [
                    chosen.average * mean + (1 - chosen.average) * now
                    for mean, now in zip(average or weights, weights, strict=True)
                ]
        kept = copy.deepcopy(model).eval()
        with torch.no_grad():
            for values, mean in zip(kept.parameters(), average, strict=True):
                values.copy_(mean)
            scores.append(kept(x).sigmoid().numpy())
    return scores


def test_training_learns(table):
    gather, training, validation = table
    history = fit(Linear(), gather, training, validation, numbers(), seed=0)
    assert history.loss[-1] < history.loss[0] == pytest.approx(np.log(2), abs=0.1)
    assert max(history.monitored) > 0.7


def test_scores_depend_on_the_seed_alone(table):
    gather, training, validation = table

    def scores(seed):
        model = Linear()
        before = torch.get_rng_state()
        fit(model, gather, training, validation, numbers(), seed=seed)
        assert torch.equal(before, torch.get_rng_state())  # the global generator is untouched
        return predict(model, gather, validation.rows)

    assert (scores(0) == scores(0)).all()
    assert (scores(0) != scores(1)).any()


def test_a_loss_that_is_not_finite_names_its_epoch(table):
    gather, training, validation = table
    seen = []

    def poisoned(rows):
        seen.append(len(rows))
        batch = gather["x"](rows)
        # Five batches and one validation pass an epoch: this is the second one of epoch 3.
        return batch * float("nan") if len(seen) == 14 else batch

    with pytest.raises(TrialError, match=r"loss became nan in epoch 3; lower 'training\.learn"):
        fit(Linear(), {"x": poisoned}, training, validation, numbers(patience=30), seed=0)


def test_scores_that_are_not_finite_fail_the_trial():
    broken = {"x": lambda some: torch.full((len(some), WIDTH), torch.nan)}
    with pytest.raises(TrialError, match="score that is not finite"):
        predict(Linear(), broken, np.arange(3))


def poisoned_inputs(data, trial):
    """Return the data with flipped labels in the trial's test fold."""
    labels = data.dataset.labels.copy()
    test = data.fold(trial).test
    labels[test] = 1 - labels[test]
    old = data.dataset
    dataset = OdorDataset(old.name, old.smiles, labels, old.label_names)
    return StudyData(dataset, data.split, data.cache)


@pytest.mark.parametrize("technique", ["mlp_head", "label_balancer"])
def test_test_labels_never_affect_scores(technique, launched):
    study, record, _ = launched
    trial = next(t for t in study.plan.trials() if t.arm.technique == technique)
    known = record.by_id[study.data.trial_id(trial)]
    with torch_settings(1):
        again = run_trial(trial, poisoned_inputs(study.data, trial))
    assert (again.scores == known.scores).all()
    assert again.history == known.history
    assert (again.test_labels == 1 - known.test_labels).all()


def test_test_labels_never_affect_the_affinity_partition(tiny, spec_of, run_tiny, tmp_path):
    block = {"features": [["counts", "characters"]], "technique": ["label_balancer"]}
    tiny["grid"] = [{**block, "partition": ["affinity"]}]
    study, record, _ = run_tiny(spec_of(tiny, tmp_path))
    trial = next(iter(study.plan.trials()))
    known = record.by_id[study.data.trial_id(trial)]
    poisoned = poisoned_inputs(study.data, trial)
    with torch_settings(1):
        assert (run_trial(trial, poisoned).scores == known.scores).all()


def test_test_labels_never_affect_a_trained_encoder(tiny, spec_of, run_tiny, tmp_path):
    tiny["modalities"]["characters"] |= {"calibration": "finetune", "training": {"epochs": 1}}
    tiny["grid"] = [{"features": [["characters"]]}]
    study, _, _ = run_tiny(spec_of(tiny, tmp_path))
    trial = next(iter(study.plan.trials()))
    job = encoder_job_for(trial.arm.features[0], trial)
    known = study.data.embedding_store.get(study.data.job_id(job))
    with torch_settings(1):
        assert (run_encoder_job(job, poisoned_inputs(study.data, trial)) == known).all()


def test_an_encoder_is_fine_tuned_on_its_own_labels(tiny, spec_of, run_tiny, tmp_path):
    tiny["modalities"]["characters"] |= {"calibration": "finetune", "training": {"epochs": 1}}
    block = {"features": [["counts", "characters"]], "technique": ["label_balancer"]}
    tiny["grid"] = [{**block, "partition": ["density", "random_per_batch"]}]
    study, record, _ = run_tiny(spec_of(tiny, tmp_path))
    assert record.missing == 0
    trials = {t.arm.partition.name: t for t in study.plan.trials() if t.fold == 0}
    feature = next(f for f in trials["density"].arm.features if f.name == "characters")
    job, job_on_all = (
        encoder_job_for(feature, trials[name]) for name in ("density", "random_per_batch")
    )
    data, fraction = study.data, job.fold_key.fraction
    positives = data.dataset.labels[data.fold(job.fold_key).fit[fraction]].sum(axis=0)
    columns = data.columns(job)
    assert 0 < len(columns) < len(positives) == len(data.columns(job_on_all))
    others = np.setdiff1d(np.arange(len(positives)), columns)
    apart = positives[columns].min() >= positives[others].max()
    assert apart or positives[columns].max() <= positives[others].min()
    # Other labels do not affect the encoder, its own do.
    known = data.embedding_store.get(data.job_id(job))
    with torch_settings(1):
        assert (run_encoder_job(job, with_other_labels(data, others)) == known).all()
        assert (run_encoder_job(job, with_other_labels(data, columns)) != known).any()


def with_other_labels(data, moved):
    """Return the data with some label columns in reversed order; the label subsets stay."""
    labels, old = data.dataset.labels.copy(), data.dataset
    labels[:, moved] = labels[::-1][:, moved]

    class Pinned(StudyData):
        def columns(self, job):
            return data.columns(job)

    dataset = OdorDataset(old.name, old.smiles, labels, old.label_names)
    return Pinned(dataset, data.split, data.cache)


def test_an_average_is_the_mean_of_its_members(launched):
    study, record, _ = launched
    averages = [t for t in study.plan.trials() if t.members()]
    assert len(averages) == 2
    for trial in averages:
        members = [record.by_id[study.data.trial_id(m)] for m in trial.members()]
        average = record.by_id[study.data.trial_id(trial)]
        expected = np.mean([m.scores.astype(np.float64) for m in members], axis=0)
        assert np.abs(average.scores - expected).max() < 1e-7
        assert (average.test_rows == members[0].test_rows).all()
        assert average.counts["parameters"] == sum(m.counts["parameters"] for m in members)
        assert run_average_trial(trial, members, study.data) == average


def test_embeddings_of_another_job_are_refused(tmp_path):
    store = EmbeddingStore(Storage(str(tmp_path)))
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for job in ("one", "two"):
        store.put(job, values)
    assert (store.get("one") == values).all()
    (tmp_path / "two.safetensors").replace(tmp_path / "one.safetensors")
    with pytest.raises(LedgerError, match=r"one\.safetensors holds the embeddings of the job two"):
        store.get("one")
    sound, damaged = store.find_intact({"one"})
    assert not sound
    assert len(damaged) == 1


def test_torch_settings_are_restored():
    tiny, threads = 1e-310, torch.get_num_threads()
    with torch_settings(threads + 1):
        assert torch.get_num_threads() == threads + 1
        assert (torch.tensor([tiny], dtype=torch.float64) * 1 == 0).all()
    assert torch.get_num_threads() == threads
    assert (torch.tensor([tiny], dtype=torch.float64) * 1 == tiny).all()
