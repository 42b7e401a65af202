"""What a tracking page shows of a cell: parameters, tags, metrics and the per-label table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from study.analysis.comparison import Compared
from study.analysis.summary import CellSummary, macro
from study.cells import Cell
from study.ledger import seal
from study.metrics import density_fifths
from study.record import StudyRecord
from study.report.rendering import Kind, render
from study.report.table import COLUMNS, comparison_rows
from study.result import TrialResult
from study.spec import digest

Metrics = dict[str, float]
COMPARISONS: Mapping[Kind, str] = {"csv": "csv", "md": "md", "json": "json", "latex": "tex"}
LONGEST_PARAM, LONGEST_TAG = 6000, 5000
"""Characters that every MLflow store of our range takes."""


def cell_params(cell: Cell) -> dict[str, str]:
    """Return every field of a cell as text."""
    numbers = cell.training.model_dump(mode="json")
    params = cell.params() | {f"training.{key}": str(value) for key, value in numbers.items()}
    for feature in cell.features:
        params[f"modality.{feature.name}"] = json.dumps(feature.choice.json_value())
    return _cut(params, LONGEST_PARAM)


def cell_tags(summary: CellSummary, record: StudyRecord) -> dict[str, str]:
    """Return what the tracking pages can group and filter by."""
    cell, split = summary.cell, record.spec.split
    role = "arm" if summary.gain else ("single" if cell.technique == "single" else "reference")
    tags = {
        "arm_id": cell.arm_id,
        "contrast_role": role,
        "reference_cell": record.references.get(cell.id, ""),
        "stage": str(cell.fusion.options.get("stage", "label")) if cell.fusion else "",
        "split_scheme": split.groups,
        "split_digest": record.inputs.split.digest[:16],
        "data_digest": record.inputs.dataset.digest[:16],
        "missing": str(summary.missing),
    }
    causes = causes_of(cell, record)
    if causes:
        tags["cause"] = causes[0]
    named = {f"olfaction.{key}": value for key, value in tags.items()}
    named |= {f"olfaction.{key}": value for key, value in cell.params().items()}
    return _cut(named, LONGEST_TAG)


def _cut(texts: Mapping[str, str], longest: int) -> dict[str, str]:
    """Shorten texts; the artifacts hold them whole."""
    return {key: t if len(t) <= longest else t[: longest - 4] + " ..." for key, t in texts.items()}


def cell_metrics(summary: CellSummary, results: Sequence[TrialResult]) -> dict[str, float]:
    """Return the means of a cell; undefined ones are left out."""
    values = {
        "auroc_macro": summary.auroc,
        "auroc_macro_sd": summary.auroc_sd,
        "ap_macro": summary.average_precision,
        "n_labels_undefined": float(summary.undefined),
        "n_unconverged": float(summary.unconverged),
        "fit_seconds": summary.seconds,
        "fraction": summary.cell.fraction,
    }
    values |= {f"auroc_q{i}": value for i, value in enumerate(summary.fifths, start=1)}
    for key in ("fit", "test", "parameters"):
        counts = [result.counts[key] for result in results if key in result.counts]
        values[f"n_{key}"] = float(np.mean(counts)) if counts else math.nan
    if summary.gain:
        gain = summary.gain
        values |= {"macro_gain": gain.macro, "macro_gain_sd": gain.macro_sd}
        values |= {"sparse_gain": gain.sparse, "sparse_gain_sd": gain.sparse_sd}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def fold_metrics(results: Sequence[TrialResult]) -> list[tuple[str, float, int]]:
    """Return name, value and step for the values of every trial of a cell."""
    values = []
    for step, result in enumerate(results):
        values.append(("auroc_macro_fold", macro(result.auroc), step))
        values.append(("ap_macro_fold", macro(result.average_precision), step))
    return values


def per_label_csv(results: Sequence[TrialResult], record: StudyRecord) -> str:
    """Return the table of labels: positives, density fifth, mean AUROC and AP, AUROC by trial."""
    dataset = record.inputs.dataset
    fifths = density_fifths(dataset.positives)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    trials = [f"auroc_{step}" for step in range(len(results))]
    writer.writerow(["label", "positives", "fifth", "auroc", "ap", *trials])
    for column, name in enumerate(dataset.label_names if results else ()):
        aurocs = [float(result.auroc[column]) for result in results]
        ap = float(np.mean([result.average_precision[column] for result in results]))
        fixed = [name, dataset.positives[column], fifths[column] + 1]
        writer.writerow([*fixed, np.mean(aurocs), ap, *aurocs])
    return buffer.getvalue()


def write_cell(folder: Path, results: Sequence[TrialResult], record: StudyRecord) -> None:
    """Write the files of a cell: the table of labels, and every trial as the ledger has it."""
    (folder / "per_label.csv").write_text(per_label_csv(results, record), encoding="utf-8")
    (folder / "trials").mkdir()
    for result in results:
        (folder / "trials" / f"{result.id}.trial").write_bytes(seal(result.to_bytes()))


def verdict_page(each: Compared, runs: Mapping[str, str]) -> tuple[dict[str, str], Metrics]:
    """Return what a cell's page says of its gain: tags with a link to the reference, and metrics.

    Parameters
    ----------
    each : Compared
    runs : mapping of cell id to run id
    """
    level, rival = each.level, each.rival
    values = {"auroc_macro_low": level.low, "auroc_macro_high": level.high} if level else {}
    tags = {"verdict": "", "reference_run": ""}
    if rival:
        tags = {
            "verdict": str(rival.verdict),
            "reference_run": runs.get(rival.reference.id, ""),
            "equal_size": "yes" if rival.equal_size else "no",
        }
        for name, difference in {"macro_gain": rival.macro, "sparse_gain": rival.sparse}.items():
            values |= {f"{name}_low": difference.low, f"{name}_high": difference.high}
        values |= {
            "macro_gain_p_holm": rival.verdict.p_holm,
            "macro_gain_p_corrected_t": rival.macro.corrected.p,
            "macro_gain_smallest_detectable": rival.macro.smallest,
        }
    named = {f"olfaction.{key}": value for key, value in tags.items()}
    return named, {name: value for name, value in values.items() if not math.isnan(value)}


def headline(compared: Sequence[Compared]) -> Metrics:
    """Return the numbers of a whole study: its best level, and how many gains are claims.

    None while it runs, when nothing is compared yet.
    """
    if not compared:
        return {}
    words = [str(each.rival.verdict.word) for each in compared if each.rival]
    levels = [each.summary.auroc for each in compared if each.level]
    counts = {"gains": len(words), "gains_wins": words.count("wins")}
    counts["gains_suggestive"] = words.count("suggestive")
    best = {"auroc_macro_best": max(levels)} if levels else {}
    return {**{name: float(count) for name, count in counts.items()}, **best}


def write_study(folder: Path, record: StudyRecord, compared: Sequence[Compared]) -> None:
    """Write the files of a study: its file, its split, and the comparison once it has ended."""
    rows = comparison_rows(compared)
    for kind, suffix in COMPARISONS.items() if compared else ():
        text = render(rows, COLUMNS, kind)
        (folder / f"comparison.{suffix}").write_text(text, encoding="utf-8")
    (folder / "study.json").write_text(record.spec.model_dump_json(indent=2), encoding="utf-8")
    record.inputs.split.save(folder / "split.json")


def cell_state(summary: CellSummary, results: Sequence[TrialResult], record: StudyRecord) -> str:
    """Digest of all that the page of a cell shows: its trials, its reference's, its failures."""
    reference = record.references.get(summary.cell.id)
    rivals = [
        r.id for s in record.summaries if s.cell.id == reference for r in record.results_of(s.cell)
    ]
    shown = [[result.id for result in results], reference, rivals, summary.missing]
    return digest([*shown, causes_of(summary.cell, record)])[:32]


def causes_of(cell: Cell, record: StudyRecord) -> list[str]:
    """Return why trials of a cell have failed."""
    ids = {record.inputs.trial_id(trial) for trial in record.plan.trials_of(cell)}
    return [failure.cause for failure in record.failures if failure.id in ids]


def is_complete(summary: CellSummary, record: StudyRecord) -> bool:
    """Whether a cell and its reference arm have all their trials."""
    needed = {summary.cell.id, record.references.get(summary.cell.id)}
    return all(s.missing == 0 for s in record.summaries if s.cell.id in needed)
