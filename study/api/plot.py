"""Figures of the report as matplotlib figures: ``study.plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.api.results import StudyResults
from study.errors import InputError
from study.reporting.document import DocumentSection
from study.reporting.figures.training import draw_training_curves
from study.reporting.sections import contrasts, embeddings, pairs, scaling
from study.reporting.sections import sparse as sparse_section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "embedding_map",
    "forest",
    "heat_map",
    "learning_curves",
    "sparse_gain",
    "training_curves",
]


def forest(results: StudyResults, family: str | None = None) -> Figure:
    """Draw the declared contrasts of one question with intervals and verdicts.

    Parameters
    ----------
    results : StudyResults
    family : str, optional
        The question; default: the first of the study.

    Raises
    ------
    InputError
        There is no such question, or none of its contrasts has trials on both sides.
    """
    families = list(dict.fromkeys(f.contrast.family for f in results.analysis.findings))
    return _choose(contrasts.section(results.context), families, family, "question", results)


def learning_curves(results: StudyResults, number: int = 1) -> Figure:
    """Draw AUROC against training molecules, with the fitted power laws.

    Parameters
    ----------
    results : StudyResults
    number : int
        Which figure, from 1: the report has one per set of modalities.

    Raises
    ------
    InputError
        No arm has finished trials at two fractions, or there is no such figure.
    """
    return _take(scaling.section(results.context), number, "learning curves", results)


def sparse_gain(results: StudyResults, number: int = 1) -> Figure:
    """Draw the gain of every label against its number of positives.

    Parameters
    ----------
    results : StudyResults
    number : int
        Which contrast, from 1, in the order of the report: label balancers first.

    Raises
    ------
    InputError
        No contrast has trials on both sides, or there is no such figure.
    """
    return _take(sparse_section.section(results.context), number, "sparse gain", results)


def heat_map(results: StudyResults) -> Figure:
    """Draw the paired differences between all pairs of arms.

    Raises
    ------
    InputError
        Fewer than two arms share trials.
    """
    return _take(pairs.section(results.context), 1, "heat map", results)


def embedding_map(results: StudyResults, modality: str | None = None) -> Figure:
    """Draw the embeddings of an encoder on two axes, with contours of the largest labels.

    Parameters
    ----------
    results : StudyResults
    modality : str, optional
        Name of the modality; default: the first with an encoder.

    Raises
    ------
    InputError
        No embeddings of this study are in the cache of this machine, or not of this modality.
    """
    section = embeddings.section(results.context)
    figures = {figure.name: figure for figure in section.figures} if section else {}
    names = [name.removeprefix("embedding_") for name in figures]
    return _choose(section, names, modality, "modality", results)


def training_curves(results: StudyResults, arm: str) -> Figure:
    """Draw training loss and validation value of every trial of an arm by epoch.

    Parameters
    ----------
    results : StudyResults
    arm : str
        See `StudyResults.find_arm`.

    Raises
    ------
    InputError
        There is no such arm, or none of its finished trials was trained.
    """
    chosen = results.find_arm(arm)
    trials = [t for t in results.snapshot.results_of(chosen) if any(t.history.values())]
    if not trials:
        raise InputError(
            f"study '{results.name}': no finished trial of arm '{chosen}' has a training history"
        )
    return draw_training_curves(results.context.names.of(chosen), trials).drawing


def _choose(
    section: DocumentSection | None,
    names: list[str],
    name: str | None,
    noun: str,
    results: StudyResults,
) -> Figure:
    """Return the figure of one of `names`, which are in the order of the figures."""
    if name is not None and name not in names:
        raise InputError(
            f"study '{results.name}' has no figure of the {noun} '{name}'; "
            f"there is one of: {', '.join(names) or 'none'}"
        )
    return _take(section, names.index(name) + 1 if name else 1, noun, results)


def _take(section: DocumentSection | None, number: int, what: str, results: StudyResults) -> Figure:
    figures = section.figures if section else []
    if not 1 <= number <= len(figures):
        why = f"it has {len(figures)}" if figures else "its finished trials give none"
        raise InputError(f"study '{results.name}' has no figure {number} of {what}: {why}")
    return figures[number - 1].drawing
