"""Vocabularies: against the classes themselves, and on files written for the test."""

import inspect
import sys
import textwrap
from typing import Literal, get_type_hints

import pytest

from study.errors import InputError
from study.plugins.parameters import Parameter, read_parameters
from study.plugins.registry import FAMILIES, Family, Registry, to_class_name

WORDS = [(family, word) for family in FAMILIES for word in Registry(family).words()]


@pytest.fixture
def vocabulary(tmp_path, monkeypatch):
    """A family `odor` written by the test: name of the file -> its text."""

    def write(**files):
        folder = tmp_path / "odors"
        folder.mkdir()
        for name, text in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "odors", raising=False)
        monkeypatch.setitem(FAMILIES, "odor", Family("odors", "'{}' is no word of odors"))
        return Registry("odor")

    return write


ROSE = """
    import no_such_module  # reading a word must not run its file

    class Rose:
        def __init__(self, dims, *, petals: int = 5, scent: Literal["faint", "strong"] = "faint",
                     height: float = -1.5, wild: bool = False, name: str | None = None,
                     thorns: Literal[0, 7] | None = None) -> None:
            pass
"""


def test_words_are_the_public_files(vocabulary):
    assert vocabulary(rose="", _soil="", musk_2019="").words() == ("musk_2019", "rose")


@pytest.mark.parametrize(("family", "word"), WORDS)
def test_options_from_source_are_those_of_the_class(family, word):
    found = Registry(family).load(word)
    assert found.__name__ == to_class_name(word)
    parameters = inspect.signature(found).parameters.values()
    expected = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    options = Registry(family).options(word)
    assert {name: option.default for name, option in options.items()} == expected
    hints = get_type_hints(found.__init__)
    assert all(option.annotation == hints[name] for name, option in options.items())


@pytest.mark.parametrize(("family", "word"), WORDS)
def test_defaults_pass_their_own_check(family, word):
    vocabulary = Registry(family)
    defaults = {name: option.default for name, option in vocabulary.options(word).items()}
    assert vocabulary.check(word, defaults) == []


@pytest.mark.parametrize(
    ("word", "name"),
    [("csv", "Csv"), ("random_per_batch", "RandomPerBatch"), ("ifra_2019", "Ifra2019")],
)
def test_class_name_is_camel_case(word, name):
    assert to_class_name(word) == name


def test_options_are_read_without_running_the_file(vocabulary):
    assert dict(vocabulary(rose=ROSE).options("rose")) == {
        "petals": Parameter("petals", int, 5),
        "scent": Parameter("scent", Literal["faint", "strong"], "faint"),
        "height": Parameter("height", float, -1.5),
        "wild": Parameter("wild", bool, False),
        "name": Parameter("name", str | None, None),
        "thorns": Parameter("thorns", Literal[0, 7] | None, None),
    }


def test_a_class_without_init_has_no_options(vocabulary):
    assert vocabulary(rose="class Rose: pass").options("rose") == {}


def test_good_options_have_no_mistakes(vocabulary):
    good = {"petals": 7, "scent": "strong", "height": 2, "wild": True, "name": "x", "thorns": 7}
    assert vocabulary(rose=ROSE).check("rose", good) == []


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("petals", "5", "int"),
        ("petals", True, "int"),
        ("petals", 5.0, "int"),
        ("height", "tall", "float"),
        ("height", float("nan"), "float"),
        ("wild", 1, "bool"),
        ("scent", "loud", "'faint', 'strong'"),
        ("name", 3, "str or null"),
        ("name", ["x"], "str or null"),
        ("thorns", False, "0, 7 or null"),
        ("thorns", 1, "0, 7 or null"),
    ],
)
def test_wrong_values_are_named_with_the_allowed_ones(option, value, allowed, vocabulary):
    mistakes = vocabulary(rose=ROSE).check("rose", {option: value})
    assert mistakes == [f"rose: option '{option}' cannot be {value!r}; allowed: {allowed}"]


def test_unknown_word_is_answered_with_the_nearest(vocabulary):
    words = vocabulary(rose=ROSE, jasmine="", musk="")
    message = "'jasmin' is no word of odors; did you mean 'jasmine'? allowed: jasmine, musk, rose"
    assert words.check("jasmin", {}) == [message]
    assert words.check("xyz", {}) == ["'xyz' is no word of odors; allowed: jasmine, musk, rose"]
    for ask in (words.load, words.options):
        with pytest.raises(InputError, match="did you mean 'jasmine'"):
            ask("jasmin")


def test_every_mistake_is_listed(vocabulary):
    mistakes = vocabulary(rose=ROSE).check("rose", {"petal": 5, "wild": "no", "xyz": 1})
    allowed = "allowed: petals, scent, height, wild, name, thorns"
    assert mistakes == [
        f"rose: has no option 'petal'; did you mean 'petals'? {allowed}",
        "rose: option 'wild' cannot be 'no'; allowed: bool",
        f"rose: has no option 'xyz'; {allowed}",
    ]


def test_complete_writes_the_same_thing_in_one_way(vocabulary):
    words = vocabulary(rose=ROSE)
    short, long = words.complete("rose", {"height": 2}), words.complete("rose", {"height": 2.0})
    assert short == long == words.complete("rose", {"height": 2.0, "petals": 5, "name": None})
    assert isinstance(short["height"], float)
    assert list(short) == ["petals", "scent", "height", "wild", "name", "thorns"]
    with pytest.raises(InputError, match=r"option 'petals' cannot be 'x'.*; rose: option 'wild'"):
        words.complete("rose", {"petals": "x", "wild": 0})


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (
            "petals: int",
            r"odors/rose.py, line 2: option 'petals' needs an annotation and a default",
        ),
        ("petals=5", "needs an annotation and a default"),
        ("petals: list[int] = None", "option 'petals' must be written with int, float"),
        ("petals: Colour = None", "must be written with int, float"),
        ("petals: 'int' = 5", "must be written with int, float"),
        ("petals: None | None = None", "must be written with int, float"),
        ("petals: int = MANY", "with a literal default"),
    ],
)
def test_options_that_cannot_be_read_are_refused(parameter, message, vocabulary):
    words = vocabulary(rose=f"class Rose:\n    def __init__(self, *, {parameter}): pass")
    with pytest.raises(InputError, match=message):
        words.options("rose")


def test_a_file_without_its_class_is_refused(vocabulary):
    words = vocabulary(rose_bud="class Rosebud: pass")
    for ask in (words.load, words.options):
        with pytest.raises(InputError, match=r"odors/rose_bud.py must define the class 'RoseBud'"):
            ask("rose_bud")


@pytest.mark.parametrize(
    "package", ["no_such_package", "fusion.no_such", "fusion.operators.concat"]
)
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(FAMILIES, "odor", Family(package, "'{}' is no odor"))
    with pytest.raises(InputError, match=f"there is no package '{package}'"):
        Registry("odor")


def test_an_unknown_family_is_answered_with_the_nearest():
    with pytest.raises(InputError) as error:
        Registry("modalitie")
    assert str(error.value) == (
        "there is no family 'modalitie'; did you mean 'modality'? "
        "allowed: modality, operator, partition, source, objective"
    )


def test_reading_a_file_again_gives_the_same_options(tmp_path):
    file = tmp_path / "rose.py"
    file.write_text(textwrap.dedent(ROSE))
    with pytest.raises(TypeError, match="does not support item assignment"):
        read_parameters(file, "Rose")["petals"] = None  # one value serves every caller
