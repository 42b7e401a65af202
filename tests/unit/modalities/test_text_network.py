import numpy as np
import pytest
import torch
from translator_by_hand import decode, encode, position_rows, published_shapes

from modalities import Ragged
from modalities.featurizers.characters import END, PAD, START, encode_text, pad_ids
from modalities.nn.random import seeded
from modalities.nn.transformer import BLOCK, TextEncoder, compute_position_table
from modalities.nn.translator import Translator
from modalities.smiles import Smiles
from modalities.weights.published_translator import convert_published

SHAPE = {"layers": 2, "width": 12, "heads": 3, "feedforward": 20, "dropout": 0.1}
TEXTS = ("CCO", "C", "O=Cc1ccccc1", "CCCCCCCC(=O)OCC", "N#N") * 5  # several blocks
CLOSE = 2e-5  # the published 1e-6 beside each standard deviation
PUBLISHED = {"layers": 6, "width": 512, "heads": 8, "feedforward": 2048, "dropout": 0.1}


def made(pooling="mean"):
    with seeded(0):
        return TextEncoder(**SHAPE, max_length=40, pooling=pooling)


@pytest.fixture(scope="module")
def state():
    """Weights of the published layout, away from their start, where norms do nothing."""
    rng = np.random.default_rng(1)
    shapes = published_shapes(12, 20, places=40, layers=2)
    drawn = {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items() if "pe" not in name}
    return {n: 1 + value if n.endswith("alpha") else value for n, value in drawn.items()}


def converted(network, state):
    """The network with these weights, in double precision and without dropout."""
    network = network.double().eval()
    network.load_state_dict(convert_published({n: torch.from_numpy(v) for n, v in state.items()}))
    return network


@pytest.fixture(scope="module")
def translator(state):
    return converted(Translator(made(), layers=2, max_length=40), state)


@pytest.fixture
def encoder(translator):
    return translator.encoder.eval()


def ids_of(text, *ends):
    return np.append(encode_text(text, "text", max_length=40), ends).astype(np.int64)


def batch(*texts):
    return torch.from_numpy(pad_ids(Ragged.stack(list(texts))))


def test_states_equal_the_formulas(encoder, state):
    tokens = batch(*map(ids_of, TEXTS))
    states = encoder.states(tokens).detach().numpy()
    for row, text in enumerate(TEXTS):
        expected = encode(ids_of(text), state, layers=2, heads=3)
        np.testing.assert_allclose(states[row, : 1 + len(text)], expected, atol=CLOSE)
        assert not states[row, 1 + len(text) :].any()


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [("mean", lambda x: x.mean(0)), ("start", lambda x: x[0]), ("max", lambda x: x.max(0))],
)
def test_pooling_is_over_the_states_of_the_text(encoder, state, pooling, pool):
    assert len(TEXTS) > BLOCK
    other = made(pooling).double().eval()
    other.load_state_dict(encoder.state_dict())
    embedding = other({"tokens": batch(*map(ids_of, TEXTS))}).detach().numpy()
    for row, text in enumerate(TEXTS):
        expected = pool(encode(ids_of(text), state, layers=2, heads=3))
        np.testing.assert_allclose(embedding[row], expected, atol=CLOSE)


def test_translation_logits_equal_the_formulas(translator, state):
    names = ("ethanol", "methane", "benzaldehyde", "x", "nitrogen molecule") * 5
    target = batch(*(ids_of(name, END) for name in names))
    logits, expected, text = translator(batch(*map(ids_of, TEXTS)), target)
    for row, name in enumerate(names):
        source = encode(ids_of(TEXTS[row]), state, layers=2, heads=3)
        scores = decode(ids_of(name), source, state, layers=2, heads=3)
        np.testing.assert_allclose(logits[text == row].detach(), scores, atol=CLOSE)
        assert expected[text == row].tolist() == [*ids_of(name)[1:], END]


def test_constant_state_is_normalized_to_the_bias():
    x = torch.full((1, 12), 2.5, requires_grad=True)
    layer = made().norm
    layer(x).square().sum().backward()
    assert torch.equal(layer(x), layer.bias[None])
    assert x.grad.isfinite().all()


def test_initial_matrices_are_xavier_and_differ_by_layer():
    encoder = Smiles(layers=2, width=64, heads=4, feedforward=96).encoder(seed=0)
    one, other = encoder.transformer.layers
    matrices = [*one.self_attn.in_proj_weight.chunk(3), one.self_attn.out_proj.weight]
    matrices += [one.linear1.weight, one.linear2.weight, encoder.embed.embed.weight]
    for matrix in matrices:
        bound = (6 / sum(matrix.shape)) ** 0.5
        assert 0.98 * bound < matrix.abs().max() <= bound
        assert matrix.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    for name, weight in one.named_parameters():
        alike = torch.equal(weight, other.get_parameter(name))
        assert alike == name.startswith("norm"), name
    for bias in (one.self_attn.in_proj_bias, one.self_attn.out_proj.bias, one.linear1.bias):
        assert 0.8 * 64**-0.5 < bias.abs().max() <= 64**-0.5


@pytest.mark.parametrize("width", [12, 512])
def test_position_table_has_an_exponent_per_column(width):
    table = compute_position_table(9, width)
    assert table.shape == (1, 9, width)
    np.testing.assert_allclose(table[0], position_rows(9, width), atol=1e-7)


def test_published_sizes():
    shapes = published_shapes()
    assert len(shapes) == 262
    with torch.device("meta"):
        encoder = TextEncoder(**PUBLISHED, max_length=6000, pooling="mean")
        translator = Translator(encoder, layers=6, max_length=6000)
        published = {name: torch.empty(shape) for name, shape in shapes.items()}
    ours = {name: v.shape for name, v in translator.named_parameters()}
    tables = {name: v.shape for name, v in translator.named_buffers()}
    assert {**ours, **tables} == {n: v.shape for n, v in convert_published(published).items()}
    assert not tables.keys() & translator.state_dict().keys(), "a computed table is not kept"
    parts = (translator.encoder, translator.decoder, translator.out)
    sizes = [sum(weight.numel() for weight in part.parameters()) for part in parts]
    assert sizes == [18_965_504, 25_275_392, 50_274]


def test_dropout_is_active_in_training_only(encoder):
    tokens = batch(*map(ids_of, TEXTS))
    with seeded(0):
        first, second = encoder.train()({"tokens": tokens}), encoder({"tokens": tokens})
    assert not torch.equal(first, second)
    assert torch.equal(encoder.eval()({"tokens": tokens}), encoder({"tokens": tokens}))


def test_stages_from_characters_to_the_norm():
    encoder = Smiles(layers=3).encoder(seed=0)
    characters, first, second, top = encoder.stages()
    assert characters is encoder.embed
    assert (first, second) == (encoder.transformer.layers[0], encoder.transformer.layers[1])
    assert list(top) == [encoder.transformer.layers[2], encoder.norm]


def test_a_deep_network_starts_with_states_of_order_one():
    encoder = Smiles(layers=12, width=32).encoder(seed=0).eval()
    states = encoder.states(batch(*map(ids_of, TEXTS)))
    kept = states[states.abs().sum(dim=2) > 0]
    assert 0.9 < kept.std() < 1.1
    kept.square().sum(dim=1).sub(kept.sum(dim=1)).sum().backward()
    gradients = [layer.linear1.weight.grad.norm() for layer in encoder.transformer.layers]
    assert max(gradients) < 30 * min(gradients)


def test_ids_start_and_padding():
    assert batch(ids_of("C"), ids_of("CC", END)).tolist() == [
        [START, 35, PAD, PAD],
        [START, 35, 35, END],
    ]
