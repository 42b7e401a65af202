"""The JSON schema of study files: it takes what the checker takes, and refuses what is misspelt."""

import copy
import json

import fuzz_files
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from typer.testing import CliRunner

from study.cli.app import app
from study.config.loading import PRESETS, check_study, preset_names, read_yaml
from study.config.schema import DIALECT, build_schema, read_field_notes
from study.config.search import SearchConfig
from study.config.study import StudySpec
from study.config.training import TrainingConfig
from study.errors import InputError
from study.plugins.registry import Registry
from study.pretraining.config import PRESETS as PRETRAINING_PRESETS
from study.pretraining.config import PretrainingSpec

STUDY = Draft202012Validator(build_schema(StudySpec))
PRETRAINING = Draft202012Validator(build_schema(PretrainingSpec))
SMALL = {"name": "small", "data": "starter", "grid": [{"features": [["mordred"]]}]}
FULL = fuzz_files.EVERY_KEY


@pytest.mark.parametrize("validator", [STUDY, PRETRAINING])
def test_the_schema_is_one(validator):
    Draft202012Validator.check_schema(validator.schema)
    assert validator.schema["$schema"] == DIALECT


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_validates(name):
    assert best_match(STUDY.iter_errors(read_yaml(PRESETS / f"{name}.yaml"))) is None


@pytest.mark.parametrize("name", preset_names(PRETRAINING_PRESETS))
def test_every_pretraining_preset_validates(name):
    file = PRETRAINING_PRESETS / f"{name}.yaml"
    assert best_match(PRETRAINING.iter_errors(read_yaml(file))) is None


@pytest.mark.parametrize("raw", fuzz_files.studies(), ids=lambda raw: raw["name"])
def test_every_key_of_a_file_validates(raw):
    assert best_match(STUDY.iter_errors(raw)) is None


SPELLINGS = {
    "data as a mapping": {"data": {"preset": "starter", "min_positives": 20}},
    "one source": {"data": {"sources": ["starter"], "vocabulary": "union"}},
    "a modality by its name": {"modalities": {"bits": "fingerprint"}},
    "an entry of its own name": {"modalities": {"fingerprint": {"size": 512}}},
    "an entry with another modality": {"modalities": {"graph": {"modality": "mordred"}}},
    "a variable for a number": {"training": {"epochs": "${EPOCHS}"}},
    "a variable for a word": {"training": {"monitor": "${MONITOR}"}},
    "a whole number for a float": {"training": {"dropout": 0, "learning_rate": 1}},
    "a contrast of two sides": {
        "contrasts": [{"family": "x", "arm": {"fraction": 1}, "reference": {"features": "a+b"}}]
    },
    "no limit": {"run": {"time_limit": None, "budget": {"trials": None}}},
    "a search": {
        "search": {
            "budget": 5,
            "space": {"dropout": {"low": 0.1, "high": 0.5}, "hidden": [[8], [9]]},
        }
    },
}


@pytest.mark.parametrize("sections", SPELLINGS.values(), ids=SPELLINGS)
def test_both_accept_every_spelling(sections, monkeypatch):
    monkeypatch.setenv("EPOCHS", "3")
    monkeypatch.setenv("MONITOR", "loss")
    raw = {**SMALL, **sections}
    assert best_match(STUDY.iter_errors(raw)) is None
    check_study(raw, "file")


def _set(path, value):
    """Return the file with every key, changed at one place."""
    raw = copy.deepcopy(FULL)
    *way, last = path
    parent = raw
    for step in way:
        parent = parent[step]
    parent[last] = value
    return raw


MISTAKES = {
    "an unknown section": _set(["seed"], 1),
    "no grid": {**SMALL, "grid": []},
    "no features": {**SMALL, "grid": [{"technique": ["mlp_head"]}]},
    "an empty feature set": _set(["grid", 0, "features"], [[]]),
    "a modality twice": _set(["grid", 0, "features"], [["bits", "bits"]]),
    "a reserved name": _set(["name"], "ledger"),
    "a name with blanks": _set(["name"], "my study"),
    "an unknown preset": _set(["data"], "goodsents"),
    "an unknown source": _set(["data"], {"sources": ["goodsents"]}),
    "an unknown option of a source": _set(["data", "sources", 0, "files"], "x"),
    "a wrong option of a source": _set(["data", "sources", 0, "separator"], 3),
    "no source": _set(["data"], {"sources": []}),
    "an unknown field of data": _set(["data", "stereo"], True),
    "a wrong vocabulary": _set(["data", "vocabulary"], []),
    "unknown groups": _set(["split", "groups"], "scaffold"),
    "a text for a number": _set(["split", "folds"], "five"),
    "one fold": _set(["split", "folds"], 1),
    "a switch for a number": _set(["split", "seed"], True),
    "an unknown modality": _set(["modalities", "bits", "modality"], "fingerprints"),
    "an unknown option": _set(["modalities", "bits", "sise"], 128),
    "a wrong option": _set(["modalities", "bits", "size"], "large"),
    "a variable for an option": _set(["modalities", "bits", "size"], "${SIZE}"),
    "an unknown calibration": _set(["modalities", "net", "calibration"], "thawed"),
    "an unknown training setting": _set(["modalities", "net", "training", "epoch"], 3),
    "an upper-case entry": _set(["modalities", "Bits"], {"modality": "fingerprint"}),
    "an entry of no modality": _set(["modalities", "own"], {"size": 128}),
    "an unknown option of an entry": {**SMALL, "modalities": {"fingerprint": {"sise": 1}}},
    "an unknown technique": _set(["grid", 0, "technique"], ["balancer"]),
    "a technique that is no list": _set(["grid", 0, "technique"], "mlp_head"),
    "an unknown operator": _set(["grid", 1, "fusion"], ["concatenate"]),
    "an unknown stage": _set(["grid", 1, "fusion", 0, "stage"], "middle"),
    "an operator without a name": _set(["grid", 1, "fusion"], [{"stage": "latent"}]),
    "an unknown partition": _set(["grid", 0, "partition"], ["by_density"]),
    "an unknown axis": _set(["grid", 0, "training", "depth"], [1, 2]),
    "an axis that is no list": _set(["grid", 0, "training", "dropout"], 0.3),
    "an axis without values": _set(["grid", 0, "training", "dropout"], []),
    "a value out of range": _set(["grid", 0, "training", "dropout"], [0.1, 1.5]),
    "an unknown design": _set(["grid", 0, "design"], "full"),
    "an unknown condition": _set(["grid", 0, "when", "dropout"], {"fraction": 1}),
    "a condition of no axis": _set(["grid", 0, "when", "depth"], {"technique": "mlp_head"}),
    "a wrong replacement": _set(["grid", 1, "without", "decay"], {"weight_decay": -1}),
    "arms beside axes": {
        **SMALL,
        "grid": [{"arms": [{"features": ["mordred"]}], "features": [["mordred"]]}],
    },
    "arms beside conditions": {
        **SMALL,
        "grid": [{"arms": [{"features": ["mordred"]}], "design": "zipped"}],
    },
    "an unknown key of an arm": _set(["grid", 3, "arms", 0, "width"], [3]),
    "no widths": _set(["grid", 3, "arms", 0, "widths"], []),
    "a fraction of nothing": _set(["fractions"], [0.0, 1.0]),
    "a seed twice": _set(["seeds"], [1, 1]),
    "an unknown family": _set(["contrasts"], ["techniques"]),
    "a family without sides": _set(["contrasts"], [{"family": "mine"}]),
    "an unknown column of a side": _set(["contrasts", 1, "arm"], {"modality": "bits"}),
    "an unknown key of run": _set(["run", "ray"], "auto"),
    "a negative budget": _set(["run", "budget"], {"hours": 0}),
    "a setting that is not searched": _set(
        ["search"], {"budget": 3, "space": {"epochs": [1, 2, 3]}}
    ),
    "one value to search": _set(["search"], {"budget": 3, "space": {"dropout": [0.1]}}),
    "a search without a space": _set(["search"], {"budget": 3}),
    "a range of words": _set(
        ["search"], {"budget": 3, "space": {"precision": {"low": 0, "high": 1}}}
    ),
    "a wrong range": _set(["search"], {"budget": 3, "space": {"dropout": {"min": 0, "max": 1}}}),
    "stored spelling": _set(["grid", 1, "fusion"], [{"word": "concat", "options": {}}]),
    "no mapping": ["name"],
}  # fmt: skip


@pytest.mark.parametrize("raw", MISTAKES.values(), ids=MISTAKES)
def test_both_refuse_a_mistake(raw, monkeypatch):
    monkeypatch.setenv("SIZE", "128")
    assert not STUDY.is_valid(raw)
    if isinstance(raw, dict):
        with pytest.raises(InputError):
            check_study(raw, "file")


def test_the_file_with_every_key_is_right(tmp_path, monkeypatch):
    """Otherwise the mistakes above could be refused for another reason."""
    table = tmp_path / "table.csv"
    table.write_text("smiles,labels\nCCO,sweet\n", encoding="utf-8")
    check_study(FULL, "file")
    assert STUDY.is_valid(FULL)


PRETRAINING_MISTAKES = [
    {"objective": "translations"},
    {"objective": {"objective": "contrastive", "temperatur": 0.1}},
    {"modality": {"modality": "graph", "layers": 3}},
    {"molecules": {"smiles": "SMILES"}},
    {"training": {"epochs": 0}},
    {"grid": []},
]


@pytest.mark.parametrize("sections", PRETRAINING_MISTAKES, ids=str)
def test_mistakes_of_a_pretraining_are_refused(sections):
    raw = read_yaml(PRETRAINING_PRESETS / "graph_contrastive.yaml")
    assert PRETRAINING.is_valid(raw)
    assert not PRETRAINING.is_valid({**raw, **sections})


def test_options_have_type_default_and_words():
    family = STUDY.schema["$defs"]["OperatorConfig"]["anyOf"][1]["allOf"]
    parallel = next(
        case["then"]["properties"]
        for case in family
        if case["if"]["properties"]["operator"]["const"] == "parallel"
    )
    known = Registry("operator").parameters("parallel")
    assert parallel.keys() == {"operator", *known}
    combine = parallel["combine"]
    assert combine["default"] == known["combine"].default
    assert combine["anyOf"][0]["enum"] == ["add", "mean", "learned"]


def test_settings_have_their_description():
    patience = STUDY.schema["$defs"]["TrainingConfig"]["properties"]["patience"]
    assert patience["description"].startswith("Epochs without a better validation value")
    assert patience["default"] == TrainingConfig().patience


def test_notes_are_read_by_field():
    notes = read_field_notes(SearchConfig)
    assert notes["seed"].startswith("Seed of the draws.")
    assert notes["method"].startswith("({'random', 'tpe', 'asha'}) ``random``: independent draws")


@pytest.mark.parametrize(("option", "validator"), [([], STUDY), (["--pretraining"], PRETRAINING)])
def test_the_command_prints_the_schema(option, validator):
    done = CliRunner().invoke(app, ["schema", *option])
    assert done.exit_code == 0
    assert json.loads(done.output) == validator.schema
