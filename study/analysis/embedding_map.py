"""Learned embeddings in two dimensions, with the regions of a few labels.

Shapes: n molecules of the data set, m molecules shown, d coordinates, g points of a grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats
from study.analysis.study_analysis import StudyAnalysis
from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.planning.trials import NamedModality, Trial

LABELS = 5
"""Number of labels with a region: those with the most positives."""
FEWEST = 10
"""Minimum number of molecules of a region."""
GRID = 80


@dataclass(frozen=True, eq=False)
class Region:
    """Density of the molecules of one label on the map.

    Attributes
    ----------
    label : str
    molecules : int
        Number of molecules shown that have the label.
    x, y : ndarray of float64, (g,)
    density : ndarray of float64, (g, g)
        Gaussian kernel density; rows by y.
    half : float
        Density at the boundary of the smallest region that contains half of the molecules.
    center : tuple of two float
        Mean of the molecules.
    """

    label: str
    molecules: int
    x: Floats
    y: Floats
    density: Floats
    half: float
    center: tuple[float, float]


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Embeddings of one encoder in two dimensions.

    Attributes
    ----------
    modality : str
    job : EncoderJob
    points : ndarray of float64, (m, 2)
    axes : tuple of two str
        Axis labels.
    regions : tuple of Region
    note : str
        Sentences on which molecules are shown and how they were projected.
    """

    modality: str
    job: EncoderJob
    points: Floats
    axes: tuple[str, str]
    regions: tuple[Region, ...]
    note: str


def build_embedding_maps(analysis: StudyAnalysis) -> tuple[EmbeddingMap, ...]:
    """Build the map of every encoder whose embeddings are in the cache.

    There is one map per modality: the first fold and seed at the largest fraction. A fine-tuned
    encoder has seen the labels of its training molecules, so only the test fold is shown.
    """
    maps: dict[str, EmbeddingMap] = {}
    store = analysis.results.data.embedding_store
    present = store.ids()
    for feature, trial, job in _list_encoder_jobs(analysis):
        key = analysis.results.data.job_id(job)
        if feature.key not in maps and key in present:
            maps[feature.key] = _build_map(analysis, feature, trial, job, store.get(key))
    return tuple(maps.values())


def _list_encoder_jobs(
    analysis: StudyAnalysis,
) -> Iterator[tuple[NamedModality, Trial, EncoderJob]]:
    """Yield the encoder jobs of the first trial of each arm, the largest fraction first."""
    arms = sorted(analysis.arms.values(), key=lambda arm: -arm.arm.fraction)
    for arm in arms:
        seed, repeat, fold = arm.keys[0]
        trial = Trial(arm.arm, repeat, fold, seed)
        for feature in arm.arm.features:
            job = encoder_job_for(feature, trial)
            if job is not None and job.label_subset is None:
                yield feature, trial, job


def _build_map(
    analysis: StudyAnalysis,
    feature: NamedModality,
    trial: Trial,
    job: EncoderJob,
    embeddings: NDArray[np.float32],
) -> EmbeddingMap:
    dataset = analysis.results.data.dataset
    tuned = job.fold_key is not None and feature.config.resolved == "finetune"
    rows = analysis.results.data.fold(trial).test if tuned else np.arange(len(dataset))
    points, shares = compute_principal_axes(embeddings[rows])
    molecules = (
        f"Fine-tuned on the training part of fold {trial.fold} (seed {trial.seed}); only its test "
        "molecules are shown."
        if tuned
        else "The encoder was trained without labels; all molecules are shown."
    )
    return EmbeddingMap(
        modality=feature.name,
        job=job,
        points=points,
        axes=(_axis_label(1, shares[0]), _axis_label(2, shares[1])),
        regions=tuple(_find_regions(analysis, rows, points)),
        note=f"{molecules} Principal components of {embeddings.shape[1]} standardized coordinates.",
    )


def _axis_label(number: int, share: float) -> str:
    return f"principal component {number} ({100 * share:.0f} % of the variance)"


def compute_principal_axes(embeddings: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Project standardized embeddings (m, d) onto their first two principal components.

    Constant coordinates are left out. Signs are chosen so that the largest weight of a component
    is positive; otherwise the map could be mirrored between machines.

    Returns
    -------
    points : ndarray of float64, (m, 2)
    shares : ndarray of float64, (2,)
        Shares of the variance.
    """
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]  # ships no types

    values = np.asarray(embeddings, dtype=np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    padded = np.pad(values, ((0, 0), (0, max(0, 2 - values.shape[1]))))
    fitted = PCA(2, svd_solver="full").fit(padded)
    largest = np.abs(fitted.components_).argmax(axis=1)
    signs = np.sign(fitted.components_[[0, 1], largest])
    points: Floats = fitted.transform(padded) * signs
    return points, np.asarray(fitted.explained_variance_ratio_, dtype=np.float64)


def compute_view(points: Floats) -> tuple[Floats, Floats]:
    """Return two corners, (2,) each, of a view with 99 % of the points (m, 2) along each axis."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.15 * (high - low)
    return low - margin, high + margin


def _find_regions(
    analysis: StudyAnalysis, rows: NDArray[np.int64], points: Floats
) -> Iterator[Region]:
    dataset = analysis.results.data.dataset
    for column in np.argsort(-dataset.positives, kind="stable")[:LABELS]:
        members = points[dataset.labels[rows, column] == 1]
        if len(members) >= FEWEST and np.linalg.matrix_rank(np.cov(members.T)) == 2:
            yield _estimate_region(dataset.label_names[column], members, points)


def _estimate_region(label: str, members: Floats, points: Floats) -> Region:
    from scipy.stats import gaussian_kde

    kernel = gaussian_kde(members.T)
    low, high = compute_view(points)
    x, y = (np.linspace(low[i], high[i], GRID) for i in (0, 1))
    grid = np.stack(np.meshgrid(x, y)).reshape(2, -1)
    half = float(np.median(kernel(members.T)))
    center = tuple(float(value) for value in members.mean(axis=0))
    density = kernel(grid).reshape(GRID, GRID)
    return Region(label, len(members), x, y, density, half, (center[0], center[1]))
