"""Operators against their equations, written out in numpy from the weights."""

import numpy as np
import pytest
import torch
from torch import nn

from fusion import FusionError, HeadShape, SingleHead, seeded
from fusion.operators.concat import Concat
from fusion.operators.parallel import Parallel
from fusion.operators.product import Product

L, HEAD = 7, HeadShape(hidden=(6, 5), dropout=0.5)
COMBINE = {
    "concat": lambda parts: np.concatenate(parts, axis=1),
    "product": lambda parts: parts[0] * parts[1] * parts[2],
    "add": lambda parts: parts[0] + parts[1] + parts[2],
    "mean": lambda parts: (parts[0] + parts[1] + parts[2]) / 3,
}


def operator(how, dims, stage):
    with seeded(1):
        if how in ("add", "mean", "learned"):
            return Parallel(dims, L, HEAD, stage=stage, combine=how).double().eval()
        return (
            {"concat": Concat, "product": Product}[how](dims, L, HEAD, stage=stage).double().eval()
        )


def linears(module):
    """(W, b) of every linear layer below a module, in order."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in layers]


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(x, layers):
    for weight, bias in layers[:-1]:
        x = relu(x @ weight.T + bias)
    weight, bias = layers[-1]
    return x @ weight.T + bias


@pytest.mark.parametrize("how", COMBINE)
@pytest.mark.parametrize("stage", ["label", "logit", "latent"])
def test_equals_its_equation(how, stage, dims, embeddings):
    model = operator(how, dims, stage)
    parts = []
    for modality in dims:
        layers = linears(model.branches.by_modality[modality])
        assert [len(bias) for _, bias in layers] == ([6] if stage == "latent" else [6, 5, L])
        part = mlp(embeddings[modality].numpy(), layers)
        parts.append({"label": sigmoid, "logit": np.copy, "latent": relu}[stage](part))
    readout = linears(model.readout)
    assert [len(bias) for _, bias in readout] == ([5, L] if stage == "latent" else [L])
    expected = mlp(COMBINE[how](parts), readout)
    np.testing.assert_allclose(model(embeddings).detach().numpy(), expected, rtol=1e-10)


def test_learned_weights_start_at_the_mean(dims, embeddings):
    mean, learned = operator("mean", dims, "label"), operator("learned", dims, "label")
    assert torch.allclose(mean(embeddings), learned(embeddings), rtol=1e-12)


def test_learned_weights_can_leave_a_label_to_one_modality(dims, embeddings):
    model = operator("learned", dims, "label")
    with torch.no_grad():
        model.preference[1, 2] = 1000.0
        parts = model.branches(embeddings)
        weighted = model.sum_branches(parts)
    assert torch.allclose(weighted[:, 2], parts[:, 1, 2], rtol=1e-12)
    assert torch.allclose(weighted[:, 3], parts[:, :, 3].mean(1), rtol=1e-12)


def test_single_head_is_an_mlp(embeddings):
    with seeded(0):
        model = SingleHead({"graph": 3}, L, HEAD).double().eval()
    expected = mlp(embeddings["graph"].numpy(), linears(model))
    actual = model({"graph": embeddings["graph"]}).detach().numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_no_hidden_layer_is_a_linear_head(embeddings):
    model = SingleHead({"graph": 3}, L, HeadShape(hidden=()))
    assert [weight.shape for weight, _ in linears(model)] == [(L, 3)]


def test_single_head_refuses_two_modalities(dims):
    with pytest.raises(FusionError, match="exactly one modality, got 'smiles', 'graph', 'mordred'"):
        SingleHead(dims, L, HEAD)


def test_latent_stage_needs_a_hidden_layer(dims):
    with pytest.raises(FusionError, match="stage 'latent' fuses at the first hidden layer"):
        Concat(dims, L, HeadShape(hidden=()), stage="latent")


def test_unknown_options_are_named(dims):
    with pytest.raises(FusionError, match="stage 'labels' is unknown; allowed: 'label', 'logit'"):
        Concat(dims, L, HEAD, stage="labels")
    with pytest.raises(FusionError, match="combine 'max' is unknown; allowed: 'add', 'mean'"):
        Parallel(dims, L, HEAD, combine="max")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"hidden": (8, 0)}, r"at least 1 unit, got \(8, 0\)"),
        ({"dropout": 1.0}, r"\[0, 1\), got 1"),
    ],
)
def test_head_shape_is_checked(shape, message):
    with pytest.raises(FusionError, match=message):
        HeadShape(**shape)
