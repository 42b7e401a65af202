"""The modality `iupac`, on tables of names that the tests write."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from modality_words import features_of
from translator_by_hand import encode, published_shapes

from modalities import ModalityError
from modalities.featurizers import names as name_table
from modalities.iupac import Iupac
from modalities.smiles import Smiles

HEADER = ("IsomericSMILES", "IUPACName")
ARCHIVE = os.environ.get("OLFACTION_ARCHIVE")


@pytest.fixture
def table(tmp_path):
    """Rows (SMILES, name) -> path of a table of names."""

    def write(*rows, header=HEADER):
        path = tmp_path / "names.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return str(path)

    return write


def read(record):
    """Turn a record back into its name; None where there is none."""
    start, *characters = record["tokens"].tolist()
    assert start == 95
    return "".join(chr(32 + c) for c in characters) if record["named"][0] else None


def name_of(smiles, path, **options):
    return read(Iupac(names=path, **options).featurize(smiles))


def test_features_are_the_characters_of_the_name(table):
    path = table(("OCC", "ethanol"))
    record = Iupac(names=path).featurize("CCO")
    assert record["tokens"].tolist() == [95, *(ord(c) - 32 for c in "ethanol")]
    assert record["tokens"].dtype == record["named"].dtype == np.uint8
    assert name_of("CCO", path) == "ethanol"


CARVONES = (
    ("CC1=CC[C@H](CC1=O)C(=C)C", "(5R)-carvone"),
    ("CC1=CC[C@@H](CC1=O)C(=C)C", "(5S)-carvone"),
    ("CC1=CCC(CC1=O)C(=C)C", "carvone"),
)
R, S, PLAIN = (smiles for smiles, _ in CARVONES)


@pytest.mark.parametrize(
    ("rows", "smiles", "name"),
    [
        (CARVONES, R, "(5R)-carvone"),
        (CARVONES, S, "(5S)-carvone"),
        (CARVONES, PLAIN, "carvone"),
        (CARVONES[1:], R, "carvone"),  # the constitution's is right for it
        (CARVONES[1:2], R, None),  # the mirror image's is not
        (CARVONES[:2], PLAIN, "(5R)-carvone"),
        (CARVONES[1:2], PLAIN, "(5S)-carvone"),
        ((("[2H]C([2H])([2H])O", "deuterated"),), "CO", "deuterated"),
        ((("CCO", "ethyl alcohol"), ("OCC", "ethanol"), ("C(O)C", "Ethanol")), "CCO", "Ethanol"),
        ((("CCO", " "),), "CCO", None),
        ((("CCO", "two\nlines"), ("C", "methane")), "C", "methane"),
        ((("CCO", "ethanol"),), "COC", None),
    ],
)
def test_a_name_is_looked_up_by_structure(table, rows, smiles, name):
    assert name_of(smiles, table(*rows)) == name
    assert name_of(smiles, table(*rows[::-1])) == name


@pytest.fixture
def features(table):
    """Ethanol with a name, methane without, propane with."""
    modality = Iupac(names=table(("CCO", "ethanol"), ("CCC", "propane")))
    return modality, features_of(modality, ["CCO", "C", "CCC"])


def run(encoder, features, rows):
    return encoder(encoder.collate(features, np.array(rows)))


def test_molecule_without_name_gets_learned_vector_from_zero(features):
    modality, table = features
    assert table.fields["tokens"][1].tolist() == [95]
    assert table.matrix("named").ravel().tolist() == [1, 0, 1]
    encoder = modality.encoder(seed=0).eval()
    assert torch.equal(run(encoder, table, [1]), torch.zeros(1, encoder.dim))
    with torch.no_grad():
        encoder.state_dict()["unnamed"] += 3
    embedding = run(encoder, table, [0, 1, 2])
    assert torch.equal(embedding[1], torch.full((encoder.dim,), 3.0))
    embedding[1].sum().backward()
    learned = [name for name, weight in encoder.named_parameters() if weight.grad.any()]
    assert learned == ["unnamed"]


def test_names_use_the_network_of_smiles(features):
    modality, table = features
    names, texts = modality.encoder(seed=0).eval(), Smiles(max_length=512).encoder(seed=0).eval()
    read_as_text = texts({"tokens": names.collate(table, np.array([0, 2]))["tokens"]})
    assert torch.equal(run(names, table, [0, 2]), read_as_text)


def test_learned_vector_is_in_the_last_stage(features):
    encoder = features[0].encoder(seed=0)
    stages = encoder.stages()
    assert len(stages) == 3
    held = [id(weight) for stage in stages for weight in stage.parameters()]
    assert sorted(held) == sorted(map(id, encoder.parameters()))
    assert any(weight is encoder.unnamed for weight in stages[-1].parameters())


def test_table_without_any_name_is_refused(table):
    modality = Iupac(names=table(("CCO", "ethanol")))
    features = features_of(modality, ["C", "CC"])
    with pytest.raises(ModalityError, match=r"none of the 2 molecules has a name .* leave it out"):
        run(modality.encoder(seed=0), features, [0])


def test_saved_weights_load(features, tmp_path):
    modality, table = features
    trained = modality.encoder(seed=1).eval()
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    loaded = Iupac(names=modality.names, weights=str(tmp_path)).encoder(seed=2).eval()
    assert torch.equal(run(loaded, table, [0, 1, 2]), run(trained, table, [0, 1, 2]))


def test_weights_of_published_layout_embed_by_the_formulas(features, tmp_path):
    modality, table = features
    rng = np.random.default_rng(0)
    shapes = published_shapes(64, 128, places=1, layers=2)
    drawn = {n: rng.normal(0, 0.2, shape).astype(np.float32) for n, shape in shapes.items()}
    state = {n: v for n, v in drawn.items() if n.startswith("encoder.") and "pe" not in n}
    saved = {n.removeprefix("encoder."): torch.from_numpy(v) for n, v in state.items()}
    torch.save({**saved, "unnamed": torch.full((64,), 7.0)}, tmp_path / "weights.pt")
    encoder = Iupac(names=modality.names, weights=str(tmp_path)).encoder(seed=0).eval()
    embedding = run(encoder, table, [0, 1]).detach().numpy()
    states = encode(table.fields["tokens"][0].astype(int), state, layers=2, heads=4)
    np.testing.assert_allclose(embedding[0], states.mean(axis=0), atol=2e-6)
    assert (embedding[1] == 7).all()


@pytest.mark.parametrize("objective_name", ["translation", "masked_characters"])
def test_objectives_train_loadable_weights(features, objective_name, tmp_path):
    from modalities.pretraining import MoleculeBatch, masked_characters, translation

    objective = {
        "translation": translation.Translation(direction="name_to_smiles"),
        "masked_characters": masked_characters.MaskedCharacters(),
    }[objective_name]
    modality, _ = features
    examples = objective.prepare(modality, MoleculeBatch(("CCO", "CCC"), ("ethanol", "propane")))
    model = objective.model(modality.encoder(seed=0), seed=0)
    batch = objective.collate(examples, np.arange(2), np.random.default_rng(0))
    model(batch)["loss"].backward()
    assert model.encoder.embed.embed.weight.grad.any()
    torch.save(model.encoder.state_dict(), tmp_path / "weights.pt")
    assert Iupac(names=modality.names, weights=str(tmp_path)).encoder(seed=3)


def test_a_missing_table_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OLFACTION_ARCHIVE", raising=False)
    with pytest.raises(ModalityError, match=r"names 'a.csv' not found .* set OLFACTION_ARCHIVE"):
        Iupac(names="a.csv")


def test_a_relative_path_is_found_in_the_archive(table, monkeypatch):
    path = Path(table(("CCO", "ethanol")))
    monkeypatch.setenv("OLFACTION_ARCHIVE", str(path.parent))
    assert name_of("CCO", path.name) == "ethanol"


def test_columns_are_options_and_missing_one_is_named(table):
    path = table(("CCO", "ethanol"), header=("smiles", "title"))
    assert name_of("CCO", path, smiles_column="smiles", name_column="title") == "ethanol"
    with pytest.raises(ModalityError, match="have no column 'IsomericSMILES', only smiles, title"):
        Iupac(names=path)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (("CCO", "β-ethanol"), {}, r"name 'β-ethanol' in .*: character 'β' is not printable ASCII"),
        (("CCO", "ethanol"), {"max_length": 7}, "8 tokens .* more than max_length=7; raise"),
        (("C1CC", "x"), {}, r"names .*names.csv line 2: molecule 'C1CC' cannot .* delete the row"),
    ],
)
def test_unreadable_name_is_an_error(table, row, options, message):
    with pytest.raises(ModalityError, match=message):
        Iupac(names=table(row), **options).featurize("CCO")


def test_table_that_is_not_utf8_is_refused(table):
    path = table()
    Path(path).write_bytes(b"IsomericSMILES,IUPACName\nC,\xff\n")
    with pytest.raises(ModalityError, match="are not UTF-8 text"):
        Iupac(names=path)


def test_table_is_read_again_only_after_a_change(table, monkeypatch):
    reads = []
    content = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or content(path))
    path = table(("CCO", "ethanol"))
    modality = Iupac(names=path)
    versions = {modality.version, Iupac(names=path).version, modality.version}
    assert len(versions) == len(reads) == 1
    table(("CCO", "Ethyl alcohol"))
    assert modality.version not in versions
    assert name_of("CCO", path) == "Ethyl alcohol"


@pytest.mark.archives
@pytest.mark.skipif(ARCHIVE is None, reason="needs the archives in OLFACTION_ARCHIVE")
def test_table_of_the_archives_names_its_molecules():
    modality = Iupac()
    names = name_table.read_names(name_table.find_names(modality.names), *modality.columns)
    assert len(names.rows) > 10_000
    pairs = [(names.find_name(smiles), name) for _, smiles, name in names.rows[::50]]
    # Some differ: if a molecule has several names, the shortest is taken.
    assert sum(ours == name for ours, name in pairs) >= 0.95 * len(pairs)
    assert all(len(ours) <= len(name) for ours, name in pairs)
    assert read(modality.featurize("COc1cc(C=O)ccc1O")) == "4-hydroxy-3-methoxybenzaldehyde"
