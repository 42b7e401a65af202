"""All inference of a study, recomputed from stored out-of-fold scores: arms, levels, findings."""

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
    corrected_t,
    count_folds,
    estimate_difference,
    estimate_level,
    fold_means,
    macro_weights,
)
from study.analysis.verdicts import Verdict, adjust_holm, judge
from study.metrics import density_fifths, macro_mean
from study.planning.contrasts import Contrast
from study.planning.trials import Arm, Repeat
from study.results.study_results import StudyResults


@dataclass(frozen=True)
class ArmLevel:
    """Macro AUROC and AP of an arm by itself.

    Attributes
    ----------
    auroc, average_precision : CorrectedT
        With the conservative interval of the corrected t.
    se_influence : float
        Standard error of the AUROC from the test molecules alone.
    """

    auroc: CorrectedT
    average_precision: CorrectedT
    se_influence: float


@dataclass(frozen=True)
class ContrastResult:
    """What is known of one declared contrast.

    Attributes
    ----------
    contrast : Contrast
    macro : PairedDifference
        In macro AUROC.
    average_precision : CorrectedT
        In macro average precision.
    fifths : tuple of PairedDifference
        In the AUROC of the density fifths, densest first.
    verdict : Verdict
        Of `macro`, after Holm over the findings of the family.
    equal_size : bool
        Whether both sides average the same number of models: an ensemble is no fair rival of a
        single model.
    """

    contrast: Contrast
    macro: PairedDifference
    average_precision: CorrectedT
    fifths: tuple[PairedDifference, ...]
    verdict: Verdict
    equal_size: bool


@dataclass(frozen=True, eq=False)
class StudyAnalysis:
    """The inference of a study; every part is made when it is asked for.

    Attributes
    ----------
    record : StudyResults
    contrasts : tuple of Contrast
        Declared before anything was measured.
    """

    record: StudyResults
    contrasts: tuple[Contrast, ...]

    @property
    def groups(self) -> NDArray[np.int64]:
        """Group of every molecule in the split, (n,)."""
        return self.record.data.split.groups

    @property
    def rope(self) -> float:
        """Half width of the region of practical equivalence."""
        return self.record.spec.analysis.rope

    @cached_property
    def arms(self) -> Mapping[str, ArmScores]:
        """Arms with at least one finished trial, by arm id, in the order of the file."""
        molecules = len(self.record.data.dataset)
        found = {arm.id: self.record.results_of(arm) for arm in self.record.plan.arms}
        return {
            key: build_arm_scores(results, molecules, groups=self.groups)
            for key, results in found.items()
            if results
        }

    @cached_property
    def weights(self) -> Floats:
        """Weights of the macro mean, (l,)."""
        return macro_weights(len(self.record.data.dataset.label_names))

    @cached_property
    def fifths(self) -> NDArray[np.int64]:
        """Density fifth of every label, 0 the densest, (l,)."""
        return density_fifths(self.record.data.dataset.positives)

    @cached_property
    def levels(self) -> Mapping[str, ArmLevel]:
        """Levels of the arms, by arm id."""
        return {key: self._level(arm) for key, arm in self.arms.items()}

    @cached_property
    def findings(self) -> tuple[ContrastResult, ...]:
        """Every declared contrast with trials on both sides, family by family."""
        found: list[ContrastResult] = []
        order = {family: i for i, family in enumerate(dict.fromkeys(map(_family, self.contrasts)))}
        ordered = sorted(self.contrasts, key=lambda contrast: order[contrast.family])
        for _, family in groupby(ordered, key=_family):
            found += self._judged([each for each in family if self.shared(each)])
        return tuple(found)

    def shared(self, contrast: Contrast) -> tuple[Repeat, ...]:
        """Trials that both sides of a contrast have finished."""
        sides = [self.arms.get(arm.id) for arm in (contrast.arm, contrast.reference)]
        keys = [set(side.keys) if side else set() for side in sides]
        return tuple(sorted(keys[0] & keys[1]))

    def pair(self, contrast: Contrast) -> tuple[ArmScores, ArmScores]:
        """Both sides of a contrast over the trials that they share."""
        keys = self.shared(contrast)
        return self._over(contrast.arm, keys), self._over(contrast.reference, keys)

    def fifth_weights(self, fifth: int) -> Floats:
        """Weights of the mean over one density fifth, (l,)."""
        members = self.fifths == fifth
        return np.where(members, 1 / max(1, members.sum()), 0.0)

    def _over(self, arm: Arm, keys: Sequence[Repeat]) -> ArmScores:
        scores = self.arms[arm.id]
        if scores.keys == tuple(keys):
            return scores
        results = self.record.results_of(arm)
        return build_arm_scores(results, len(self.record.data.dataset), keys, self.groups)

    def _level(self, arm: ArmScores) -> ArmLevel:
        auroc, molecules = estimate_level(arm, self.groups, self.weights)
        return ArmLevel(auroc, _corrected_ap(arm.average_precision, arm), molecules)

    def _judged(self, family: Sequence[Contrast]) -> list[ContrastResult]:
        measured = [self._measured(contrast) for contrast in family]
        adjusted = adjust_holm([macro.p for macro, _, _ in measured])
        return [
            ContrastResult(
                contrast, macro, ap, fifths, judge(macro, p, self.rope), self._equal_size(contrast)
            )
            for contrast, (macro, ap, fifths), p in zip(family, measured, adjusted, strict=True)
        ]

    def _measured(
        self, contrast: Contrast
    ) -> tuple[PairedDifference, CorrectedT, tuple[PairedDifference, ...]]:
        arm, reference = self.pair(contrast)
        macro = estimate_difference(arm, reference, self.groups, self.weights, self.rope)
        precision = arm.average_precision - reference.average_precision
        used = range(1 + int(self.fifths.max()))
        fifths = (
            estimate_difference(arm, reference, self.groups, self.fifth_weights(k)) for k in used
        )
        return macro, _corrected_ap(precision, arm), tuple(fifths)

    def _equal_size(self, contrast: Contrast) -> bool:
        arm, reference = self.pair(contrast)
        return arm.models == reference.models


def _family(contrast: Contrast) -> str:
    return contrast.family


def _corrected_ap(values: Floats, arm: ArmScores) -> CorrectedT:
    """Corrected t of the macro means of values (r, l) of an arm's trials."""
    means = np.array([macro_mean(trial).value for trial in values])
    return corrected_t(fold_means(means, arm.keys), count_folds(arm.keys))
