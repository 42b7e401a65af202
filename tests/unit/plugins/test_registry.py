"""Registries: against the classes themselves, and on files written by the test."""

import inspect
import sys
import textwrap
from typing import Literal, get_type_hints

import pytest

from study.errors import InputError
from study.plugins.parameters import Parameter, read_parameters
from study.plugins.registry import FAMILIES, Family, Registry, to_class_name

COMPONENTS = [(family, name) for family in FAMILIES for name in Registry(family).names()]


@pytest.fixture
def write_registry(tmp_path, monkeypatch):
    """Write the files of a family `odor`, by name; return its registry."""

    def write(**files):
        folder = tmp_path / "odors"
        folder.mkdir()
        for name, text in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "odors", raising=False)
        monkeypatch.setitem(FAMILIES, "odor", Family("odors", "unknown odor '{}'"))
        return Registry("odor")

    return write


ROSE = """
    import no_such_module  # reading the options must not run the file

    class Rose:
        def __init__(self, dims, *, petals: int = 5, scent: Literal["faint", "strong"] = "faint",
                     height: float = -1.5, wild: bool = False, name: str | None = None,
                     thorns: Literal[0, 7] | None = None) -> None:
            pass
"""


def test_names_are_the_public_files(write_registry):
    assert write_registry(rose="", _soil="", musk_2019="").names() == ("musk_2019", "rose")


@pytest.mark.parametrize(("family", "name"), COMPONENTS)
def test_options_from_source_are_those_of_the_class(family, name):
    component = Registry(family).load(name)
    assert component.__name__ == to_class_name(name)
    parameters = inspect.signature(component).parameters.values()
    expected = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    options = Registry(family).parameters(name)
    assert {name: option.default for name, option in options.items()} == expected
    hints = get_type_hints(component.__init__)
    assert all(option.annotation == hints[name] for name, option in options.items())


@pytest.mark.parametrize(("family", "name"), COMPONENTS)
def test_defaults_pass_their_own_check(family, name):
    registry = Registry(family)
    defaults = {key: option.default for key, option in registry.parameters(name).items()}
    assert registry.check(name, defaults) == []


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("csv", "Csv"), ("random_per_batch", "RandomPerBatch"), ("ifra_2019", "Ifra2019")],
)
def test_class_name_is_camel_case(name, class_name):
    assert to_class_name(name) == class_name


def test_options_are_read_without_running_the_file(write_registry):
    assert dict(write_registry(rose=ROSE).parameters("rose")) == {
        "petals": Parameter("petals", int, 5),
        "scent": Parameter("scent", Literal["faint", "strong"], "faint"),
        "height": Parameter("height", float, -1.5),
        "wild": Parameter("wild", bool, False),
        "name": Parameter("name", str | None, None),
        "thorns": Parameter("thorns", Literal[0, 7] | None, None),
    }


def test_a_class_without_init_has_no_options(write_registry):
    assert write_registry(rose="class Rose: pass").parameters("rose") == {}


def test_good_options_have_no_mistakes(write_registry):
    good = {"petals": 7, "scent": "strong", "height": 2, "wild": True, "name": "x", "thorns": 7}
    assert write_registry(rose=ROSE).check("rose", good) == []


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
def test_wrong_values_name_the_allowed_ones(option, value, allowed, write_registry):
    mistakes = write_registry(rose=ROSE).check("rose", {option: value})
    assert mistakes == [f"rose: option '{option}' cannot be {value!r}; allowed: {allowed}"]


def test_an_unknown_name_suggests_the_closest(write_registry):
    registry = write_registry(rose=ROSE, jasmine="", musk="")
    message = "unknown odor 'jasmin'; did you mean 'jasmine'? allowed: jasmine, musk, rose"
    assert registry.check("jasmin", {}) == [message]
    assert registry.check("xyz", {}) == ["unknown odor 'xyz'; allowed: jasmine, musk, rose"]
    for method in (registry.load, registry.parameters):
        with pytest.raises(InputError, match="did you mean 'jasmine'"):
            method("jasmin")


def test_every_mistake_is_listed(write_registry):
    mistakes = write_registry(rose=ROSE).check("rose", {"petal": 5, "wild": "no", "xyz": 1})
    allowed = "allowed: petals, scent, height, wild, name, thorns"
    assert mistakes == [
        f"rose: has no option 'petal'; did you mean 'petals'? {allowed}",
        "rose: option 'wild' cannot be 'no'; allowed: bool",
        f"rose: has no option 'xyz'; {allowed}",
    ]


def test_complete_normalizes_options(write_registry):
    registry = write_registry(rose=ROSE)
    short, long = (
        registry.complete("rose", {"height": 2}),
        registry.complete("rose", {"height": 2.0}),
    )
    assert short == long == registry.complete("rose", {"height": 2.0, "petals": 5, "name": None})
    assert isinstance(short["height"], float)
    assert list(short) == ["petals", "scent", "height", "wild", "name", "thorns"]
    with pytest.raises(InputError, match=r"option 'petals' cannot be 'x'.*; rose: option 'wild'"):
        registry.complete("rose", {"petals": "x", "wild": 0})


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (
            "petals: int",
            r"odors/rose.py, line 2: option 'petals' needs an annotation and a default",
        ),
        ("petals=5", "needs an annotation and a default"),
        ("petals: list[int] = None", "option 'petals' must be annotated with int, float"),
        ("petals: Colour = None", "must be annotated with int, float"),
        ("petals: 'int' = 5", "must be annotated with int, float"),
        ("petals: None | None = None", "must be annotated with int, float"),
        ("petals: int = MANY", "and have a literal default"),
    ],
)
def test_options_without_literals_are_refused(parameter, message, write_registry):
    registry = write_registry(rose=f"class Rose:\n    def __init__(self, *, {parameter}): pass")
    with pytest.raises(InputError, match=message):
        registry.parameters("rose")


def test_a_file_without_its_class_is_refused(write_registry):
    registry = write_registry(rose_bud="class Rosebud: pass")
    for method in (registry.load, registry.parameters):
        with pytest.raises(InputError, match=r"odors/rose_bud.py must define the class 'RoseBud'"):
            method("rose_bud")


@pytest.mark.parametrize(
    "package", ["no_such_package", "fusion.no_such", "fusion.operators.concat"]
)
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(FAMILIES, "odor", Family(package, "unknown odor '{}'"))
    with pytest.raises(InputError, match=f"there is no package '{package}'"):
        Registry("odor")


def test_an_unknown_family_suggests_the_closest():
    with pytest.raises(InputError) as error:
        Registry("modalitie")
    assert str(error.value) == (
        "unknown family 'modalitie'; did you mean 'modality'? "
        "allowed: modality, operator, partition, source, objective"
    )


def test_reading_a_file_again_gives_the_same_options(tmp_path):
    file = tmp_path / "rose.py"
    file.write_text(textwrap.dedent(ROSE))
    with pytest.raises(TypeError, match="does not support item assignment"):
        read_parameters(file, "Rose")["petals"] = None  # one value serves every caller
