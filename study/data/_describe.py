"""A table in rows for printing: what it is, how it was made, how often each label stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study.data._dataset import OdorDataset

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """Printable rows of one table.

    Attributes
    ----------
    facts : tuple of (name, value)
        Size, labels per molecule, positives, digest, source files.
    steps : tuple of (step, before, after, note)
        The curation recipe, as carried out.
    labels : tuple of (label, positives, share)
        Labels from the most to the least frequent.
    """

    facts: tuple[Cells, ...]
    steps: tuple[Cells, ...]
    labels: tuple[Cells, ...]


def describe(dataset: OdorDataset) -> Description:
    """Describe a table for the command line and the report."""
    positives = dataset.positives
    order = np.argsort(-positives, kind="stable")
    steps = [(step.name, f"{step.before}", f"{step.after}", step.note) for step in dataset.steps]
    labels = [
        (dataset.label_names[j], f"{positives[j]}", f"{positives[j] / len(dataset):.1%}")
        for j in order
    ]
    return Description(_facts(dataset), tuple(steps), tuple(labels))


def _facts(dataset: OdorDataset) -> tuple[Cells, ...]:
    per_molecule = dataset.labels.sum(axis=1)
    positives = dataset.positives
    facts = [
        ("table", dataset.name),
        ("size", f"{len(dataset)} molecules x {len(dataset.label_names)} labels"),
        ("labels a molecule", f"mean {per_molecule.mean():.2f}, most {per_molecule.max()}"),
        ("molecules without a label", f"{(per_molecule == 0).sum()}"),
        (
            "positives a label",
            f"{positives.min()} to {positives.max()}, median {np.median(positives):.0f}",
        ),
        ("digest", dataset.digest),
    ]
    facts += [(f"sha256 {name}", digest) for name, digest in dataset.sources.items()]
    return tuple(facts)
