"""Comparison of arms, within and across studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.analysis.arm_scores import ScorePool
from study.analysis.comparison import Baseline, compare_arms
from study.api.loading import load_results
from study.api.results import StudyResults
from study.config.loading import study_name
from study.errors import InputError
from study.reporting.formatting import Column
from study.reporting.tables import (
    COLUMNS,
    FINDING_COLUMNS,
    build_comparison_frame,
    build_finding_frame,
)
from study.storage.mirror import local_folder
from study.storage.storage import Storage
from study.tracking.open import open_store

if TYPE_CHECKING:
    from pandas import DataFrame

Source = StudyResults | str
"""Results of a study, or the name of a launched study, its file, or a preset."""


@dataclass(frozen=True)
class Comparison:
    """A comparison as a table, and what a reader must know about it.

    Attributes
    ----------
    frame : DataFrame
    columns : tuple of Column
        Columns to print; the frame has more.
    version_lines : tuple of str
        Lines that name the versions of the results; none if there is only the current one.
    complete : bool
        Whether every trial of every study has finished.
    """

    frame: DataFrame
    columns: tuple[Column, ...]
    version_lines: tuple[str, ...]
    complete: bool


def compare(
    studies: Source | Sequence[Source],
    *,
    baseline: Baseline | None = None,
    contrasts: Sequence[str] | str = (),
    storage: str = "studies",
    tracking: str | None = None,
    version: str | None = None,
) -> DataFrame:
    """Compare arms with paired intervals and verdicts.

    Parameters
    ----------
    studies : StudyResults, str, or sequence of them
        Results, or names of launched studies; with `tracking`, names of experiments.
    baseline : mapping of column to value, optional
        Selects the one arm that all others are compared with, e.g.
        ``{"features": "mordred", "technique": "single"}``. Default: each arm is compared with its
        own reference.
    contrasts : str or sequence of str
        Families of declared contrasts to compare instead of the arms; ``all`` for every family.
    storage : str
        Folder of results, for studies that are given by name.
    tracking : str, optional
        MLflow store to read the studies from, by name, instead of the ledger.
    version : str, optional
        Text that selects the version of the results, for studies given by name. Default: for each
        study the one with the most finished trials.

    Returns
    -------
    DataFrame
        One row per arm (or contrast) with the columns of ``study compare --format csv``.

    Raises
    ------
    InputError
        A study does not exist or has no finished trial of this version, the baseline does not
        match exactly one arm, or there is no such family of contrasts.
    """
    families = [contrasts] if isinstance(contrasts, str) else list(contrasts)
    sources = [studies] if isinstance(studies, (str, StudyResults)) else list(studies)
    compared = build_comparison(
        sources,
        storage=storage,
        tracking=tracking,
        baseline=baseline,
        families=families,
        version=version,
    )
    return compared.frame.infer_objects()


def build_comparison(
    sources: Sequence[Source],
    *,
    storage: str,
    tracking: str | None = None,
    baseline: Baseline | None = None,
    families: Sequence[str] = (),
    version: str | None = None,
) -> Comparison:
    """Compare arms or contrasts; parameters and errors as of `compare`."""
    if families and tracking is not None:
        raise InputError(
            "declared contrasts can only be read from the ledger: leave out --tracking-uri"
        )
    pools = []
    loaded = []
    for source in sources:
        if tracking is not None and isinstance(source, str):
            store = open_store(tracking, local_folder(Storage(storage)))
            pools.append(store.read_pool(study_name(source), version))
            continue
        results = load_results(source, storage, version) if isinstance(source, str) else source
        loaded.append(results)
        pools.append(results.pool)
    _check_finished(pools)
    complete = all(len(p.keys(c)) == p.plan.trials_per_arm for p in pools for c in p.arms)
    versions = any(pool.version_lines for pool in pools)
    lines = tuple(line for pool in pools for line in pool.version_lines)
    if families:
        frame = _build_finding_frame(loaded, families, versions=versions)
        return Comparison(frame, FINDING_COLUMNS, lines, complete)
    compared = compare_arms(pools, baseline)
    frame = build_comparison_frame(compared, studies=len(pools) > 1, versions=versions)
    return Comparison(frame, COLUMNS, lines, complete)


def _check_finished(pools: Sequence[ScorePool]) -> None:
    for pool in pools:
        if not any(pool.results.values()):
            raise InputError(
                f"study '{pool.name}' has no finished trial yet; `study launch` runs it"
            )


def _build_finding_frame(
    studies: Sequence[StudyResults], families: Sequence[str], *, versions: bool
) -> DataFrame:
    """Return the findings of these families; with the name of the study if there are several."""
    from pandas import concat

    frames = []
    for results in studies:
        known = list(dict.fromkeys(c.family for c in results.analysis.contrasts))
        unknown = [name for name in families if name not in (*known, "all")]
        if unknown:
            raise InputError(
                f"study '{results.name}' has no contrasts '{unknown[0]}'; "
                f"allowed: all, {', '.join(known)}"
            )
        findings = [
            finding
            for finding in results.analysis.findings
            if "all" in families or finding.contrast.family in families
        ]
        name = results.name if len(studies) > 1 else None
        version = str(results.version) if versions else None
        frames.append(build_finding_frame(findings, name, version))
    return concat(frames)
