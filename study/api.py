"""Comparison of studies by name, with the result as text."""

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
from study.reporting.tables import (
    COLUMNS,
    FINDING_COLUMNS,
    build_comparison_frame,
    build_finding_frame,
)
from study.results.study_results import StudyResults, load_results
from study.storage.mirror import local_folder
from study.storage.storage import Storage
from study.tracking.open import open_store

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ComparisonRequest:
    """Request to compare studies, as made by ``study compare``.

    Attributes
    ----------
    sources : sequence of str
        Names of studies in the storage, study files or presets; with `tracking`, names of
        experiments of that store.
    storage : str
        Folder of results.
    tracking : str or None
        Tracking store to read from instead of the ledger.
    baseline : mapping of column to value, optional
        Selects the one arm that all others are compared with.
    families : sequence of str
        Families of declared contrasts to show instead of the arms; ``all`` for every family.
    version : str, optional
        Text that selects the version whose results are compared. Default: for each study, the
        version with the most finished trials.
    """

    sources: Sequence[str]
    storage: str
    tracking: str | None = None
    baseline: Baseline | None = None
    families: Sequence[str] = ()
    version: str | None = None


def compare_studies(request: ComparisonRequest, kind: Kind) -> tuple[str, bool]:
    """Return a comparison as text in the format `kind`, and whether all its studies are complete.

    Raises
    ------
    InputError
        A study has no finished trial of the requested version, the baseline matches no single arm,
        or a family does not exist.
    """
    pools = [_load_pool(source, request) for source in request.sources]
    for pool in pools:
        if not any(pool.results.values()):
            raise InputError(
                f"study '{pool.name}' has no finished trial yet; `study launch` runs it"
            )
    complete = all(
        len(pool.keys(c)) == pool.plan.trials_per_arm for pool in pools for c in pool.arms
    )
    versions = any(pool.version_lines for pool in pools)
    if request.families:
        frame = _build_finding_frame(request, versions=versions)
    else:
        compared = compare_arms(pools, request.baseline)
        frame = build_comparison_frame(compared, studies=len(pools) > 1, versions=versions)
    columns = FINDING_COLUMNS if request.families else COLUMNS
    lines = [line for pool in pools for line in pool.version_lines] if kind == "table" else []
    return render_table(frame, columns, kind) + "".join(f"{line}\n" for line in lines), complete


def _build_finding_frame(request: ComparisonRequest, *, versions: bool) -> DataFrame:
    """Return the requested findings of every study; with its name if there are several."""
    from pandas import concat

    frames = []
    for source in request.sources:
        name = study_name(source) if len(request.sources) > 1 else None
        results, findings = _load_findings(source, request)
        version = str(results.version) if versions else None
        frames.append(build_finding_frame(findings, name, version))
    return concat(frames)


def _load_pool(source: str, request: ComparisonRequest) -> ScorePool:
    storage, name = Storage(request.storage), study_name(source)
    if request.tracking is None:
        return build_score_pool(load_results(storage.subfolder(name), request.version))
    return open_store(request.tracking, local_folder(storage)).read_pool(name, request.version)


def _load_findings(
    source: str, request: ComparisonRequest
) -> tuple[StudyResults, tuple[ContrastResult, ...]]:
    """Return the results of a study, and the findings of the requested families."""
    if request.tracking is not None:
        raise InputError(
            "declared contrasts can only be read from the ledger: leave out --tracking-uri"
        )
    results = load_results(Storage(request.storage).subfolder(study_name(source)), request.version)
    declared = build_contrasts(results.spec, results.plan)
    families = list(dict.fromkeys(contrast.family for contrast in declared))
    unknown = [name for name in request.families if name not in (*families, "all")]
    if unknown:
        raise InputError(
            f"study '{results.spec.name}' has no contrasts '{unknown[0]}'; "
            f"allowed: all, {', '.join(families)}"
        )
    chosen = [c for c in declared if "all" in request.families or c.family in request.families]
    return results, StudyAnalysis(results, tuple(chosen)).findings
