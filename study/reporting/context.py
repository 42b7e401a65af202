"""Context that the sections of a report share: the analysis, names of arms, shared estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from study.analysis.learning_curves import LearningCurve, build_learning_curves
from study.analysis.sparse_gain import SparseGain, estimate_sparse_gain
from study.analysis.study_analysis import ContrastResult, StudyAnalysis
from study.planning.contrasts import Contrast, declare_contrasts, is_fair
from study.planning.trials import Arm

TECHNIQUES = {
    "single": "",
    "mlp_head": "MLP head",
    "label_balancer": "label balancer",
    "independent_mean": "independent mean",
}


def format_head_name(arm: Arm) -> str:
    """Return technique, operator and partition as text; empty for a single modality."""
    parts = [TECHNIQUES.get(arm.technique, arm.technique)]
    parts += [str(part) for part in (arm.fusion, arm.partition) if part]
    return ", ".join(part for part in parts if part)


def format_features(arm: Arm) -> str:
    """Return the modalities joined by a plus sign."""
    return " + ".join(arm.names)


class ArmNames:
    """Names of the arms of one study, without what all arms share.

    Parameters
    ----------
    arms : sequence of Arm
        All arms of the study.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.fractions = {arm.fraction for arm in arms}
        # Training options are named only if the names would be ambiguous without them.
        names = Counter(str(arm) for arm in arms)
        ambiguous = max(names.values(), default=1) > 1
        self._training = _format_differing_options(arms) if ambiguous else {}

    def of(self, arm: Arm, *, fraction: bool | None = None, lines: bool = False) -> str:
        """Return the name of an arm.

        Parameters
        ----------
        arm : Arm
        fraction : bool, optional
            Whether to include the training fraction; default: only if the study has several.
        lines : bool
            Whether to break the line after the modalities.
        """
        with_fraction = len(self.fractions) > 1 if fraction is None else fraction
        first = format_features(arm) + (f" at {arm.fraction:g}" if with_fraction else "")
        head = self._head(arm)
        return (("\n" if lines else ": ").join([first, head])) if head else first

    def contrast(self, contrast: Contrast) -> tuple[str, str]:
        """Name the two sides of a contrast by the parts in which they differ.

        Returns
        -------
        tuple of str
            The contrast, and the parts that both sides share.
        """
        arm, reference = contrast.arm, contrast.reference
        parts = [
            (format_features(arm), format_features(reference)),
            (self._head(arm), self._head(reference)),
            (f"at {arm.fraction:g}", f"at {reference.fraction:g}"),
        ]
        if len(self.fractions) == 1:
            del parts[2]
        sides = ([pair[side] for pair in parts if len(set(pair)) > 1] for side in (0, 1))
        shared = [a for a, b in parts if a == b and a]
        change = " vs ".join(" ".join(part for part in side if part) for side in sides)
        if shared and shared[0].startswith("at "):  # only the fraction is shared
            return f"{change} {shared[0]}", ""
        return change, " ".join(shared)

    def _head(self, arm: Arm) -> str:
        parts = (format_head_name(arm), self._training.get(arm.id, ""))
        return ", ".join(part for part in parts if part)


def _format_differing_options(arms: Sequence[Arm]) -> Mapping[str, str]:
    """Return the training options in which the arms differ, as text by arm id."""
    trainings = {arm.id: arm.training.model_dump(mode="json") for arm in arms}
    keys = [key for key in next(iter(trainings.values()), {}) if _differs(trainings, key)]
    return {
        arm_id: ", ".join(f"{key} {options[key]}" for key in keys)
        for arm_id, options in trainings.items()
    }


def _differs(trainings: Mapping[str, Mapping[str, object]], key: str) -> bool:
    return len({str(options[key]) for options in trainings.values()}) > 1


BALANCER, HEAD, MEAN = "label_balancer", "mlp_head", "independent_mean"
MAX_CONTRASTS = 6
"""Maximum number of sparse gains in a report."""


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Analysis of a study and of the other studies that it is compared with.

    Attributes
    ----------
    analysis : StudyAnalysis
    others : mapping of str to StudyAnalysis
        Other studies by name.
    """

    analysis: StudyAnalysis
    others: Mapping[str, StudyAnalysis] = field(default_factory=dict)

    @cached_property
    def names(self) -> ArmNames:
        """Names of the arms."""
        return ArmNames(self.analysis.results.plan.arms)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with a finished trial, in the order of the study file."""
        return tuple(scores.arm for scores in self.analysis.arms.values())

    @cached_property
    def fullest(self) -> float:
        """Largest training fraction with a finished trial."""
        return max(arm.fraction for arm in self.arms)

    @cached_property
    def full(self) -> tuple[Arm, ...]:
        """Arms at the largest fraction."""
        return tuple(arm for arm in self.arms if arm.fraction == self.fullest)

    def level(self, arm: Arm) -> float:
        """Return the macro AUROC of an arm."""
        return self.analysis.levels[arm.id].auroc.mean

    @cached_property
    def headlines(self) -> tuple[ContrastResult, ...]:
        """At most five findings: those of each family with the most data and modalities.

        They are selected by the contrasts alone, never by the results.
        """
        by_family: dict[str, list[ContrastResult]] = {}
        for finding in sorted(self.analysis.findings, key=_rank):
            by_family.setdefault(finding.contrast.family, []).append(finding)
        firsts = [finding for group in by_family.values() for finding in group[:1]]
        seconds = [finding for group in by_family.values() for finding in group[1:2]]
        chosen = [*firsts, *seconds][:5]
        return tuple(finding for finding in self.analysis.findings if finding in chosen)

    @cached_property
    def balancers(self) -> tuple[Contrast, ...]:
        """Contrasts of the label balancer with an MLP head or the mean of independent models.

        Only those at the largest fraction; the largest set of modalities comes first.
        """
        contrasts = [c for c in self._measured_contrasts() if c.arm.technique == BALANCER]
        contrasts = [c for c in contrasts if c.reference.technique in (HEAD, MEAN)]
        full = [c for c in contrasts if c.arm.fraction == c.reference.fraction == self.fullest]
        return tuple(sorted(full, key=lambda c: -len(c.arm.features)))

    @cached_property
    def unequal(self) -> tuple[Contrast, ...]:
        """Contrasts left out because they would compare an ensemble with a single model."""
        results = self.analysis.results
        unequal = declare_contrasts(results.spec, results.plan).unequal
        return tuple(contrast for contrast in unequal if self.analysis.shared(contrast))

    def _measured_contrasts(self) -> list[Contrast]:
        """Return declared and unequal contrasts with trials on both sides, without repeats."""
        pairs = {
            (c.arm.id, c.reference.id): c
            for c in (*self.analysis.contrasts, *self.unequal)
            if self.analysis.shared(c)
        }
        return list(pairs.values())

    @cached_property
    def sparse(self) -> tuple[SparseGain, ...]:
        """Sparse gains of the label balancers or, without any, of the first headline."""
        chosen = self.balancers or tuple(finding.contrast for finding in self.headlines[:1])
        return tuple(estimate_sparse_gain(self.analysis, c) for c in chosen[:MAX_CONTRASTS])

    def title(self, contrast: Contrast) -> str:
        """Name a contrast in one line, with a star if it compares an ensemble with one model."""
        change, shared = self.names.contrast(contrast)
        star = "" if is_fair(contrast) else " *"
        return (f"{shared}: {change}" if shared else change) + star

    @cached_property
    def curves(self) -> tuple[LearningCurve, ...]:
        """Learning curves."""
        return build_learning_curves(self.analysis)


def _rank(finding: ContrastResult) -> tuple[float, int]:
    """Sort key: more data first, then more modalities; ties keep the order of the file."""
    contrast = finding.contrast
    return -contrast.arm.fraction, -len(contrast.arm.features)
