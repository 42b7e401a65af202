"""The pretraining file: its defaults, its presets, and all its mistakes in one message."""

import pytest
import yaml

from study.config.loading import preset_names
from study.errors import InputError
from study.plugins.registry import Registry
from study.pretraining.config import PRESETS, PretrainingSpec, read_pretraining

FILE = {
    "name": "small",
    "objective": "masked_characters",
    "modality": {"modality": "smiles", "layers": 1},
    "molecules": {"file": "table.csv"},
}


@pytest.fixture
def read(tmp_path):
    def of(**sections):
        path = tmp_path / "file.yaml"
        path.write_text(yaml.safe_dump({**FILE, **sections}))
        return read_pretraining(str(path))

    return of


def test_defaults_are_filled_in_and_survive_json(read):
    spec = read()
    assert spec.objective.options["share"] == 0.15
    assert (spec.modality.options["layers"], spec.modality.weights) == (1, None)
    assert PretrainingSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"name": "Two Words"}, "name: string should match"),
        ({"objective": "masked_character"}, "did you mean 'masked_characters'"),
        ({"objective": {"objective": "masked_characters", "share": "a"}}, "cannot be 'a'"),
        ({"modality": {"modality": "smiles", "layer": 1}}, "has no option 'layer'"),
        ({"modality": "graph"}, "trains encoders of smiles, iupac, not of 'graph'"),
        ({"modality": {"modality": "smiles", "weights": "x.pt"}}, "`study pretrain` creates such"),
        ({"objective": "translation"}, "needs names: set 'molecules.names'"),
        ({"held_out": 0.5}, "held_out: input should be less than 0.5, not 0.5"),
        ({"training": {"epoch": 3}}, "training.epoch: unknown key; did you mean 'epochs'?"),
        ({"training": {"precision": "half"}}, "training.precision: input should be 'float32'"),
        ({"training": {"warmup": 1}}, "training.warmup: input should be less than 1, not 1"),
        ({"molecules": {}}, "molecules.file: is missing"),
        ({"molecules": {"file": "${NOWHERE}/a.csv"}}, "variable NOWHERE is not set"),
    ],
)
def test_a_mistake_is_named_with_its_place(read, sections, message, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InputError) as error:
        read(**sections)
    assert message in str(error.value)


def test_all_mistakes_come_in_one_message(read):
    with pytest.raises(InputError, match="3 mistakes; nothing was run") as error:
        read(held_out=2, training={"epochs": 0}, molecules={"file": "a", "key": "inchi"})
    for place in ("held_out", "training.epochs", "molecules.key"):
        assert f"\n  {place}: " in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "a pretraining file is a mapping of sections, not list"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, message):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pretraining(str(path))


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(InputError, match=r"neither a pretraining file nor a preset; .*mordred_ma"):
        read_pretraining("nothing")


@pytest.mark.parametrize("name", preset_names(PRESETS))
def test_presets_are_valid_and_named_by_their_file(name):
    spec = read_pretraining(name, ["training.epochs=2"])
    assert (spec.name, spec.training.epochs) == (name, 2)
    assert spec.description
    assert spec.molecules.terms


def test_every_objective_has_a_preset():
    shipped = {read_pretraining(name).objective.name for name in preset_names(PRESETS)}
    assert shipped == set(Registry("objective").names())
