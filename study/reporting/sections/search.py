"""Section on the hyperparameter search: budget, chosen values, sensitivity to the budget."""

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
from study.reporting.figures.search import MAX_TOGETHER, draw_search, list_doublings
from study.reporting.formatting import Column, Row, build_frame, format_count, format_list
from study.reporting.tables import number_or_none
from study.results.search_log import SearchLog

MAX_FIGURES, MAX_LINES = 4, 8
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


def section(context: ReportContext) -> DocumentSection:
    """Show the budget of every arm, the chosen values, and the sensitivity to the budget."""
    search, arms = context.analysis.results.spec.search, read_searches(context)
    if search is None or not arms:
        text = (
            "No hyperparameter was searched: every arm was trained with the values of the study "
            "file."
        )
        return DocumentSection("search", "Hyperparameter search", (Prose(text),))
    blocks: list[Block] = [
        Prose(_describe_search(search, arms[0].logs[0].monitor, context)),
        Bullets(tuple(_list_warnings(context, arms))),
        *_draw_figures(context, arms),
        *_build_tables(context, arms),
    ]
    return DocumentSection("search", "Hyperparameter search", tuple(blocks))


def read_searches(context: ReportContext) -> list[ArmSearch]:
    """Return the searches of the arms whose trials searched, in the order of the study file."""
    searches = []
    for arm in context.arms:
        stored = [trial.search for trial in context.analysis.results.results_of(arm)]
        logs = tuple(SearchLog.from_json(log) for log in stored if log)
        if logs:
            searches.append(ArmSearch(arm, logs))
    return searches


def _describe_search(search: SearchConfig, monitor: str, context: ReportContext) -> str:
    space = format_list([f"{key} ({_format_domain(d)})" for key, d in search.space.items()])
    epochs = context.analysis.results.spec.training.epochs
    sampling = {
        "random": "drawn independently",
        "tpe": "suggested one after the other by Optuna's TPE, the first ten at random",
        "asha": "drawn independently, with successive halving: "
        + ", ".join(
            f"{r.candidates} to epoch {r.epochs}" for r in build_rungs(search.budget, epochs)
        ),
    }[search.method]
    return (
        f"Every arm had the same budget, {search.budget} configurations in each trial, and the "
        f"same space: {space}. The first configuration has the arm's own hyperparameters, the "
        f"others are {sampling}. Each trial chose by the {VALUES[monitor]} inside its own training "
        "fold, was fitted with the chosen configuration, and was then evaluated once on its test "
        "fold."
    )


def _format_domain(domain: SearchRange | tuple[Any, ...]) -> str:
    if isinstance(domain, SearchRange):
        return f"{domain.low:g} to {domain.high:g}, {domain.scale}"
    return " or ".join(str(to_plain(value)) for value in domain)


def _list_warnings(context: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[str]:
    """Yield warnings about the search that affect how far a comparison can be trusted."""
    yield from _describe_order(context, arms)
    rope = context.analysis.results.spec.analysis.rope
    rising = [context.names.of(arm.arm) for arm in arms if arm.last_half > rope]
    if rising:
        yield (
            f"The second half of the budget still improved {format_list(rising[:MAX_LINES])} by "
            f"more than {rope:g}: a larger budget may improve them further."
        )
    for arm in arms:
        for name in arm.numbers:
            if 2 * arm.at_edge(name) > len(arm.logs):
                yield (
                    f"{context.names.of(arm.arm)}: {arm.at_edge(name)} of {len(arm.logs)} trials "
                    f"chose {name} at an end of its range, so the best value may lie beyond it."
                )
    broken = sum(arm.broken for arm in arms)
    if broken:
        count = format_count(broken, "configuration")
        yield f"{count} could not be trained; the causes are stored with the trials."
    if any(arm.technique == MEAN for arm in context.arms):
        yield (
            "An independent mean searches nothing itself. Each of its members had the same budget "
            "as any other arm, so its total budget is that of all its members."
        )


def _describe_order(context: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[str]:
    """Describe whether the ranking of the arms depends on the budget."""
    if len(arms) < 2:
        return
    crossings = sorted(find_crossings(arms), key=lambda c: -min(c.after, -c.before))
    if not crossings:
        yield (
            "The order of the arms by validation value is the same with their own hyperparameters "
            "and with the full budget."
        )
        return
    rope = context.analysis.results.spec.analysis.rope
    clear = sum(min(crossing.after, -crossing.before) > rope for crossing in crossings)
    yield (
        f"{format_count(len(crossings), 'pair')} of arms: the order by validation value with their "
        f"own hyperparameters differs from that at the full budget, in {clear} of them by more "
        f"than {rope:g} on both sides. These comparisons depend on the budget."
    )
    for crossing in crossings[:MAX_LINES]:
        sides = (crossing.ahead, crossing.behind)
        ahead, behind = (context.names.of(side.arm) for side in sides)
        yield (
            f"{ahead} against {behind}: {crossing.before:+.4f} before, {crossing.after:+.4f} after."
        )


def _draw_figures(context: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[Figure]:
    full = [arm for arm in arms if arm.arm.fraction == context.fullest]
    value = VALUES[arms[0].logs[0].monitor]
    starts = range(0, len(full), MAX_TOGETHER)
    parts = [full[start : start + MAX_TOGETHER] for start in starts]
    for number, part in enumerate(parts[:MAX_FIGURES], start=1):
        labels = [context.names.of(arm.arm, fraction=False) for arm in part]
        yield draw_search(f"search_{number}", "Sensitivity to the budget", value, part, labels)


def _build_tables(context: ReportContext, arms: Sequence[ArmSearch]) -> Iterator[DocumentTable]:
    frame = build_frame(_build_budget_row(context, arm) for arm in arms)
    yield DocumentTable("search", "Budget of every arm, and its gain.", BUDGETS, frame)
    points = list_doublings(max(len(arm.curve) for arm in arms))
    columns = (Column("arm", "arm"), *(Column(f"best_{n}", f"{n}", ".4f") for n in points))
    rows = [_build_curve_row(context, arm, points) for arm in arms]
    caption = "Expected best validation value by the number of configurations."
    yield DocumentTable("search_budget", caption, columns, build_frame(rows))
    rows = [_build_chosen_row(context, arm, name) for arm in arms for name in arm.numbers]
    if rows:
        caption = "Chosen hyperparameters: median over the trials, or the most frequent value."
        yield DocumentTable("search_chosen", caption, CHOSEN, build_frame(rows))


def _build_budget_row(context: ReportContext, arm: ArmSearch) -> Row:
    return {
        "arm": context.names.of(arm.arm),
        "configurations": sum(len(log.tried) for log in arm.logs) / len(arm.logs),
        "epochs": arm.epochs,
        "seconds": arm.seconds,
        "own": number_or_none(float(arm.curve[0])),
        "best": number_or_none(float(arm.curve[-1])),
        "gain": number_or_none(arm.gain),
        "last_half": number_or_none(arm.last_half),
        "kept_own": f"{arm.kept_initial}/{len(arm.logs)}",
    }


def _build_curve_row(context: ReportContext, arm: ArmSearch, points: Sequence[int]) -> Row:
    values = {
        f"best_{n}": number_or_none(float(arm.curve[n - 1])) for n in points if n <= len(arm.curve)
    }
    return {"arm": context.names.of(arm.arm), **values}


def _build_chosen_row(context: ReportContext, arm: ArmSearch, name: str) -> Row:
    initial, values = arm.logs[0].tried[0].numbers[name], arm.chosen(name)
    singles = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values]
    numeric = all(isinstance(value, int | float) for value in singles)
    frequent = Counter(map(str, values)).most_common(1)[0][0]
    return {
        "arm": context.names.of(arm.arm),
        "number": name,
        "own": str(initial),
        "chosen": f"{median(singles):.3g}" if numeric else frequent,
        "lowest": f"{min(singles):.3g}" if numeric else None,
        "highest": f"{max(singles):.3g}" if numeric else None,
        "edge": f"{arm.at_edge(name)}/{len(arm.logs)}",
    }
