"""Which arms are compared across training fractions."""

from __future__ import annotations

from collections.abc import Iterator

from study.analysis.bootstrap import common_arms, finished
from study.analysis.evidence import Evidence
from study.cells import Cell
from study.contrasts import models_of

FULL = 1.0
"""The fraction that is the whole training fold."""


def arms_by_fraction(evidence: Evidence) -> dict[str, tuple[Cell, ...]]:
    """Return the cells of each curve by rising fraction: at least two that share trials."""
    found: dict[str, list[Cell]] = {}
    for cell in finished(evidence):
        found.setdefault(cell.arm_id, []).append(cell)
    ordered = {key: tuple(sorted(cells, key=_fraction)) for key, cells in found.items()}
    return {
        key: cells
        for key, cells in ordered.items()
        if len(cells) > 1 and common_arms(evidence, cells)
    }


def rival_pairs(evidence: Evidence) -> list[tuple[tuple[Cell, ...], Cell]]:
    """Return the curve of an arm and the full-data cell of its rival, every pair once.

    The pairs are those of the contrasts declared at fraction 1, and every arm of several
    modalities against each of its own modalities alone under the same training numbers; an
    ensemble is no rival of a single model unless the file says so.
    """
    by_arm = arms_by_fraction(evidence)
    found = {(arm.arm_id, full.id): full for arm, full in _rivals(evidence)}
    return [(by_arm[arm], full) for (arm, _), full in found.items() if arm in by_arm]


def _rivals(evidence: Evidence) -> Iterator[tuple[Cell, Cell]]:
    full = [cell for cell in finished(evidence) if cell.fraction == FULL]
    known = {cell.id for cell in full}
    for each in evidence.contrasts:
        if each.arm.fraction == FULL and each.reference.id in known:
            yield each.arm, each.reference
    any_size = evidence.record.spec.analysis.ensembles == "any"
    singles = [cell for cell in full if len(cell.features) == 1]
    for cell in full:
        keys = {feature.key for feature in cell.features} if len(cell.features) > 1 else set()
        for single in singles:
            same = single.features[0].key in keys and single.shared == cell.shared
            if same and (any_size or models_of(cell) == models_of(single)):
                yield cell, single


def _fraction(cell: Cell) -> float:
    return cell.fraction
