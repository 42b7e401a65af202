"""Where the numbers come from: data, split, leaks, seeds, trials, versions."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from study.data import describe
from study.metrics import macro_mean
from study.reporting.context import ReportContext
from study.reporting.document import Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, format_count, format_list, frame_of
from study.results.study_results import StudyResults
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
LONGEST = 5
"""Causes of failures that are listed."""


def section(material: ReportContext) -> DocumentSection:
    """Describe data, split, leaks, seeds, trials and versions."""
    record = material.evidence.record
    blocks = [
        DocumentTable("provenance", "What was run.", FACTS, frame_of(_facts(record))),
        DocumentTable("leaks", "What crosses the lines of the split.", *_leaks(record)),
        DocumentTable("curation", "How the table was curated.", STEPS, frame_of(_steps(record))),
    ]
    shown = [table for table in blocks if len(table.frame)]
    return DocumentSection("provenance", "Provenance", (*shown, *_failures(record), Prose(RULES)))


RULES = (
    "Macro AUROC and AP are unweighted means over the labels, on test folds that training never "
    "reads; epochs and partitions are chosen inside the training part. Never rank these numbers "
    "with those of another label set or split."
)


def _facts(record: StudyResults) -> list[Row]:
    data, split, results = record.data.dataset, record.data.split, record.by_id.values()
    undefined = sum(macro_mean(result.auroc).undefined for result in results)
    expected = len(record.plan.arms) * record.plan.per_arm
    seconds = sum(result.seconds for result in results)
    facts = {
        "study": record.spec.name,
        "table": f"{data.name}, {len(data):,} molecules x {len(data.label_names)} labels",
        "positives a label": f"{data.positives.min():,} to {data.positives.max():,}",
        "data digest": data.digest,
        "split": (
            f"{split.scheme} groups, {split.n_folds} folds x {split.n_repeats}, seed {split.seed}"
        ),
        "split digest": split.digest,
        "training fractions": format_list([f"{fraction:g}" for fraction in record.spec.fractions]),
        "seeds": format_list([str(seed) for seed in record.plan.seeds]),
        "arms": f"{len(record.plan.arms)} ({len(record.plan.added)} added as members of controls)",
        "trials": (
            f"{len(results):,} of {expected:,} finished, {record.missing:,} missing, "
            f"{len(record.failures):,} of them failed"
        ),
        "undefined label and fold pairs": f"{undefined:,}",
        "CPU hours of the fits": f"{seconds / 3600:.2f} (without encoders made ready before them)",
        **_version_facts(record),
        **_versions(record),
    }
    return [{"what": name, "value": value} for name, value in facts.items()]


def _version_facts(record: StudyResults) -> dict[str, str]:
    """Name the version where it is not the only one, or not the current one."""
    if not record.version_lines:
        return {}
    others = "; ".join(map(str, record.study.versions[1:])) or "none"
    return {"version": f"{record.study.versions[0]}, and no other", "other versions": others}


def _versions(record: StudyResults) -> dict[str, str]:
    """Versions that made the results; several where a study was continued after an update."""
    found: dict[str, set[str]] = defaultdict(set)
    for result in record.by_id.values():
        for package, version in result.versions.items():
            found[package].add(version)
    return {
        f"version of {package}": format_list(sorted(found[package])) for package in sorted(found)
    }


def _leaks(record: StudyResults) -> tuple[tuple[Column, ...], DataFrame]:
    data = record.data.dataset
    frame = frame_of(audit_leakage(record.data.split, data.smiles, data.labels).rows())
    return tuple(Column(key, key) for key in frame.columns), frame


def _steps(record: StudyResults) -> list[Row]:
    return [
        {"step": name, "before": int(before), "after": int(after), "note": note}
        for name, before, after, note in describe(record.data.dataset).steps
    ]


def _failures(record: StudyResults) -> list[Bullets]:
    """One line a cause, with the number of its trials."""
    causes: dict[str, list[str]] = defaultdict(list)
    for failure in sorted(record.failures, key=lambda failure: failure.trial):
        causes[failure.cause].append(failure.trial)
    lines = [
        f"Failed: {format_count(len(trials), 'trial')}, the first {trials[0]}: {cause}"
        for cause, trials in list(causes.items())[:LONGEST]
    ]
    return [Bullets(tuple(lines))] if lines else []
