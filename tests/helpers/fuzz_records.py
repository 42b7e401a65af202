"""Records to fuzz: whole ones, damaged ones, and hostile ones under a right checksum."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import zipfile
from typing import Any

import numpy as np
from fuzz_words import values
from hypothesis import strategies as st

from modalities.store.arrays import pack_arrays
from study.data import OdorDataset
from study.results.trial_result import TrialResult
from study.splits import Split, make_split

TRIAL_ID = "0123456789abcdef" * 2


class Owned:
    """What a pickle makes whoever loads it do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; os.environ['FUZZ_OWNED'] = '1'",)


HOSTILE_PICKLE = pickle.dumps(Owned())


def result() -> TrialResult:
    """Return a finished trial, small."""
    rng = np.random.default_rng(0)
    return TrialResult(
        id=TRIAL_ID,
        trial={"features": [], "seed": 0},
        label_names=("floral", "green"),
        test_rows=np.arange(4),
        test_labels=rng.integers(0, 2, (4, 2), dtype=np.uint8),
        scores=rng.random((4, 2), dtype=np.float32),
        counts={"fit": 10, "test": 4},
        history={"loss": (1.0, 0.5)},
        seconds=1.5,
        versions={"torch": "2"},
        owners=(0, 1),
    )


def dataset() -> OdorDataset:
    """Return a small table of ratings."""
    labels = np.array([[1, 0], [0, 1], [1, 1], [1, 0]], dtype=np.uint8)
    return OdorDataset("small", ("C", "CC", "CCC", "CCO"), labels, ("a", "b"),
                       labels.astype(np.float32), (), {"mine.csv": "0" * 64})  # fmt: skip


def split() -> Split:
    """Return a split of that table."""
    table = dataset()
    return make_split(table.smiles, table.labels, label_names=table.label_names, folds=2,
                      dataset_digest=table.digest, min_positives=0, fractions=(0.5,
                      1.0))  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a record with bytes cut off, changed, put in or taken out; or none at all."""
    kind = draw(st.integers(0, 5))
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))  # noqa: S311 (no secret)
    at, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return draw(st.binary(max_size=80))
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, 0x50, rng.randint(0, 255)))
    return bytes(changed)


def _npy(header: str, body: bytes = b"") -> bytes:
    """Return an array file whose header says what it likes."""
    text = header.encode("latin-1", "replace") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def _saved(array: Any, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


DTYPES = [
    "<f4",
    "<f8",
    "|u1",
    "<i8",
    "<c16",
    "<U4",
    "|S3",
    "|b1",
    "<M8[s]",
    "|O",
    "|V0",
    "<f2",
    ">f4",
]
SHAPES = ["()", "(0,)", "(4,)", "(4, 2)", "(4, 2, 1)", "(2, 4)", "(-1,)", "(10**15,)", "(10**40,)",
          "(1000000000000000,)", "(99999999, 99999999)", "(True,)", "'x'", "(4.0, 2)"]  # fmt: skip
HEADERS = [
    "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
    "{'descr': '%s', 'fortran_order': True, 'shape': %s}",
    "{'descr': [('a', '%s')], 'fortran_order': False, 'shape': %s}",
    "{'descr': '%s', 'shape': %s}",
    "{'descr': '%s', 'fortran_order': 1, 'shape': %s, 'x': 1}",
    "__import__('os').environ.__setitem__('FUZZ_OWNED', '%s%s')",
    "%s" + "(" * 300 + "%s",
]
BOMB = _saved(np.zeros(5_000_000, np.uint8))
MEMBERS = [b"", b"\x93NUMPY", HOSTILE_PICKLE, _saved(np.array([Owned()]), pickled=True),
           _saved(np.zeros((4, 2), np.float32)), _saved(np.full((4, 2), np.nan)), _saved("text"),
           _saved(np.arange(4)), _saved(np.zeros((4, 2), np.uint8)), _saved(np.zeros((4, 2),
           "U3"))]  # fmt: skip
arrays = st.one_of(
    st.sampled_from(MEMBERS),
    st.builds(
        lambda header, dtype, shape, body: _npy(header % (dtype, shape), body),
        st.sampled_from(HEADERS),
        st.sampled_from(DTYPES),
        st.sampled_from(SHAPES),
        st.sampled_from((b"", b"\0" * 32, b"\0" * 64, HOSTILE_PICKLE)),
    ),
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)


def _zipped(members: list[tuple[str, bytes]], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members:
            file.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


@st.composite
def hostile_archives(draw: st.DrawFn, data: bytes, header: str) -> bytes:
    """Draw an archive of arrays: members changed, missing, odd; its JSON header changed."""
    members = dict(_members(data))
    kind = draw(st.sampled_from((0, 1, 1, 1, 2, 2, 3, 3, 3, 4)))
    name = draw(st.sampled_from([*members]))
    if kind == 4:
        return _zipped([*{**members, name: BOMB}.items()], zipfile.ZIP_DEFLATED)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name] = draw(arrays)
    elif kind == 2:
        members[name] = draw(damaged(members[name]))
    else:
        members[header] = draw(_headers(members[header]))
    added = [("../../escaped.npy", b"x")] if draw(st.integers(0, 9)) == 0 else []
    return _zipped([*members.items(), *added], draw(st.sampled_from(METHODS)))


@st.composite
def _headers(draw: st.DrawFn, member: bytes) -> bytes:
    array = np.load(io.BytesIO(member), allow_pickle=False)
    as_text = array.ndim == 0
    head = json.loads(str(array) if as_text else array.tobytes())
    text = draw(json_texts(head))
    return _saved(np.array(text) if as_text else np.frombuffer(text.encode(), np.uint8))


@st.composite
def json_texts(draw: st.DrawFn, head: dict[str, Any]) -> str:
    """Draw a mapping as JSON with a key changed, gone or added; or no JSON."""
    kind, key = draw(st.integers(0, 4)), draw(st.sampled_from([*head]))
    if kind == 0:
        return draw(st.sampled_from(("", "{", "[]", "null", "NaN", "[" * 2_000, '{"a":' * 2_000)))
    if kind == 1:
        changed = {name: value for name, value in head.items() if name != key}
    elif kind == 2:
        changed = {**head, draw(st.text(max_size=4)): 1}
    else:
        changed = {**head, key: draw(values)}
    return json.dumps(changed, default=repr, skipkeys=True)


@st.composite
def states(draw: st.DrawFn, state: dict[str, Any]) -> bytes:
    """Draw a split whose content is other, under its right digest."""
    changed = json.loads(json.dumps(state))
    kind = draw(st.integers(0, 3))
    key = draw(st.sampled_from([*changed]))
    if kind == 0:
        del changed[key]
    elif kind == 1:
        changed[key] = draw(values)
    elif kind == 2:
        fold = draw(st.sampled_from(changed["folds"]))
        fold[draw(st.sampled_from([*fold]))] = draw(values)
    else:
        fold = draw(st.sampled_from(changed["folds"]))
        fold["test"] = draw(st.lists(st.integers(-2, 10**20), max_size=3))
    plain = json.loads(json.dumps(changed, default=repr, skipkeys=True))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"format": "olfaction-study split 1", **plain, "digest": digest}).encode()


_VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
EMBEDDED = pack_arrays({"embeddings": _VALUES}, {"job": TRIAL_ID})
_ODD: list[Any] = [None, 1, -1, "", "O", "F64", "BOOL", {}, {"sha256": 1}, {"sha256": None}]
_ODD += [[], [0], [0, 24, 3], [-8, 16], [2**70, 24], [-1], [2, -3], [10**15], [10**40]]
_ODD += [[99999999, 99999999], [True, 6], [2.0, 3], {"sha256": "0" * 64, "job": TRIAL_ID}]
other_embeddings = st.builds(
    lambda name, kind, shape, job: pack_arrays({name: _VALUES.astype(kind).reshape(shape)}, job),
    st.sampled_from(["embeddings", "", "other"]),
    st.sampled_from(["f4", "f8", "f2", "u1", "i8", "?", ">f4"]),
    st.sampled_from([(2, 3), (6,), (1, 2, 3), (6, 1)]),
    st.sampled_from([{"job": TRIAL_ID}, {"job": "x" * 30_000}, {"Job": TRIAL_ID}, {}]),
)


@st.composite
def hostile_embeddings(draw: st.DrawFn) -> bytes:
    """Draw a safetensors file whose header says what it likes."""
    end = 8 + int.from_bytes(EMBEDDED[:8], "little")
    header = json.loads(EMBEDDED[8:end])
    kind, entry = draw(st.integers(0, 2)), header["embeddings"]
    if kind == 0:
        text = draw(json_texts(header))
    elif kind == 1:
        changed = {**entry, draw(st.sampled_from([*entry])): draw(st.sampled_from(_ODD))}
        text = json.dumps({**header, "embeddings": changed})
    else:
        text = json.dumps({**header, "__metadata__": draw(st.sampled_from(_ODD))})
    length = draw(st.sampled_from((len(text.encode()), len(text.encode()), 0, 2**63, 2**64 - 1)))
    return length.to_bytes(8, "little") + text.encode() + EMBEDDED[end:]


def checkpoint(identity: str) -> bytes:
    """Return what a training keeps."""
    import torch

    buffer = io.BytesIO()
    torch.save({"identity": identity, "state": {"epoch": 1, "weights": torch.zeros(2)}}, buffer)
    return buffer.getvalue()


@st.composite
def checkpoints(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw the payload of a checkpoint: damaged, pickled by an enemy, or another value."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return HOSTILE_PICKLE
    if kind == 1:
        members = _members(data)
        pickled = next(name for name in members if name.endswith("data.pkl"))
        changed = {**members, pickled: draw(st.sampled_from((HOSTILE_PICKLE, b"", b"\x80\x02N.")))}
        return _zipped([*changed.items()], zipfile.ZIP_STORED)
    if kind == 2:
        import torch

        buffer = io.BytesIO()
        odd = st.sampled_from([None, 1, [], {}, {"identity": TRIAL_ID}, "x", {"state": 1}])
        torch.save(draw(odd), buffer)
        return buffer.getvalue()
    return draw(damaged(data))
