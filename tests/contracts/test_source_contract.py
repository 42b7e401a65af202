"""What every source of the folder keeps: a new file is tested with no edit here."""

import ast
import hashlib
import sys
from pathlib import Path

import pytest

from study.errors import InputError
from study.plugins.registry import Registry

SOURCES = Registry("source")
WORDS = SOURCES.names()
ALLOWED = {"int", "float", "bool", "str", "None", "Literal"}


@pytest.fixture
def table_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("smiles,sweet,green\nCCO,1,0\nCCC,0,1\n", encoding="utf-8")
    return path


@pytest.fixture
def built(word, table_file):
    needs_file = "file" in SOURCES.parameters(word)
    return SOURCES.load(word)(**({"file": str(table_file)} if needs_file else {}))


@pytest.fixture
def table(built, archive):
    return built.read(archive)


def test_words_are_the_public_files():
    promised = {"goodscents", "leffingwell", "ifra_2019", "dravnieks_1985", "keller_2016"}
    assert promised | {"csv", "starter", "simulated"} <= set(WORDS)
    assert not any(word.startswith("_") for word in WORDS)


@pytest.mark.parametrize("word", WORDS)
def test_options_are_keyword_only_with_literal_types_and_defaults(word):
    module = sys.modules[SOURCES.load(word).__module__]
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    init = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    for function in init:
        assert [a.arg for a in function.args.args] == ["self"]
        assert all(default is not None for default in function.args.kw_defaults)
        for argument in function.args.kwonlyargs:
            nodes = ast.walk(argument.annotation)
            assert {n.id for n in nodes if isinstance(n, ast.Name)} <= ALLOWED, argument.arg


@pytest.mark.parametrize("word", WORDS)
def test_table_is_whole_and_its_places_are_unique(word, table):
    assert table.name == word
    assert table.entries
    places = [entry.place for entry in table.entries]
    assert len(set(places)) == len(places)
    used = {label for entry in table.entries for label in (entry.ratings or entry.labels)}
    assert used <= set(table.vocabulary)


@pytest.mark.parametrize("word", WORDS)
def test_rated_is_declared_exactly_by_sources_with_ratings_and_a_threshold(word, table):
    rated = SOURCES.load(word).rated
    assert rated == (table.threshold is not None)
    assert all((entry.ratings is not None) == rated for entry in table.entries)


@pytest.mark.parametrize("word", WORDS)
def test_every_file_read_is_recorded_with_its_sha256(word, built, table, archive):
    files = built.files(archive)
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert table.files == sums


@pytest.mark.parametrize("word", WORDS)
def test_reading_twice_gives_the_same(word, built, table, archive):
    assert built.read(archive) == table


@pytest.mark.parametrize("word", WORDS)
def test_missing_archive_is_named_with_its_remedy(word, built, archive, tmp_path):
    if not any(path.is_relative_to(archive) for path in built.files(archive).values()):
        assert built.read(None).name == word  # this source needs no archive
        return
    remedy = r"set data\.archive or OLFACTION_ARCHIVE to a folder made by `study data fetch`"
    with pytest.raises(InputError, match=rf"archive folder .*nowhere lacks .*csv: {remedy}"):
        built.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"no archive folder given, but .* is needed: {remedy}"):
        built.read(None)


def test_unknown_source_names_the_known_ones():
    with pytest.raises(InputError, match="unknown source 'pubchem'; allowed: csv, dravnieks_1985"):
        SOURCES.load("pubchem")
