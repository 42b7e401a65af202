"""``study calibrate``: how often verdicts and intervals are wrong where the answer is known."""

from __future__ import annotations

from typing import Annotated

import typer


def calibrate(
    pairs: Annotated[
        int, typer.Option(help="Simulated tables; each gives one pair of every kind.", min=2)
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the molecules and the draws.", min=0)] = 0,
) -> None:
    """Count wrong verdicts on seed-null pairs, and intervals that hold a known difference."""
    from study.analysis.calibration import calibrate as measure
    from study.report.calibration_text import calibration_text

    typer.echo(calibration_text(measure(pairs, seed)), nl=False)
