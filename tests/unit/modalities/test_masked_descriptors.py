"""Restoring hidden descriptors, on a table with a known structure."""

import numpy as np
import pytest
import torch

from modalities import ModalityError, ModalityFeatures
from modalities.graph import Graph
from modalities.nn.tabular import ScaledColumns, TabularEncoder
from modalities.pretraining import MoleculeBatch
from modalities.pretraining.masked_descriptors import MaskedDescriptors

MOLECULES, COLUMNS = 600, 24
TRAIN, HELD = np.arange(500), np.arange(500, 600)


def table(rank=3, noise=0.0):
    """Columns that are mixtures of a few hidden numbers; one value in 20 is missing."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((MOLECULES, rank)) @ rng.standard_normal((rank, COLUMNS))
    values += noise * rng.standard_normal(values.shape)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[:, 5] = 7.0  # a column that does not vary
    return values.astype(np.float32)


class Columns:
    """A modality whose molecule 'i' has row i of a table."""

    version = "columns 1"

    def __init__(self, values):
        self.values = values

    def featurize(self, smiles):
        return {"values": self.values[int(smiles)][None]}


def examples_of(objective, values):
    names = tuple(map(str, range(len(values))))
    return objective.prepare(Columns(values), MoleculeBatch(names, (None,) * len(names)))


def network(columns=COLUMNS, width=32):
    scaler = ScaledColumns(columns, max_missing=0.2, max_value=1e6, clip=5.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TabularEncoder(
            scaler, columns=columns, width=width, layers=1, embedding=8, dropout=0.0
        )


def model_of(objective, examples):
    encoder = network()
    encoder.fit(examples, TRAIN)
    return objective.model(encoder, seed=0)


def pretrain(objective, values, epochs=40):
    """Return held-out measures before and after."""
    examples = examples_of(objective, values)
    model, rng = model_of(objective, examples), np.random.default_rng(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    held_out = objective.collate(examples, HELD, np.random.default_rng(2))
    before = measured(model, held_out)
    for _ in range(epochs):
        for rows in rng.permutation(TRAIN).reshape(-1, 100):
            optimizer.zero_grad()
            model.train()(objective.collate(examples, rows, rng))["loss"].backward()
            optimizer.step()
    return before, measured(model, held_out)


def measured(model, batch):
    with torch.no_grad():
        return {name: value.item() for name, value in model.eval()(batch).items()}


def test_examples_are_the_molecules_in_order():
    examples = examples_of(MaskedDescriptors(), table())
    assert isinstance(examples, ModalityFeatures)
    assert np.array_equal(examples.matrix("values"), table(), equal_nan=True)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_predictable_descriptors_are_learned(loss):
    before, after = pretrain(MaskedDescriptors(loss=loss), table())
    assert before["r2"] < 0.1
    assert after["r2"] > 0.8
    assert after["loss"] < before["loss"]


def test_independent_descriptors_are_not_learned():
    independent = np.random.default_rng(0).standard_normal((MOLECULES, COLUMNS)).astype(np.float32)
    _, after = pretrain(MaskedDescriptors(), independent, epochs=10)
    assert after["r2"] < 0.1


def test_loss_and_r2_are_over_hidden_present_values():
    objective, values = MaskedDescriptors(), table()
    examples = examples_of(objective, values)
    model = model_of(objective, examples).eval()
    batch = objective.collate(examples, HELD, np.random.default_rng(3))
    measures = measured(model, batch)
    with torch.no_grad():
        scaled = model.encoder.scaler(batch["values"])
        counted = batch["hidden"] & ~batch["values"].isnan()
        counted[:, 5] = False
        restored = model.decoder(model.encoder.embed(torch.where(counted, 0.0, scaled)))
    pairs = [(scaled[i, j].item(), restored[i, j].item()) for i, j in counted.nonzero().tolist()]
    squares = sum((wanted - guess) ** 2 for wanted, guess in pairs)
    assert measures["loss"] == pytest.approx(squares / len(pairs), rel=1e-4)
    total = sum(wanted**2 for wanted, _ in pairs)
    assert measures["r2"] == pytest.approx(1 - squares / total, abs=1e-4)


def test_hidden_values_do_not_affect_the_prediction():
    objective, values = MaskedDescriptors(), table()
    examples = examples_of(objective, values)
    model = model_of(objective, examples).eval()
    batch = objective.collate(examples, HELD, np.random.default_rng(3))
    seen = []
    model.encoder.hidden[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(batch)
    shifted = torch.where(batch["hidden"], batch["values"] + 3, batch["values"])
    model({**batch, "values": shifted})
    assert torch.equal(*seen)


def test_hidden_share_is_the_option_and_seeded():
    objective = MaskedDescriptors(share=0.4)
    examples = examples_of(objective, table())
    first, again, other = (
        objective.collate(examples, TRAIN, np.random.default_rng(seed))["hidden"]
        for seed in (1, 1, 2)
    )
    assert first.float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_measure_without_any_value_is_nan():
    objective = MaskedDescriptors()
    examples = examples_of(objective, table())
    model = model_of(objective, examples).eval()
    batch = objective.collate(examples, HELD, np.random.default_rng(0))
    nothing = {**batch, "hidden": torch.zeros_like(batch["hidden"])}
    assert np.isnan(measured(model, nothing)["r2"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share must be between 0 and 1, not 0.0"),
        ({"loss": "absolute"}, "loss must be squared or huber, not 'absolute'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=f"objective 'masked_descriptors': {message}"):
        MaskedDescriptors(**options)


def test_another_encoder_is_refused():
    with pytest.raises(ModalityError, match="encoder of 'mordred_network', not MolclrEncoder"):
        MaskedDescriptors().model(Graph().encoder(seed=0), seed=0)
