"""The calibration as text: counts of wrong verdicts and of intervals that hold the truth."""

from __future__ import annotations

from study.calibration.calibration import Calibration, Coverage, NullCount
from study.reporting.formatting import Row, frame_of, markdown


def format_calibration(found: Calibration) -> str:
    """Return the calibration as two Markdown tables with a sentence on each."""
    nulls = frame_of(map(_null_row, found.nulls))
    coverages = frame_of(map(_coverage_row, found.coverages))
    return (
        f"{found.coverages[0].tables} tables of {found.molecules} molecules x {found.labels} "
        f"labels, drawn from {found.population} simulated molecules; 5 folds; ridge on random "
        "features.\n\n"
        "One model against itself under other seeds (a claim is wrong by construction):\n\n"
        f"{markdown(nulls, [True] * len(nulls.columns))}\n"
        f"{_truth_line(found.coverages[0])}\n\n"
        f"{markdown(coverages, [True] * len(coverages.columns))}"
    )


def _null_row(found: NullCount) -> Row:
    return {
        "features": str(found.model.width),
        "seeds a side": str(found.seeds),
        "pairs": str(found.pairs),
        "claims": str(found.claims),
        **{str(word): str(count) for word, count in found.words.items()},
        "SD": f"{found.spread:.4f}",
        "SE claimed": f"{found.claimed:.4f}",
    }


def _truth_line(found: Coverage) -> str:
    return (
        f"{found.arm.width} features against {found.reference.width}: the true difference in "
        f"macro AUROC is {found.truth:+.4f} (standard error {found.truth_se:.4f}), measured on "
        "all molecules outside each table:"
    )


def _coverage_row(found: Coverage) -> Row:
    held = {
        "95 % interval holds it": found.held,
        "holds that of its own models": found.held_trained,
        "corrected t holds it": found.held_corrected,
    }
    return {
        "seeds a side": str(found.seeds),
        "tables": str(found.tables),
        **{name: f"{count} ({count / found.tables:.0%})" for name, count in held.items()},
        "mean width": f"{found.width:.4f}",
    }
