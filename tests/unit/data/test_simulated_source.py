"""The known answer of `simulated`: an independent check of what labels depend on."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from study.data import DatasetConfig, build_dataset
from study.errors import InputError
from study.plugins.registry import Registry


def build(**options):
    sources = [{"source": "simulated", **options}]
    return build_dataset(DatasetConfig.model_validate({"preset": "simulated", "sources": sources}))


@pytest.fixture(scope="module")
def clean():
    return build(molecules=400, labels=20, noise=0.0, stereo=0.2, permuted=0.2, skew=8.0)


def of_kind(dataset, kind):
    return [j for j, name in enumerate(dataset.label_names) if name.startswith(kind)]


def constitutions(dataset):
    return np.array(
        [Chem.MolToSmiles(Chem.MolFromSmiles(s), isomericSmiles=False) for s in dataset.smiles]
    )


def test_size_and_kinds_are_those_of_the_options(clean):
    assert clean.labels.shape == (400, 20)
    assert [len(of_kind(clean, k)) for k in ("structure", "stereo", "permuted")] == [12, 4, 4]


def test_options_determine_the_data_set():
    assert build(seed=3, molecules=40).digest == build(seed=3, molecules=40).digest
    assert build(seed=3, molecules=40).digest != build(seed=4, molecules=40).digest


def test_molecules_come_in_mirror_pairs(clean):
    _, count = np.unique(constitutions(clean), return_counts=True)
    assert set(count) == {2}


def test_structure_labels_are_functions_of_the_constitution(clean):
    keys = constitutions(clean)
    for j in of_kind(clean, "structure"):
        by_key = {(key, on) for key, on in zip(keys, clean.labels[:, j], strict=True)}
        assert len(by_key) == len(set(keys))


def test_stereo_labels_split_every_mirror_pair(clean):
    keys = constitutions(clean)
    for j in of_kind(clean, "stereo"):
        for key in np.unique(keys):
            assert clean.labels[keys == key, j].sum() == 1


def test_first_stereo_label_is_the_mark_in_the_text(clean):
    column = clean.labels[:, clean.label_names.index("stereo_000")]
    tagged = [
        any(a.GetChiralTag() == Chem.ChiralType.CHI_TETRAHEDRAL_CW for a in mol.GetAtoms())
        for mol in map(Chem.MolFromSmiles, clean.smiles)
    ]
    assert column.tolist() == [int(on) for on in tagged]


def test_positives_fall_geometrically_with_the_skew(clean):
    ranked = np.sort(clean.positives[of_kind(clean, "structure") + of_kind(clean, "permuted")])
    shares = 0.3 * 8.0 ** -np.linspace(1, 0, 16)
    # labels come in whole mirror pairs: a rounding of one pair
    np.testing.assert_allclose(ranked, shares * 400, atol=1.01)


def test_noise_moves_positives_and_keeps_their_number():
    options = {"molecules": 200, "labels": 3, "stereo": 0.3, "permuted": 0.0}
    exact, noisy = build(noise=0.0, **options), build(noise=0.2, **options)
    mark = exact.label_names.index("stereo_000")
    changed = exact.labels[:, mark] != noisy.labels[:, mark]
    assert changed.sum() == 2 * 0.2 * 100
    assert exact.positives[mark] == noisy.positives[mark] == 100


def test_what_sees_no_marks_learns_structure_and_nothing_else(clean):
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    x = np.array([morgan.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(s)) for s in clean.smiles])
    keys = constitutions(clean)
    train = np.isin(keys, np.unique(keys)[::2])
    scores = Ridge(10.0).fit(np.log1p(x[train]), clean.labels[train]).predict(np.log1p(x[~train]))
    auroc = roc_auc_score(clean.labels[~train], scores, average=None)
    assert auroc[of_kind(clean, "structure")].mean() > 0.85
    np.testing.assert_allclose(auroc[of_kind(clean, "stereo")], 0.5, atol=1e-12)
    assert abs(auroc[of_kind(clean, "permuted")].mean() - 0.5) < 0.1


def test_largest_table_is_possible():
    from study.data.sources.simulated import mirror_pairs

    left, right = mirror_pairs(3000, np.random.default_rng(0))
    assert len(set(left) | set(right)) == 6000


@pytest.mark.parametrize("wrong", [{"molecules": 6001}, {"noise": 0.6}, {"skew": 0.5}])
def test_option_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"source simulated: option '{name}' is .*, allowed"):
        Registry("source").load("simulated")(**wrong)
