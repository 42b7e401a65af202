"""Contract of every pretraining objective; a new file is tested without an edit here."""

import inspect
import random
import typing

import numpy as np
import pytest
import torch
from modality_words import WORDS, features_of
from pretraining_words import CASES, LEARNED, OBJECTIVES, objective_class, objective_of, trainable

from modalities import ModalityError
from modalities.nn.random import seeded
from modalities.pretraining import MoleculeBatch

ALL = np.arange(len(LEARNED))
STEPS, RATE = 12, 3e-3


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def objective(case):
    return objective_of(*case)


@pytest.fixture(scope="module")
def modality(case):
    return trainable(case[1])


@pytest.fixture(scope="module")
def examples(objective, modality):
    return objective.prepare(modality, LEARNED)


@pytest.fixture(scope="module")
def features(modality):
    return features_of(modality, LEARNED.smiles)


@pytest.fixture
def model(objective, modality, features):
    return model_of(objective, modality, features)


def model_of(objective, modality, features, *, seed=1):
    encoder = modality.encoder(seed=seed)
    encoder.fit(features, ALL)
    return objective.model(encoder, seed=seed)


def batch_of(objective, examples, rows=ALL, seed=0):
    return objective.collate(examples, np.asarray(rows), np.random.default_rng(seed))


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(one[name].nan_to_num(7.0), other[name].nan_to_num(7.0))
        for name in one
    )


@pytest.mark.parametrize("objective_name", OBJECTIVES)
def test_options_are_keyword_only_typed_and_have_defaults(objective_name):
    plain = {int, float, bool, str, type(None)}
    for name, hint in typing.get_type_hints(objective_class(objective_name).__init__).items():
        if name == "return":
            continue
        option = inspect.signature(objective_class(objective_name)).parameters[name]
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.default is not inspect.Parameter.empty
        parts = typing.get_args(hint) or (hint,)
        assert typing.get_origin(hint) is typing.Literal or set(parts) <= plain


@pytest.mark.parametrize("objective_name", OBJECTIVES)
def test_attributes_are_declared(objective_name):
    kind = objective_class(objective_name)
    assert kind.modalities
    assert set(kind.modalities) <= set(WORDS)
    assert isinstance(kind.named, bool)
    assert kind().version.startswith(f"{objective_name} ")


def other_value(option, hint):
    if typing.get_origin(hint) is typing.Literal:
        return next(value for value in typing.get_args(hint) if value != option.default)
    if isinstance(option.default, bool):
        return not option.default
    return option.default + 1 if isinstance(option.default, int) else option.default / 2 or 0.5


@pytest.mark.parametrize("objective_name", OBJECTIVES)
def test_version_names_every_option(objective_name):
    kind = objective_class(objective_name)
    hints = typing.get_type_hints(kind.__init__)
    for name, option in inspect.signature(kind).parameters.items():
        try:
            changed = kind(**{name: other_value(option, hints[name])})
        except ModalityError:
            continue  # not without another option
        assert changed.version != kind().version, name


def test_batch_has_tensors_and_measures_are_scalars(objective, examples, model):
    for rows in (ALL, [4, 2]):
        batch = batch_of(objective, examples, rows)
        assert all(torch.is_tensor(value) for value in batch.values())
        measures = model(batch)
        assert measures["loss"].requires_grad
        assert all(value.ndim == 0 and value.isfinite() for value in measures.values())


def test_same_generator_same_batch(objective, examples):
    assert same(batch_of(objective, examples), batch_of(objective, examples))


def test_row_i_is_molecule_i(objective, modality, examples):
    for row in (0, 3, len(LEARNED) - 1):
        molecule = MoleculeBatch(LEARNED.smiles[row : row + 1], LEARNED.names[row : row + 1])
        alone = objective.prepare(modality, molecule)
        assert same(batch_of(objective, examples, [row]), batch_of(objective, alone, [0])), row


def test_initial_weights_depend_on_the_seed(objective, modality, features):
    first, again, other = (
        model_of(objective, modality, features, seed=seed).state_dict() for seed in (3, 3, 4)
    )
    assert same(first, again)
    assert not same(first, other)


def test_global_random_state_is_unchanged(objective, modality, examples, features):
    def states():
        legacy = np.random.get_state()[1].tolist()  # noqa: NPY002 (its state is what is tested)
        return random.getstate(), legacy, torch.get_rng_state().tolist()

    before = states()
    objective.prepare(modality, LEARNED)
    batch_of(objective, examples)
    model_of(objective, modality, features)
    assert states() == before


def train(model, batches):
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    losses = []
    for batch in batches:
        loss = model(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_changes_every_stage_of_the_encoder(objective, examples, model):
    before = {name: value.clone() for name, value in model.encoder.named_parameters()}
    with seeded(0):
        losses = train(model.train(), [batch_of(objective, examples)] * STEPS)
    assert losses[-1] < 0.9 * losses[0], losses
    changed = {id(v) for n, v in model.encoder.named_parameters() if not torch.equal(v, before[n])}
    for number, stage in enumerate(model.encoder.stages()):
        assert changed & {id(weight) for weight in stage.parameters()}, f"stage {number}"


def test_training_is_reproducible(objective, modality, examples, features):
    def trained():
        model = model_of(objective, modality, features).train()
        with seeded(0):
            train(model, [batch_of(objective, examples, seed=seed) for seed in range(2)])
        return model.state_dict()

    assert same(trained(), trained())


def test_trained_encoder_loads_into_the_modality(objective, modality, features, model, examples):
    with seeded(0):
        train(model.train(), [batch_of(objective, examples)])
    fresh = modality.encoder(seed=9)
    fresh.load_state_dict(model.encoder.state_dict())
    batch = fresh.collate(features, ALL)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(batch), model.encoder.eval()(batch))
