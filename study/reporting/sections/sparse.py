"""Section on the gain of the label balancer by label density."""

from __future__ import annotations

from study.analysis.sparse_gain import SparseGain
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, DocumentTable, Prose
from study.reporting.figures.sparse import draw_sparse_gain
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.tables import build_difference_row, number_or_none

MAX_FIGURES = 4
COLUMNS = (
    Column("contrast", "contrast"),
    Column("fifth", "fifth", "d"),
    Column("labels", "labels", "d"),
    Column("positives", "positives"),
    Column("auroc_arm", "AUROC", ".4f"),
    Column("auroc_reference", "reference", ".4f"),
    Column("difference", "gain [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("seeds_alone", "seeds alone (95 %)"),
    Column("oracle", "out of nothing", "+.4f"),
    Column("ap_gain", "AP gain", "+.4f"),
    Column("headroom", "share of headroom", "+.3f"),
)
SLOPES = (
    Column("contrast", "contrast"),
    Column("slope", "gain per doubling [95 % CI]", "+.5f", ("slope_low", "slope_high")),
    Column("p", "p", ".3f"),
    Column("seeds_alone", "seeds alone (95 %)"),
)
NOTE = (
    "Labels are grouped in fifths by their positives in the whole data set, which is fixed before "
    "anything is measured. A gain of the sparsest fifth is meaningful if it exceeds the range that "
    "seeds alone produce. Choosing a model for each label on the test folds produces a spurious "
    "gain of the same shape ('out of nothing'). A slope below 0 means that rare labels gain more. "
    "*: an ensemble against a single model, which is not a fair comparison."
)


def section(context: ReportContext) -> DocumentSection | None:
    """Draw the gains of the first contrasts, and list the fifths of all contrasts."""
    if not context.sparse:
        return None
    figures = [
        draw_sparse_gain(
            f"sparse_{i}", f"Gain by label density: {context.title(gain.contrast)}", gain
        )
        for i, gain in enumerate(context.sparse[:MAX_FIGURES], start=1)
    ]
    missing = "No contrast compares a label balancer with an MLP head or an independent mean. "
    note = NOTE if context.balancers else f"{missing}{NOTE}"
    fifths = [row for gain in context.sparse for row in _build_fifth_rows(context, gain)]
    tables: tuple[Block, ...] = (
        DocumentTable(
            "sparse_fifths", "Gain by density fifth, densest first.", COLUMNS, build_frame(fifths)
        ),
        DocumentTable(
            "sparse_slopes", "Trend of the gain.", SLOPES, build_frame(_build_slope_rows(context))
        ),
    )
    return DocumentSection("sparse", "Sparse-class gain", (Prose(note), *figures, *tables))


def _build_fifth_rows(context: ReportContext, gain: SparseGain) -> list[Row]:
    return [
        {
            "contrast": context.title(gain.contrast),
            "fifth": fifth.fifth + 1,
            "labels": fifth.labels,
            "positives": f"{fifth.fewest}-{fifth.most}",
            "auroc_arm": number_or_none(fifth.auroc_arm),
            "auroc_reference": number_or_none(fifth.auroc_reference),
            **build_difference_row("difference", fifth.difference),
            "seeds_alone": _format_ribbon(gain, i),
            "oracle": number_or_none(gain.oracle[i]) if gain.oracle else None,
            "ap_gain": number_or_none(fifth.ap_gain),
            "headroom": number_or_none(fifth.headroom),
        }
        for i, fifth in enumerate(gain.fifths)
    ]


def _format_ribbon(gain: SparseGain, fifth: int) -> str | None:
    if gain.null is None:
        return None
    return f"[{gain.null.fifth_low[fifth]:+.4f}, {gain.null.fifth_high[fifth]:+.4f}]"


def _build_slope_rows(context: ReportContext) -> list[Row]:
    return [
        {
            "contrast": context.title(gain.contrast),
            "slope": number_or_none(gain.slope.estimate),
            "slope_low": number_or_none(gain.slope.low),
            "slope_high": number_or_none(gain.slope.high),
            "p": number_or_none(gain.slope.p),
            "seeds_alone": f"[{gain.null.slope_low:+.5f}, {gain.null.slope_high:+.5f}]"
            if gain.null
            else None,
        }
        for gain in context.sparse
    ]
