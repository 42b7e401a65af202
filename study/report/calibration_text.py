"""The calibration as text: counts of wrong verdicts and of intervals that hold the truth."""

from __future__ import annotations

from study.analysis.calibration import Calibration, Coverage, NullCount
from study.analysis.verdicts import Word


def calibration_text(found: Calibration) -> str:
    """Return the calibration as two Markdown tables with a sentence on each."""
    tables = found.coverages[0].tables
    lines = [
        f"{tables} tables of {found.molecules} molecules x {found.labels} labels, drawn from "
        f"{found.population} simulated molecules; 5 folds; ridge on random features.",
        "",
        "One model against itself under other seeds (a claim is wrong by construction):",
        "",
        "| features | seeds a side | pairs | claims | " + " | ".join(Word) + " | SD | SE claimed |",
        "|" + "--:|" * (6 + len(Word)),
        *(_null_line(each) for each in found.nulls),
        "",
        _truth_line(found.coverages[0]),
        "",
        "| seeds a side | tables | 95 % interval holds it | holds that of its own models | "
        "corrected t holds it | mean width |",
        "|" + "--:|" * 6,
        *(_coverage_line(each) for each in found.coverages),
    ]
    return "\n".join(lines) + "\n"


def _null_line(found: NullCount) -> str:
    counts = [str(found.words[word]) for word in Word]
    cells = [found.model.width, found.seeds, found.pairs, found.claims, *counts]
    spread = [f"{found.spread:.4f}", f"{found.claimed:.4f}"]
    return "| " + " | ".join(map(str, [*cells, *spread])) + " |"


def _truth_line(found: Coverage) -> str:
    return (
        f"{found.arm.width} features against {found.reference.width}: the true difference in "
        f"macro AUROC is {found.truth:+.4f} (standard error {found.truth_se:.4f}), measured on "
        "all molecules outside each table:"
    )


def _coverage_line(found: Coverage) -> str:
    held = (found.held, found.held_trained, found.held_corrected)
    shares = [f"{count} ({count / found.tables:.0%})" for count in held]
    cells = [str(found.seeds), str(found.tables), *shares, f"{found.width:.4f}"]
    return "| " + " | ".join(cells) + " |"
