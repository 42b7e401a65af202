"""An editor never marks a study file that the checker accepts."""

import re

import pytest
from fuzz_files import mutated, studies
from fuzz_words import fuzzed
from hypothesis import given
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from study.config.loading import check_study
from study.config.schema import build_schema
from study.config.study import StudySpec
from study.errors import InputError

NUMBER = r"\s*([-+]?[\d._]+(e[-+]?\d+)?|true|false|yes|no|on|off|y|n|t|f)\s*"


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(build_schema(StudySpec))


def is_converted(value, key=""):
    """Whether pydantic converts a value inside: a number as text, a number for a switch."""
    if isinstance(value, dict):
        return any(is_converted(item, name) for name, item in value.items())
    if isinstance(value, list):
        return any(map(is_converted, value))
    if isinstance(value, str):
        return re.fullmatch(NUMBER, value, re.IGNORECASE) is not None
    return key == "synonyms" and not isinstance(value, bool)


@fuzzed(400)
@given(raw=mutated(studies()))
def test_what_the_checker_accepts_validates(raw, validator):
    try:
        check_study(raw, "file")
    except InputError:
        return
    if not is_converted(raw):
        assert best_match(validator.iter_errors(raw)) is None
