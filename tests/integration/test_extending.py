"""A study is relaunched with its own file only, or with one that asks for more."""

import json
import shutil

import pytest
import yaml

from study.errors import InputError
from study.runner.prepare import check_unchanged, prepare


@pytest.fixture
def prepared(launched, spec_of, tmp_path):
    """Content of a study file -> the study, prepared beside a finished one of the same name."""
    shutil.copytree(launched[0].folder.parent, tmp_path, dirs_exist_ok=True)
    return lambda raw: prepare(spec_of(raw, tmp_path))


def _trials(study):
    return [study.data.trial_id(trial) for trial in study.plan.trials()]


def test_the_same_file_is_nothing_to_speak_of(prepared, tiny):
    assert check_unchanged(prepared(tiny), extend=False) == ""


def test_place_and_description_are_free(prepared, tiny, spec_of, tmp_path):
    study = prepared({**tiny, "description": "told otherwise"})
    assert check_unchanged(study, extend=False) == ""


def test_keys_in_another_order_are_no_other_file(tiny, prepared):
    turned = yaml.safe_load(yaml.safe_dump(tiny, sort_keys=True))
    assert list(turned["modalities"]) != list(tiny["modalities"])
    assert check_unchanged(prepared(turned), extend=False) == ""
    one, other = (prepared(raw) for raw in (tiny, turned))
    assert _trials(one) == _trials(other)


def test_another_file_is_refused_with_its_diff(prepared, tiny):
    tiny["training"]["epochs"] = 3
    study = prepared(tiny)
    before = (study.folder / "study.json").read_bytes()
    with pytest.raises(InputError) as told:
        check_unchanged(study, extend=False)
    assert "\n  -  epochs: 2\n  +  epochs: 3\n" in str(told.value)
    assert "--extend" in str(told.value)
    assert (study.folder / "study.json").read_bytes() == before


def test_more_seeds_are_an_extension(prepared, tiny):
    tiny["seeds"] = [0, 1]
    assert check_unchanged(prepared(tiny), extend=True) == "study 'tiny' is extended"


def test_an_extension_drops_no_trial(prepared, tiny):
    tiny["training"]["epochs"] = 3
    with pytest.raises(InputError, match=r"drops 10, the first 'characters.*--set name="):
        check_unchanged(prepared(tiny), extend=True)


@pytest.mark.parametrize(("section", "value"), [("split", {"folds": 3}), ("data", {})])
def test_an_extension_keeps_data_and_split(prepared, tiny, section, value):
    tiny[section] = {**tiny[section], **value}
    if section == "data":
        tiny["data"]["sources"][0]["molecules"] = 130
    with pytest.raises(InputError, match="cannot change the data or the split"):
        check_unchanged(prepared(tiny), extend=True)


def test_a_damaged_file_is_written_anew(prepared, tiny):
    study = prepared(tiny)
    (study.folder / "study.json").write_text(json.dumps({"name": 3}), encoding="utf-8")
    assert "study.json is damaged" in check_unchanged(study, extend=False)
