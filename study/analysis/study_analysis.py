"""Statistical inference of a study: levels of the arms and results of declared contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from study.analysis.arm_scores import ArmScores, build_arm_scores
from study.analysis.influence import Floats
from study.analysis.paired import (
    CorrectedT,
    PairedDifference,
    average_over_seeds,
    build_macro_weights,
    compute_corrected_t,
    count_folds,
    estimate_difference,
    estimate_level,
)
from study.analysis.verdicts import Verdict, adjust_holm, judge
from study.metrics import density_fifths, macro_mean
from study.planning.contrasts import Contrast
from study.planning.trials import Arm, Repeat
from study.results.study_results import ResultSnapshot


@dataclass(frozen=True)
class ArmLevel:
    """Macro AUROC and average precision of one arm, without a reference.

    Attributes
    ----------
    auroc, average_precision : CorrectedT
        Mean over the trials, with the conservative interval of the corrected t.
    se_influence : float
        Standard error of the AUROC due to the test molecules alone.
    """

    auroc: CorrectedT
    average_precision: CorrectedT
    se_influence: float


@dataclass(frozen=True)
class ContrastResult:
    """Estimates and verdict of one declared contrast.

    Attributes
    ----------
    contrast : Contrast
    macro : PairedDifference
        Difference in macro AUROC.
    average_precision : CorrectedT
        Difference in macro average precision.
    fifths : tuple of PairedDifference
        Difference in the mean AUROC of each density fifth, densest first.
    verdict : Verdict
        Verdict on `macro`, after Holm adjustment over the contrasts of the family.
    equal_size : bool
        Whether both sides average the same number of models. Otherwise an ensemble is compared
        with a single model, which is unfair.
    """

    contrast: Contrast
    macro: PairedDifference
    average_precision: CorrectedT
    fifths: tuple[PairedDifference, ...]
    verdict: Verdict
    equal_size: bool


@dataclass(frozen=True, eq=False)
class StudyAnalysis:
    """The inference of a study; every part is computed on first access.

    Attributes
    ----------
    results : ResultSnapshot
    contrasts : tuple of Contrast
        Contrasts declared before anything was measured.
    """

    results: ResultSnapshot
    contrasts: tuple[Contrast, ...]

    @property
    def groups(self) -> NDArray[np.int64]:
        """Split group of every molecule, (n,)."""
        return self.results.data.split.groups

    @property
    def rope(self) -> float:
        """Half width of the region of practical equivalence."""
        return self.results.spec.analysis.rope

    @cached_property
    def arms(self) -> Mapping[str, ArmScores]:
        """Arms with at least one finished trial, by arm id, in the order of the study file."""
        molecules = len(self.results.data.dataset)
        trials = {arm.id: self.results.results_of(arm) for arm in self.results.plan.arms}
        return {
            key: build_arm_scores(finished, molecules, groups=self.groups)
            for key, finished in trials.items()
            if finished
        }

    @cached_property
    def weights(self) -> Floats:
        """Weights of the macro mean, (l,)."""
        return build_macro_weights(len(self.results.data.dataset.label_names))

    @cached_property
    def fifths(self) -> NDArray[np.int64]:
        """Density fifth of every label, 0 the densest, (l,)."""
        return density_fifths(self.results.data.dataset.positives)

    @cached_property
    def levels(self) -> Mapping[str, ArmLevel]:
        """Macro AUROC and average precision of the arms, by arm id."""
        return {key: self._estimate_level(arm) for key, arm in self.arms.items()}

    @cached_property
    def findings(self) -> tuple[ContrastResult, ...]:
        """Results of the declared contrasts with trials on both sides, family by family."""
        findings: list[ContrastResult] = []
        order = {
            family: i for i, family in enumerate(dict.fromkeys(map(_get_family, self.contrasts)))
        }
        ordered = sorted(self.contrasts, key=lambda contrast: order[contrast.family])
        for _, family in groupby(ordered, key=_get_family):
            findings += self._judge([contrast for contrast in family if self.shared(contrast)])
        return tuple(findings)

    def shared(self, contrast: Contrast) -> tuple[Repeat, ...]:
        """Return the keys of the trials that both sides of a contrast have finished."""
        sides = [self.arms.get(arm.id) for arm in (contrast.arm, contrast.reference)]
        keys = [set(side.keys) if side else set() for side in sides]
        return tuple(sorted(keys[0] & keys[1]))

    def pair(self, contrast: Contrast) -> tuple[ArmScores, ArmScores]:
        """Return the scores of both sides of a contrast on their shared trials."""
        keys = self.shared(contrast)
        return self._restrict_to(contrast.arm, keys), self._restrict_to(contrast.reference, keys)

    def fifth_weights(self, fifth: int) -> Floats:
        """Return the label weights of the mean over one density fifth, (l,)."""
        members = self.fifths == fifth
        return np.where(members, 1 / max(1, members.sum()), 0.0)

    def _restrict_to(self, arm: Arm, keys: Sequence[Repeat]) -> ArmScores:
        scores = self.arms[arm.id]
        if scores.keys == tuple(keys):
            return scores
        results = self.results.results_of(arm)
        return build_arm_scores(results, len(self.results.data.dataset), keys, self.groups)

    def _estimate_level(self, arm: ArmScores) -> ArmLevel:
        auroc, molecules = estimate_level(arm, self.groups, self.weights)
        return ArmLevel(auroc, _estimate_ap(arm.average_precision, arm), molecules)

    def _judge(self, family: Sequence[Contrast]) -> list[ContrastResult]:
        measured = [self._measure(contrast) for contrast in family]
        adjusted = adjust_holm([macro.p for macro, _, _ in measured])
        return [
            ContrastResult(
                contrast,
                macro,
                ap,
                fifths,
                judge(macro, p, self.rope),
                self._is_equal_size(contrast),
            )
            for contrast, (macro, ap, fifths), p in zip(family, measured, adjusted, strict=True)
        ]

    def _measure(
        self, contrast: Contrast
    ) -> tuple[PairedDifference, CorrectedT, tuple[PairedDifference, ...]]:
        arm, reference = self.pair(contrast)
        macro = estimate_difference(arm, reference, self.groups, self.weights, self.rope)
        precision = arm.average_precision - reference.average_precision
        fifth_numbers = range(1 + int(self.fifths.max()))
        fifths = (
            estimate_difference(arm, reference, self.groups, self.fifth_weights(k))
            for k in fifth_numbers
        )
        return macro, _estimate_ap(precision, arm), tuple(fifths)

    def _is_equal_size(self, contrast: Contrast) -> bool:
        arm, reference = self.pair(contrast)
        return arm.models == reference.models


def _get_family(contrast: Contrast) -> str:
    return contrast.family


def _estimate_ap(values: Floats, arm: ArmScores) -> CorrectedT:
    """Return the corrected t of the macro means of `values` (r, l) over an arm's trials."""
    means = np.array([macro_mean(trial).value for trial in values])
    return compute_corrected_t(average_over_seeds(means, arm.keys), count_folds(arm.keys))
