"""Whole splits: separate parts, nesting, shares, random streams, and options."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import InputError
from study.splits import make_split

FRACTIONS = (1.0, 0.5, 0.25, 0.1)


def split_of(molecules, labels, **options):
    names = [f"odor {column}" for column in range(labels.shape[1])]
    defaults = {"label_names": names, "dataset_digest": "d" * 64, "min_positives": 2}
    return make_split(molecules, labels, **{**defaults, **options})


def same(one, other, fraction):
    return one.digest(fraction) == other.digest(fraction)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**40),
    folds=st.integers(2, 5),
    repeats=st.integers(1, 2),
    fractions=st.sets(st.sampled_from(FRACTIONS), min_size=1),
    validation=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_parts_are_separate_nested_and_of_their_shares(
    molecules, skewed, seed, folds, repeats, fractions, validation
):
    labels = skewed(seed % 1000, n=len(molecules), l=8, rarest=12)
    split = split_of(molecules, labels, seed=seed, folds=folds, repeats=repeats,
                     fractions=sorted(fractions), validation=validation)  # fmt: skip
    assert len(split.folds) == folds * repeats
    for fold in split.folds:
        train = np.setdiff1d(np.arange(len(molecules)), fold.test)
        assert labels[fold.test].sum(axis=0).min() >= 2
        assert abs(len(fold.test) - len(molecules) / folds) <= 1
        inside = set(train)
        for fraction in sorted(fractions, reverse=True):
            fit, kept = set(fold.fit[fraction]), set(fold.validation[fraction])
            assert not fit & kept
            assert fit | kept == set(fold.train(fraction)) <= inside
            assert abs(len(kept) - fraction * validation * len(train)) <= 2
            assert abs(len(fit) - fraction * (1 - validation) * len(train)) <= 2
            inside = fit | kept
    for repeat in range(repeats):
        tests = [fold.test for fold in split.folds if fold.repeat == repeat]
        np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(molecules)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scheme", ["constitution", "butina"])
def test_groups_stay_in_one_part(molecules, skewed, scheme, seed):
    chiral = tuple(f"C[C@{mark}H](O){'C' * size}" for size in range(2, 22) for mark in ("", "@"))
    smiles = chiral + molecules
    labels = skewed(seed, n=len(smiles), l=8, rarest=30)
    split = split_of(smiles, labels, scheme=scheme, seed=seed, folds=3, fractions=FRACTIONS)
    twins = split.groups[:40].reshape(20, 2)
    np.testing.assert_array_equal(twins[:, 0], twins[:, 1])
    for fold in split.folds:
        sides = [set(split.groups[rows]) for rows in (fold.test, fold.fit[1], fold.validation[1])]
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(set(split.groups))


@pytest.mark.parametrize("seed", range(10))
def test_small_fractions_keep_more_labels_than_random_ones(molecules, skewed, seed):
    labels = skewed(seed, n=len(molecules), l=20, rarest=15)
    split = split_of(molecules, labels, seed=seed, fractions=(0.1, 1.0))
    rng, lost, lost_at_random = np.random.default_rng(seed), 0, 0
    for fold in split.folds:
        drawn = rng.choice(fold.train(1.0), len(fold.train(0.1)), replace=False)
        lost += (labels[fold.train(0.1)].sum(axis=0) == 0).sum()
        lost_at_random += (labels[drawn].sum(axis=0) == 0).sum()
    assert lost < 0.5 * lost_at_random


def test_the_seed_determines_the_split(molecules, skewed):
    labels = skewed(0, n=len(molecules), l=8)
    first, again, other = (split_of(molecules, labels, seed=seed) for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest


def test_more_repeats_and_fractions_keep_existing_parts(molecules, skewed):
    labels = skewed(0, n=len(molecules), l=8)
    small = split_of(molecules, labels, fractions=(1.0, 0.5))
    large = split_of(molecules, labels, fractions=(1.0, 0.5, 0.1), repeats=2)
    for before, after in zip(small.folds, large.folds, strict=False):
        assert same(before, after, 1.0)
        assert same(before, after, 0.5)
    assert set(large.folds[0].test) not in [set(fold.test) for fold in large.folds[5:]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds must be at least 2, not 1"),
        ({"repeats": 0}, "repeats must be at least 1, not 0"),
        ({"fractions": ()}, "at least one training fraction"),
        ({"fractions": (0.0, 1.0)}, r"fractions must be in \(0, 1\], not \(0.0, 1.0\)"),
        ({"fractions": (1.5,)}, r"fractions must be in \(0, 1\]"),
        ({"fractions": (0.5, 0.5)}, "a fraction appears twice"),
        ({"validation": 0.7}, r"validation must be in \[0, 0.5\], not 0.7"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"min_positives": -1}, "min_positives must be 0 or more"),
        ({"folds": 300}, "252 molecules cannot fill 300 folds"),
        ({"label_names": ["one"]}, r"labels must be uint8 0/1 of shape \(252, 1\)"),
        ({"folds": 40}, "40 folds are more than a rare label allows"),
        ({"fractions": (0.001,)}, r"fraction 0.001 of \d+ training rows leaves no row to fit on"),
    ],
)
def test_an_option_out_of_range_is_refused(molecules, skewed, options, message):
    with pytest.raises(InputError, match=message):
        split_of(molecules, skewed(0, n=len(molecules), l=8), **options)


def test_all_wrong_options_are_reported_together(molecules, skewed):
    with pytest.raises(InputError, match=r"folds must be .*; seed must be"):
        split_of(molecules, skewed(0, n=len(molecules), l=8), folds=0, seed=-2)
