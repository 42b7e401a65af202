"""From evidence to a whole report: the sections in their order."""

from __future__ import annotations

from collections.abc import Mapping

from study.analysis.evidence import Evidence
from study.errors import InputError
from study.report.document import Document
from study.report.material import Material
from study.report.sections import (
    arms,
    contrasts,
    cost,
    effects,
    embeddings,
    labels,
    operators,
    ownership,
    pairs,
    provenance,
    robustness,
    scaling,
    search,
    sparse,
    verdict,
)

ORDER = (
    verdict,
    provenance,
    arms,
    contrasts,
    pairs,
    scaling,
    sparse,
    labels,
    effects,
    operators,
    ownership,
    embeddings,
    robustness,
    search,
    cost,
)
"""Sections as they stand on the page."""


def compose(evidence: Evidence, beside: Mapping[str, Evidence] | None = None) -> Document:
    """Make the report of a study.

    Parameters
    ----------
    evidence : Evidence
    beside : mapping of str to Evidence, optional
        Other studies by name, for example the same arms on another split.

    Raises
    ------
    InputError
        No trial has finished.
    """
    name = evidence.record.spec.name
    if not evidence.arms:
        raise InputError(f"study '{name}' has no finished trial to report; `study launch` runs it")
    material = Material(evidence, beside or {})
    made = [each.section(material) for each in ORDER]
    found = tuple(section for section in made if section is not None)
    return Document(f"Study {name}", evidence.record.spec.description, found)
