"""What every operator of the folder owes, in every variant of its options."""

import pytest
import torch

from fusion import FusionError, HeadShape, seeded

LABELS = 7
HEAD = HeadShape(hidden=(16, 8), dropout=0.5)


def build(operator, dims, seed=0):
    with seeded(seed):
        return operator(dims, LABELS, HEAD).double()


def test_maps_embeddings_to_finite_logits(operator, dims, embeddings):
    logits = build(operator, dims)(embeddings)
    assert logits.shape == (6, LABELS)
    assert logits.isfinite().all()


def test_same_seed_gives_the_same_model(operator, dims, embeddings):
    first, second, other = (build(operator, dims, seed).eval()(embeddings) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_gradient_reaches_every_parameter_and_every_modality(operator, dims, embeddings):
    model = build(operator, dims).eval()
    data = {m: e.requires_grad_() for m, e in embeddings.items()}
    model(data).square().sum().backward()
    flat = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert flat == []
    assert all(e.grad.any() for e in data.values())


def test_molecules_are_independent(operator, dims, embeddings):
    model = build(operator, dims).eval()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = model({m: e[order] for m, e in embeddings.items()})
    assert torch.allclose(permuted, model(embeddings)[order], rtol=1e-12, atol=0)


def test_order_of_the_mapping_does_not_matter(operator, dims, embeddings):
    model = build(operator, dims).eval()
    backwards = dict(reversed(embeddings.items()))
    assert torch.equal(model(backwards), model(embeddings))


def test_drops_units_in_training_only(operator, dims, embeddings):
    model = build(operator, dims)
    with seeded(0):
        assert not torch.equal(model(embeddings), model(embeddings))
    assert torch.equal(model.eval()(embeddings), model(embeddings))


def test_state_dict_round_trip(operator, dims, embeddings):
    model, other = build(operator, dims, 0).eval(), build(operator, dims, 1).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(embeddings), model(embeddings))


def test_two_modalities_suffice(operator, dims, embeddings):
    pair = {m: dims[m] for m in ("smiles", "graph")}
    logits = build(operator, pair)({m: embeddings[m] for m in pair})
    assert logits.shape == (6, LABELS)


def test_names_the_modality_that_does_not_fit(operator, dims, embeddings):
    model = build(operator, dims)
    missing = {m: e for m, e in embeddings.items() if m != "graph"}
    with pytest.raises(FusionError, match="embeddings lacks 'graph'; the model takes 'smiles', "):
        model(missing)
    with pytest.raises(FusionError, match="embeddings has unknown 'taste'; the model takes"):
        model(embeddings | {"taste": embeddings["graph"]})
    with pytest.raises(FusionError, match=r"'mordred' must be \(b, 4\), got \(6, 3\)"):
        model(embeddings | {"mordred": embeddings["graph"]})


def test_refuses_a_single_modality(operator):
    with pytest.raises(FusionError, match=r"at least two modalities, got 'graph': .* SingleHead"):
        build(operator, {"graph": 3})


def test_refuses_empty_shapes(operator, dims):
    with pytest.raises(FusionError, match="'graph' must have at least 1 column, got 0"):
        operator(dims | {"graph": 0}, LABELS, HEAD)
    with pytest.raises(FusionError, match="at least one label, got 0"):
        operator(dims, 0, HEAD)
