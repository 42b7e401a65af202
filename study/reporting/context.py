"""What the sections of a report share: the analysis, names of arms, figures and tables."""

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
    """Technique, operator and partition in words; empty for a single modality."""
    words = [TECHNIQUES.get(arm.technique, arm.technique)]
    words += [str(word) for word in (arm.fusion, arm.partition) if word]
    return ", ".join(word for word in words if word)


def format_features(arm: Arm) -> str:
    """Modalities joined by a plus sign."""
    return " + ".join(arm.names)


class ArmNames:
    """Names of the arms of one study.

    Parameters
    ----------
    arms : sequence of Arm
        All arms: what they all share is left out.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.fractions = {arm.fraction for arm in arms}
        plain = Counter(str(arm) for arm in arms)
        self._numbers = _differing(arms) if max(plain.values(), default=1) > 1 else {}

    def of(self, arm: Arm, *, fraction: bool | None = None, lines: bool = False) -> str:
        """Return the name of an arm.

        Parameters
        ----------
        arm : Arm
        fraction : bool, optional
            Whether to say the training fraction; by default where the study has several.
        lines : bool
            Break the line behind the modalities.
        """
        shown = len(self.fractions) > 1 if fraction is None else fraction
        head = [format_head_name(arm), self._numbers.get(arm.id, "")]
        rest = ", ".join(word for word in head if word)
        first = format_features(arm) + (f" at {arm.fraction:g}" if shown else "")
        return (("\n" if lines else ": ").join([first, rest])) if rest else first

    def contrast(self, contrast: Contrast) -> tuple[str, str]:
        """Name what an arm has, and what its reference has in its place, without what both share.

        Returns
        -------
        tuple of str
            The contrast in few words, and what both sides share.
        """
        arm, reference = contrast.arm, contrast.reference
        parts = [
            (format_features(arm), format_features(reference)),
            (self._head(arm), self._head(reference)),
            (f"at {arm.fraction:g}", f"at {reference.fraction:g}"),
        ]
        if len(self.fractions) == 1:
            del parts[2]
        mine, theirs = ([pair[side] for pair in parts if len(set(pair)) > 1] for side in (0, 1))
        shared = [a for a, b in parts if a == b and a]
        words = [" ".join(each for each in side if each) for side in (mine, theirs)]
        change = " vs ".join(words)
        if shared and shared[0].startswith("at "):  # nothing else is shared
            return f"{change} {shared[0]}", ""
        return change, " ".join(shared)

    def _head(self, arm: Arm) -> str:
        words = (format_head_name(arm), self._numbers.get(arm.id, ""))
        return ", ".join(word for word in words if word)


def _differing(arms: Sequence[Arm]) -> Mapping[str, str]:
    """Training numbers that are not the same for all arms, by arm id."""
    dumped = {arm.id: arm.training.model_dump(mode="json") for arm in arms}
    keys = [key for key in next(iter(dumped.values()), {}) if _several(dumped, key)]
    return {
        name: ", ".join(f"{key} {numbers[key]}" for key in keys) for name, numbers in dumped.items()
    }


def _several(dumped: Mapping[str, Mapping[str, object]], key: str) -> bool:
    return len({str(numbers[key]) for numbers in dumped.values()}) > 1


BALANCER, HEAD, MEAN = "label_balancer", "mlp_head", "independent_mean"
MOST_CONTRASTS = 6
"""Sparse gains that a report shows."""


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Evidence of a study, and of others it is set beside.

    Attributes
    ----------
    evidence : StudyAnalysis
    beside : mapping of str to StudyAnalysis
        By the name of the study.
    """

    evidence: StudyAnalysis
    beside: Mapping[str, StudyAnalysis] = field(default_factory=dict)

    @cached_property
    def names(self) -> ArmNames:
        """Names of the arms."""
        return ArmNames(self.evidence.record.plan.arms)

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Arms with a finished trial, in the order of the file."""
        return tuple(arm.arm for arm in self.evidence.arms.values())

    @cached_property
    def fullest(self) -> float:
        """Largest training fraction with a finished trial."""
        return max(arm.fraction for arm in self.arms)

    @cached_property
    def full(self) -> tuple[Arm, ...]:
        """Arms at the largest fraction."""
        return tuple(arm for arm in self.arms if arm.fraction == self.fullest)

    def level(self, arm: Arm) -> float:
        """Macro AUROC of an arm."""
        return self.evidence.levels[arm.id].auroc.mean

    @cached_property
    def headlines(self) -> tuple[ContrastResult, ...]:
        """At most five findings: of each question the first with the most data and modalities.

        Chosen by what was asked, never by what came out.
        """
        chosen: dict[str, list[ContrastResult]] = {}
        for finding in sorted(self.evidence.findings, key=_rank):
            chosen.setdefault(finding.contrast.family, []).append(finding)
        firsts = [finding for group in chosen.values() for finding in group[:1]]
        seconds = [finding for group in chosen.values() for finding in group[1:2]]
        wanted = [*firsts, *seconds][:5]
        return tuple(finding for finding in self.evidence.findings if finding in wanted)

    @cached_property
    def balancers(self) -> tuple[Contrast, ...]:
        """Contrasts of the label balancer with a head and with the mean of independent models.

        At the largest fraction, the largest set of modalities first.
        """
        found = [c for c in self._asked() if c.arm.technique == BALANCER]
        rivals = [c for c in found if c.reference.technique in (HEAD, MEAN)]
        rivals = [c for c in rivals if c.arm.fraction == c.reference.fraction == self.fullest]
        return tuple(sorted(rivals, key=lambda c: -len(c.arm.features)))

    @cached_property
    def unequal(self) -> tuple[Contrast, ...]:
        """What is not compared, because an ensemble is no fair rival of a single model."""
        record = self.evidence.record
        found = declare_contrasts(record.spec, record.plan).unequal
        return tuple(contrast for contrast in found if self.evidence.shared(contrast))

    def _asked(self) -> list[Contrast]:
        """Return contrasts with trials on both sides, each pair of arms once; unequal ones too."""
        pairs = {
            (c.arm.id, c.reference.id): c
            for c in (*self.evidence.contrasts, *self.unequal)
            if self.evidence.shared(c)
        }
        return list(pairs.values())

    @cached_property
    def sparse(self) -> tuple[SparseGain, ...]:
        """Where the gains of the label balancers lie; else of the headline of techniques."""
        chosen = self.balancers or tuple(finding.contrast for finding in self.headlines[:1])
        return tuple(estimate_sparse_gain(self.evidence, each) for each in chosen[:MOST_CONTRASTS])

    def title(self, contrast: Contrast) -> str:
        """Name a contrast in one line, with a star where an ensemble meets a single model."""
        change, shared = self.names.contrast(contrast)
        star = "" if is_fair(contrast) else " *"
        return (f"{shared}: {change}" if shared else change) + star

    @cached_property
    def curves(self) -> tuple[LearningCurve, ...]:
        """Learning curves."""
        return build_learning_curves(self.evidence)


def _rank(finding: ContrastResult) -> tuple[float, int]:
    """More data first, then more modalities; the sort keeps the order of the file."""
    contrast = finding.contrast
    return -contrast.arm.fraction, -len(contrast.arm.features)
