import numpy as np
import pytest

from modalities import ModalityError
from modalities.graph import Graph


def bonds(smiles, **options):
    return sorted(map(tuple, Graph(**options).featurize(smiles)["bonds"].tolist()))


def atoms(smiles, **options):
    return Graph(**options).featurize(smiles)["atoms"].tolist()


def test_atoms_are_atomic_number_less_one_and_chirality():
    assert atoms("CCO", hydrogens=False) == [[5, 0], [5, 0], [7, 0]]
    assert sorted(atoms("O")) == [[0, 0], [0, 0], [7, 0]]
    (left,) = [tag for _, tag in atoms("C[C@H](O)Cl", hydrogens=False) if tag]
    (right,) = [tag for _, tag in atoms("C[C@@H](O)Cl", hydrogens=False) if tag]
    assert {left, right} == {1, 2}


def test_bonds_have_both_directions_type_and_stereo():
    assert bonds("C=O", hydrogens=False) == [(0, 1, 1, 0), (1, 0, 1, 0)]
    assert bonds("C#N", hydrogens=False) == [(0, 1, 2, 0), (1, 0, 2, 0)]
    assert {row[2] for row in bonds("c1ccccc1", hydrogens=False)} == {3}
    assert bonds("F/C=C\\F", hydrogens=False) == [
        (0, 1, 0, 1),
        (1, 0, 0, 1),
        (1, 2, 1, 0),
        (2, 1, 1, 0),
        (2, 3, 0, 2),
        (3, 2, 0, 2),
    ]


@pytest.mark.parametrize("hydrogens", [False, True])
def test_a_molecule_without_bonds_embeds(hydrogens):
    modality = Graph(hydrogens=hydrogens)
    from modality_words import features_of

    features = features_of(modality, ["[He]", "CCO", "[Ar]"])
    assert features.fields["bonds"][0].shape == (0, 4)
    encoder = modality.encoder(seed=0).eval()
    alone = encoder(encoder.collate(features, np.array([2])))
    assert alone.isfinite().all()


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CC*", r"'CC\*', atom 2: a dummy atom"),
        ("[NH3]->[Fe]", "bond 0: type DATIVE has no index in the graph"),
        ("F[Pt@SP1](Cl)(Br)I", "atom 1: chirality CHI_SQUAREPLANAR has no index"),
    ],
)
def test_atoms_and_bonds_without_index_are_refused(smiles, message):
    with pytest.raises(ModalityError, match=message):
        Graph().featurize(smiles)


def test_other_chirality_is_refused(monkeypatch):
    from rdkit import Chem

    from modalities import graph

    mol = Chem.MolFromSmiles("C[C@H](O)Cl")
    mol.GetAtomWithIdx(1).SetChiralTag(Chem.ChiralType.CHI_OTHER)
    monkeypatch.setattr(graph, "parse_smiles", lambda _: mol)
    with pytest.raises(ModalityError, match="molecule 'X', atom 1: chirality CHI_OTHER"):
        Graph().featurize("X")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "gat"}, "encoder must be gcn or gin, not 'gat'"),
        ({"pooling": "sum"}, "pooling must be mean, add or max, not 'sum'"),
        ({"dropout": -0.1}, "dropout must be from 0 to below 1, not -0.1"),
        ({"sha256": "ab"}, "sha256 must be left out with random weights, not 'ab'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=f"modality 'graph': {message}"):
        Graph(**options)
