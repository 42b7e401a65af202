"""Every source keeps its contract; a new file is tested with no edit here."""

import pytest

from study.errors import InputError
from study.plugins.registry import Registry
from study.testing import SourceContract

SOURCES = Registry("source")


class TestSource(SourceContract):
    @pytest.fixture(scope="class", params=SOURCES.names())
    @classmethod
    def name(cls, request):
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls, name):
        return SOURCES.load(name)

    @pytest.fixture
    def archive(self, archive):
        return archive

    @pytest.fixture
    def needed_options(self, name, tmp_path):
        if "file" not in SOURCES.parameters(name):
            return {}
        path = tmp_path / "mine.csv"
        path.write_text("smiles,sweet,green\nCCO,1,0\nCCC,0,1\n", encoding="utf-8")
        return {"file": str(path)}


def test_names_are_the_public_files():
    promised = {"goodscents", "leffingwell", "ifra_2019", "dravnieks_1985", "keller_2016"}
    assert promised | {"csv", "starter", "simulated"} <= set(SOURCES.names())
    assert not any(name.startswith("_") for name in SOURCES.names())


def test_unknown_source_names_the_known_ones():
    with pytest.raises(InputError, match="unknown source 'pubchem'; allowed: csv, dravnieks_1985"):
        SOURCES.load("pubchem")
