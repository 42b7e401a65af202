"""Study and pretraining files to fuzz: whole ones, mutated ones, and their text."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from fuzz_words import NUMBERS, TEXTS, USUAL, keys, scalars, values, words
from hypothesis import strategies as st

from study.config.loading import preset_names
from study.pretraining import config as pretraining

STUDIES = Path(pretraining.__file__).parents[1] / "presets"
PRETRAININGS = pretraining.PRESETS
EVERY_KEY: dict[str, Any] = {
    "name": "every-key",
    "description": "what no preset uses",
    "data": {
        "sources": [{"source": "csv", "file": "table.csv", "separator": "|", "ignore": "cas"}],
        "vocabulary": ["sweet", "green"],
        "key": "isomeric",
        "min_positives": 2,
        "multi_fragment": "keep",
        "carbon_free": "keep",
        "unlabelled": "keep",
        "synonyms": False,
        "archive": "somewhere",
    },
    "split": {"groups": "butina", "folds": 3, "repeats": 2, "validation": 0.2, "seed": 3},
    "modalities": {
        "bits": {"modality": "fingerprint", "size": 256},
        "text": {"modality": "smiles", "layers": 1, "width": 8, "calibration": "joint"},
        "net": {"modality": "graph", "calibration": "frozen", "training": {"epochs": 3}},
    },
    "grid": [
        {
            "design": "one_at_a_time",
            "features": [["bits", "net"], ["bits", "mordred"]],
            "technique": ["mlp_head", "label_balancer"],
            "partition": ["density", {"partition": "affinity", "shrinkage": 5}],
            "training": {"dropout": [0.1, 0.3], "hidden": [[8], [8, 8]]},
            "when": {"partition": {"technique": "label_balancer"}, "dropout": {"features": "net"}},
        },
        {
            "design": "leave_one_out",
            "features": [["bits", "net", "text"]],
            "fusion": [{"operator": "concat", "stage": "latent"}],
            "without": {"graph": {"net": "mordred"}, "decay": {"weight_decay": 0.0}},
        },
        {"design": "zipped", "features": [["bits"], ["net"]], "training": {"epochs": [2, 3]}},
        {
            "arms": [
                {"features": ["bits", "net"], "fusion": "product", "widths": [12]},
                {"features": ["bits", "net"], "technique": "label_balancer"},
                {"features": ["bits"], "technique": "single", "training": {"epochs": 2}},
            ]
        },
    ],
    "fractions": [0.5, 1.0],
    "seeds": [0, 7],
    "training": {"epochs": 2, "precision": "bfloat16", "freeze_epochs": 1, "top_layers": 2},
    "parameters": "matched",
    "contrasts": [
        "technique",
        {"family": "mine", "arm": {"features": "bits+net"}, "reference": {"features": ["bits"]}},
        {"family": "mine", "arm": {"fusion": {"operator": "product"}}, "reference": {}},
    ],
    "analysis": {"rope": 0.01, "ensembles": "any"},
    "run": {"storage": "studies", "cpus_per_trial": 0.5, "gpus_per_worker": 0.25},
}
RATED: dict[str, Any] = {
    "name": "rated",
    "data": {"preset": "dravnieks", "threshold": {"at_least": 0.2}},
    "grid": [{"features": [["mordred"]]}],
}
GENERATED: dict[str, Any] = {
    "name": "generated",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 60, "labels": 6, "seed": 1, "skew": 2.0,
                     "noise": 0.1, "stereo": 0.1, "permuted": 0.2}],
    },
    "grid": [{"features": [["mordred"], ["fingerprint"]]}],
}  # fmt: skip
HASH = "0123456789abcdef" * 4


def _contents(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what the files of a folder hold, each with the hashes that weights need."""
    for name in preset_names(folder):
        raw = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        for choice in [*raw.get("modalities", {}).values(), raw.get("modality", {})]:
            if "weights" in choice:
                choice.setdefault("sha256", HASH)
        yield raw


def studies() -> list[dict[str, Any]]:
    """Return the content of every shipped study, and of three that use the other keys."""
    return [*_contents(STUDIES), EVERY_KEY, RATED, GENERATED]


def pretrainings() -> list[dict[str, Any]]:
    """Return the content of every shipped pretraining."""
    return [*_contents(PRETRAININGS)]


def texts(folder: Path) -> list[bytes]:
    """Return the bytes of every file of a folder."""
    return [(folder / f"{name}.yaml").read_bytes() for name in preset_names(folder)]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value inside a value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*at, key)
            yield from places(item, (*at, key))


@st.composite
def mutated(draw: st.DrawFn, bases: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw a whole file with one to three of its values changed, moved, doubled or gone."""
    raw = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        _mutate(draw, raw)
    return raw


def _mutate(draw: st.DrawFn, raw: dict[str, Any]) -> None:
    known = list(places(raw)) or [("name",)]
    *path, key = draw(st.sampled_from(known))
    parent, kind = _at(raw, path), draw(st.sampled_from(KINDS))
    if kind == "like":
        parent[key] = draw(_like(_at(raw, (*path, key))))
    elif kind == "any":
        parent[key] = draw(values)
    elif kind == "elsewhere":  # what is right at another place
        parent[key] = copy.deepcopy(_at(raw, draw(st.sampled_from(known))))
    elif kind == "delete":
        del parent[key]
    elif isinstance(parent, list):
        parent.insert(draw(st.integers(0, len(parent))), copy.deepcopy(parent[key]))
    else:
        parent[draw(keys)] = parent.pop(key) if kind == "rename" else draw(values)


def _like(value: Any) -> st.SearchStrategy[Any]:
    """Return values of the same type, which a reader looks at more closely."""
    if isinstance(value, bool | int | float):
        return st.one_of(st.sampled_from(USUAL), st.sampled_from(NUMBERS))
    if isinstance(value, str):
        return st.one_of(st.sampled_from(TEXTS), st.sampled_from(words()), st.text(max_size=4))
    if isinstance(value, list):
        return st.lists(st.one_of(scalars, *map(_copy, value[:3])), max_size=4)
    return values


def _copy(value: Any) -> st.SearchStrategy[Any]:
    return st.builds(copy.deepcopy, st.just(value))


KINDS = ("like", "like", "like", "any", "delete", "elsewhere", "add", "rename")


def _at(value: Any, path: Iterable[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


SNIPPETS = [
    b"&a [*a]", b"*tuning", b"<<: *tuning", b"<<: [*a, 1]", b"&x ", b"*x", b"? ", b": ", b"- ",
    b"\t",
    b"!!python/object/apply:builtins.exec [\"import os; os.environ['FUZZ_OWNED'] = '1'\"]",
    b"!!python/module:antigravity",
    b"!!python/object/new:os.system [exit]", b"!!python/name:os.system", b"!!int x", b"!!bool x",
    b"!!float x", b"!!timestamp x", b"!!binary x", b"!!set {a, b}", b"!!omap [a: 1]",
    b"!!pairs [a: 1]",
    b"!!null x", b"!!map [1]", b"!!seq {a: 1}", b"!x y", b"2001-99-99", b"2001-01-01", b"12:99:99",
    b"0b", b"0x_", b"0b_", b"-0x", b"1_0", b"._", b".nan", b"-.inf", b"1e999", b"9" * 5000,
    b"9" * 4000,
    b"[" * 3000, b"{a: " * 800, b"- " * 2000, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"\\ud800"',
    b'"\\0"', b"'", b'"', b"|", b">", b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"#", b"\r", b"\n",
    b"\n  ", b"{", b"}", b"[", b"]", b"~", b"null", b"true", b"@", b"`", b"name: twice\n",
    b"grid: []\n",
    b"\nname: twice\n", b"\nrun: {storage: elsewhere}\n", b"\xc2\x85", b"\xe2\x80\xa8", b"=", b"<<",
    b"x: &d0 [a,a,a,a,a,a,a,a,a]\ny: &d1 [*d0,*d0,*d0,*d0,*d0,*d0,*d0,*d0,*d0]\n"
    + b"".join(b"z%d: &d%d [%s]\n" % (i, i, b",".join([b"*d%d" % (i - 1)] * 9)) for i in range(2,
    10)),
]  # fmt: skip
"""Texts that some reader of YAML has stumbled over."""


@st.composite
def edited(draw: st.DrawFn, bases: list[bytes]) -> bytes:
    """Draw the bytes of a file with parts cut out, doubled, or replaced by odd ones."""
    data = draw(st.sampled_from([*bases, b"", b"name: x\n"]))
    for _ in range(draw(st.integers(1, 3))):
        seed = draw(st.integers(0, 2**32 - 1))  # far cheaper than a draw for each number
        start, length = _span(random.Random(seed), len(data))  # noqa: S311 (no secret)
        piece = draw(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=8)))
        data = data[:start] + piece + data[start + length :]
    return data


def _span(rng: random.Random, size: int) -> tuple[int, int]:
    return rng.randint(0, size), rng.choice((0, 0, 1, 3, 10, 100))


ODD_PLACES = (
    "split.folds.x", "split", "grid.9", "grid.-1", "grid.00", "grid.0.features.0.1", "a..b", ".",
    "modalities.graph.weights", "modalities.x.modality", "fractions.0", "contrasts", "grid.²", "",
    "x.y.z", "training.", "molecules.file", "name.first", "0", "run.storage", "data.sources.0.file",
)  # fmt: skip


def overrides(raw: dict[str, Any]) -> st.SearchStrategy[list[str]]:
    """Return arguments of ``--set`` for a file: most at its places, some with a usual value."""
    known = st.sampled_from([".".join(map(str, place)) for place in places(raw)])
    written = st.one_of(
        st.sampled_from([str(number) for number in USUAL]),
        st.sampled_from([text.decode("utf-8", "replace") for text in SNIPPETS]),
        st.one_of(scalars, values).map(str),
        st.text(max_size=6),
    )
    at = st.one_of(known, known, st.sampled_from(ODD_PLACES))
    one = st.one_of(st.builds("{}={}".format, at, written), st.text(max_size=8))
    return st.lists(one, min_size=1, max_size=2)


NAMES = ("mordred", "fingerprint", "graph", "net")
TECHNIQUES = ("mlp_head", "label_balancer", "independent_mean", "single")
OPERATORS = ("concat", "product", {"operator": "concat", "stage": "latent"}, "parallel",
             {"operator": "parallel", "stage": "logit", "combine": "mean"})  # fmt: skip
PARTITIONS = ("density", "affinity", "round_robin", {"partition": "affinity", "shrinkage": 2.0})
AXES = {"dropout": (0.1, 0.3, 0.5), "epochs": (2, 3), "hidden": ([8], [8, 8], [4])}


def _some(options: Iterable[Any], most: int = 2, least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from([*options]), min_size=least, max_size=most)


_sets = st.lists(_some(NAMES, 3, 1), min_size=1, max_size=3)
_numbers = st.fixed_dictionaries({}, optional={k: _some(v, 3, 1) for k, v in AXES.items()})
_number = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in AXES.items()})
_condition = st.fixed_dictionaries(
    {},
    optional={
        "technique": _some(TECHNIQUES),
        "features": _some(NAMES, 1, 1),
        "fusion": _some(("concat", "product", "parallel")),
        "partition": _some(("density", "affinity")),
    },
)
_axis = st.sampled_from(("features", "technique", "fusion", "partition", *AXES))
_change = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES), max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "technique": st.sampled_from(TECHNIQUES),
            "fusion": st.sampled_from(OPERATORS),
            "partition": st.sampled_from(PARTITIONS),
        },
    ),
    _number,
)
_axes = st.fixed_dictionaries(
    {"features": _sets},
    optional={
        "design": st.sampled_from(("factorial", "one_at_a_time", "leave_one_out", "zipped")),
        "technique": _some(TECHNIQUES, 3, 1),
        "fusion": _some(OPERATORS, 3, 1),
        "partition": _some(PARTITIONS, 2),
        "training": _numbers,
        "when": st.dictionaries(_axis, _condition, max_size=2),
        "without": st.dictionaries(st.sampled_from(("a", "b")), _change, max_size=2),
    },
)
_arm = st.fixed_dictionaries(
    {"features": _some(NAMES, 3, 1)},
    optional={
        "technique": st.sampled_from(TECHNIQUES),
        "fusion": st.sampled_from(OPERATORS),
        "partition": st.sampled_from(PARTITIONS),
        "training": _number,
        "widths": _some((4, 8), 2, 1),
    },
)
_side = st.fixed_dictionaries(
    {},
    optional={
        "features": st.one_of(_some(NAMES, 3, 1), st.just("mordred+graph")),
        "technique": st.sampled_from(TECHNIQUES),
        "fusion": st.sampled_from((*OPERATORS, "concat(stage=latent)")),
        "partition": st.sampled_from((*PARTITIONS, "affinity(shrinkage=2.0)")),
        "fraction": st.sampled_from((0.5, 1.0)),
    },
)
_contrast = st.one_of(
    st.sampled_from(("technique", "control", "modality")),
    st.fixed_dictionaries({"family": st.just("mine"), "arm": _side, "reference": _side}),
)
built = st.fixed_dictionaries(
    {
        "name": st.just("built"),
        "data": st.just("starter"),
        "modalities": st.just({"net": {"modality": "graph", "calibration": "frozen"}}),
        "grid": st.lists(
            st.one_of(_axes, _axes, st.fixed_dictionaries({"arms": st.lists(_arm, max_size=3)})),
            min_size=1,
            max_size=2,
        ),
    },
    optional={
        "fractions": st.just([0.5, 1.0]),
        "seeds": st.just([0, 1]),
        "contrasts": st.lists(_contrast, min_size=1, max_size=2),
        "analysis": st.just({"ensembles": "any"}),
    },
)
"""Studies put together from what may stand at each place: right in form, whatever they mean."""
