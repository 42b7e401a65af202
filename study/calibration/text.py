"""Format a calibration as text."""

from __future__ import annotations

from study.calibration.calibration import Calibration, Coverage, NullCount
from study.reporting.formatting import Row, build_frame, markdown


def format_calibration(calibration: Calibration) -> str:
    """Return a calibration as two Markdown tables, each with a sentence of explanation."""
    nulls = build_frame(map(_build_null_row, calibration.nulls))
    coverages = build_frame(map(_build_coverage_row, calibration.coverages))
    return (
        f"{calibration.coverages[0].tables} tables of {calibration.molecules} molecules x "
        f"{calibration.labels} labels, drawn from {calibration.population} simulated molecules; "
        "5 folds; ridge on random features.\n\n"
        "One model against itself under other seeds (a claim is wrong by construction):\n\n"
        f"{markdown(nulls, [True] * len(nulls.columns))}\n"
        f"{_describe_truth(calibration.coverages[0])}\n\n"
        f"{markdown(coverages, [True] * len(coverages.columns))}"
    )


def _build_null_row(null: NullCount) -> Row:
    return {
        "features": str(null.model.width),
        "seeds a side": str(null.seeds),
        "pairs": str(null.pairs),
        "claims": str(null.claims),
        **{str(kind): str(count) for kind, count in null.verdicts.items()},
        "SD": f"{null.spread:.4f}",
        "SE claimed": f"{null.claimed:.4f}",
    }


def _describe_truth(coverage: Coverage) -> str:
    return (
        f"{coverage.arm.width} features against {coverage.reference.width}: the true difference "
        f"in macro AUROC is {coverage.truth:+.4f} (standard error {coverage.truth_se:.4f}), "
        "measured on all molecules outside each table:"
    )


def _build_coverage_row(coverage: Coverage) -> Row:
    held = {
        "95 % interval holds it": coverage.held,
        "holds that of its own models": coverage.held_trained,
        "corrected t holds it": coverage.held_corrected,
    }
    return {
        "seeds a side": str(coverage.seeds),
        "tables": str(coverage.tables),
        **{name: f"{count} ({count / coverage.tables:.0%})" for name, count in held.items()},
        "mean width": f"{coverage.width:.4f}",
    }
