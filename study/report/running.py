"""The report as the command line sees it: studies in, a folder out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from study.analysis.evidence import Evidence
from study.declared import contrasts_of
from study.mirror import Mirror
from study.reading import study_name
from study.record import read_folder
from study.report.compose import compose
from study.report.write import write_report
from study.spec import StudySpec
from study.storage import Storage

Keep = Callable[[StudySpec, Path], list[str]]


def report_study(
    study: str,
    storage: str,
    out: Path | None,
    beside: Sequence[str] = (),
    keep: Keep | None = None,
) -> tuple[str, bool]:
    """Write the report of a study; return what to print, and whether the study is complete.

    Parameters
    ----------
    study : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    out : Path or None
        Folder of the report; by default ``report`` in the folder of the study.
    beside : sequence of str
        Other studies of the same storage to set beside it.
    keep : function, optional
        Keeps the folder on the tracking page of the study; returns what to say of it.

    Raises
    ------
    InputError
        A study is not there, or no trial of it has finished.
    """
    evidence = _evidence(study, storage)
    others = [_evidence(each, storage) for each in beside]
    document = compose(evidence, {each.record.spec.name: each for each in others})
    place = Mirror(Storage(storage).below(evidence.record.spec.name, "report"))
    folder = out or place.root
    written = write_report(document, folder)
    if out is None:
        place.push(folder)
    lines = [
        f"report:  {written[0]}",
        f"{len(document.figures)} figures (SVG, PNG), {len(document.tables)} tables (CSV), and the "
        f"same as Markdown in {folder}",
    ]
    if keep is not None:
        lines += keep(evidence.record.spec, folder)
    if evidence.record.missing:
        lines.append(f"{evidence.record.missing} trials are missing; launch again to run them")
    return "\n".join(lines) + "\n", evidence.record.missing == 0


def _evidence(study: str, storage: str) -> Evidence:
    name = study_name(study)
    record = read_folder(Storage(storage).below(name))
    return Evidence(record, contrasts_of(record.spec, record.plan))
