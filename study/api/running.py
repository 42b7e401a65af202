"""Plan, launch, report, embed and submit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from study.api.loading import load_spec
from study.api.results import StudyResults
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.contrasts import declare_contrasts
from study.planning.plan import Plan, make_plan
from study.progress import CallbackList, ProgressCallback

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Spec = StudySpec | str | Path | Mapping[str, Any]
"""A checked study, a study file or preset, or the content of a study file."""


def plan(spec: Spec) -> Plan:
    """Expand a study into its distinct arms and trials; nothing is trained.

    Parameters
    ----------
    spec : StudySpec, str, Path or mapping

    Raises
    ------
    InputError
        The study has mistakes, or a contrast matches no pair of arms.

    Examples
    --------
    >>> import study
    >>> study.plan("quickstart").to_frame().groupby("technique").size().to_dict()
    {'independent_mean': 2, 'label_balancer': 2, 'mlp_head': 2, 'single': 4}
    """
    spec = _check(spec)
    arms = make_plan(spec)
    declare_contrasts(spec, arms)
    return arms


def launch(
    spec: Spec,
    *,
    executor: Literal["ray", "local"] = "ray",
    address: str | None = None,
    storage: str | None = None,
    tracking: str | None = None,
    pages: bool = True,
    extend: bool = False,
    wait: bool = False,
    other_versions: Literal["refuse", "rerun", "keep"] = "refuse",
    callbacks: Sequence[ProgressCallback] = (),
) -> StudyResults:
    """Run the missing trials of a study; finished ones are read from the ledger.

    Parameters
    ----------
    spec : StudySpec, str, Path or mapping
    executor : {'ray', 'local'}
        Run on Ray, or in this process.
    address : str, optional
        Address of a Ray cluster. Default: that of the study file, otherwise a local Ray.
    storage, tracking : str, optional
        Folder of results, and MLflow store; default: those of the study file.
    pages : bool
        Whether to write tracking pages.
    extend : bool
        Whether the study may add trials to those of the study launched before under this name.
    wait : bool
        Whether to wait while another launch of the study runs.
    other_versions : {'refuse', 'rerun', 'keep'}
        What to do about finished trials that another version of the code or libraries made.
    callbacks : sequence of ProgressCallback
        Called about progress, for example ``[study.RichProgress()]``.

    Returns
    -------
    StudyResults
        Trials that failed are in `StudyResults.trials` with their cause.

    Raises
    ------
    InputError
        The study cannot be run as requested; nothing was run.
    LockedError
        Another launch of the study runs.
    """
    from study.preview.text import format_rerun
    from study.runner.launcher import LaunchOptions, OtherVersions, launch_study

    if executor not in ("ray", "local"):
        raise InputError(f"executor must be 'ray' or 'local', not '{executor}'")
    changes = {"storage": storage, "tracking": tracking, "address": address}
    checked = _check(spec)
    run = checked.run.model_copy(update={k: v for k, v in changes.items() if v is not None})
    checked = checked.model_copy(update={"run": run})
    others = OtherVersions(other_versions)
    options = LaunchOptions(executor == "ray", pages, extend, wait, others)
    progress = CallbackList(*callbacks)
    try:
        outcome = launch_study(checked, options, progress, format_rerun)
    finally:
        progress.close()
    return StudyResults(outcome.results)


def write_report(
    results: StudyResults, out: str | Path, others: Sequence[StudyResults] = ()
) -> Path:
    """Write the report of a study: one HTML page, Markdown, tables and figures.

    Parameters
    ----------
    results : StudyResults
    out : str or Path
        Folder of the report.
    others : sequence of StudyResults
        Other studies to compare with.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        No trial has finished.
    """
    from study.reporting.build import compose_report
    from study.reporting.build import write_report as write_files

    document = compose_report(results.analysis, {other.name: other.analysis for other in others})
    return write_files(document, Path(out))[0]


def embed(
    smiles: Sequence[str],
    modality: str,
    weights: str = "random",
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> NDArray[np.float32]:
    """Embed molecules with an encoder.

    Parameters
    ----------
    smiles : sequence of str, (n,)
        SMILES, canonicalized with stereochemistry before they are embedded.
    modality : str
        Name of the modality.
    weights : str
        ``random``, a folder of weights with a model card, or a checkpoint file.
    options : mapping, optional
        Options of the modality; those of the model card can be left out.
    seed : int
        Seed of random initial weights.
    skip_bad : bool
        Whether a molecule that cannot be featurized becomes a row of NaN instead of an error.

    Returns
    -------
    ndarray of float32, (n, d)

    Raises
    ------
    InputError
        An option, the weights or a molecule is invalid.

    Examples
    --------
    >>> import study
    >>> study.embed(["CCO", "CC=O"], "smiles", options={"width": 32}).shape
    (2, 32)
    """
    from study.prediction.embed import embed_smiles

    return embed_smiles(smiles, modality, weights, options=options, seed=seed, skip_bad=skip_bad)


def submit(
    file: str | Path,
    address: str = "http://127.0.0.1:8265",
    overrides: Mapping[str, Any] | None = None,
    *,
    environment: Sequence[str] = (),
    follow: bool = False,
) -> int:
    """Submit a study file to a running Ray cluster.

    Parameters
    ----------
    file : str or Path
        A study file or preset.
    address : str
        Address of the cluster's job server.
    overrides : mapping of str to value, optional
        Values by dotted key.
    environment : sequence of str
        Names of environment variables to send along; their values are never printed.
    follow : bool
        Whether to wait for the job and print its output.

    Returns
    -------
    int
        Exit code of the launch; 0 if the job is not followed.

    Raises
    ------
    InputError
        The study has mistakes or cannot be sent, or no job server answers.
    """
    import json

    from study.submission.bundle import build_job_bundle
    from study.submission.ray_jobs import submit_study

    items = [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]
    bundle = build_job_bundle(str(file), items, list(environment))
    return submit_study(bundle, address, _print, follow=follow)


def _print(text: str) -> None:
    sys.stdout.write(text)


def _check(spec: Spec) -> StudySpec:
    return spec if isinstance(spec, StudySpec) else load_spec(spec)
