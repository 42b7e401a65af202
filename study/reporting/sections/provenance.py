"""Section on provenance: data, split, leakage, seeds, trials, versions."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from study.data import describe
from study.metrics import macro_mean
from study.reporting.context import ReportContext
from study.reporting.document import Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, build_frame, format_count, format_list
from study.results.study_results import ResultSnapshot
from study.splits import audit_leakage

if TYPE_CHECKING:
    from pandas import DataFrame

FACTS = (Column("what", "what"), Column("value", "value"))
STEPS = (
    Column("step", "step"),
    Column("before", "before", ",d"),
    Column("after", "after", ",d"),
    Column("note", "note"),
)
MAX_CAUSES = 5
"""Maximum number of causes of failures that are listed."""


def section(context: ReportContext) -> DocumentSection:
    """Describe data, split, leakage, seeds, trials and versions."""
    results = context.analysis.results
    all_tables = [
        DocumentTable("provenance", "What was run.", FACTS, build_frame(_list_facts(results))),
        DocumentTable("leaks", "Leakage between training and test folds.", *_audit_leaks(results)),
        DocumentTable(
            "curation",
            "How the table was curated.",
            STEPS,
            build_frame(_list_curation_steps(results)),
        ),
    ]
    tables = [table for table in all_tables if len(table.frame)]
    return DocumentSection(
        "provenance", "Provenance", (*tables, *_list_failures(results), Prose(RULES))
    )


RULES = (
    "Macro AUROC and AP are unweighted means over the labels, on test folds that training never "
    "reads; epochs and partitions are chosen inside the training part. Do not rank these numbers "
    "together with those of another label set or split."
)


def _list_facts(results: ResultSnapshot) -> list[Row]:
    data, split, trials = results.data.dataset, results.data.split, results.by_id.values()
    undefined = sum(macro_mean(trial.auroc).undefined for trial in trials)
    expected = len(results.plan.arms) * results.plan.trials_per_arm
    seconds = sum(trial.seconds for trial in trials)
    facts = {
        "study": results.spec.name,
        "table": f"{data.name}, {len(data):,} molecules x {len(data.label_names)} labels",
        "positives per label": f"{data.positives.min():,} to {data.positives.max():,}",
        "data digest": data.digest,
        "split": (
            f"{split.scheme} groups, {split.n_folds} folds x {split.n_repeats}, seed {split.seed}"
        ),
        "split digest": split.digest,
        "training fractions": format_list([f"{fraction:g}" for fraction in results.spec.fractions]),
        "seeds": format_list([str(seed) for seed in results.plan.seeds]),
        "arms": f"{len(results.plan.arms)} ({len(results.plan.added)} added as ensemble members)",
        "trials": (
            f"{len(trials):,} of {expected:,} finished, {results.missing:,} missing, "
            f"{len(results.failures):,} of them failed"
        ),
        "undefined label and fold pairs": f"{undefined:,}",
        "CPU hours of the fits": f"{seconds / 3600:.2f} (without encoder jobs)",
        **_list_study_versions(results),
        **_list_package_versions(results),
    }
    return [{"what": name, "value": value} for name, value in facts.items()]


def _list_study_versions(results: ResultSnapshot) -> dict[str, str]:
    """Return the version and the other versions; empty if only the current one exists."""
    if not results.version_lines:
        return {}
    others = "; ".join(map(str, results.study.versions[1:])) or "none"
    return {"version": f"{results.study.versions[0]}, and no other", "other versions": others}


def _list_package_versions(results: ResultSnapshot) -> dict[str, str]:
    """Return the package versions of the results; several if packages were updated meanwhile."""
    by_package: dict[str, set[str]] = defaultdict(set)
    for result in results.by_id.values():
        for package, version in result.versions.items():
            by_package[package].add(version)
    return {
        f"version of {package}": format_list(sorted(versions))
        for package, versions in sorted(by_package.items())
    }


def _audit_leaks(results: ResultSnapshot) -> tuple[tuple[Column, ...], DataFrame]:
    data = results.data.dataset
    frame = build_frame(audit_leakage(results.data.split, data.smiles, data.labels).rows())
    return tuple(Column(key, key) for key in frame.columns), frame


def _list_curation_steps(results: ResultSnapshot) -> list[Row]:
    return [
        {"step": name, "before": int(before), "after": int(after), "note": note}
        for name, before, after, note in describe(results.data.dataset).steps
    ]


def _list_failures(results: ResultSnapshot) -> list[Bullets]:
    """Return one line per cause of failure, with the number of its trials."""
    causes: dict[str, list[str]] = defaultdict(list)
    for failure in sorted(results.failures, key=lambda failure: failure.trial):
        causes[failure.cause].append(failure.trial)
    lines = [
        f"Failed: {format_count(len(trials), 'trial')}, the first {trials[0]}: {cause}"
        for cause, trials in list(causes.items())[:MAX_CAUSES]
    ]
    return [Bullets(tuple(lines))] if lines else []
