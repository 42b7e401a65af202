"""What the search had to spend, what it chose, and whether more would change the order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from study.analysis.search_sensitivity import ArmSearch, find_crossings
from study.config.search import SearchConfig, SearchRange, to_plain
from study.planning.search_budget import build_rungs
from study.reporting.context import MEAN, ReportContext
from study.reporting.document import Block, Bullets, DocumentSection, DocumentTable, Figure, Prose
from study.reporting.figures.search import TOGETHER, doublings
from study.reporting.figures.search import draw_search as drawn
from study.reporting.formatting import Column, Row, format_count, format_list, frame_of
from study.reporting.tables import number_or_none
from study.results.search_log import SearchLog

MOST_FIGURES, MOST_LINES = 4, 8
BUDGETS = (
    Column("arm", "arm"),
    Column("configurations", "configurations a trial", ".1f"),
    Column("epochs", "epochs a trial", ",.0f"),
    Column("seconds", "search seconds a trial", ",.1f"),
    Column("own", "validation, own numbers", ".4f"),
    Column("best", "validation, chosen", ".4f"),
    Column("gain", "gain", "+.4f"),
    Column("last_half", "of it by the second half", "+.4f"),
    Column("kept_own", "trials that kept their own"),
)
CHOSEN = (
    Column("arm", "arm"),
    Column("number", "number"),
    Column("own", "own"),
    Column("chosen", "chosen"),
    Column("lowest", "lowest"),
    Column("highest", "highest"),
    Column("edge", "trials at an end of the range"),
)
VALUES = {"auroc": "validation macro AUROC", "loss": "validation log-likelihood"}


def section(material: ReportContext) -> DocumentSection:
    """Show the budget of every arm, the chosen numbers, and the sensitivity to the budget."""
    search, arms = material.evidence.record.spec.search, searched(material)
    if search is None or not arms:
        why = "No number was searched: every arm was trained with those of the study file."
        return DocumentSection("search", "Hyperparameter search", (Prose(why),))
    blocks: list[Block] = [
        Prose(_said(search, arms[0].logs[0].monitor, material)),
        Bullets(tuple(_flags(material, arms))),
        *_figures(material, arms),
        *_tables(material, arms),
    ]
    return DocumentSection("search", "Hyperparameter search", tuple(blocks))


def searched(material: ReportContext) -> list[ArmSearch]:
    """Return the arms whose trials searched, in the order of the file."""
    record, found = material.evidence.record, []
    for arm in material.arms:
        kept = [result.search for result in record.results_of(arm)]
        logs = tuple(SearchLog.from_json(log) for log in kept if log)
        if logs:
            found.append(ArmSearch(arm, logs))
    return found


def _said(search: SearchConfig, monitor: str, material: ReportContext) -> str:
    space = format_list([f"{name} ({_domain(domain)})" for name, domain in search.space.items()])
    epochs = material.evidence.record.spec.training.epochs
    how = {
        "random": "drawn independently",
        "tpe": "suggested by Optuna's TPE one after the other, the first ten of them drawn",
        "asha": "drawn independently and halved: "
        + ", ".join(
            f"{r.candidates} to epoch {r.epochs}" for r in build_rungs(search.budget, epochs)
        ),
    }[search.method]
    return (
        f"Every arm had the same budget, {search.budget} configurations in each trial, and the "
        f"same space: {space}. The first configuration is the arm's own numbers, the others are "
        f"{how}. Each trial chose by the {VALUES[monitor]} inside its own training fold, was "
        "fitted with the chosen numbers, and met its test fold once, afterwards."
    )


def _domain(domain: SearchRange | tuple[Any, ...]) -> str:
    if isinstance(domain, SearchRange):
        return f"{domain.low:g} to {domain.high:g}, {domain.scale}"
    return " or ".join(str(to_plain(value)) for value in domain)


def _flags(material: ReportContext, all_scores: Sequence[ArmSearch]) -> Iterator[str]:
    """Yield what to know before a comparison is believed."""
    yield from _order(material, all_scores)
    rope = material.evidence.record.spec.analysis.rope
    rising = [material.names.of(scores.arm) for scores in all_scores if scores.last_half > rope]
    if rising:
        yield (
            f"The second half of the budget still gave {format_list(rising[:MOST_LINES])} more "
            "than "
            f"{rope:g}: a larger budget may lift them further."
        )
    for scores in all_scores:
        for name in scores.numbers:
            if 2 * scores.at_edge(name) > len(scores.logs):
                yield (
                    f"{material.names.of(scores.arm)}: {scores.at_edge(name)} of "
                    f"{len(scores.logs)} trials "
                    f"chose {name} at an end of its range, so that the best may lie beyond it."
                )
    broken = sum(scores.broken for scores in all_scores)
    if broken:
        count = format_count(broken, "configuration")
        yield f"{count} could not be trained; their cause is recorded."
    if any(arm.technique == MEAN for arm in material.arms):
        yield (
            "An independent mean searches nothing itself: each of its members had the same budget "
            "as any arm, so that it spends as many budgets as it has members."
        )


def _order(material: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[str]:
    """Say whether the ranking of the arms depends on the budget."""
    if len(arms) < 2:
        return
    turned = sorted(find_crossings(arms), key=lambda each: -min(each.after, -each.before))
    if not turned:
        yield (
            "The order of the arms by validation value is the same with their own numbers and with "
            "the full budget."
        )
        return
    rope = material.evidence.record.spec.analysis.rope
    clear = sum(min(each.after, -each.before) > rope for each in turned)
    yield (
        f"{format_count(len(turned), 'pair')} of arms change their order by validation value "
        "between "
        f"their own numbers and the full budget, {clear} of them by more than {rope:g} on both "
        "sides: their comparison depends on the budget."
    )
    for each in turned[:MOST_LINES]:
        ahead, behind = (material.names.of(side.arm) for side in (each.ahead, each.behind))
        yield f"{ahead} against {behind}: {each.before:+.4f} before, {each.after:+.4f} after."


def _figures(material: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[Figure]:
    full = [arm for arm in arms if arm.arm.fraction == material.fullest]
    value = VALUES[arms[0].logs[0].monitor]
    parts = [full[at : at + TOGETHER] for at in range(0, len(full), TOGETHER)]
    for place, part in enumerate(parts[:MOST_FIGURES], start=1):
        labels = [material.names.of(arm.arm, fraction=False) for arm in part]
        yield drawn(f"search_{place}", "Sensitivity to the budget", value, part, labels)


def _tables(material: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[DocumentTable]:
    frame = frame_of(_budget_row(material, arm) for arm in arms)
    yield DocumentTable(
        "search", "What every arm had to spend, and what it gained.", BUDGETS, frame
    )
    points = doublings(max(len(arm.curve) for arm in arms))
    columns = (Column("arm", "arm"), *(Column(f"best_{n}", f"{n}", ".4f") for n in points))
    rows = [_curve_row(material, arm, points) for arm in arms]
    caption = "Expected best validation value by the number of configurations."
    yield DocumentTable("search_budget", caption, columns, frame_of(rows))
    rows = [_chosen_row(material, arm, name) for arm in arms for name in arm.numbers]
    if rows:
        caption = "Chosen numbers; of numbers the median over the trials, else the most frequent."
        yield DocumentTable("search_chosen", caption, CHOSEN, frame_of(rows))


def _budget_row(material: ReportContext, arm: ArmSearch) -> Row:
    return {
        "arm": material.names.of(arm.arm),
        "configurations": sum(len(log.tried) for log in arm.logs) / len(arm.logs),
        "epochs": arm.epochs,
        "seconds": arm.seconds,
        "own": number_or_none(float(arm.curve[0])),
        "best": number_or_none(float(arm.curve[-1])),
        "gain": number_or_none(arm.gain),
        "last_half": number_or_none(arm.last_half),
        "kept_own": f"{arm.kept_own}/{len(arm.logs)}",
    }


def _curve_row(material: ReportContext, arm: ArmSearch, points: Sequence[int]) -> Row:
    values = {
        f"best_{n}": number_or_none(float(arm.curve[n - 1])) for n in points if n <= len(arm.curve)
    }
    return {"arm": material.names.of(arm.arm), **values}


def _chosen_row(material: ReportContext, arm: ArmSearch, name: str) -> Row:
    own, values = arm.logs[0].tried[0].numbers[name], arm.chosen(name)
    singles = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values]
    numeric = all(isinstance(each, int | float) for each in singles)
    frequent = Counter(map(str, values)).most_common(1)[0][0]
    return {
        "arm": material.names.of(arm.arm),
        "number": name,
        "own": str(own),
        "chosen": f"{median(singles):.3g}" if numeric else frequent,
        "lowest": f"{min(singles):.3g}" if numeric else None,
        "highest": f"{max(singles):.3g}" if numeric else None,
        "edge": f"{arm.at_edge(name)}/{len(arm.logs)}",
    }
