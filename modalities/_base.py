"""The contracts of this package: modality, features and encoder.

Shapes use one alphabet: n molecules, b batch, d embedding, t total records of a ragged field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

Record = Mapping[str, NDArray[Any]]
"""Features of one molecule: field name -> array, whose first axis may have any length.

A field that is a vector has length 1 in the first axis.
"""


class ModalityError(ValueError):
    """Error for an invalid molecule, option, checkpoint or store; the message names it."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """A field of n molecules, each with any number of rows.

    Attributes
    ----------
    values : ndarray, (t, ...)
        Rows of all molecules, concatenated.
    offsets : ndarray of int64, (n + 1,)
        The rows of molecule i are ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        complete = self.offsets[0] == 0 and self.offsets[-1] == len(self.values)
        if not complete or np.any(np.diff(self.offsets) < 0):
            raise ModalityError("offsets must rise from 0 to the number of records")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @classmethod
    def stack(cls, records: Sequence[NDArray[Any]]) -> Ragged:
        """Concatenate one array per molecule along the first axis."""
        lengths = [len(record) for record in records]
        return cls(np.concatenate(records), np.cumsum([0, *lengths], dtype=np.int64))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of each molecule, (n,)."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Copy these molecules, in this order, into a new field."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        # Distance between a row's place in the copy and its place in this field.
        shift = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Ragged(self.values[np.arange(offsets[-1]) + shift], offsets)


@dataclass(frozen=True, eq=False)
class ModalityFeatures:
    """Features of a table of molecules in one modality; row i is molecule i.

    Attributes
    ----------
    version : str
        Featurizer version: `Modality.version` of the modality that computed them.
    smiles : tuple of str, (n,)
        Canonical SMILES, in row order.
    fields : mapping of str to Ragged
        Features by name of the field, for all molecules.
    """

    version: str
    smiles: tuple[str, ...]
    fields: Mapping[str, Ragged]

    def __post_init__(self) -> None:
        for name, field in self.fields.items():
            if len(field) != len(self.smiles):
                raise ModalityError(
                    f"field '{name}' has {len(field)} molecules, the table {len(self.smiles)}"
                )

    def __len__(self) -> int:
        return len(self.smiles)

    @classmethod
    def stack(
        cls, version: str, smiles: Sequence[str], records: Sequence[Record]
    ) -> ModalityFeatures:
        """Assemble the records of the molecules; ``records[i]`` belongs to ``smiles[i]``."""
        if not smiles or len(smiles) != len(records):
            raise ModalityError(
                f"features need one record per molecule and at least one molecule, "
                f"not {len(records)} records for {len(smiles)} molecules"
            )
        names = records[0].keys()
        fields = {name: Ragged.stack([record[name] for record in records]) for name in names}
        return cls(version, tuple(smiles), fields)

    @cached_property
    def digest(self) -> str:
        """Sha256 of version and molecules: equal digests mean equal features."""
        text = "\n".join((self.version, *self.smiles))
        return hashlib.sha256(text.encode()).hexdigest()

    def matrix(self, name: str) -> NDArray[Any]:
        """Return a field with exactly one row per molecule, as an array (n, ...)."""
        field = self.fields[name]
        if np.any(np.diff(field.offsets) != 1):
            raise ModalityError(
                f"field '{name}' is ragged: only a field with one row per molecule is a matrix"
            )
        return field.values


@runtime_checkable
class Encoder(Protocol):
    """A ``torch.nn.Module`` that maps features to embeddings.

    Fitted statistics (medians, scales, column filters) are buffers of the module, and are fitted
    only on the rows passed to `fit`.
    """

    @property
    def dim(self) -> int:
        """Width d of the embedding; defined after `fit`."""

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit statistics on these training rows; most encoders have none."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Gather rows into the tensors that `__call__` takes."""

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""


@runtime_checkable
class StagedEncoder(Encoder, Protocol):
    """An encoder with trainable weights (`Modality.trainable`), which can be unfrozen in stages."""

    def stages(self) -> Sequence[nn.Module]:
        """Return the parts of the encoder from input to output.

        Every parameter is in exactly one part; buffers may be in none. "The top k layers" of a
        freeze schedule are the last k parts.
        """


class Modality(Protocol):
    """One representation of molecules.

    The name of the class is the name of its file in CamelCase. Options are the keyword-only
    parameters of the class, with literal types and defaults, so that a study file can be checked
    against them.
    """

    letter: ClassVar[str]
    """One or two capital letters for tables (S, G, M, ...)."""
    trainable: ClassVar[bool]
    """Whether the encoder has weights to train (False: it is a fitted transform)."""
    fitted: ClassVar[bool]
    """Whether `Encoder.fit` learns from the training rows (scales, medians, filters)."""

    @property
    def version(self) -> str:
        """Identity of the featurizer, which changes whenever its output may change."""

    def featurize(self, smiles: str) -> Record:
        """Compute the features of one molecule.

        Raises
        ------
        ModalityError
            The molecule cannot be represented; the message names it and the rule.
        """

    def encoder(self, *, seed: int) -> Encoder:
        """Build an encoder with the checkpoint of the options, or initial weights from `seed`."""
