"""Figure of the training of an arm: monitored values by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.reporting.document import Figure
from study.reporting.figures.canvas import COLORS, NARROW, FigureTexts, draw_figure
from study.reporting.formatting import format_count
from study.results.trial_result import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAMES = {"loss": "training loss", "monitored": "monitored validation value"}
"""Names of the axes."""
MAX_NAMED = 12
"""Maximum number of trials in the legend."""
CAPTION = (
    "One line per trial (fold and seed). Dot: the epoch whose weights are used, the best by the "
    "validation value."
)


def draw_training_curves(arm: str, trials: Sequence[TrialResult]) -> Figure:
    """Draw every monitored value of every trial against the epoch.

    Parameters
    ----------
    arm : str
        Name of the arm.
    trials : sequence of TrialResult
        Trials of the arm with a training history.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.history))

    def paint(canvas: Canvas) -> None:
        from matplotlib.ticker import MaxNLocator

        for axes, name in zip(
            canvas.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True
        ):
            for i, trial in enumerate(trials):
                values, color = trial.history.get(name, ()), COLORS[i % len(COLORS)]
                label = (
                    f"seed {trial.spec.seed}, fold {trial.spec.fold}" if name == names[0] else None
                )
                axes.plot(
                    range(1, len(values) + 1), values, color=color, linewidth=0.9, label=label
                )
                best = trial.counts.get("best_epoch", 0)
                if 1 <= best <= len(values):
                    axes.plot(best, values[best - 1], "o", color=color, markersize=3.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("epoch")
            axes.set_ylabel(NAMES.get(name, name))
            axes.grid()
        if len(trials) <= MAX_NAMED:
            canvas.legend(loc="outside lower center", ncols=3)

    longest = max(len(values) for trial in trials for values in trial.history.values())
    description = (
        f"Training of {arm}: {' and '.join(names)} of {format_count(len(trials), 'trial')}, "
        f"at most {format_count(longest, 'epoch')}."
    )
    texts = FigureTexts("training", f"Training of {arm}", description, CAPTION)
    return draw_figure(texts, (NARROW, 0.6 + 1.9 * len(names)), paint)
