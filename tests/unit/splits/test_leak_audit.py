"""The leak audit against counts by hand and a brute-force neighbor search."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from study.errors import InputError
from study.splits import Fold, Split, audit_leakage, make_split

# rows 0 and 2 are enantiomers; 1 and 3 are homologs with the same ECFP4 bits
SMILES = ("C[C@H](O)CC", "CCCCCCCCCCCO", "C[C@@H](O)CC", "CCCCCCCCCCCCO", "c1ccccc1", "CC(=O)OCC")


def two_folds(groups=None):
    """Return a split that tests rows 0, 1, 4 first; even and odd rows would separate no twins."""
    tests = np.array([0, 1, 4]), np.array([2, 3, 5])
    folds = tuple(
        Fold(0, at, test, {0.5: other[:1], 1.0: other[:2]}, {0.5: other[:0], 1.0: other[2:]})
        for at, (test, other) in enumerate([tests, tests[::-1]])
    )
    groups = np.arange(6) if groups is None else groups
    return Split("molecule", 0, 2, 1, (0.5, 1.0), groups, folds, "d" * 64)


def labels():
    table = np.zeros((6, 3), dtype=np.uint8)
    table[:, 0] = 1
    table[[0, 2], 1] = 1  # rows 2 and 0 are first in their fold: seen at every fraction
    table[[5, 4], 2] = 1  # rows 5 and 4 are validation rows: never fitted on
    return table


def similarity(one, other):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in (one, other)]
    return DataStructs.TanimotoSimilarity(*prints)


def test_twins_neighbors_and_gaps_counted_by_hand():
    audit = audit_leakage(two_folds(), SMILES, labels())
    np.testing.assert_array_equal(audit.constitution_twins, [1, 1])
    np.testing.assert_array_equal(audit.fingerprint_twins, [2, 2])
    np.testing.assert_array_equal(audit.test_sizes, [3, 3])
    np.testing.assert_array_equal(audit.fit_sizes, [[1, 2], [1, 2]])
    np.testing.assert_array_equal(audit.validation_sizes, [[0, 1], [0, 1]])
    assert audit.rare_labels == ((0, 1, 2), (0, 1, 2))
    np.testing.assert_array_equal(audit.unseen_labels, [[1, 1], [1, 1]])


def test_nearest_neighbors_equal_a_brute_force_search():
    audit = audit_leakage(two_folds(), SMILES, labels())
    nearest = [max(similarity(SMILES[i], SMILES[j]) for j in (2, 3, 5)) for i in (0, 1, 4)]
    assert audit.neighbor_mean[0] == pytest.approx(np.mean(nearest), abs=1e-6)
    expected = np.histogram(np.float32(nearest), bins=10, range=(0, 1))[0]
    np.testing.assert_array_equal(audit.neighbor_histogram[0], expected)


def test_rows_are_text_for_every_fold():
    table = audit_leakage(two_folds(), SMILES, labels()).rows()
    assert [(row["repeat"], row["fold"], row["test"]) for row in table] == [
        ("0", "0", "3"),
        ("0", "1", "3"),
    ]
    assert table[0]["ECFP4 twins"] == "2 (66.7%)"
    assert table[0]["fit+val at 1"] == "2+1"
    assert table[0]["unseen at 0.5"] == "1"
    assert all(isinstance(text, str) for row in table for text in row.values())


def test_a_molecule_in_two_folds_is_refused():
    smiles = ("OCC", *SMILES[1:5], "CCO")
    with pytest.raises(InputError, match=r"molecule 'CCO' in rows \[0, 5\] is both in a test"):
        audit_leakage(two_folds(), smiles, labels())


def test_tables_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="the split has 6 rows, smiles 5, labels 6"):
        audit_leakage(two_folds(), SMILES[:5], labels())


def test_groups_remove_twins_and_lower_similarity(molecules, skewed):
    smiles = molecules + tuple("C" * size + "O" for size in range(8, 28))  # one set of bits
    table = skewed(0, n=len(smiles), l=6, rarest=30)
    audits = {}
    for scheme in ("molecule", "butina"):
        split = make_split(
            smiles, table, label_names=list("abcdef"), dataset_digest="d", scheme=scheme,
            folds=3, repeats=2, min_positives=5,
        )  # fmt: skip
        audits[scheme] = audit_leakage(split, smiles, table)
    assert audits["molecule"].fingerprint_twins.sum() == 2 * 20
    np.testing.assert_array_equal(audits["butina"].fingerprint_twins, 0)
    assert audits["butina"].neighbor_mean.max() < audits["molecule"].neighbor_mean.min()
    assert audits["butina"].neighbor_histogram.shape == (6, 10)
    assert all(len(few) == 0 for few in audits["butina"].rare_labels)
