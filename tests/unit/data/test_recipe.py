"""The data section of a study file: presets, overrides, and mistakes in one message."""

import pytest
from pydantic import ValidationError

from study.data import DatasetConfig, dataset_presets


def test_a_bare_name_is_the_preset():
    recipe = DatasetConfig.model_validate("seed-like")
    assert (recipe.name, recipe.key, recipe.vocabulary) == ("seed-like", "isomeric", "intersection")
    assert [choice.source for choice in recipe.sources] == [
        "goodscents", "leffingwell", "ifra_2019",
    ]  # fmt: skip


def test_an_empty_section_is_the_default_preset():
    assert DatasetConfig.model_validate({}) == DatasetConfig.model_validate("gs-lf-ifra")


def test_explicit_fields_override_the_preset():
    recipe = DatasetConfig.model_validate(
        {"preset": "seed-like", "key": "nonstereo", "archive": "/a"}
    )
    assert (recipe.key, str(recipe.folder())) == ("nonstereo", "/a")


def test_sources_without_a_preset_stand_alone():
    recipe = DatasetConfig.model_validate({"sources": ["leffingwell", {"source": "ifra_2019"}]})
    assert recipe.name == "leffingwell+ifra_2019"


@pytest.mark.parametrize("name", dataset_presets())
def test_every_preset_is_valid_and_survives_a_round_trip(name):
    recipe = DatasetConfig.model_validate(name)
    assert DatasetConfig.model_validate(recipe.model_dump(mode="json")) == recipe


def test_identity_ignores_the_archive_folder():
    here, there = ({"preset": "gs-lf", "archive": folder} for folder in ("/a", "/b"))
    assert (
        DatasetConfig.model_validate(here).identity()
        == DatasetConfig.model_validate(there).identity()
    )


def test_archive_variable_is_used_when_the_field_is_not(monkeypatch):
    monkeypatch.setenv("OLFACTION_ARCHIVE", "/from/variable")
    assert str(DatasetConfig.model_validate("gs-lf").folder()) == "/from/variable"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("kdd", "unknown preset 'kdd'; allowed: gs-lf-ifra, seed-like"),
        ("", "unknown preset ''; allowed: gs-lf-ifra, seed-like"),
        ({"sources": ["pubchem"]}, "unknown source 'pubchem'; allowed: csv, dravnieks_1985"),
        ({"sources": []}, "sources is empty; name one or more of csv"),
        ({"sources": [{"source": "starter", "n": 3}]}, "starter: has no option 'n'; allowed: none"),
        (
            {"sources": [{"source": "simulated", "seed": "x"}]},
            "option 'seed' cannot be 'x'; allowed: int",
        ),
        ({"sources": [{"source": "simulated", "labels": 999}]}, "'labels' is 999, allowed 3 to"),
        ({"sources": [{"source": "ifra_2019", "descriptors": 4}]}, "allowed: 1, 2, 3"),
        ({"sources": ["csv"]}, "source csv needs the option 'file'"),
        ({"sources": ["goodscents", "goodscents"]}, "goodscents is named more than once"),
        ({"sources": ["keller_2016", "starter"]}, "holds ratings and cannot be merged"),
        ({"threshold": {"at_least": 3}}, "threshold is for sources with ratings"),
        ({"preset": "keller", "threshold": {}}, "exactly one of at_least and top_share"),
        ({"preset": "keller", "threshold": {"top_share": 1.5}}, "less than 1"),
        ({"min_positives": -1}, "greater than or equal to 0"),
        ({"vocabulary": "all"}, "'intersection' or 'union'"),
        ({"smiles": "x"}, "Extra inputs are not permitted"),
        (3, "valid dictionary"),
    ],
)
def test_a_mistake_has_the_allowed_values(section, message):
    with pytest.raises(ValidationError) as caught:
        DatasetConfig.model_validate(section)
    assert message in str(caught.value)


def test_mistakes_are_reported_together():
    section = {
        "key": "inchi",
        "min_positives": -1,
        "sources": ["pubchem", {"source": "simulated", "seed": "x", "colour": 1}],
    }
    with pytest.raises(ValidationError) as caught:
        DatasetConfig.model_validate(section)
    parts = ("'nonstereo' or 'isomeric'", "pubchem", "'seed' cannot be 'x'", "no option 'colour'")
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.error_count() == 4
