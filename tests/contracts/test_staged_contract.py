"""Contract of every encoder with weights: stages, data types and devices."""

import numpy as np
import pytest
import torch
from modality_words import MOLECULES, WORDS, features_of, modality_class, modality_of

from modalities import StagedEncoder

TRAINABLE = [name for name in WORDS if modality_class(name).trainable]
ALL = np.arange(len(MOLECULES))


@pytest.fixture(scope="module", params=TRAINABLE)
def modality(request):
    return modality_of(request.param)


@pytest.fixture(scope="module")
def features(modality):
    return features_of(modality)


@pytest.fixture
def encoder(modality, features):
    fitted = modality.encoder(seed=1)
    fitted.fit(features, ALL)
    return fitted


def copy_weights(encoder):
    return {name: weight.detach().clone() for name, weight in encoder.named_parameters()}


def test_every_weight_is_in_exactly_one_stage(encoder):
    assert isinstance(encoder, StagedEncoder)
    staged = [weight for stage in encoder.stages() for weight in stage.parameters()]
    assert sorted(map(id, staged)) == sorted(map(id, encoder.parameters()))
    assert all(list(stage.parameters()) for stage in encoder.stages())


def test_training_top_stages_changes_only_their_weights(encoder, features):
    encoder.train()
    for top in range(1, len(encoder.stages()) + 1):
        encoder.requires_grad_(False)
        unfrozen = torch.nn.ModuleList(encoder.stages()[-top:]).requires_grad_(True)
        before = copy_weights(encoder)
        optimizer = torch.optim.AdamW(unfrozen.parameters(), lr=1e-2, weight_decay=0.1)
        embedding = encoder(encoder.collate(features, ALL))
        (embedding * torch.linspace(-1, 1, embedding.numel()).view_as(embedding)).sum().backward()
        optimizer.step()
        ids = {id(weight) for weight in unfrozen.parameters()}
        for name, weight in encoder.named_parameters():
            assert torch.equal(weight, before[name]) == (id(weight) not in ids), (top, name)


def test_stages_run_from_input_to_output(encoder, features):
    encoder.train()
    order = []
    for number, stage in enumerate(encoder.stages()):
        for part in stage.modules():
            part.register_forward_hook(lambda *_, number=number: order.append(number))
    encoder(encoder.collate(features, ALL))
    assert order, "no stage has a part that runs"
    assert order == sorted(order)


def test_embedding_is_equal_in_double_precision(encoder, features):
    batch = encoder.eval().collate(features, ALL)
    with torch.no_grad():
        single = encoder(batch)
        double = encoder.double()(batch)
    assert double.dtype == torch.float64
    rounding = 1e-4 * single.abs().max().item()
    torch.testing.assert_close(double.float(), single, rtol=0, atol=rounding)


def test_every_tensor_of_an_encoder_moves_with_it(encoder):
    for module in encoder.modules():
        registered = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
        names = [name for name, value in vars(module).items() if torch.is_tensor(value)]
        assert all(id(vars(module)[name]) in registered for name in names), names


@pytest.mark.parametrize("training", [True, False])
def test_embeds_on_the_device_it_was_moved_to(training, encoder, features):
    batch = {name: values.to("meta") for name, values in encoder.collate(features, ALL).items()}
    try:
        embedding = encoder.train(training).to("meta")(batch)
    except RuntimeError as error:
        if "item() cannot be called on meta" not in str(error):
            raise
        pytest.skip("the encoder reads values of its batch, and the meta device has none")
    assert embedding.device.type == "meta"
    assert embedding.shape == (len(MOLECULES), encoder.dim)
