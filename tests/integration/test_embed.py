"""``study embed``: row order, duplicates, options from the card, and everything it refuses."""

import sys

import numpy as np
import pytest
import torch
from pretraining_files import TEXT, molecules, write_file

from modalities import ModalityFeatures
from modalities.weights.model_card import read_model_card
from study.cli.app import main
from study.plugins.registry import Registry

OPTIONS = [f"--option={key}={value}" for key, value in TEXT.items() if key != "modality"]


@pytest.fixture
def study(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def table(tmp_path):
    def write(rows):
        path = tmp_path / "in.csv"
        path.write_text("n,Smiles\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows)))
        return path, tmp_path / "out.npy"

    return write


@pytest.fixture
def embed(study):
    def run(places, *arguments, modality="smiles"):
        return study("embed", "--modality", modality, *arguments, *places)

    return run


def directly(smiles, word, **options):
    """Embed canonical SMILES with the encoder itself, one molecule a batch."""
    modality = Registry("modality").load(word)(**options)
    encoder = modality.encoder(seed=0).eval()
    records = [modality.featurize(text) for text in smiles]
    features = ModalityFeatures.stack(modality.version, smiles, records)
    with torch.inference_mode():
        rows = [encoder(encoder.collate(features, np.array([i]))) for i in range(len(smiles))]
    return torch.cat(rows).numpy()


def test_row_i_is_molecule_i_as_the_encoder_embeds_it(embed, table):
    rows = [*molecules(12), molecules(12)[3], "OCC", "CCO"]
    places = table(rows)
    code, out, _ = embed(places, *OPTIONS)
    found = np.load(places[1])
    assert (code, found.shape, found.dtype) == (0, (15, 8), np.float32)
    assert "15 molecules, 8 numbers each, float32" in out
    assert "smiles: random weights from seed 0" in out
    shape = {key: value for key, value in TEXT.items() if key != "modality"}
    expected = directly([*rows[:13], "CCO", "CCO"], "smiles", **shape)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found[3] == found[12]).all()
    assert (found[13] == found[14]).all()
    assert len(np.unique(found, axis=0)) == 13
    embed(places, *OPTIONS, "--seed", 1)
    assert not np.allclose(np.load(places[1]), found)


def test_weights_come_with_the_options_of_their_card(study, embed, table, tmp_path):
    assert study("pretrain", write_file(tmp_path), "--no-ray", "--no-mlflow")[0] == 0
    folder = tmp_path / "out" / "weights" / "small"
    places = table(molecules(8))
    code, out, _ = embed(places, "--weights", folder)
    card = read_model_card(folder)
    assert (code, f"tensors of the encoder loaded, sha256 {card.sha256}" in out) == (0, True)
    own = {"weights": str(folder), "sha256": card.sha256}
    expected = directly(molecules(8), "smiles", **card.options, **own)
    np.testing.assert_allclose(np.load(places[1]), expected, atol=1e-6)
    file = folder.parent / "copy.pt"
    file.write_bytes((folder / "weights.pt").read_bytes())
    first = np.load(places[1])
    assert embed(places, "--weights", file, *OPTIONS)[0] == 0
    assert (np.load(places[1]) == first).all()
    places[1].unlink()
    for arguments, message in [
        (["--option", "layers=2"], "has layers=1; leave out --option layers"),
        (["--modality", "graph"], "requires --modality smiles, not graph"),
    ]:
        code, _, err = embed(places, "--weights", folder, *arguments)
        assert (code, message in err) == (2, True), err
    code, _, err = embed(places, "--weights", file)
    assert (code, "are of another architecture" in err) == (2, True)
    (folder / "weights.pt").write_bytes(b"cut short")
    code, _, err = embed(places, "--weights", folder)
    assert (code, "have sha256" in err) == (2, True)
    assert not places[1].exists()


@pytest.mark.parametrize("word", ["fingerprint"])
def test_a_fitted_transform_is_fitted_on_the_table(embed, table, word):
    code, out, _ = embed(table(molecules(8)), modality=word)
    assert (code, f"{word}: a fitted transform, fitted on the molecules of" in out) == (0, True)


def test_a_molecule_that_cannot_be_represented_is_named_and_nothing_written(embed, table):
    places = table(["CCO", "C1CC", "CC", "*", "C1CC"])
    code, _, err = embed(places, modality="graph")
    assert code == 2
    assert "error: 3 rows cannot be embedded; nothing was written" in err
    assert f"{places[0]} row 3: molecule 'C1CC' cannot be parsed" in err
    assert "row 5: molecule '*', atom 0: a dummy atom" in err
    assert "row 6: molecule 'C1CC'" in err
    assert not places[1].exists()


def test_nan_rows_only_when_asked_and_counted(embed, table):
    places = table(["CCO", "C1CC", "CC"])
    code, out, _ = embed(places, "--on-error", "nan", *OPTIONS)
    found = np.load(places[1])
    assert (code, list(np.isnan(found).all(axis=1))) == (0, [False, True, False])
    assert not np.isnan(found[[0, 2]]).any()
    assert "1 rows are NaN:\n  row 3: molecule 'C1CC' cannot be parsed" in out
    code, _, err = embed(table(["C1CC"]), "--on-error", "nan", *OPTIONS)
    assert (code, "no molecule of the table can be featurized" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modality", "smile"], "unknown modality 'smile'; did you mean 'smiles'?"),
        (["--option", "layer=1"], "has no option 'layer'"),
        (["--option", "layers"], "--option takes KEY=VALUE"),
        (["--option", "layers=[1"], "--option layers=[1: the value is not YAML"),
        (["--option", "layers=0"], "layers must be 1 or more, not 0"),
        (["--smiles-column", "smi"], "must have one column 'smi'; its columns: n, Smiles; name"),
        (["--weights", "nowhere.pt"], "weights 'nowhere.pt' not found"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(embed, table, arguments, message):
    places = table(["CCO", "CC"])
    code, _, err = embed(places, *arguments)
    assert (code, message in err) == (2, True), err
    assert not places[1].exists()


def test_places_that_are_not_there_are_named(study, table, tmp_path):
    path, out = table(["CCO"])
    words = ["--modality", "smiles", "--smiles-column", "Smiles"]
    code, _, err = study("embed", *words, tmp_path / "no.csv", out)
    assert (code, "there is no table" in err) == (2, True)
    code, _, err = study("embed", *words, path, tmp_path / "no" / "out.npy")
    assert (code, "there is no folder" in err) == (2, True)
