"""What the sections of a report share: the evidence, and analyses that several of them show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from study.analysis.evidence import Evidence, Finding
from study.analysis.scaling import Curve, curves
from study.analysis.sparse import SparseGain, sparse_gain
from study.cells import Cell
from study.contrasts import Contrast
from study.declared import declare, is_fair
from study.report.names import Names

BALANCER, HEAD, MEAN = "label_balancer", "mlp_head", "independent_mean"
MOST_CONTRASTS = 6
"""Sparse gains that a report shows."""


@dataclass(frozen=True, eq=False)
class Material:
    """Evidence of a study, and of others it is set beside.

    Attributes
    ----------
    evidence : Evidence
    beside : mapping of str to Evidence
        By the name of the study.
    """

    evidence: Evidence
    beside: Mapping[str, Evidence] = field(default_factory=dict)

    @cached_property
    def names(self) -> Names:
        """Names of the arms."""
        return Names(self.evidence.record.plan.cells)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Arms with a finished trial, in the order of the file."""
        return tuple(arm.cell for arm in self.evidence.arms.values())

    @cached_property
    def fullest(self) -> float:
        """Largest training fraction with a finished trial."""
        return max(cell.fraction for cell in self.cells)

    @cached_property
    def full(self) -> tuple[Cell, ...]:
        """Arms at the largest fraction."""
        return tuple(cell for cell in self.cells if cell.fraction == self.fullest)

    def level(self, cell: Cell) -> float:
        """Macro AUROC of an arm."""
        return self.evidence.levels[cell.id].auroc.mean

    @cached_property
    def headlines(self) -> tuple[Finding, ...]:
        """At most five findings: of each question the first with the most data and modalities.

        Chosen by what was asked, never by what came out.
        """
        chosen: dict[str, list[Finding]] = {}
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
        found = declare(record.spec, record.plan).unequal
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
        return tuple(sparse_gain(self.evidence, each) for each in chosen[:MOST_CONTRASTS])

    def title(self, contrast: Contrast) -> str:
        """Name a contrast in one line, with a star where an ensemble meets a single model."""
        change, shared = self.names.contrast(contrast)
        star = "" if is_fair(contrast) else " *"
        return (f"{shared}: {change}" if shared else change) + star

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Learning curves."""
        return curves(self.evidence)


def _rank(finding: Finding) -> tuple[float, int]:
    """More data first, then more modalities; the sort keeps the order of the file."""
    contrast = finding.contrast
    return -contrast.arm.fraction, -len(contrast.arm.features)
