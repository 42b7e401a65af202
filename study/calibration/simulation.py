"""Cheap studies with a known answer: small tables out of a large simulated one.

Shapes: n molecules of the population, t molecules of a table drawn from it, l labels, d counts.
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
    """Some molecules of a population, split as a study would split them.

    Attributes
    ----------
    number : int
        Which draw it is: its fits have seeds of their own.
    rows : ndarray of int64, (t,)
        Rows of the population.
    split : Split
        Of these molecules; mirror twins stay together.
    """

    number: int
    rows: Rows
    split: Split


@dataclass(frozen=True, eq=False)
class Population:
    """A large simulated table, of which studies see a small part.

    Attributes
    ----------
    dataset : OdorDataset
        Molecules in mirror pairs, which share their counts and most of their labels.
    counts : ndarray of float64, (n, d)
        log(1 + Morgan counts).
    groups : ndarray of int64, (n,)
        Mirror pairs.
    """

    dataset: OdorDataset
    counts: Floats
    groups: Rows

    def table(self, number: int, molecules: int, seed: int) -> SimulatedTable:
        """Draw whole mirror pairs without replacement, and split them."""
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
    """Generate a population with the source `simulated`.

    Parameters
    ----------
    molecules, seed : int
    permuted : float
        Share of the labels that nothing can explain.
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
    """Ridge regression on random features: a network whose first layer is not trained.

    Attributes
    ----------
    width : int
        Features; the fewer, the more its seed matters.
    """

    width: int

    @cached_property
    def arm(self) -> Arm:
        """The arm that trials of this model are filed under."""
        training = TrainingConfig(hidden=(self.width,))
        return Arm((FEATURE,), "single", None, None, 1.0, training)

    def scores(self, counts: Floats, labels: NDArray[np.uint8], fit: Rows, seed: int) -> Floats:
        """Scores of all rows of `counts` by a model that was fitted on the rows `fit`.

        Parameters
        ----------
        counts : ndarray of float64, (n, d)
        labels : ndarray of uint8, (n, l)
        fit : ndarray of int64
        seed : int
            Of the random features.
        """
        rng = np.random.default_rng(seed)
        plan = rng.normal(size=(counts.shape[1], self.width)) / np.sqrt(counts.shape[1])
        hidden = np.tanh((counts - counts[fit].mean(axis=0)) @ plan * 2)
        away = hidden - hidden[fit].mean(axis=0)
        target = labels[fit] - labels[fit].mean(axis=0)
        gram = away[fit].T @ away[fit] + RIDGE * np.eye(self.width)
        scores: Floats = away @ np.linalg.solve(gram, away[fit].T @ target)
        return scores


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """Trials of a model on a table, and how good its models are on the whole population.

    Attributes
    ----------
    results : tuple of TrialResult
        One of each seed and fold.
    truth : dict of seed to float
        Macro AUROC on all molecules outside the table, mean over the models of the folds; NaN
        where it was not asked for.
    """

    results: tuple[TrialResult, ...]
    truth: dict[int, float]

    def of(self, seeds: Sequence[int]) -> list[TrialResult]:
        """Trials with these seeds."""
        return [result for result in self.results if result.trial["seed"] in seeds]


def simulate_run(
    model: SimulatedModel,
    table: SimulatedTable,
    people: Population,
    seeds: Sequence[int],
    *,
    truth: bool = True,
) -> SimulatedRun:
    """Fit a model on every fold of a table with every seed.

    Parameters
    ----------
    model : SimulatedModel
    table : SimulatedTable
    people : Population
        That the table was drawn from.
    seeds : sequence of int
    truth : bool
        Whether to measure the models on the rest of the population too.
    """
    fits = [
        _fit(model, table, people, (seed, fold), truth=truth)
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
    people: Population,
    place: tuple[int, Fold],
    *,
    truth: bool,
) -> tuple[TrialResult, float]:
    """Fit one model: its trial, and its macro AUROC outside the table."""
    seed, fold = place
    own = ((table.number * 100 + seed) * 100 + fold.index) * 10_000 + model.width
    outside = np.setdiff1d(np.arange(len(people.counts)), table.rows) if truth else table.rows[:0]
    rows = np.concatenate([table.rows, outside])
    scores = model.scores(people.counts[rows], people.dataset.labels[rows], fold.train(1.0), own)
    beyond = slice(len(table.rows), None)
    labels = people.dataset.labels[outside]
    level = macro_mean(auroc(labels, scores[beyond])).value if truth else float("nan")
    return _result(model, table, people, scores, place), level


def _result(
    model: SimulatedModel,
    table: SimulatedTable,
    people: Population,
    scores: Floats,
    place: tuple[int, Fold],
) -> TrialResult:
    seed, fold = place
    trial = Trial(model.arm, fold.repeat, fold.index, seed)
    return TrialResult(
        id=str(trial),
        trial=trial.to_json(),
        label_names=people.dataset.label_names,
        test_rows=fold.test,
        test_labels=people.dataset.labels[table.rows[fold.test]],
        scores=scores[fold.test].astype(np.float32),
    )
