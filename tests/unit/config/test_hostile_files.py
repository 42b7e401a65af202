"""Defects in the reading of files that fuzzing found, one direct test each."""

import re

import pytest

from study.config.loading import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_VALUES,
    check_study,
    read_study,
)
from study.errors import InputError
from study.planning.plan import make_plan
from study.pretraining.config import read_pretraining

START = "name: mine\ndata: starter\ngrid: [{features: [[graph, mordred]]}]\n"


@pytest.fixture
def read_error(tmp_path):
    """Read a study file with this text; return the error message."""
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
    ("text", "message"),
    [
        (START + "name: again\n", "the key 'name' appears twice"),
        (START + "split: {folds: 2, folds: 3}\n", "the key 'folds' appears twice"),
        (START + "seeds: 2001-99-99\n", "mine.yaml is not YAML: a value cannot be read: month"),
        (START + "description: !!python/object/apply:os.getcwd []\n", "could not determine"),
        (START + "description: &a [*a]\n", f"nested more than {MAX_DEPTH} levels deep"),
        (START + f"description: {'[' * 5_000}\n", "nested too deeply"),
        (START + bomb(), f"anchors expanded it has more than {MAX_VALUES:,} val"),
        (START + "seeds: !!set {1, 2}\n", "'!!set', '!!omap' and '!!pairs' are not allowed"),
        (b"\xff\xfe", "mine.yaml is not YAML: it must be UTF-8 text"),
        (" " * (MAX_BYTES + 1), "at most 2,000,000 are allowed"),
        (START + 'modalities: {a: "\\ud800"}\n', "modalities.a: the value must be text.*'.ud800'"),
        (START + 'run: {storage: "a\\0b"}\n', r"run.storage: the value must be text .*: '.x00'"),
        (START + f"training: {{epochs: {'9' * 400}}}\n", "epochs: the value is beyond 9,007"),
        (START + f"modalities: {{graph: {{weights: {'x' * 300}}}}}\n", "File name too long"),
        (START + "modalities: {graph: {weights: ~no-such-user/x}}\n", "home directory"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_with_its_reason(text, message, read_error):
    assert re.search(message, read_error(text))


def test_a_merged_key_can_be_overridden(tmp_path):
    path = tmp_path / "mine.yaml"
    more = "modalities: {a: &a {modality: graph, dropout: 0.1}, b: {<<: *a, dropout: 0.2}}\n"
    path.write_text(START + more)
    assert read_study(str(path)).modalities["b"].options["dropout"] == 0.2


def test_a_merged_mapping_can_be_merged_again(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: starter\ngrid: [{features: [[graph, mordred]]}]\n"
        "modalities:\n"
        "  a: &a {modality: graph, dropout: 0.1, training: &t {epochs: 3}}\n"
        "  b: {modality: graph, training: &u {<<: *t, epochs: 4}}\n"
        "  c: {modality: graph, training: {<<: *u, epochs: 5}}\n"
        "training: {<<: *u, patience: 2}\n"
    )
    spec = read_study(str(path))
    assert [spec.modalities[name].training.epochs for name in "abc"] == [3, 4, 5]
    assert (spec.training.epochs, spec.training.patience) == (4, 2)


@pytest.mark.parametrize("override", ["name=&a [*a]", ".".join(["x"] * 500) + "=1"])
def test_an_endless_override_is_refused(override, read_error):
    assert "levels deep" in read_error(START, [override])


def test_a_list_index_out_of_range_is_refused(read_error):
    assert "allowed: 0 to 0" in read_error(START, [f"grid.{'9' * 5_000}=1"])
    assert "allowed: none, it is empty" in read_error(START, ["seeds=[]", "seeds.0=1"])


@pytest.mark.parametrize("read", [read_study, read_pretraining])
def test_an_impossible_file_name_is_no_file(read):
    with pytest.raises(InputError, match=r"is neither a .* file nor a preset"):
        read("x" * 5_000)


def test_a_message_cuts_a_long_value(read_error):
    message = read_error(START + f"split: {{folds: {'x' * 5_000}}}\n")
    assert len(message) < MAX_LENGTH + 200
    assert message.endswith("x ...")
    many = read_error(START + "".join(f"k{i}: 1\n" for i in range(80)))
    assert many.startswith("mine.yaml: 80 mistakes")
    assert many.endswith("and 30 more")


def test_a_huge_grid_is_refused():
    axes = {name: [i / 1_000 for i in range(400)] for name in ("dropout", "average")}
    raw = {"name": "mine", "data": "starter", "grid": [{"features": [["graph"]], "training": axes}]}
    with pytest.raises(InputError, match="asks for up to 160,000 combinations, more than 100,000"):
        make_plan(check_study(raw, "mine.yaml"))
    raw["grid"][0]["design"] = "one_at_a_time"
    assert len(make_plan(check_study(raw, "mine.yaml")).arms) == 799


def test_invalid_text_is_reported_with_other_mistakes(read_error):
    text = START + f'run: {{storage: "a\\0b"}}\nseeds: [{"9" * 30}]\ntraining: {{epochs: many}}\n'
    assert [line.split(":")[0].strip() for line in read_error(text).splitlines()] == [
        "mine.yaml",
        "run.storage",
        "seeds.0",
        "seeds.0",
        "training.epochs",
    ]


def test_invalid_text_in_a_variable_is_refused(monkeypatch):
    monkeypatch.setenv("ODD_FOLDER", "a\x1bb")
    raw = {"name": "mine", "data": "starter", "grid": [{"features": [["graph"]]}]}
    with pytest.raises(InputError, match=r"run.storage: the value must be text .*'.x1b'"):
        check_study({**raw, "run": {"storage": "${ODD_FOLDER}"}}, "mine.yaml")
