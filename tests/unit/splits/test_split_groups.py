"""Group schemes, against RDKit and by hand."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.ML.Cluster import Butina

from study.errors import InputError
from study.splits import SCHEMES, group_rows

CARVONES = ("CC(=C)[C@@H]1CC=C(C)C(=O)C1", "CC(=C)[C@H]1CC=C(C)C(=O)C1", "CC(=C)C1CC=C(C)C(=O)C1")
HEXENOLS = ("CC/C=C\\CCO", "CC/C=C/CCO")
ZINGERONES = ("COc1cc(CC(C)=O)ccc1O", "[2H]C([2H])([2H])C(=O)C([2H])([2H])c1ccc(O)c(OC)c1")
PLAIN = ("CCO", "CCCC", "OC(=O)CCS", "N#CCCl", "c1ccncc1", "O=C1CCCCC1", "CSSC", "CC(N)=O")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_numbers_all_rows_by_first_appearance(scheme):
    groups = group_rows(PLAIN[2:] + CARVONES[:1], scheme, 1)
    first = [groups.tolist().index(group) for group in range(groups.max() + 1)]
    assert len(groups) == 7
    assert first == sorted(first)
    assert groups[0] == 0


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "molecule"])
@pytest.mark.parametrize("twins", [CARVONES, HEXENOLS, ZINGERONES])
def test_twins_that_differ_in_stereo_or_isotopes_stay_together(scheme, twins):
    groups = group_rows(PLAIN + twins, scheme, 1)
    assert len(set(groups[len(PLAIN) :])) == 1


def test_scheme_molecule_separates_stereoisomers():
    groups = group_rows((*PLAIN, *CARVONES, "OCC"), "molecule", 2)
    assert len(set(groups)) == len(PLAIN) + 3
    assert groups[-1] == groups[0]  # ethanol, written twice


def test_butina_is_the_clustering_of_rdkit(molecules):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in molecules]
    distances = [
        1 - value
        for row in range(len(prints))
        for value in DataStructs.BulkTanimotoSimilarity(prints[row], prints[:row])
    ]
    expected = Butina.ClusterData(distances, len(prints), 0.5, isDistData=True)
    groups = group_rows(molecules, "butina", 1)
    clusters = {frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups)}
    assert clusters == {frozenset(cluster) for cluster in expected}
    assert 20 < len(clusters) < len(molecules)


def test_murcko_groups_by_ring_system():
    rings = ("c1ccccc1C", "c1ccccc1CCO", "C1CCCCC1", "C1CCCCC1O", "c1ccncc1", "CCO")
    np.testing.assert_array_equal(group_rows(rings, "murcko", 1), [0, 0, 1, 1, 2, 3])


def test_murcko_refuses_too_many_acyclic_molecules(molecules):
    with pytest.raises(InputError, match=r"group 'acyclic molecules' has \d+ of 252 molecules"):
        group_rows(molecules, "murcko", 5)


def test_an_unknown_scheme_lists_the_known_ones():
    message = "split scheme 'scaffold' is unknown: use one of molecule, constitution, butina"
    with pytest.raises(InputError, match=message):
        group_rows(PLAIN, "scaffold", 2)


@pytest.mark.parametrize("bad", ["C1CC", ""])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unparsable_smiles_is_refused(scheme, bad):
    with pytest.raises(InputError, match=rf"molecule 1 \('{bad}'\) could not be parsed"):
        group_rows(("CCO", bad, "CC"), scheme, 2)
