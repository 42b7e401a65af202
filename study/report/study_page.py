"""What the page of a study shows: how far it is, its comparison, its file and its split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from study.analysis.comparison import Compared
from study.progress import Progress, duration
from study.record import StudyRecord
from study.redaction import without_secrets
from study.report.page import ROLE, STATE, Metrics
from study.report.pages import LAYOUT
from study.report.rendering import Kind, render
from study.report.table import COLUMNS, comparison_frame
from study.spec import digest

COMPARISONS: Mapping[Kind, str] = {"csv": "csv", "md": "md", "json": "json", "latex": "tex"}


def opening_tags(record: StudyRecord) -> dict[str, str]:
    """Return the tags that the page of a study is made with."""
    return {ROLE: "study", "mlflow.note.content": record.spec.description}


def study_tags(
    record: StudyRecord, compared: Sequence[Compared], progress: Progress | None
) -> dict[str, str]:
    """Return how far a study is, by its ledger and by the launch under way."""
    left = progress.left if progress else None
    tags = {
        "trials_finished": len(record.results),
        "trials_failed": len(record.failures),
        "trials_missing": record.missing,
        "trials_running": progress.running if progress else 0,
        "progress": str(progress) if progress else "",
        "time_left": duration(left) if left is not None else "",
    }
    named = {f"olfaction.{name}": str(value) for name, value in tags.items()}
    return {**named, STATE: study_state(record, compared)}


def study_state(record: StudyRecord, compared: Sequence[Compared]) -> str:
    """Digest of the files of a study's page."""
    table = render(comparison_frame(compared), COLUMNS, "json") if compared else ""
    spec = without_secrets(record.spec).model_dump(mode="json")
    return digest([LAYOUT, spec, record.inputs.split.digest, table])[:32]


def headline(compared: Sequence[Compared]) -> Metrics:
    """Return the numbers of a whole study: its best level, and how many gains are claims.

    None while it runs, when nothing is compared yet.
    """
    if not compared:
        return {}
    words = [str(each.rival.verdict.word) for each in compared if each.rival]
    means = [each.summary.auroc for each in compared if each.level]
    levels = [mean for mean in means if not math.isnan(mean)]
    counts = {"gains": len(words), "gains_wins": words.count("wins")}
    counts["gains_suggestive"] = words.count("suggestive")
    best = {"auroc_macro_best": max(levels)} if levels else {}
    return {**{name: float(count) for name, count in counts.items()}, **best}


def write_study(folder: Path, record: StudyRecord, compared: Sequence[Compared]) -> None:
    """Write the files of a study: its file, its split, and the comparison once it has ended."""
    frame = comparison_frame(compared)
    for kind, suffix in COMPARISONS.items() if compared else ():
        text = render(frame, COLUMNS, kind)
        (folder / f"comparison.{suffix}").write_text(text, encoding="utf-8")
    shown = without_secrets(record.spec).model_dump_json(indent=2)
    (folder / "study.json").write_text(shown, encoding="utf-8")
    record.inputs.split.save(folder / "split.json")
