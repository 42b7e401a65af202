import math

import numpy as np
import pytest
import torch
from modality_words import modality_of
from rdkit import Chem

from modalities import ModalityError
from modalities.featurizers.characters import END, PAD, START
from modalities.featurizers.molecule import randomize_smiles
from modalities.nn.random import seeded
from modalities.pretraining import MoleculeBatch
from modalities.pretraining.masked_characters import MASK, MaskedCharacters, corrupt, draw_hidden
from modalities.pretraining.translation import Translation
from modalities.smiles import Smiles

NAMES = {
    "CCO": "ethanol",
    "CO": "methanol",
    "CC(C)=O": "propan-2-one",
    "CC(=O)O": "acetic acid",
    "c1ccccc1": "benzene",
    "CCOC(C)=O": "ethyl acetate",
    "CC=O": "acetaldehyde",
    "C#N": "formonitrile",
    "C1CCCCC1": "cyclohexane",
    "CS": "methanethiol",
    "CCCCO": "butan-1-ol",
    "O=Cc1ccccc1": "benzaldehyde",
    "Cc1ccccc1": "toluene",
    "CCC(=O)O": "propanoic acid",
    "CN": "methanamine",
    "CCN": "ethanamine",
    "C=C": "ethene",
    "CC#C": "prop-1-yne",
    "COC": "methoxymethane",
    "CCS": "ethanethiol",
}
PAIRS = MoleculeBatch(tuple(NAMES), tuple(NAMES.values()))
ALL = np.arange(len(PAIRS))
SMALL = {"layers": 1, "width": 16, "heads": 2, "feedforward": 16, "dropout": 0.0}
COMPLEX = (
    "CC(C)=CCC[C@@](C)(O)C=C",
    "C/C=C/C(=O)OCC",
    "O=C(O)C[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)OC",
    "[Na+].CC(=O)[O-]",
    "[2H]C([2H])([2H])O",
    "C1CC2(C1)CC2",
)


def ids(text):
    return [ord(character) - 32 for character in text]


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("smiles", COMPLEX)
def test_randomized_smiles_are_of_the_same_molecule(smiles):
    rng = generator()
    drawn = {randomize_smiles(smiles, rng) for _ in range(20)}
    assert len(drawn) > 2
    assert {Chem.CanonSmiles(text) for text in drawn} == {Chem.CanonSmiles(smiles)}


def test_too_long_randomized_smiles_is_replaced_by_stored():
    smiles = "CC(C)(C)c1ccccc1"
    objective, modality = MaskedCharacters(share=0.01), Smiles(max_length=1 + len(smiles))
    examples = objective.prepare(modality, MoleculeBatch((smiles,), (None,)))
    rng = generator()
    texts = [examples.build_batch(np.array([0]), rng)[0] for _ in range(50)]
    assert max(map(len, texts)) <= 1 + len(smiles)
    assert len({tuple(text) for text in texts}) > 2
    assert any(text.tolist() == [START, *ids(smiles)] for text in texts)


def test_translation_has_start_and_end_tokens():
    objective = Translation(randomize=False)
    examples = objective.prepare(Smiles(), PAIRS)
    batch = objective.collate(examples, np.array([1, 0]), generator())
    assert batch["source"].tolist() == [[START, *ids("CO"), PAD], [START, *ids("CCO")]]
    assert batch["target"].tolist() == [
        [START, *ids("methanol"), END],
        [START, *ids("ethanol"), END, PAD],
    ]


def test_names_are_translated_back_to_the_stored_smiles():
    objective = Translation(direction="name_to_smiles")
    molecules = MoleculeBatch(("O", "CCO"), (None, None))  # the table has the names it reads
    examples = objective.prepare(modality_of("iupac"), molecules)
    batch = objective.collate(examples, np.array([1]), generator())
    assert batch["source"].tolist() == [[START, *ids("2-ccoane")]]
    assert batch["target"].tolist() == [[START, *ids("CCO"), END]]


def test_only_the_source_is_randomized():
    objective = Translation()
    examples = objective.prepare(Smiles(), PAIRS)
    rng = generator()
    first, second = (objective.collate(examples, ALL, rng) for _ in range(2))
    assert not torch.equal(first["source"], second["source"])
    assert torch.equal(first["target"], second["target"])


def test_translation_loss_is_the_mean_over_characters_and_ends():
    objective = Translation(randomize=False)
    model = objective.model(Smiles(**SMALL).encoder(seed=0), seed=0).eval()
    batch = objective.collate(objective.prepare(Smiles(), PAIRS), ALL, generator())
    numbers = model(batch)
    losses, right = [], []
    for row in ALL:  # one pair at a time: nothing is padded
        source = batch["source"][row : row + 1]
        target = batch["target"][row : row + 1]
        source, target = source[source != PAD][None], target[target != PAD][None]
        logits, expected, _ = model.translator(source, target)
        assert expected.tolist() == target[0, 1:].tolist()
        shares = logits.detach().double().softmax(dim=1)
        losses += [-math.log(shares[place, id_]) for place, id_ in enumerate(expected)]
        right.append(
            [int(scores.argmax()) == id_ for scores, id_ in zip(shares, expected, strict=True)]
        )
    assert numbers["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert numbers["token_accuracy"].item() == pytest.approx(np.mean(np.concatenate(right)))
    assert numbers["sequence_accuracy"].item() == np.mean([all(row) for row in right])


def test_translation_does_not_depend_on_later_characters():
    model = Translation().model(Smiles(**SMALL).encoder(seed=0), seed=0).eval()
    source = torch.tensor([[START, *ids("CCO")]])
    one, other = (
        model.translator(source, torch.tensor([[START, *ids(name), END]]))[0]
        for name in ("ethanol", "ethanal")
    )
    assert torch.equal(one[:6], other[:6])  # scores of 'ethan' and of what comes next
    assert not torch.equal(one[6], other[6])


def test_small_translator_memorizes_twenty_pairs():
    modality = Smiles(layers=1, width=64, heads=4, feedforward=128, dropout=0.0)
    objective = Translation(decoder_layers=1, randomize=False)
    model = objective.model(modality.encoder(seed=0), seed=0)
    batch = objective.collate(objective.prepare(modality, PAIRS), ALL, generator())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    numbers = model(batch)
    assert numbers["token_accuracy"] > 0.98
    assert numbers["sequence_accuracy"] >= 0.9


def test_hidden_share_with_at_least_one_per_text():
    tokens = np.full((3000, 12), PAD)
    tokens[:, 0], tokens[:, 1:11] = START, 35
    tokens[0, 2:] = PAD  # a text of one character
    chosen = draw_hidden(tokens, 0.15, generator())
    assert not chosen[tokens == START].any()
    assert not chosen[tokens == PAD].any()
    assert chosen.any(axis=1).all()
    none = 0.85**10  # texts that would have none get one
    assert chosen[1:].sum(axis=1).mean() == pytest.approx(1.5 + none, abs=0.08)


def test_hidden_characters_are_masked_replaced_or_unchanged():
    tokens = np.tile(np.arange(30, 50), (5000, 1))
    chosen = np.zeros(tokens.shape, dtype=bool)
    chosen[:, ::2] = True
    changed = corrupt(tokens, chosen, generator())
    assert (changed == tokens)[~chosen].all()
    masked = changed[chosen] == MASK
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    replaced = (changed != tokens)[chosen] & ~masked
    assert replaced.mean() == pytest.approx(0.1 * 19 / 20, abs=0.01)
    assert set(changed[chosen][replaced]) == set(range(30, 50))


def test_mask_id_is_in_no_text():
    assert not np.isin(MASK, Smiles().featurize("".join(COMPLEX[:1]))["tokens"])
    assert max(ids("".join(map(chr, range(32, 127))))) < MASK != PAD != START


def test_masked_loss_is_the_mean_over_hidden_characters():
    objective = MaskedCharacters(randomize=False)
    modality = Smiles(**SMALL)
    model = objective.model(modality.encoder(seed=0), seed=0).eval()
    batch = objective.collate(objective.prepare(modality, PAIRS), ALL, generator())
    numbers = model(batch)
    states = model.encoder.states(batch["tokens"])
    losses, right = [], []
    for row, place in (batch["expected"] != PAD).nonzero().tolist():
        shares = model.out(states[row, place]).detach().double().softmax(dim=0)
        id_ = batch["expected"][row, place]
        assert id_ == ids(PAIRS.smiles[row])[place - 1]
        losses.append(-math.log(shares[id_]))
        right.append(shares.argmax() == id_)
    assert numbers["loss"].item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert numbers["token_accuracy"].item() == pytest.approx(np.mean(right))


def test_masked_characters_are_restored_better_than_by_frequency():
    objective, modality = MaskedCharacters(), Smiles(**{**SMALL, "width": 32})
    examples = objective.prepare(modality, PAIRS)
    model, rng = objective.model(modality.encoder(seed=0), seed=0), generator()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with seeded(0):
        for _ in range(150):
            optimizer.zero_grad()
            model(objective.collate(examples, ALL, rng))["loss"].backward()
            optimizer.step()
    batches = [objective.collate(examples, ALL, rng) for _ in range(10)]
    with torch.no_grad():
        loss = np.mean([model(batch)["loss"].item() for batch in batches])
    counts = np.unique(list("".join(PAIRS.smiles)), return_counts=True)[1]
    shares = counts / counts.sum()
    assert loss < 0.8 * -(shares * np.log(shares)).sum()


@pytest.mark.parametrize(
    ("objective", "molecules", "message"),
    [
        (Translation(), MoleculeBatch(("CCO",), (None,)), "molecule 'CCO' has no name"),
        (Translation(), MoleculeBatch(("CCO",), ("",)), "molecule 'CCO' has no name"),
        (
            Translation(),
            MoleculeBatch(("CCO",), ("\u03b1-ol",)),
            "molecule 'CCO', name '\u03b1-ol': character '\u03b1' is not printable ASCII",
        ),
        (
            Translation(max_length=8),
            MoleculeBatch(("CCO",), ("ethanol",)),
            r"name 'ethanol': 8 tokens \(its 7 characters and a start\) are more than max_length=7",
        ),
        (MaskedCharacters(), MoleculeBatch(("C1CC",), (None,)), "molecule 'C1CC' cannot be parsed"),
        (
            Translation(direction="name_to_smiles"),
            MoleculeBatch(("CCO",), ("ethanol",)),
            "direction name_to_smiles trains 'iupac', not 'smiles'; choose the other direction",
        ),
    ],
)
def test_unreadable_molecules_are_named(objective, molecules, message):
    with pytest.raises(ModalityError, match=message):
        objective.prepare(Smiles(), molecules)


def test_a_molecule_without_a_name_in_the_table_is_named():
    with pytest.raises(ModalityError, match="molecule 'C' has no name in the table"):
        MaskedCharacters().prepare(modality_of("iupac"), MoleculeBatch(("C",), ("methane",)))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Translation, {"direction": "back"}, "direction must be smiles_to_name or name_to_smiles"),
        (Translation, {"decoder_layers": 0}, "decoder_layers must be 1 or more, not 0"),
        (Translation, {"max_length": 2}, "max_length must be 3 or more, not 2"),
        (MaskedCharacters, {"share": 0.0}, "share must be above 0 and below 1, not 0.0"),
    ],
)
def test_options_are_checked(kind, options, message):
    with pytest.raises(ModalityError, match=message):
        kind(**options)


def test_another_encoder_is_refused():
    with pytest.raises(TypeError, match="text objectives train a TextEncoder, not Linear"):
        MaskedCharacters().model(torch.nn.Linear(1, 1), seed=0)
