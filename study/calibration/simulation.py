"""Cheap simulated studies with a known answer: small tables sampled from a large population.

Shapes: n molecules of the population, t molecules of a table sampled from it, l labels, d counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats
from study.config.components import ModalityConfig
from study.config.training import TrainingConfig
from study.data import DatasetConfig, OdorDataset, build_dataset
from study.metrics import auroc, macro_mean
from study.planning.trials import Arm, NamedModality, Trial
from study.plugins.registry import Registry
from study.results.trial_result import TrialResult
from study.splits import Fold, Split, group_rows, make_split

FOLDS = 5
RIDGE = 3.0
SOURCE = {"labels": 20, "noise": 0.2, "skew": 5.0, "stereo": 0.0}
COUNTS = {"radius": 1, "size": 256}
FEATURE = NamedModality("fingerprint", ModalityConfig.model_validate("fingerprint"))

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SimulatedTable:
    """A sample of molecules from a population, with the split of a study.

    Attributes
    ----------
    number : int
        Number of the draw; the seeds of its fits depend on it.
    rows : ndarray of int64, (t,)
        Rows of the population.
    split : Split
        Split of these molecules; mirror images stay together.
    """

    number: int
    rows: Rows
    split: Split


@dataclass(frozen=True, eq=False)
class Population:
    """A large simulated data set that small tables are sampled from.

    Attributes
    ----------
    dataset : OdorDataset
        Molecules in pairs of mirror images, which share their counts and most of their labels.
    counts : ndarray of float64, (n, d)
        log(1 + Morgan counts).
    groups : ndarray of int64, (n,)
        Pairs of mirror images.
    """

    dataset: OdorDataset
    counts: Floats
    groups: Rows

    def sample_table(self, number: int, molecules: int, seed: int) -> SimulatedTable:
        """Sample whole mirror pairs without replacement, and split them."""
        rng = np.random.default_rng([seed, number])
        drawn = rng.choice(1 + self.groups.max(), size=molecules // 2, replace=False)
        rows = np.flatnonzero(np.isin(self.groups, drawn))
        split = make_split(
            [self.dataset.smiles[row] for row in rows],
            self.dataset.labels[rows],
            label_names=self.dataset.label_names,
            dataset_digest=self.dataset.digest,
            folds=FOLDS,
            validation=0.0,
            seed=number,
            min_positives=2,
        )
        return SimulatedTable(number, rows, split)


def draw_population(molecules: int, seed: int, permuted: float = 0.0) -> Population:
    """Generate a population with the data source ``simulated``.

    Parameters
    ----------
    molecules, seed : int
    permuted : float
        Share of the labels that are random permutations, which no model can predict.
    """
    options = {"seed": seed, "molecules": molecules, "permuted": permuted}
    source = {"source": "simulated", **options, **SOURCE}
    recipe = {"preset": "simulated", "key": "isomeric", "sources": [source]}
    dataset = build_dataset(DatasetConfig.model_validate(recipe))
    featurizer = Registry("modality").load("fingerprint")(**COUNTS)
    counts = np.array([featurizer.featurize(text)["counts"][0] for text in dataset.smiles])
    groups = group_rows(dataset.smiles, "constitution", FOLDS)
    return Population(dataset, np.log1p(counts), groups)


@dataclass(frozen=True)
class SimulatedModel:
    """Ridge regression on random features: a network with an untrained first layer.

    Attributes
    ----------
    width : int
        Number of random features; the fewer, the stronger the effect of the seed.
    """

    width: int

    @cached_property
    def arm(self) -> Arm:
        """Arm of the trials of this model."""
        training = TrainingConfig(hidden=(self.width,))
        return Arm((FEATURE,), "single", None, None, 1.0, training)

    def fit_scores(self, counts: Floats, labels: NDArray[np.uint8], fit: Rows, seed: int) -> Floats:
        """Fit the model on the rows `fit`, and return its scores of all rows.

        Parameters
        ----------
        counts : ndarray of float64, (n, d)
        labels : ndarray of uint8, (n, l)
        fit : ndarray of int64
        seed : int
            Seed of the random features.
        """
        rng = np.random.default_rng(seed)
        projection = rng.normal(size=(counts.shape[1], self.width)) / np.sqrt(counts.shape[1])
        hidden = np.tanh((counts - counts[fit].mean(axis=0)) @ projection * 2)
        centered = hidden - hidden[fit].mean(axis=0)
        target = labels[fit] - labels[fit].mean(axis=0)
        gram = centered[fit].T @ centered[fit] + RIDGE * np.eye(self.width)
        scores: Floats = centered @ np.linalg.solve(gram, centered[fit].T @ target)
        return scores


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """Trials of a model on a table, and the true performance of its models.

    Attributes
    ----------
    results : tuple of TrialResult
        One per seed and fold.
    truth : dict of seed to float
        Macro AUROC on all molecules outside the table, mean over the models of the folds; NaN if
        it was not requested.
    """

    results: tuple[TrialResult, ...]
    truth: dict[int, float]

    def with_seeds(self, seeds: Sequence[int]) -> list[TrialResult]:
        """Return the trials with these seeds."""
        return [result for result in self.results if result.trial["seed"] in seeds]


def simulate_run(
    model: SimulatedModel,
    table: SimulatedTable,
    population: Population,
    seeds: Sequence[int],
    *,
    truth: bool = True,
) -> SimulatedRun:
    """Fit a model on every fold of a table with every seed.

    Parameters
    ----------
    model : SimulatedModel
    table : SimulatedTable
    population : Population
        Population that the table was sampled from.
    seeds : sequence of int
    truth : bool
        Whether to evaluate the models on the rest of the population too.
    """
    fits = [
        _fit(model, table, population, (seed, fold), truth=truth)
        for seed in seeds
        for fold in table.split.folds
    ]
    levels = np.array([level for _, level in fits]).reshape(len(seeds), -1).mean(axis=1)
    return SimulatedRun(
        tuple(result for result, _ in fits), dict(zip(seeds, levels.tolist(), strict=True))
    )


def _fit(
    model: SimulatedModel,
    table: SimulatedTable,
    population: Population,
    seed_and_fold: tuple[int, Fold],
    *,
    truth: bool,
) -> tuple[TrialResult, float]:
    """Fit one model; return its trial and its macro AUROC outside the table."""
    seed, fold = seed_and_fold
    fit_seed = ((table.number * 100 + seed) * 100 + fold.index) * 10_000 + model.width
    outside = (
        np.setdiff1d(np.arange(len(population.counts)), table.rows) if truth else table.rows[:0]
    )
    rows = np.concatenate([table.rows, outside])
    labels = population.dataset.labels
    scores = model.fit_scores(population.counts[rows], labels[rows], fold.train(1.0), fit_seed)
    rest = slice(len(table.rows), None)
    level = macro_mean(auroc(labels[outside], scores[rest])).value if truth else float("nan")
    return _build_result(model, table, population, scores, seed_and_fold), level


def _build_result(
    model: SimulatedModel,
    table: SimulatedTable,
    population: Population,
    scores: Floats,
    seed_and_fold: tuple[int, Fold],
) -> TrialResult:
    seed, fold = seed_and_fold
    trial = Trial(model.arm, fold.repeat, fold.index, seed)
    return TrialResult(
        id=str(trial),
        trial=trial.to_json(),
        label_names=population.dataset.label_names,
        test_rows=fold.test,
        test_labels=population.dataset.labels[table.rows[fold.test]],
        scores=scores[fold.test].astype(np.float32),
    )
