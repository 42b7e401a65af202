"""Error rates of verdicts and intervals on simulated studies with a known answer.

Every draw is a small study: a table sampled from a large simulated population, a split, models
fitted on its folds, and the same scores, differences and verdicts as in any other study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import build_arm_scores
from study.analysis.negative_controls import split_seeds
from study.analysis.paired import PairedDifference, build_macro_weights, estimate_difference
from study.analysis.verdicts import VerdictKind, judge
from study.calibration.simulation import (
    Population,
    SimulatedModel,
    SimulatedRun,
    SimulatedTable,
    draw_population,
    simulate_run,
)

MODELS = (SimulatedModel(128), SimulatedModel(24))
"""A model that hardly depends on its seed, and one that depends on it strongly."""
SEEDS = (0, 1, 2, 3)
MOLECULES, POPULATION = 500, 4000


@dataclass(frozen=True)
class NullCount:
    """Verdicts on pairs of arms that differ only in their seeds.

    Attributes
    ----------
    model : SimulatedModel
    seeds : int
        Number of seeds that each side averages.
    verdicts : dict of VerdictKind to int
        Number of pairs with each verdict.
    spread, claimed : float
        Standard deviation of the differences over the pairs, and root mean square of their
        estimated standard errors.
    """

    model: SimulatedModel
    seeds: int
    verdicts: dict[VerdictKind, int]
    spread: float
    claimed: float

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return sum(self.verdicts.values())

    @property
    def claims(self) -> int:
        """Number of verdicts that favor a side; all of them are wrong."""
        return self.verdicts[VerdictKind.WINS] + self.verdicts[VerdictKind.SUGGESTIVE]


@dataclass(frozen=True)
class Coverage:
    """Coverage of the intervals of the difference between two models.

    Attributes
    ----------
    arm, reference : SimulatedModel
    seeds : int
        Number of seeds that each side averages.
    tables : int
        Number of tables, with one interval each.
    truth, truth_se : float
        Expected difference for a table of this size and its standard error: mean over all tables
        of the difference on the molecules outside the table.
    held : int
        Number of intervals that contain `truth`.
    held_trained : int
        Number of intervals that contain the true difference of the models trained on their table.
    held_corrected : int
        Number of intervals of the corrected t that contain `truth`.
    width : float
        Mean width of the interval.
    """

    arm: SimulatedModel
    reference: SimulatedModel
    seeds: int
    tables: int
    truth: float
    truth_se: float
    held: int
    held_trained: int
    held_corrected: int
    width: float


@dataclass(frozen=True)
class Calibration:
    """Counts of wrong verdicts, and of intervals that contain the truth.

    Attributes
    ----------
    nulls : tuple of NullCount
    coverages : tuple of Coverage
    molecules, labels, population : int
        Size of a table, and of the population that it is sampled from.
    """

    nulls: tuple[NullCount, ...]
    coverages: tuple[Coverage, ...]
    molecules: int
    labels: int
    population: int


def measure_calibration(pairs: int, seed: int = 0) -> Calibration:
    """Count wrong verdicts and intervals in simulated studies.

    Parameters
    ----------
    pairs : int
        Number of tables, each with one pair of every kind.
    seed : int
        Seed of the population and of the tables.
    """
    population = draw_population(POPULATION, seed)
    draws = [
        (table, _simulate_runs(table, population))
        for table in simulate_tables(population, pairs, seed)
    ]
    halves = (((0,), (1,)), ((0, 1), (2, 3)))
    return Calibration(
        nulls=tuple(
            count_null_verdicts(draws, i, sides) for i in range(len(MODELS)) for sides in halves
        ),
        coverages=tuple(measure_coverage(draws, first) for first, _ in halves),
        molecules=MOLECULES,
        labels=len(population.dataset.label_names),
        population=len(population.dataset),
    )


Sides = tuple[Sequence[int], Sequence[int]]
Draw = tuple[SimulatedTable, Sequence[SimulatedRun]]
"""A table and the trials of each of `MODELS` on it."""


def simulate_tables(population: Population, number: int, seed: int) -> Iterator[SimulatedTable]:
    """Sample tables from a population."""
    return (population.sample_table(i, MOLECULES, seed) for i in range(number))


def count_null_verdicts(draws: Sequence[Draw], model: int, sides: Sides) -> NullCount:
    """Count the verdicts on a model against itself under other seeds, one pair per table."""
    differences = [_compare_seeds(table, runs[model], sides) for table, runs in draws]
    counts = Counter(judge(difference, difference.p).kind for difference in differences)
    return NullCount(
        model=MODELS[model],
        seeds=len(sides[0]),
        verdicts={kind: counts[kind] for kind in VerdictKind},
        spread=float(np.sqrt(np.mean([d.estimate**2 for d in differences]))),
        claimed=float(np.sqrt(np.mean([d.se**2 for d in differences]))),
    )


def measure_coverage(draws: Sequence[Draw], seeds: Sequence[int]) -> Coverage:
    """Compare the two models on every table, and count the intervals that contain the truth."""
    differences = [_compare_models(table, runs, seeds) for table, runs in draws]
    all_seeds = np.array(
        [_compute_true_difference(runs, tuple(runs[0].truth)) for _, runs in draws]
    )
    trained = [_compute_true_difference(runs, seeds) for _, runs in draws]
    truth = float(all_seeds.mean())
    return Coverage(
        arm=MODELS[0],
        reference=MODELS[1],
        seeds=len(seeds),
        tables=len(draws),
        truth=truth,
        truth_se=float(all_seeds.std(ddof=1) / np.sqrt(len(all_seeds))),
        held=sum(d.low <= truth <= d.high for d in differences),
        held_trained=sum(d.low <= t <= d.high for d, t in zip(differences, trained, strict=True)),
        held_corrected=sum(d.corrected.low <= truth <= d.corrected.high for d in differences),
        width=float(np.mean([d.high - d.low for d in differences])),
    )


def _simulate_runs(table: SimulatedTable, population: Population) -> list[SimulatedRun]:
    return [simulate_run(model, table, population, SEEDS) for model in MODELS]


def _compare_seeds(table: SimulatedTable, run: SimulatedRun, sides: Sides) -> PairedDifference:
    arm, other = split_seeds(run.results, table.split.groups, sides)
    return estimate_difference(
        arm, other, table.split.groups, build_macro_weights(arm.auroc.shape[1])
    )


def _compare_models(
    table: SimulatedTable, runs: Sequence[SimulatedRun], seeds: Sequence[int]
) -> PairedDifference:
    groups = table.split.groups
    arm, reference = (
        build_arm_scores(run.with_seeds(seeds), len(groups), groups=groups) for run in runs
    )
    return estimate_difference(arm, reference, groups, build_macro_weights(arm.auroc.shape[1]))


def _compute_true_difference(runs: Sequence[SimulatedRun], seeds: Sequence[int]) -> float:
    """Return the difference of models trained on a table, on all molecules outside of it."""
    levels = [np.mean([run.truth[seed] for seed in seeds]) for run in runs]
    return float(levels[0] - levels[1])
