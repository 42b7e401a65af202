"""What every encoder with weights promises to a freeze schedule and to other types and devices."""

import numpy as np
import pytest
import torch
from modality_words import MOLECULES, WORDS, features_of, modality_class, modality_of

from modalities._base import StagedEncoder

TRAINABLE = [word for word in WORDS if modality_class(word).trainable]
ALL = np.arange(len(MOLECULES))


@pytest.fixture(scope="module", params=TRAINABLE)
def modality(request):
    return modality_of(request.param)


@pytest.fixture(scope="module")
def features(modality):
    return features_of(modality)


@pytest.fixture
def encoder(modality, features):
    made = modality.encoder(seed=1)
    made.fit(features, ALL)
    return made


def copies(encoder):
    return {name: weight.detach().clone() for name, weight in encoder.named_parameters()}


def test_every_weight_is_in_exactly_one_stage(encoder):
    assert isinstance(encoder, StagedEncoder)
    staged = [weight for stage in encoder.stages() for weight in stage.parameters()]
    assert sorted(map(id, staged)) == sorted(map(id, encoder.parameters()))
    assert all(list(stage.parameters()) for stage in encoder.stages())


def test_training_the_top_stages_changes_them_and_nothing_else(encoder, features):
    encoder.train()
    for top in range(1, len(encoder.stages()) + 1):
        encoder.requires_grad_(False)
        thawed = torch.nn.ModuleList(encoder.stages()[-top:]).requires_grad_(True)
        before = copies(encoder)
        optimizer = torch.optim.AdamW(thawed.parameters(), lr=1e-2, weight_decay=0.1)
        embedding = encoder(encoder.collate(features, ALL))
        (embedding * torch.linspace(-1, 1, embedding.numel()).view_as(embedding)).sum().backward()
        optimizer.step()
        ids = {id(weight) for weight in thawed.parameters()}
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


def test_weights_of_another_precision_embed_alike(encoder, features):
    batch = encoder.eval().collate(features, ALL)
    with torch.no_grad():
        single = encoder(batch)
        double = encoder.double()(batch)
    assert double.dtype == torch.float64
    rounding = 1e-4 * single.abs().max().item()
    torch.testing.assert_close(double.float(), single, rtol=0, atol=rounding)


def test_every_tensor_of_an_encoder_moves_with_it(encoder):
    for module in encoder.modules():
        known = {id(held) for held in (*module.parameters(), *module.buffers())}
        loose = [name for name, held in vars(module).items() if torch.is_tensor(held)]
        assert all(id(vars(module)[name]) in known for name in loose), loose


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
