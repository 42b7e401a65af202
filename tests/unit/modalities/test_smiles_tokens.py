import numpy as np
import pytest
import torch
from modality_words import MOLECULES, features_of

from modalities import ModalityError
from modalities.featurizers.characters import PAD
from modalities.smiles import Smiles


def tokens(smiles, **options):
    return Smiles(**options).featurize(smiles)["tokens"].tolist()


def test_ids_are_code_points_less_32_after_a_start():
    assert tokens("C=O") == [95, ord("C") - 32, ord("=") - 32, ord("O") - 32]
    assert Smiles().featurize("C=O")["tokens"].dtype == np.uint8


def test_smiles_longer_than_max_length_is_refused():
    assert len(tokens("C" * 255)) == 256
    with pytest.raises(ModalityError, match=r"'C{256}': 257 tokens .* more than max_length=256"):
        tokens("C" * 256)
    with pytest.raises(ModalityError, match=r"molecule 'CCO': 4 tokens .* more than max_length=3"):
        tokens("CCO", max_length=3)


def test_character_without_id_is_named():
    with pytest.raises(ModalityError, match=r"character '\\t' is not printable ASCII"):
        tokens("CCO\tethanol")


def test_collate_pads_to_the_longest_of_the_batch():
    features = features_of(Smiles(), ["CCO", "C", "CC"])
    batch = Smiles().encoder(seed=0).collate(features, np.array([1, 2]))["tokens"]
    c = ord("C") - 32
    assert batch.tolist() == [[95, c, PAD], [95, c, c]]


@pytest.mark.parametrize("pooling", ["mean", "start", "max"])
def test_every_pooling_ignores_padding(pooling):
    modality = Smiles(pooling=pooling)
    features = features_of(modality)
    encoder = modality.encoder(seed=0).eval()
    together = encoder(encoder.collate(features, np.arange(len(MOLECULES))))
    alone = [encoder(encoder.collate(features, np.array([i]))) for i in range(len(MOLECULES))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_order_of_characters_matters():
    features = features_of(Smiles(), ["CCO", "COC"])
    encoder = Smiles().encoder(seed=0).eval()
    ether, alcohol = encoder(encoder.collate(features, np.array([0, 1])))
    assert (ether - alcohol).abs().max() > 1e-2


def test_layers_start_from_different_weights():
    first, second = Smiles().encoder(seed=0).transformer.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "width must be a multiple of heads=3, not 64"),
        ({"layers": 0}, "layers must be 1 or more, not 0"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, not 1.0"),
        ({"max_length": 1}, "max_length must be 2 or more, not 1"),
        ({"pooling": "sum"}, "pooling must be mean, start or max, not 'sum'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=f"modality 'smiles': {message}"):
        Smiles(**options)
