"""What fuzzing found in the reading of files: each once, directly."""

import re

import pytest

from study.errors import InputError
from study.mistakes import LONGEST
from study.plan import make_plan
from study.pretraining.spec import read_pretraining
from study.reading import check_study, read_study
from study.yaml_text import DEEPEST, MOST_BYTES, MOST_VALUES

START = "name: mine\ndata: starter\ngrid: [{features: [[graph, mordred]]}]\n"


@pytest.fixture
def refused(tmp_path):
    """Read a study file of this text: -> what is said about it."""
    path = tmp_path / "mine.yaml"

    def read(text, overrides=()):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError) as error:
            read_study(str(path), overrides)
        return str(error.value).replace(str(path), "mine.yaml")

    return read


def bomb(levels=9):
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (START + "name: again\n", "the key 'name' stands twice"),
        (START + "split: {folds: 2, folds: 3}\n", "the key 'folds' stands twice"),
        (START + "seeds: !!int x\n", "this is no value of the type 'int'"),
        (START + "seeds: !!bool x\n", "this is no value of the type 'bool'"),
        (START + "seeds: !!timestamp x\n", "this is no value of the type 'timestamp'"),
        (START + "seeds: 2001-99-99\n", "this is no value of the type 'timestamp'"),
        (START + f"seeds: {'9' * 5_000}\n", "this is no value of the type 'int'"),
        (START + "description: !!python/object/apply:os.getcwd []\n", "could not determine"),
        (START + "split: !!map [1]\n", "expected a mapping node"),
        (START + "description: &a [*a]\n", f"nested more than {DEEPEST} levels deep"),
        (START + f"description: {'[' * 5_000}\n", f"nested more than {DEEPEST} levels deep"),
        (START + bomb(), f"written out it has more than {MOST_VALUES:,} values"),
        (START + "seeds: !!omap [a: 1]\n", "'!!set', '!!omap' and '!!pairs' are neither list"),
        (b"\xff\xfe", "mine.yaml is not YAML: it must be UTF-8 text"),
        (" " * (MOST_BYTES + 1), "such a file has 2,000,000 at most"),
        (START + "description: \"\\ud800\"\n", "description: the value must be text, .*: '.ud800'"),
        (START + 'run: {storage: "a\\0b"}\n', r"run.storage: the value must be text, .*: '.x00'"),
        (START + '"\\0": 1\n', "the file: a key must be text"),
        (START + f"training: {{epochs: {'9' * 400}}}\n", "epochs: the value is beyond 9,007"),
        (START + f"modalities: {{graph: {{weights: {'x' * 300}}}}}\n", "File name too long"),
        (START + "modalities: {graph: {weights: ~no-such-user/x}}\n", "home directory"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_with_its_reason(text, said, refused):
    assert re.search(said, refused(text))


def test_a_key_that_a_merge_brings_may_be_written_again(tmp_path):
    path = tmp_path / "mine.yaml"
    more = "modalities: {a: &a {modality: graph, dropout: 0.1}, b: {<<: *a, dropout: 0.2}}\n"
    path.write_text(START + more)
    assert read_study(str(path)).modalities["b"].options["dropout"] == 0.2


@pytest.mark.parametrize("override", ["name=&a [*a]", ".".join(["x"] * 500) + "=1"])
def test_an_override_without_end_is_refused(override, refused):
    assert "levels deep" in refused(START, [override])


def test_the_number_of_a_list_may_not_be_longer_than_a_number(refused):
    assert "allowed: 0 to 0" in refused(START, [f"grid.{'9' * 5_000}=1"])
    assert "allowed: none, it is empty" in refused(START, ["seeds=[]", "seeds.0=1"])


@pytest.mark.parametrize("read", [read_study, read_pretraining])
def test_a_name_that_no_file_can_have_is_no_file(read):
    with pytest.raises(InputError, match=r"is neither a .* file nor a preset"):
        read("x" * 5_000)


def test_a_message_repeats_the_beginning_of_a_long_value(refused):
    said = refused(START + f"split: {{folds: {'x' * 5_000}}}\n")
    assert len(said) < LONGEST + 200
    assert said.endswith("x ...")
    many = refused(START + "".join(f"k{i}: 1\n" for i in range(80)))
    assert many.startswith("mine.yaml: 80 mistakes")
    assert many.endswith("and 30 more")


def test_a_grid_that_nobody_could_write_down_is_refused():
    axes = {name: [i / 1_000 for i in range(400)] for name in ("dropout", "average")}
    raw = {"name": "mine", "data": "starter", "grid": [{"features": [["graph"]], "training": axes}]}
    with pytest.raises(InputError, match="asks for up to 160,000 combinations, more than 100,000"):
        make_plan(check_study(raw, "mine.yaml"))
    raw["grid"][0]["design"] = "one_at_a_time"
    assert len(make_plan(check_study(raw, "mine.yaml")).cells) == 799


def test_the_environment_may_not_bring_what_is_no_text(monkeypatch):
    monkeypatch.setenv("ODD_FOLDER", "a\x1bb")
    raw = {"name": "mine", "data": "starter", "grid": [{"features": [["graph"]]}]}
    with pytest.raises(InputError, match=r"run.storage: the value must be text, .*'.x1b'"):
        check_study({**raw, "run": {"storage": "${ODD_FOLDER}"}}, "mine.yaml")
