"""Whatever stands in a study file: a study that can be planned, or a named error. Never else."""

import json

import pytest
from fuzz_files import (
    PRETRAININGS,
    STUDIES,
    built,
    edited,
    mutated,
    overrides,
    pretrainings,
    studies,
    texts,
)
from fuzz_words import fuzzed, no_code_ran
from hypothesis import given
from hypothesis import strategies as st

from study.config.base import ValidationContext
from study.config.loading import check_file, check_study, read_study
from study.config.study import StudySpec
from study.planning.plan import make_plan
from study.planning.trials import Trial
from study.pretraining.config import PretrainingSpec, read_pretraining
from study.preview.text import format_plan

WHOLE, WHOLE_PRETRAININGS = studies(), pretrainings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty working directory, without archives, weights or a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("files"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("OLFACTION_ARCHIVE", "OLFACTION_WEIGHTS"):
            patch.delenv(name, raising=False)
        yield tmp_path_factory.mktemp("read")


def planned(spec):
    """Use a study that was accepted: it survives its record, and a plan of it can be printed."""
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec
    text = format_plan(spec)
    text.encode()
    trial = next(make_plan(spec).trials())
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    return text


@fuzzed(2_500)
@given(raw=mutated(WHOLE))
def test_mutated_studies(raw, folder, cases):
    cases.outcome("mutated studies", lambda: planned(check_study(raw, "mine.yaml")))


@fuzzed(700)
@given(raw=mutated(WHOLE_PRETRAININGS))
def test_mutated_pretrainings(raw, folder, cases):
    def read():
        spec = check_file(PretrainingSpec, raw, "mine.yaml", ValidationContext())
        assert PretrainingSpec.model_validate_json(spec.model_dump_json()) == spec

    cases.outcome("mutated pretrainings", read)


@fuzzed(1_200)
@given(data=edited(texts(STUDIES)))
def test_edited_bytes_of_studies(data, folder, cases):
    path = folder / "study.yaml"
    path.write_bytes(data)
    cases.outcome("edited study bytes", lambda: planned(read_study(str(path))))
    assert no_code_ran()


@fuzzed(400)
@given(data=edited(texts(PRETRAININGS)))
def test_edited_bytes_of_pretrainings(data, folder, cases):
    path = folder / "pretraining.yaml"
    path.write_bytes(data)
    cases.outcome("edited pretraining bytes", lambda: read_pretraining(str(path)))
    assert no_code_ran()


@fuzzed(800)
@given(given_=overrides(WHOLE[2]))
def test_overrides(given_, folder, cases):
    cases.outcome("--set of a study", lambda: planned(read_study("quickstart", given_)))
    assert no_code_ran()


@fuzzed(300)
@given(given_=overrides(WHOLE_PRETRAININGS[0]))
def test_overrides_of_a_pretraining(given_, folder, cases):
    cases.outcome("--set of a pretraining", lambda: read_pretraining("graph_contrastive", given_))


@fuzzed(1_500)
@given(raw=built)
def test_built_studies(raw, folder, cases):
    cases.outcome("built studies", lambda: planned(check_study(raw, "mine.yaml")))


@fuzzed(300)
@given(source=st.text(max_size=300))
def test_names_of_files(source, folder, cases):
    cases.outcome("names of files", lambda: read_study(source))
