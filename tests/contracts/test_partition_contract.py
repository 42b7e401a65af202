"""Every label partition keeps its contract, in every variant of its options."""

import pytest
from fusion_fixtures import RULES

from study.testing import PartitionContract


class TestPartition(PartitionContract):
    @pytest.fixture(scope="class", params=RULES)
    @classmethod
    def case(cls, request):
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls, case):
        return case.func

    @pytest.fixture(scope="class")
    @classmethod
    def needed_options(cls, case):
        return case.keywords
