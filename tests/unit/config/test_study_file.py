"""Reading a study file: every mistake in one message, each with its place and what is allowed."""

import hashlib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modalities.weights.model_card import ModelCard, write_model_card
from study.config.loading import check_study, preset_names, read_study
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.plan import make_plan
from study.plugins.registry import Registry
from study.pretraining.config import PRESETS, read_pretraining

PAIR = ["graph", "mordred"]
MODALITIES = ", ".join(Registry("modality").names())


def minimal(**sections):
    return {"name": "mine", "data": "starter", "grid": [{"features": [PAIR]}], **sections}


def block(**keys):
    return minimal(grid=[{"features": [PAIR], **keys}])


def mistakes(raw):
    with pytest.raises(InputError) as error:
        check_study(raw, "mine.yaml")
    count, *lines = str(error.value).split("\n  ")
    assert count.startswith(f"mine.yaml: {len(lines)} mistake")
    assert count.endswith("; nothing was run")
    return lines


def test_the_message_has_the_missing_hash_of_weights(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    (mistake,) = mistakes(minimal(modalities={"graph": {"weights": str(tmp_path)}}))
    assert mistake.endswith(f"; if {tmp_path} is the right file, add 'sha256: {known}'")


def test_every_mistake_is_in_one_message():
    raw = minimal(
        name="Not A Name",
        split={"fold": 3, "groups": "scaffold"},
        training={"epochs": "many", "dropout": 1.5},
        modalities={"graph": {"calibration": "fintune"}},
        grid=[{"features": [PAIR], "fusion": ["concatt"]}],
        run={"storage": "${NO_SUCH_VARIABLE}"},
        colour="blue",
    )
    places = [line.split(": ")[0] for line in mistakes(raw)]
    assert places == [
        "run.storage",
        "name",
        "split.groups",
        "split.fold",
        "modalities.graph.calibration",
        "grid.0.fusion.0",
        "training.epochs",
        "training.dropout",
        "colour",
    ]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            minimal(training={"epoch": 3}),
            "training.epoch: unknown key; did you mean 'epochs'? allowed: epochs, batch_size, ",
        ),
        (minimal(colour=1), "colour: unknown key; allowed: name, description, plugins, data, "),
        (
            minimal(modalities={"graph": {"training": {"epoch": 3}}}),
            "modalities.graph.training.epoch: unknown key; did you mean 'epochs'? allowed: epochs",
        ),
        (
            minimal(data={"archiv": "x"}),
            "data.archiv: unknown key; did you mean 'archive'? allowed: preset, sources, archive",
        ),
        (
            block(fusion=["concatt"]),
            "grid.0.fusion.0: unknown fusion operator 'concatt'; did you mean 'concat'? "
            "allowed: concat, parallel, product",
        ),
        (
            block(fusion=[{"operator": "parallel", "stage": "late"}]),
            "grid.0.fusion.0: parallel: option 'stage' cannot be 'late'; "
            "allowed: 'label', 'logit', 'latent'",
        ),
        (
            block(fusion=[{"word": "concat", "options": {}}]),
            "grid.0.fusion.0: must be a name or a mapping with the key 'operator', not {'word'",
        ),
        (
            block(partition=["density"]),
            "grid.0.partition: a label partition (density) needs the technique 'label_balancer'; "
            "add it to 'technique' or remove 'partition'",
        ),
        (
            block(technique=["label_balancer"], partition=["densest"]),
            "grid.0.partition.0: unknown label partition 'densest'; did you mean 'density'",
        ),
        (
            block(technique=["mlp_head", "single"]),
            "grid.0.technique: 'single' takes one modality, not ['graph', 'mordred']",
        ),
        (block(technique=["mlp"]), "grid.0.technique.0: input should be 'mlp_head', "),
        (block(technique=[]), "grid.0.technique: must name at least one, not []"),
        (block(fusion=[]), "grid.0.fusion: must name at least one, not []"),
        (block(training={"dropout": []}), "grid.0.training: 'dropout' must have at least one"),
        (
            block(training={"dropout": [0.1, "x", 2], "epoch": [3]}),
            "grid.0.training: 'dropout' cannot be 'x': Input should be a valid number, unable to "
            "parse string as a number; 'dropout' cannot be 2: Input should be less than 1; "
            "'epoch' is not a training setting; allowed: epochs, ",
        ),
        (
            minimal(grid=[{"features": [["graph", "mordrd"], ["mordrid"]]}]),
            "grid.0.features: unknown modality 'mordrd'; did you mean 'mordred'? allowed: "
            f"{MODALITIES}; unknown modality 'mordrid'; did you mean 'mordred'? allowed: "
            f"{MODALITIES}; or a name of 'modalities': []",
        ),
        (
            minimal(grid=[{"features": [["graph", "graph"]]}]),
            "grid.0.features: ['graph', 'graph']: a feature set lists one or more modalities, ea",
        ),
        (minimal(grid=[{"features": ["graph"]}]), "grid.0.features.0: input should be a list, not"),
        (minimal(grid={"features": [PAIR]}), "grid: input should be a list"),
        (minimal(grid=[]), "grid: must name at least one, not []"),
        (minimal(grid=[{}]), "grid.0.features: is missing"),
        (minimal(training=None), "training: input should be a mapping, not None"),
        (minimal(training={"epochs": True}), "training.epochs: must not be true"),
        (minimal(training={"dropout": float("nan")}), "training.dropout: input should be a finite"),
        (minimal(seeds=[0, 0]), "seeds: [0, 0] has a value twice"),
        (minimal(seeds=[-1]), "seeds.0: input should be greater than or equal to 0, not -1"),
        (minimal(fractions=[0.5, 0.5]), "fractions: [0.5, 0.5] has a value twice"),
        (minimal(fractions=[0]), "fractions.0: input should be greater than 0, not 0"),
        (minimal(name="ledger"), "name: 'ledger' is the name of a shared folder; choose another"),
        (
            minimal(modalities={"graph.gin": "graph"}),
            "modalities: ['graph.gin'] must be lower-case names such as 'graph_gin'",
        ),
        (
            minimal(modalities={"mordred": {"calibration": "joint"}}),
            "modalities.mordred: 'mordred' is a fitted transform without weights: calibration "
            "'joint' has nothing to train; use 'frozen'",
        ),
        (
            minimal(modalities={"graph": {"weights": "model.pth"}}),
            "modalities.graph: weights 'model.pth' not found (tried model.pth",
        ),
        (
            minimal(modalities={"graph": {0: 1}}),
            "modalities.graph: graph: has no option '0'",
        ),
        (minimal(modalities={"gin": {}}), "modalities.gin: unknown modality 'gin'"),
        (minimal(data={"preset": [1]}), "data: unknown preset '[1]'; allowed: gs-lf-ifra, "),
        (
            minimal(data={"sources": ["starterr"]}),
            "data.sources.0: unknown source 'starterr'; did you mean 'starter'? allowed: csv, ",
        ),
        (
            minimal(description="${NO_SUCH_VARIABLE}"),
            "description: the environment variable NO_SUCH_VARIABLE is not set "
            "(in '${NO_SUCH_VARIABLE}')",
        ),
        (
            minimal(contrasts=["techniqe"]),
            "contrasts.0: 'techniqe' is not a family of contrasts; allowed: technique, control, ",
        ),
        (
            minimal(contrasts=[{"family": "mine", "arm": {"features": "graph"}}]),
            "contrasts.0: the contrast 'mine' needs a 'reference' as well",
        ),
        (
            minimal(contrasts=[{"family": "mine", "arm": {"feature": "a"}, "reference": {}}]),
            "contrasts.0.arm.feature: unknown key; did you mean 'features'? allowed: features, te",
        ),
        (
            minimal(contrasts=[{"family": "mine", "arm": {}, "reference": {}}]),
            "contrasts.0: both sides are the same (every arm); set what differs",
        ),
        (minimal(contrasts=[]), "contrasts: must name at least one, not []"),
        (minimal(analysis={"rope": 0}), "analysis.rope: input should be greater than 0, not 0"),
        (minimal(analysis={"ensembles": True}), "analysis.ensembles: must not be true"),
        (minimal(parameters="same"), "parameters: input should be 'unmatched' or 'matched'"),
        (minimal(split={"groups": "x"}), "split.groups: 'x' is not a group scheme; allowed: mol"),
    ],
)
def test_messages_have_place_and_allowed_values(raw, message):
    (line,) = mistakes(raw)
    assert line.startswith(message)


def test_environment_variables_are_replaced(monkeypatch):
    monkeypatch.setenv("ODOR_PLACE", "/somewhere")
    spec = check_study(minimal(run={"storage": "${ODOR_PLACE}/studies"}), "mine.yaml")
    assert spec.run.storage == "/somewhere/studies"


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(minimal()))
    return str(path)


def test_overrides_reach_sections_items_and_new_keys(study_file):
    overrides = ["training.epochs=3", "grid.0.features=[[mordred]]", "seeds=[1, 2]"]
    spec = read_study(study_file, overrides)
    assert spec.training.epochs == 3
    assert spec.grid[0].features == (("mordred",),)
    assert spec.seeds == (1, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training", "--set takes key=value, for example training.epochs=20, not 'training'"),
        ("=3", "--set takes key=value"),
        ("training..epochs=3", "--set takes key=value"),
        ("training.epochs=[", r"--set training.epochs=\[: the value is not YAML"),
        ("name.first=3", "--set name.first=3: 'name' is a value, not a section"),
        ("grid.5.features=3", "'5' is not the number of a list item; allowed: 0"),
        ("grid.first=3", "'first' is not the number of a list item; allowed: 0"),
        ("training.epoch=3", "training.epoch: unknown key; did you mean 'epochs'"),
        ("training.epochs=many", "training.epochs: input should be a valid integer"),
    ],
)
def test_a_bad_override_is_refused(override, message, study_file):
    with pytest.raises(InputError, match=message):
        read_study(study_file, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "mine.yaml is not YAML"),
        ("- a", "a study file is a mapping of sections, not list"),
        ("", "a study file is a mapping of sections, not NoneType"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_study(str(path))


def test_an_unknown_preset_lists_the_shipped_ones():
    with pytest.raises(InputError, match="neither a study file nor a preset; presets: data_frac"):
        read_study("no_such_preset")


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Folders of weights with cards, as the pretraining presets would leave them."""
    monkeypatch.chdir(tmp_path)
    for name in preset_names(PRESETS):
        spec = read_pretraining(name)
        fields = (name, "", spec.modality.name, {}, "random", spec.objective.name)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        card = ModelCard(*fields, {}, {}, {}, {}, 1, {}, sha256, "", "a test", "id")
        write_model_card(tmp_path / "studies" / "weights" / name, name.encode(), card)


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_can_be_planned(name, pretrained):
    spec = read_study(name)
    assert spec.name == name
    assert make_plan(spec).arms


@pytest.mark.parametrize("name", preset_names())
def test_a_study_survives_its_own_file(name, pretrained):
    spec = read_study(name)
    again = StudySpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert [arm.id for arm in make_plan(again).arms] == [c.id for c in make_plan(spec).arms]


KEYS = st.sampled_from(
    [
        *StudySpec.model_fields,
        *("features", "technique", "fusion", "partition", "operator", "modality", "word"),
        *("options", "preset", "sources", "source", "epochs", "hidden", "folds", "groups"),
        *("storage", "graph", "calibration", "weights", "threshold", "", 0, None),
        *("arms", "design", "when", "without", "family", "arm", "reference", "rope", "dropout"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 7),
    st.floats(),
    st.sampled_from(["graph", "mordred", "concat", "density", "starter", "mlp_head", "${X}", ""]),
    st.sampled_from(["leave_one_out", "zipped", "one_at_a_time", "modality", "matched"]),
    st.text(max_size=4),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(
    raw=st.dictionaries(KEYS, VALUES, max_size=8),
    keys=st.dictionaries(KEYS, VALUES, max_size=4),
    whole=st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_any_mapping_is_a_study_or_an_input_error(raw, keys, whole):
    filled = {"grid": [{"features": [PAIR], **keys}], **{str(k): v for k, v in raw.items()}}
    try:
        spec = check_study(minimal(**filled) if whole else raw, "x")
    except InputError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 (either way out is right)
    else:
        assert make_plan(spec).arms
