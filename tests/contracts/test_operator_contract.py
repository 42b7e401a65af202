"""Every operator keeps its contract, in every variant of its options."""

import pytest
from fusion_fixtures import OPERATORS

from study.testing import OperatorContract


class TestOperator(OperatorContract):
    @pytest.fixture(scope="class", params=OPERATORS)
    @classmethod
    def operator(cls, request):
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls, operator):
        return operator.func

    @pytest.fixture(scope="class")
    @classmethod
    def needed_options(cls, operator):
        return operator.keywords
