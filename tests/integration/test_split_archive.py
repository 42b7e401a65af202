"""The measured figures of the splits on the real 91-label table, where the archive is present."""

import os

import numpy as np
import pytest
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from study.data import DatasetConfig, build_dataset
from study.errors import InputError
from study.splits import audit_leakage, make_split

pytestmark = [
    pytest.mark.archives,
    pytest.mark.skipif(
        "OLFACTION_ARCHIVE" not in os.environ, reason="OLFACTION_ARCHIVE is not set"
    ),
]


@pytest.fixture(scope="module")
def table():
    return build_dataset(DatasetConfig(preset="gs-lf-ifra"))


def split_of(table, **options):
    names, digest = table.label_names, table.digest
    return make_split(
        table.smiles, table.labels, label_names=names, dataset_digest=digest, **options
    )


def deviation(table, tests):
    counts = np.stack([table.labels[test].sum(axis=0) for test in tests])
    return np.abs(counts - table.positives / len(tests)).mean()


def test_constitution_folds_balance_better_than_the_library_and_keep_all_labels(table):
    split = split_of(table, fractions=(0.05, 0.25, 1.0))
    audit = audit_leakage(split, table.smiles, table.labels)
    library = MultilabelStratifiedKFold(5, shuffle=True, random_state=0)
    folds = [test for _, test in library.split(table.labels, table.labels)]
    ours = [fold.test for fold in split.folds]
    assert deviation(table, ours) < deviation(table, folds)
    assert audit.test_sizes.max() - audit.test_sizes.min() <= 1
    assert not any(audit.rare_labels)
    assert audit.constitution_twins.sum() == 0
    assert audit.unseen_labels.max() <= 1
    assert 0.6 < audit.neighbor_mean.min() < audit.neighbor_mean.max() < 0.7


def test_butina_folds_part_near_neighbors_and_keep_all_labels(table):
    audit = audit_leakage(split_of(table, scheme="butina"), table.smiles, table.labels)
    assert audit.fingerprint_twins.sum() == 0
    assert not any(audit.rare_labels)
    assert abs(audit.test_sizes - len(table) / 5).max() < 0.01 * len(table)
    assert audit.neighbor_mean.max() < 0.6


def test_plain_murcko_and_ten_folds_are_refused(table):
    with pytest.raises(InputError, match="group 'acyclic molecules' has 2"):
        split_of(table, scheme="murcko")
    with pytest.raises(InputError, match=r"label '\w+' has \d+ positives where 50 are needed"):
        split_of(table, folds=10)
