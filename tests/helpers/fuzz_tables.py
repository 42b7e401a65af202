"""Tables of odors to fuzz: the user's own, those of the archives, and what a source could read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from fuzz_words import scalars
from hypothesis import strategies as st

from study.data.source import RawEntry, RawTable, Threshold
from study.data.tables import LARGEST

SMILES = [
    "CCCCO",
    "CCCO",
    "OCC",
    "CCC",
    "c1ccccc1",
    "CC(=O)OCC",
    "C[C@H](O)CC",
    "C[C@@H](O)CC",
    "CC=O",
]
ODD_SMILES = [
    "", " ", "O", "[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "C1CC", "c1ccc1", "[2H]C", "*", "CCO ethanol",
    "C\0C", "C😀", "CC\nO", "C(" * 400, "C" * 5_000, "[#6]", "CC |$R;$|", "[C+99999999999]", "C>>C",
    "[Xx]", "C%99C%99", "[H][H]", "[13CH4]", "NA", "nan", "None", "[Au]", "C[C@TH9](F)Cl",
    "CC\xa0O",
]  # fmt: skip
LABELS = ["sweet", "Sweet ", "green", "odorless", "woody", "", " ", "fruity", "\n", "a;b", "É"]
CELLS = ["0", "1", "", " 1", "2", "1.0", "x", "NA", "nan", "\0", "1e999", '"', ",", "sweet;green"]
NUMBERS = [
    "0",
    "10",
    "100",
    "50.5",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1_0",
    "",
    "x",
    "٣",
    "1e39",
]

smiles = st.one_of(
    st.sampled_from(SMILES),
    st.sampled_from(SMILES),
    st.sampled_from(ODD_SMILES),
    st.text("CNOc1()=#[]@+-.%2", max_size=10),
)
labels = st.one_of(st.sampled_from(LABELS), st.sampled_from(LABELS), st.text(max_size=3))


def _written(rows: list[list[str]], *, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


@st.composite
def own_tables(draw: st.DrawFn) -> bytes:
    """Draw a table as a user could have it: mostly right, with some cells or rows that are not."""
    names = draw(st.lists(labels, min_size=1, max_size=4, unique_by=str))
    usual = st.lists(st.sampled_from("01"), min_size=len(names), max_size=len(names))
    rows = [
        [draw(smiles if draw(st.integers(0, 15)) == 0 else st.sampled_from(SMILES)), *draw(usual)]
        for _ in range(draw(st.sampled_from((0, 4, 8, 12))))
    ]
    if rows and draw(st.integers(0, 2)) == 0:
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(st.sampled_from(CELLS))
        if draw(st.integers(0, 3)) == 0:
            row.append("1")
    return _written([["smiles", *names], *rows])


ENDS = [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b'"', b"'", b"\r", b"\n", b",", b"\x1a", b"\\"]


@st.composite
def broken(draw: st.DrawFn, tables: st.SearchStrategy[bytes]) -> bytes:
    """Draw the bytes of a table, cut, in another encoding, or with odd bytes inside."""
    data = draw(tables)
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return data[: draw(st.integers(0, len(data)))]
    if kind == 1:
        coding = draw(st.sampled_from(("utf-16", "utf-32", "latin-1", "utf-8-sig", "utf-7")))
        return data.decode("utf-8").encode(coding, "replace")
    if kind == 2:
        return draw(st.binary(max_size=40))
    at = draw(st.integers(0, len(data)))
    piece = draw(st.one_of(st.sampled_from(ENDS), st.binary(max_size=4), st.just(b"x" * 140_000)))
    return data[:at] + piece + data[at + kind :]


_own_options = st.fixed_dictionaries(
    {},
    optional={
        "smiles": st.sampled_from(("smiles", "SMILES", "", "sweet")),
        "labels": st.sampled_from((None, "sweet", "green", "smiles", "")),
        "separator": st.sampled_from((";", "", ",", "\0", " ")),
        "ignore": st.sampled_from(("", "sweet", "sweet;green", "nothing", ";;")),
    },
)
own_options = st.one_of(st.just({}), st.just({}), _own_options)
_recipes = st.fixed_dictionaries(
    {},
    optional={
        "vocabulary": st.one_of(
            st.sampled_from(("union", "intersection")),
            st.lists(st.sampled_from(("sweet", "green", "Sweet", "none")), min_size=1, max_size=2),
        ),
        "key": st.sampled_from(("isomeric", "nonstereo")),
        "min_positives": st.sampled_from((0, 1, 2, 99)),
        "multi_fragment": st.sampled_from(("keep", "drop")),
        "carbon_free": st.sampled_from(("keep", "drop")),
        "unlabelled": st.sampled_from(("keep", "drop")),
        "synonyms": st.booleans(),
    },
)
recipes = st.one_of(st.just({"vocabulary": "union", "unlabelled": "keep"}), _recipes)
thresholds = st.one_of(
    st.fixed_dictionaries({"at_least": st.one_of(st.sampled_from((0, 10, 1e39)), scalars)}),
    st.fixed_dictionaries({"top_share": st.one_of(st.sampled_from((0.2, 0.999)), scalars)}),
)
splits = st.fixed_dictionaries(
    {"folds": st.sampled_from((2, 2, 3, 9)), "min_positives": st.sampled_from((0, 1, 1, 2))},
    optional={
        "scheme": st.sampled_from(("molecule", "constitution", "butina", "murcko")),
        "repeats": st.sampled_from((1, 2)),
        "fractions": st.sampled_from(((1.0,), (0.5, 1.0), (1e-9,), (0.5,))),
        "validation": st.sampled_from((0.0, 0.1, 0.49)),
        "seed": st.sampled_from((0, 99_999)),
    },
)

MOLECULES = [["CID", "MolecularWeight", "IsomericSMILES", "IUPACName", "name"]] + [
    [str(i), "1", text, "a", "b"] for i, text in enumerate(SMILES, start=1)
]
ARCHIVE: Mapping[str, list[list[str]]] = {
    "goodscents/behavior.csv": [["Stimulus", "Descriptors"], ["s1",
    "Fruity;cherry maraschino cherry"],
                                ["s2", ""], ["s3", "odorless;fruity"], ["s4", "woody old wood"]],
    "goodscents/stimuli.csv": [["Stimulus", "CID"], ["s1", "1"], ["s2", "2"], ["s3", "3"], ["s4",
    "9"]],
    "goodscents/molecules.csv": MOLECULES,
    "leffingwell/behavior.csv": [["Stimulus", "fruity", "woody"], ["1", "1", "0"], ["3", "0", "1"],
                                 ["4", "1", "1"], ["99", "1", "0"]],
    "leffingwell/molecules.csv": MOLECULES,
    "ifra_2019/behavior.csv": [["Stimulus", "Descriptor 1", "Descriptor 2", "Descriptor 3"],
                               ["1", "Fruity", "Woody", ""], ["3", "Woody", "", ""]],
    "ifra_2019/molecules.csv": MOLECULES,
    "dravnieks_1985/stimuli.csv": [["Stimulus", "CID", "Conc"], ["a", "1.0", "high"],
                                   ["b", "3.0", "low"], ["c", "", "high"]],
    "dravnieks_1985/molecules.csv": MOLECULES,
    "dravnieks_1985/behavior_1.csv": [["Stimulus", "FRUITY,CITRUS", "MEATY ( COOKED"],
                                      ["a", "10", "50"], ["b", "20", "0"], ["c", "9", "9"]],
    "dravnieks_1985/behavior_2.csv": [["Stimulus", "FRUITY,CITRUS"], ["a", "10"], ["b", "20"]],
    "prediction_targets/keller_2016.csv": [["CID", "Descriptor", "Ave Rating"], ["1", "Fish",
    "1.5"],
                                           ["3", "Fish", "0.5"], ["4", "Fish", "9"], ["1", "Sweet",
                                           "3"]],
    "molecules/molecules.csv": MOLECULES,
}  # fmt: skip
"""A whole archive folder in small, made up."""
ARCHIVE_SOURCES = {
    "goodscents": "goodscents",
    "leffingwell": "leffingwell",
    "ifra_2019": "ifra_2019",
    "dravnieks_1985": "dravnieks_1985",
    "keller_2016": "",  # reads the common tables
}


@st.composite
def archive_files(draw: st.DrawFn) -> dict[str, bytes]:
    """Draw one or two files of the archive, changed; the others are as they should be."""
    changed = {}
    for name in draw(st.lists(st.sampled_from([*ARCHIVE]), min_size=1, max_size=2, unique=True)):
        rows = [list(row) for row in ARCHIVE[name]]
        for _ in range(draw(st.integers(1, 3))):
            row = draw(st.sampled_from(rows))
            at = draw(st.integers(0, len(row) - 1))
            row[at] = draw(
                st.one_of(st.sampled_from(NUMBERS), smiles, labels, st.sampled_from(CELLS))
            )
        table = _written(rows)
        odd = draw(st.integers(0, 5)) == 0
        changed[name] = draw(broken(st.just(table))) if odd else table
    return changed


def archive_tables() -> dict[str, bytes]:
    """Return the files of the archive as they should be."""
    return {name: _written(rows) for name, rows in ARCHIVE.items()}


_ratings = st.dictionaries(
    st.sampled_from(("sweet", "green", "woody")),
    st.one_of(st.floats(-LARGEST, LARGEST), st.sampled_from((0.0, 1.0, float("nan")))),
    max_size=3,
)


@st.composite
def read_tables(draw: st.DrawFn) -> list[RawTable]:
    """Draw what sources could have read: one or two tables of any entries."""
    rated = draw(st.booleans())
    return [
        RawTable(
            name=word,
            entries=tuple(draw(st.lists(_entries(rated), max_size=8))),
            vocabulary=draw(st.sampled_from((("sweet", "green"), ("sweet",), tuple(LABELS), ()))),
            files={"mine.csv": "0" * 64},
            strict=draw(st.sampled_from((False, False, False, True))),
            threshold=Threshold(at_least=0.5) if rated else None,
        )
        for word in (
            ("csv",) if rated else draw(st.sampled_from((("csv",), ("goodscents", "csv"))))
        )
    ]


def _entries(rated: bool) -> st.SearchStrategy[RawEntry]:
    given: dict[str, st.SearchStrategy[Any]] = (
        {"ratings": _ratings} if rated else {"labels": st.lists(labels, max_size=3).map(tuple)}
    )
    return st.builds(RawEntry, st.just("row"), smiles, **given)
