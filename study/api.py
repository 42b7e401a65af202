"""A comparison as the command line sees it: names in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.analysis.arm_scores import ScorePool, build_score_pool
from study.analysis.comparison import Baseline, compare_arms
from study.analysis.study_analysis import ContrastResult, StudyAnalysis
from study.config.loading import study_name
from study.errors import InputError
from study.planning.contrasts import build_contrasts
from study.reporting.formatting import Kind, render_table
from study.reporting.tables import COLUMNS, FINDING_COLUMNS, comparison_frame, finding_frame
from study.results.study_results import StudyResults, load_results
from study.storage.mirror import local_folder
from study.storage.storage import Storage
from study.tracking.open import open_tracker

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ComparisonRequest:
    """What `study compare` was asked.

    Attributes
    ----------
    sources : sequence of str
        Names of studies in the storage, study files or presets; experiments of the tracking
        store if one is given.
    storage : str
        Folder of results.
    tracking : str or None
        Read from there instead of the ledger.
    baseline : mapping of column to word, optional
        The one arm that all others are compared with.
    families : sequence of str
        Families of declared contrasts to show in place of the arms; ``all`` for every one.
    version : str, optional
        Words of the version whose results are compared; without it, of each study, the one with
        most finished trials.
    """

    sources: Sequence[str]
    storage: str
    tracking: str | None = None
    baseline: Baseline | None = None
    families: Sequence[str] = ()
    version: str | None = None


def compare_studies(asked: ComparisonRequest, kind: Kind) -> tuple[str, bool]:
    """Return a comparison as text, and whether all its studies are complete.

    Raises
    ------
    InputError
        A study has no finished trial, or none of the version asked for; the baseline is no arm,
        a family no family.
    """
    pools = [_pool(source, asked) for source in asked.sources]
    for pool in pools:
        if not any(pool.results.values()):
            raise InputError(
                f"study '{pool.name}' has no finished trial yet; `study launch` runs it"
            )
    complete = all(len(pool.keys(c)) == pool.plan.per_arm for pool in pools for c in pool.arms)
    named = any(pool.version_lines for pool in pools)
    if asked.families:
        frame = _finding_frame(asked, named=named)
    else:
        compared = compare_arms(pools, asked.baseline)
        frame = comparison_frame(compared, studies=len(pools) > 1, versions=named)
    columns = FINDING_COLUMNS if asked.families else COLUMNS
    lines = [line for pool in pools for line in pool.version_lines] if kind == "table" else []
    return render_table(frame, columns, kind) + "".join(f"{line}\n" for line in lines), complete


def _finding_frame(asked: ComparisonRequest, *, named: bool) -> DataFrame:
    """Return the findings of every study, with its name if there are several."""
    from pandas import concat

    frames = []
    for source in asked.sources:
        name = study_name(source) if len(asked.sources) > 1 else None
        record, findings = _findings(source, asked)
        version = str(record.version) if named else None
        frames.append(finding_frame(findings, name, version))
    return concat(frames)


def _pool(source: str, asked: ComparisonRequest) -> ScorePool:
    storage, name = Storage(asked.storage), study_name(source)
    if asked.tracking is None:
        return build_score_pool(load_results(storage.below(name), asked.version))
    return open_tracker(asked.tracking, local_folder(storage)).pool(name, asked.version)


def _findings(
    source: str, asked: ComparisonRequest
) -> tuple[StudyResults, tuple[ContrastResult, ...]]:
    """Return a study, and the findings of the families asked for."""
    if asked.tracking is not None:
        raise InputError("declared contrasts are read from the ledger: leave --tracking-uri out")
    record = load_results(Storage(asked.storage).below(study_name(source)), asked.version)
    declared = build_contrasts(record.spec, record.plan)
    families = list(dict.fromkeys(contrast.family for contrast in declared))
    unknown = [name for name in asked.families if name not in (*families, "all")]
    if unknown:
        raise InputError(
            f"study '{record.spec.name}' has no contrasts '{unknown[0]}'; "
            f"allowed: all, {', '.join(families)}"
        )
    chosen = [c for c in declared if "all" in asked.families or c.family in asked.families]
    return record, StudyAnalysis(record, tuple(chosen)).findings
