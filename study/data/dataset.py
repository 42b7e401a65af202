"""The data set that a study trains on: molecules, labels and curation steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError


@dataclass(frozen=True)
class CurationStep:
    """One step of curation and its effect.

    Attributes
    ----------
    name : str
        Short description of the step.
    before, after : int
        Number of rows (molecules or raw entries) before and after.
    note : str
        Further counts, or the rows concerned, as text.
    """

    name: str
    before: int
    after: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class OdorDataset:
    """Molecules with odor labels; checked when created, and immutable.

    Attributes
    ----------
    name : str
        Name of the source or preset.
    smiles : tuple of str, (n,)
        Canonical SMILES, each once.
    labels : ndarray of uint8, (n, l)
        1 where the molecule has the label.
    label_names : tuple of str, (l,)
        Names of the columns, each once.
    ratings : ndarray of float32, (n, l), optional
        Real-valued ratings that the labels were derived from (NaN: not rated).
    steps : tuple of CurationStep
        Curation steps, in order.
    sources : mapping of str to str
        Sha256 of every file read, by name.
    """

    name: str
    smiles: tuple[str, ...]
    labels: NDArray[np.uint8]
    label_names: tuple[str, ...]
    ratings: NDArray[np.float32] | None = None
    steps: tuple[CurationStep, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, l = len(self.smiles), len(self.label_names)  # noqa: E741 (the alphabet of the project)
        if self.labels.shape != (n, l) or self.labels.dtype != np.uint8:
            raise InputError(
                f"{self.name}: labels must be uint8 of shape ({n}, {l}), "
                f"not {self.labels.dtype} {self.labels.shape}"
            )
        if self.labels.size and self.labels.max() > 1:
            raise InputError(f"{self.name}: labels must be 0 or 1")
        for what, names in (("molecule", self.smiles), ("label", self.label_names)):
            if len(set(names)) != len(names):
                duplicate = next(name for name in names if names.count(name) > 1)
                raise InputError(f"{self.name}: {what} '{duplicate}' appears more than once")
        empty = [name for name, k in zip(self.label_names, self.positives, strict=True) if k == 0]
        if empty:
            raise InputError(
                f"{self.name}: labels without a single positive: {', '.join(empty)}; "
                "drop these columns or add molecules"
            )
        if self.ratings is not None and self.ratings.shape != (n, l):
            raise InputError(f"{self.name}: ratings must have the shape of the labels ({n}, {l})")
        self.labels.setflags(write=False)
        if self.ratings is not None:
            self.ratings.setflags(write=False)

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def positives(self) -> NDArray[np.int64]:
        """Number of positives of each label, (l,)."""
        positives: NDArray[np.int64] = self.labels.sum(axis=0, dtype=np.int64)
        return positives

    @cached_property
    def digest(self) -> str:
        """Sha256 of molecules, label names and labels, in order."""
        state = hashlib.sha256()
        state.update("\n".join(self.smiles).encode() + b"\0")
        state.update("\n".join(self.label_names).encode() + b"\0")
        state.update(np.packbits(self.labels).tobytes())
        return state.hexdigest()


TextRow = tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """A summary of a data set, as rows of text.

    Attributes
    ----------
    facts : tuple of (name, value)
        Size, labels per molecule, positives, digest, source files.
    steps : tuple of (step, before, after, note)
        The curation steps.
    labels : tuple of (label, positives, share)
        Labels from the most to the least frequent.
    """

    facts: tuple[TextRow, ...]
    steps: tuple[TextRow, ...]
    labels: tuple[TextRow, ...]


def describe(dataset: OdorDataset) -> Description:
    """Return the summary of a data set for the command line and the report."""
    positives = dataset.positives
    order = np.argsort(-positives, kind="stable")
    steps = [(step.name, f"{step.before}", f"{step.after}", step.note) for step in dataset.steps]
    labels = [
        (dataset.label_names[j], f"{positives[j]}", f"{positives[j] / len(dataset):.1%}")
        for j in order
    ]
    return Description(_build_facts(dataset), tuple(steps), tuple(labels))


def _build_facts(dataset: OdorDataset) -> tuple[TextRow, ...]:
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
