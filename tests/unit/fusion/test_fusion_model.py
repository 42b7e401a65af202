"""The model, the averaged arm, seeds, options and the weight of imports."""

import ast
import inspect

import numpy as np
import pytest
import torch
from torch import nn

import fusion
from fusion import FusionError, HeadShape, MultimodalModel, average_scores, seeded
from fusion.operators.concat import Concat

HEAD = HeadShape(hidden=(6,), dropout=0.0)


@pytest.fixture
def model():
    with seeded(0):
        head = Concat({"smiles": 5, "graph": 3}, 7, HEAD)
        return MultimodalModel({"smiles": None, "graph": nn.Linear(4, 3)}, head).double()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    return {
        m: torch.randn(6, d, generator=generator).double() for m, d in (("smiles", 5), ("graph", 4))
    }


def test_model_is_head_of_encoders(model, batch):
    embedded = {"smiles": batch["smiles"], "graph": model.encoders["graph"](batch["graph"])}
    assert torch.equal(model(batch), model.head(embedded))


def test_gradient_reaches_the_encoder(model, batch):
    model(batch).square().sum().backward()
    assert model.encoders["graph"].weight.grad.any()


def test_model_names_the_modality_that_does_not_fit(model, batch):
    with pytest.raises(FusionError, match="batch lacks 'graph' and has unknown 'taste'"):
        model({"smiles": batch["smiles"], "taste": batch["graph"]})


def test_scores_are_averaged_as_probabilities():
    scores = [np.array([[0.0, 1.0]]), np.array([[0.5, 0.0]])]
    np.testing.assert_array_equal(average_scores(scores), [[0.25, 0.5]])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], r"one shape \(n, l\), got \[\]"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"got \[\(2, 3\), \(2, 4\)\]"),
        ([np.zeros((1, 2)), np.array([[0.5, -3.0]])], "scores 1 are not probabilities"),
        ([np.array([[np.nan]])], "scores 0 are not probabilities"),
    ],
)
def test_averaging_refuses_invalid_scores(scores, message):
    with pytest.raises(FusionError, match=message):
        average_scores(scores)


def test_seeded_block_restores_random_state():
    before = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(5):
        assert torch.equal(torch.rand(3), first)


def test_seeded_block_restores_random_state_after_error():
    before = torch.get_rng_state()
    with pytest.raises(FusionError), seeded(5):
        HeadShape(dropout=2.0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_seeded_block_covers_devices():
    before = torch.cuda.get_rng_state(0)
    draws = []
    for _ in range(2):
        with seeded(5, devices=[0]):
            draws.append(torch.rand(3, device="cuda:0"))
    assert torch.equal(*draws)
    assert torch.equal(torch.cuda.get_rng_state(0), before)


def test_options_can_be_read_from_source(component_class):
    """Keyword-only, with a default, annotated with int, float, bool, str, None and Literal only."""
    signature = inspect.signature(component_class)
    options = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        assert option.default is not option.empty
        names = {n.id for n in ast.walk(ast.parse(option.annotation)) if isinstance(n, ast.Name)}
        assert names <= {"int", "float", "bool", "str", "Literal"}


def test_every_public_name_is_importable():
    assert [name for name in fusion.__all__ if not hasattr(fusion, name)] == []
    assert dir(fusion) == sorted(fusion.__all__)
    with pytest.raises(AttributeError, match="'fusion' has no attribute 'Sum'"):
        _ = fusion.Sum
