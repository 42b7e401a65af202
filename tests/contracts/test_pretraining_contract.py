"""Every objective keeps its contract with every modality whose encoder it can train."""

import pytest
from pretraining_words import CASES, objective_class, objective_of, trainable

from study.testing import ObjectiveContract


class TestObjective(ObjectiveContract):
    @pytest.fixture(scope="class", params=CASES, ids="-".join)
    @classmethod
    def case(cls, request):
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls, case):
        return objective_class(case[0])

    @pytest.fixture(scope="class")
    @classmethod
    def objective(cls, case):
        return objective_of(*case)

    @pytest.fixture(scope="class")
    @classmethod
    def modality(cls, case):
        return trainable(case[1])
