"""Splits as checked values: their rules, and their JSON form."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from study.errors import InputError
from study.splits import Fold, Split


def rows(*values):
    return np.array(values, dtype=np.int64)


def fold(index, tested, **changes):
    """Build a fold of six rows: fit on two or three of the four others, validate on one."""
    changes = {"test": rows(*tested), **changes}
    train = np.setdiff1d(np.arange(6), tested)
    parts = {
        "repeat": 0,
        "index": index,
        "fit": {0.5: train[:2], 1.0: train[:3]},
        "validation": {0.5: rows(), 1.0: train[3:]},
    }
    return Fold(**{**parts, **changes})


def split(*folds, **changes):
    parts = {
        "scheme": "molecule",
        "seed": 0,
        "n_folds": 3,
        "n_repeats": 1,
        "fractions": (0.5, 1.0),
        "groups": np.arange(6),
        "folds": folds or (fold(0, [0, 1]), fold(1, [2, 3]), fold(2, [4, 5])),
        "dataset_digest": "a" * 64,
    }
    return Split(**{**parts, **changes})


def with_first(**changes):
    return split(fold(0, [0, 1], **changes), fold(1, [2, 3]), fold(2, [4, 5]))


BROKEN = {
    "test rows among training rows": (
        lambda: with_first(fit={0.5: rows(2), 1.0: rows(0, 2, 3, 4)}),
        "repeat 0, fold 0: training rows must be rows outside the test fold.* row 0",
    ),
    "a group across the test line": (
        lambda: split(groups=rows(0, 1, 1, 2, 3, 4)),
        r"fold 0: test and training rows share group 1 \(rows 1, 2\)",
    ),
    "a group across the validation line": (
        lambda: split(groups=rows(0, 1, 2, 3, 4, 4), folds=(fold(0, [0, 1]),), n_folds=1),
        r"fold 0: fit and validation rows share group 4 \(rows 4, 5\)",
    ),
    "a fraction that is not nested": (
        lambda: with_first(fit={0.5: rows(2, 5), 1.0: rows(2, 3, 4)}),
        "fit rows of fraction 0.5 must be among those of 1.0, but row 5 is not",
    ),
    "a row left out at fraction 1": (
        lambda: with_first(fit={0.5: rows(2), 1.0: rows(2, 3)}),
        "at fraction 1 all of them; row 4 breaks this",
    ),
    "a row never tested": (
        lambda: split(fold(0, [0, 1]), fold(1, [2, 3]), fold(2, [5])),
        "repeat 0: every row must be tested once, row 4 is tested 0 times",
    ),
    "a row tested twice": (
        lambda: split(fold(0, [0, 1]), fold(1, [1, 2, 3]), fold(2, [4, 5])),
        "row 1 is tested 2 times",
    ),
    "folds out of order": (
        lambda: split(fold(1, [0, 1]), fold(0, [2, 3]), fold(2, [4, 5])),
        "the folds must be 1 repeats x 3 folds, in order",
    ),
    "rows that do not rise": (
        lambda: with_first(test=rows(1, 0)),
        "rows must be ascending int64 from 0 to 5, each once",
    ),
    "rows beyond the table": (lambda: with_first(test=rows(0, 6)), "ascending int64 from 0 to 5"),
    "a fraction missing from a fold": (
        lambda: with_first(validation={1.0: rows(5)}),
        "fit and validation must have the fractions",
    ),
    "fractions that do not rise": (
        lambda: split(fractions=(1.0, 0.5)),
        "fractions must be ascending, each once",
    ),
    "a fraction above 1": (lambda: split(fractions=(0.5, 2.0)), r"fractions must be in \(0, 1\]"),
}


def test_the_unbroken_split_is_valid():
    assert len(split()) == 6
    np.testing.assert_array_equal(split().folds[1].train(1.0), [0, 1, 4, 5])


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_split_is_refused(case):
    make, message = BROKEN[case]
    with pytest.raises(InputError, match=message):
        make()


def test_a_split_cannot_be_changed():
    value = split()
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.seed = 1
    for array in (value.groups, value.folds[0].test, value.folds[0].fit[0.5]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3


def test_json_and_pickle_round_trips_are_exact(tmp_path):
    value = split()
    value.save(tmp_path / "deep" / "split.json")
    loaded = Split.load(tmp_path / "deep" / "split.json", dataset_digest="a" * 64)
    for copy in (loaded, pickle.loads(pickle.dumps(value))):  # noqa: S301 (our own bytes)
        assert copy.digest == value.digest
        for name in ("scheme", "seed", "n_folds", "n_repeats", "fractions", "dataset_digest"):
            assert getattr(copy, name) == getattr(value, name)
        np.testing.assert_array_equal(copy.groups, value.groups)
        for one, other in zip(copy.folds, value.folds, strict=True):
            assert (one.repeat, one.index) == (other.repeat, other.index)
            np.testing.assert_array_equal(one.test, other.test)
            for fraction in (0.5, 1.0):
                np.testing.assert_array_equal(one.fit[fraction], other.fit[fraction])
                np.testing.assert_array_equal(one.validation[fraction], other.validation[fraction])


@pytest.mark.parametrize(
    "change",
    [{"scheme": "butina"}, {"seed": 1}, {"dataset_digest": "b" * 64}, {"groups": np.arange(6) + 1}],
)
def test_the_digest_depends_on_every_field(change):
    assert split(**change).digest != split().digest


def test_the_digest_of_a_fold_depends_on_its_rows_alone():
    first = fold(0, [0, 1])
    assert first.digest(1.0) == fold(2, [0, 1], repeat=3).digest(1.0)
    assert first.digest(1.0) != first.digest(0.5)
    swapped = fold(0, [0, 1], fit=first.validation, validation=first.fit)
    assert swapped.digest(1.0) != first.digest(1.0)


def test_a_split_of_another_data_set_is_refused(tmp_path):
    split().save(tmp_path / "split.json")
    message = r"split.json: this split was made for the data set aaaaaaaaaaaa, not for bbbbbbbbbbbb"
    with pytest.raises(InputError, match=message):
        Split.load(tmp_path / "split.json", dataset_digest="b" * 64)


def test_a_changed_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "split.json"
    split().save(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "seed": 7}))
    with pytest.raises(InputError, match="does not match its digest"):
        Split.load(path, dataset_digest="a" * 64)
    path.write_text("{}")
    with pytest.raises(InputError, match="not a split file of the format"):
        Split.load(path, dataset_digest="a" * 64)
    path.write_text('{"fold')
    with pytest.raises(InputError, match=r"split.json: not a readable split"):
        Split.load(path, dataset_digest="a" * 64)
    with pytest.raises(InputError, match=r"missing.json: not a readable split"):
        Split.load(tmp_path / "missing.json", dataset_digest="a" * 64)


def test_an_unwritable_path_is_refused(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"file/split.json: the split cannot be written"):
        split().save(tmp_path / "file" / "split.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
