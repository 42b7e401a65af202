"""How often the verdicts and intervals are wrong where the answer is known.

Every draw is a small study: a table out of a large simulated population, a split, models that
are fitted on its folds, and the same arms, differences and verdicts as in any other study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import build_arm_scores
from study.analysis.negative_controls import split_seeds
from study.analysis.paired import PairedDifference, estimate_difference, macro_weights
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
"""A model that its seed moves little, and one that it moves much."""
SEEDS = (0, 1, 2, 3)
MOLECULES, POPULATION = 500, 4000


@dataclass(frozen=True)
class NullCount:
    """Verdicts on pairs of arms that differ in their seeds only.

    Attributes
    ----------
    model : SimulatedModel
    seeds : int
        Seeds that each side averages.
    words : dict of VerdictKind to int
        How often each verdict was given.
    spread, claimed : float
        Standard deviation of the differences over the pairs, and the root mean square of the
        standard errors that were claimed for them.
    """

    model: SimulatedModel
    seeds: int
    words: dict[VerdictKind, int]
    spread: float
    claimed: float

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return sum(self.words.values())

    @property
    def claims(self) -> int:
        """Verdicts that favor a side: all of them wrong."""
        return self.words[VerdictKind.WINS] + self.words[VerdictKind.SUGGESTIVE]


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the true difference between two models.

    Attributes
    ----------
    arm, reference : SimulatedModel
    seeds : int
        Seeds that each side averages.
    tables : int
        Intervals.
    truth, truth_se : float
        Expected difference for a table of this size: mean over all tables of the difference on
        all molecules outside the table, and its standard error.
    held : int
        Intervals that hold it.
    held_trained : int
        Intervals that hold the difference of the very models trained on their table.
    held_corrected : int
        Intervals of the corrected t that hold `truth`.
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
    """Counts of wrong verdicts and of intervals that hold the truth.

    Attributes
    ----------
    nulls : tuple of NullCount
    coverages : tuple of Coverage
    molecules, labels, population : int
        Of a table, and of the population that it is drawn from.
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
        Tables, each with one pair of every kind.
    seed : int
        Of the population and of the draws.
    """
    people = draw_population(POPULATION, seed)
    draws = [(table, _runs(table, people)) for table in simulate_tables(people, pairs, seed)]
    halves = (((0,), (1,)), ((0, 1), (2, 3)))
    return Calibration(
        nulls=tuple(
            count_null_verdicts(draws, i, sides) for i in range(len(MODELS)) for sides in halves
        ),
        coverages=tuple(measure_coverage(draws, first) for first, _ in halves),
        molecules=MOLECULES,
        labels=len(people.dataset.label_names),
        population=len(people.dataset),
    )


Sides = tuple[Sequence[int], Sequence[int]]
Draw = tuple[SimulatedTable, Sequence[SimulatedRun]]
"""A table, and the trials of each of `MODELS` on it."""


def simulate_tables(people: Population, number: int, seed: int) -> Iterator[SimulatedTable]:
    """Draw tables."""
    return (people.table(i, MOLECULES, seed) for i in range(number))


def count_null_verdicts(draws: Sequence[Draw], model: int, sides: Sides) -> NullCount:
    """Judge a model against itself under other seeds, once a table."""
    found = [_null(table, runs[model], sides) for table, runs in draws]
    words = Counter(judge(difference, difference.p).kind for difference in found)
    return NullCount(
        model=MODELS[model],
        seeds=len(sides[0]),
        words={word: words[word] for word in VerdictKind},
        spread=float(np.sqrt(np.mean([each.estimate**2 for each in found]))),
        claimed=float(np.sqrt(np.mean([each.se**2 for each in found]))),
    )


def measure_coverage(draws: Sequence[Draw], seeds: Sequence[int]) -> Coverage:
    """Compare the two models once a table, and see which intervals hold the truth."""
    found = [_compared(table, runs, seeds) for table, runs in draws]
    trained = np.array([_truth(runs, tuple(runs[0].truth)) for _, runs in draws])
    own = [_truth(runs, seeds) for _, runs in draws]
    truth = float(trained.mean())
    return Coverage(
        arm=MODELS[0],
        reference=MODELS[1],
        seeds=len(seeds),
        tables=len(draws),
        truth=truth,
        truth_se=float(trained.std(ddof=1) / np.sqrt(len(trained))),
        held=sum(each.low <= truth <= each.high for each in found),
        held_trained=sum(d.low <= t <= d.high for d, t in zip(found, own, strict=True)),
        held_corrected=sum(d.corrected.low <= truth <= d.corrected.high for d in found),
        width=float(np.mean([each.high - each.low for each in found])),
    )


def _runs(table: SimulatedTable, people: Population) -> list[SimulatedRun]:
    return [simulate_run(model, table, people, SEEDS) for model in MODELS]


def _null(table: SimulatedTable, run: SimulatedRun, sides: Sides) -> PairedDifference:
    arm, other = split_seeds(run.results, table.split.groups, sides)
    return estimate_difference(arm, other, table.split.groups, macro_weights(arm.auroc.shape[1]))


def _compared(
    table: SimulatedTable, runs: Sequence[SimulatedRun], seeds: Sequence[int]
) -> PairedDifference:
    groups = table.split.groups
    arm, reference = (build_arm_scores(run.of(seeds), len(groups), groups=groups) for run in runs)
    return estimate_difference(arm, reference, groups, macro_weights(arm.auroc.shape[1]))


def _truth(runs: Sequence[SimulatedRun], seeds: Sequence[int]) -> float:
    """Difference, on all molecules outside the table, of the models trained on it."""
    levels = [np.mean([run.truth[seed] for seed in seeds]) for run in runs]
    return float(levels[0] - levels[1])
